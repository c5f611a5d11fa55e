//! Reaping what was reparented to us as a child subreaper.

use super::Errno;
use crate::error::{Error, Result};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::os::fd::{AsFd, OwnedFd};

/// Makes orphaned descendants our children; see PR_SET_CHILD_SUBREAPER in prctl(2).
pub fn become_subreaper() -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true).map_err(|errno| Error::sys("prctl(PR_SET_CHILD_SUBREAPER)", errno))
}

/// Reaps every child that has ended, except the one behind `kept`, whose status somebody waits for.
pub fn others(kept: &OwnedFd) -> Result<()> {
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        // The kept one is looked at first: if it has ended, it hides nothing, since the caller stops then.
        if ended(waitid(Id::PIDFd(kept.as_fd()), peek))?.is_some() {
            return Ok(());
        }
        let Some(pid) = ended(waitid(Id::All, peek))? else { return Ok(()) };
        let taken = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG);
        ended(taken)?;
    }
}

/// Reaps every child that has ended.
pub fn all() -> Result<()> {
    while ended(waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG))?.is_some() {}
    Ok(())
}

fn ended(status: nix::Result<WaitStatus>) -> Result<Option<nix::unistd::Pid>> {
    match status {
        Ok(status) => Ok(status.pid()),
        Err(Errno::ECHILD) => Ok(None),
        Err(errno) => Err(Error::sys("waitid", errno)),
    }
}
