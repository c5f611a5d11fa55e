//! Reaping what was reparented to us as a child subreaper.

#![allow(unsafe_code)]

use super::{Errno, check};
use crate::error::{Error, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Makes orphaned descendants our children; see PR_SET_CHILD_SUBREAPER in prctl(2).
pub fn become_subreaper() -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true).map_err(|errno| Error::sys("prctl(PR_SET_CHILD_SUBREAPER)", errno))
}

/// Reaps every child that has ended, except the one behind `kept`, whose status somebody waits for.
pub fn others(kept: &OwnedFd) -> Result<()> {
    let kept = kept.as_fd().as_raw_fd() as libc::id_t;
    loop {
        // The kept one is looked at first: if it has ended, it hides nothing, since the caller stops then.
        if ended(libc::P_PIDFD, kept, libc::WNOHANG | libc::WNOWAIT)?.is_some() {
            return Ok(());
        }
        let Some(pid) = ended(libc::P_ALL, 0, libc::WNOHANG | libc::WNOWAIT)? else { return Ok(()) };
        ended(libc::P_PID, pid as libc::id_t, libc::WNOHANG)?;
    }
}

/// Reaps every child that has ended.
pub fn all() -> Result<()> {
    while ended(libc::P_ALL, 0, libc::WNOHANG)?.is_some() {}
    Ok(())
}

/// The number of a child that has ended, if there is one.
fn ended(kind: libc::idtype_t, id: libc::id_t, flags: libc::c_int) -> Result<Option<i32>> {
    match waitid(kind, id, flags) {
        Ok(info) => {
            // SAFETY: waitid(2) fills the SIGCHLD part of the union, or leaves the zeros.
            let pid = unsafe { info.si_pid() };
            Ok((pid != 0).then_some(pid))
        }
        Err(error) if error.is(Errno::ECHILD) => Ok(None),
        Err(error) => Err(error),
    }
}

/// waitid(2) for the end of children. Not that of nix, which refuses a child that died of a real-time signal.
pub(super) fn waitid(kind: libc::idtype_t, id: libc::id_t, flags: libc::c_int) -> Result<libc::siginfo_t> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    loop {
        // SAFETY: `info` is a siginfo_t that outlives the call.
        let result = unsafe { libc::waitid(kind, id, info.as_mut_ptr(), libc::WEXITED | flags) };
        match check(result.into(), || "waitid".to_owned()) {
            // SAFETY: all bytes were zeroed and the kernel then filled it in; every bit pattern is a siginfo_t.
            Ok(_) => return Ok(unsafe { info.assume_init() }),
            Err(error) if error.is(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}
