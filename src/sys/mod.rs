//! System calls: the only place with `unsafe`, and the only one that names `nix`, `libc` and `caps`.
//!
//! Conventions of every function here: descriptors are born close-on-exec; a failure is an [`Error`] that shows the
//! call with its arguments and keeps the errno; calls that change the calling process take [`clone::InChild`],
//! so that the compiler refuses them in the parent; nothing is retried with weaker means.
//!
//! [`Error`]: crate::error::Error

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the kernel's interfaces mix the signs and widths of one and the same number"
)]

pub mod bpf;
pub mod clock;
pub mod clone;
pub mod fs;
pub mod heap;
pub mod keyring;
pub mod machine;
pub mod mempolicy;
pub mod metadata;
pub mod mount;
pub mod mount_table;
pub mod namespace;
pub mod net;
pub mod netlink;
pub mod pidfd;
pub mod poll;
pub mod reap;
pub mod reexec;
pub mod seccomp;
pub mod signal;
pub mod signal_name;
pub mod socket;
pub mod spawn;
pub mod start;
pub mod stdio;
pub mod this_process;
pub mod tty;

pub use nix::errno::Errno;

use crate::error::{Error, Result};

/// The result of a raw system call: its value, or the error with the call's text.
fn check(result: libc::c_long, call: impl FnOnce() -> String) -> Result<libc::c_long> {
    if result == -1 { Err(Error::sys(call(), Errno::last())) } else { Ok(result) }
}
