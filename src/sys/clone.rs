//! Making the container's process: clone3(2) with every namespace, the cgroup and the pidfd in one call.

#![allow(unsafe_code)]

use super::{Errno, check};
use crate::error::{Error, ErrorKind, Result};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Start the child in the cgroup that `clone_args.cgroup` names (`CLONE_INTO_CGROUP`, 5.7); libc's own constant overflows.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Namespace flags of clone(2), as one set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CloneFlags(u64);

impl CloneFlags {
    /// No namespace.
    pub const NONE: Self = Self(0);
    /// New cgroup namespace.
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
    /// New IPC namespace.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// New mount namespace.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// New network namespace.
    pub const NETWORK: Self = Self(libc::CLONE_NEWNET as u64);
    /// New PID namespace.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// New time namespace.
    pub const TIME: Self = Self(0x80);
    /// New user namespace.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// New UTS namespace.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set less the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What both sets have.
    #[must_use]
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether everything in `other` is in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags as the old calls (unshare, setns) take them.
    pub(super) fn as_int(self) -> libc::c_int {
        // Every namespace flag lies below bit 31.
        libc::c_int::try_from(self.0).unwrap_or(libc::c_int::MAX)
    }
}

impl std::fmt::Display for CloneFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [
            (Self::CGROUP, "cgroup"),
            (Self::IPC, "ipc"),
            (Self::MOUNT, "mount"),
            (Self::NETWORK, "network"),
            (Self::PID, "pid"),
            (Self::TIME, "time"),
            (Self::USER, "user"),
            (Self::UTS, "uts"),
        ];
        let named: Vec<_> = names.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect();
        f.write_str(&named.join("|"))
    }
}

/// Proof that this process has one thread: no lock can be held by another across [`clone3`].
#[derive(Debug, Clone, Copy)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Checks the number of threads that `/proc/self/status` tells.
    ///
    /// # Errors
    /// `Unsupported` when there is more than one: the library was called from a threaded program.
    pub fn prove(threads: u64) -> Result<Self> {
        if threads == 1 {
            return Ok(Self(()));
        }
        Err(Error::new(ErrorKind::Unsupported, format!("onggi needs to be single-threaded, but has {threads} threads")))
    }
}

/// Proof of being the cloned child. Every call that changes the calling process takes it, so that the compiler refuses
/// such calls in the parent. It exists only inside [`Fork::Child`] and can't be sent elsewhere.
#[derive(Debug)]
pub struct InChild(PhantomData<*const ()>);

/// Which side of [`clone3`] we are on.
#[derive(Debug)]
pub enum Fork {
    /// The parent, with the child's pid and pidfd.
    Parent {
        /// The child's pid in the caller's PID namespace.
        pid: i32,
        /// The child's pidfd.
        pidfd: OwnedFd,
    },
    /// The child.
    Child(InChild),
}

/// Clones this process copy-on-write into new namespaces and, with `cgroup`, straight into that cgroup directory
/// (5.7), which avoids the RCU grace period of writing cgroup.procs.
///
/// # Errors
/// The errno of clone3(2): EPERM without CAP_SYS_ADMIN or with user namespaces switched off, ENOSPC at the limit of a
/// namespace kind, EBUSY when the cgroup has children with controllers, EINVAL for an unsupported namespace kind.
pub fn clone3(_: SingleThreaded, namespaces: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<Fork> {
    let mut args = arguments(namespaces.0);
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(directory) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = directory.as_raw_fd() as u64;
    }
    call(args, namespaces)
}

/// As [`clone3`], but the new process becomes a child of our own parent (`CLONE_PARENT`), which may then reap it.
/// For a process that had to join a user namespace before the container's PID namespace could be made.
pub fn clone3_sibling(_: &InChild, namespaces: CloneFlags) -> Result<Fork> {
    call(arguments(namespaces.0 | libc::CLONE_PARENT as u64), namespaces)
}

fn arguments(flags: u64) -> libc::clone_args {
    libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: 0,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    }
}

fn call(mut args: libc::clone_args, namespaces: CloneFlags) -> Result<Fork> {
    let mut pidfd: RawFd = -1;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    // SAFETY: without CLONE_VM the child runs on a copy of all memory, and with one thread (the proof that both callers
    // demand) no lock is held by a thread that the copy lacks; `args` and `pidfd` outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    match check(pid, || format!("clone3({namespaces})"))? {
        0 => Ok(Fork::Child(InChild(PhantomData))),
        pid => {
            // SAFETY: the kernel stored a new descriptor here, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).map_err(|_| Error::sys("clone3", Errno::ERANGE))?;
            Ok(Fork::Parent { pid, pidfd })
        }
    }
}
