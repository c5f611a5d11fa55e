//! seccomp(2): installing a filter, asking which flags the kernel knows.

#![allow(unsafe_code)]

use super::clone::InChild;
use super::{Errno, check};
use crate::error::{Error, Result};
use seccompiler::sock_filter;

// The kernel reads our instructions as its own `struct sock_filter` (linux/filter.h).
const _: () = assert!(size_of::<sock_filter>() == size_of::<libc::sock_filter>());
const _: () = assert!(align_of::<sock_filter>() == align_of::<libc::sock_filter>());

/// The most instructions that a program may have (`BPF_MAXINSNS` in linux/bpf_common.h).
pub const MAX_INSTRUCTIONS: usize = libc::BPF_MAXINSNS as usize;

/// Flags of `SECCOMP_SET_MODE_FILTER`, as one set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FilterFlags(libc::c_ulong);

impl FilterFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Set the filter for every thread of the process (3.17).
    pub const TSYNC: Self = Self(libc::SECCOMP_FILTER_FLAG_TSYNC);
    /// Log every action but allow (4.14).
    pub const LOG: Self = Self(libc::SECCOMP_FILTER_FLAG_LOG);
    /// Leave the mitigation of speculative store bypass off (4.17).
    pub const SPEC_ALLOW: Self = Self(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW);
    /// Make a descriptor for whoever answers notifications, the lowest number that is free, close-on-exec (5.0).
    pub const NEW_LISTENER: Self = Self(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    /// Let only fatal signals interrupt a call that waits for its notification's answer (5.19).
    pub const WAIT_KILLABLE_RECV: Self = Self(libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);

    /// As seccomp(2) takes them.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of `other` is in the set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Installs `program` in the calling process, for good. Needs no_new_privs or CAP_SYS_ADMIN. A new listener stays open.
///
/// # Errors
/// The errno of seccomp(2): EACCES without either of the two, EINVAL for a program that is malformed, empty or longer
/// than [`MAX_INSTRUCTIONS`] and for a flag that this kernel does not know, ENOMEM when all filters of the process
/// together are too long, EBUSY for a listener where the process has a filter with one already.
pub fn install(_: &InChild, program: &[sock_filter], flags: FilterFlags) -> Result<()> {
    let call = || format!("seccomp(SECCOMP_SET_MODE_FILTER, flags {:#x}, {} instructions)", flags.0, program.len());
    let len = u16::try_from(program.len()).map_err(|_| Error::sys(call(), Errno::EINVAL))?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: the kernel copies `len` instructions during the call and writes nothing; the slice we were given holds
    // that many, in the kernel's layout (asserted above), and outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags.0, &raw const program) };
    check(result, call).map(drop)
}

/// Whether the running kernel knows all of `flags`. Changes nothing: the call always fails, with EFAULT for its null
/// program when the flags passed the kernel's check, which comes first, and with EINVAL otherwise.
pub fn knows(flags: FilterFlags) -> bool {
    // Which is refused without a listener.
    let waits = flags.has(FilterFlags::WAIT_KILLABLE_RECV);
    let flags = if waits { flags.with(FilterFlags::NEW_LISTENER) } else { flags };
    let nothing = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: a null program can't be installed: the kernel fails to copy it before it changes anything.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags.0, nothing) };
    result == -1 && Errno::last() == Errno::EFAULT
}

#[cfg(test)]
mod tests {
    use super::{FilterFlags, knows};

    #[test]
    fn knows_the_flags_of_the_kernel_floor_only() {
        assert!(knows(FilterFlags::SPEC_ALLOW.with(FilterFlags::LOG)));
        assert!(!knows(FilterFlags(1 << 30)));
    }
}
