//! poll(2): waiting for several descriptors at once.

use super::Errno;
use crate::error::{Error, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// What a descriptor is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// It can be read, or its other side is gone.
    Read,
    /// It can be written.
    Write,
    /// A file of cgroupfs or procfs has changed since it was last read.
    Change,
    /// Nobody is left on the other side of the pipe, socket or terminal that it writes to.
    Hangup,
}

impl Interest {
    fn flags(self) -> PollFlags {
        match self {
            Self::Read => PollFlags::POLLIN,
            Self::Write => PollFlags::POLLOUT,
            Self::Change => PollFlags::POLLPRI,
            // Reported without being asked for: POLLERR, POLLHUP.
            Self::Hangup => PollFlags::empty(),
        }
    }
}

/// Waits until one of `wanted` is ready and returns which are, in the same order; all `false` after the
/// timeout or a signal. A descriptor whose other side is gone or that failed counts as ready.
pub fn poll(wanted: &[(BorrowedFd<'_>, Interest)], timeout: Option<Duration>) -> Result<Vec<bool>> {
    let mut fds: Vec<PollFd<'_>> = wanted.iter().map(|(fd, interest)| PollFd::new(*fd, interest.flags())).collect();
    let timeout = match timeout {
        None => PollTimeout::NONE,
        // Rounded up, so that a caller with a deadline does not spin through its last millisecond.
        Some(timeout) => timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(PollTimeout::MAX),
    };
    match nix::poll::poll(&mut fds, timeout) {
        Ok(_) => Ok(fds.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
        Err(Errno::EINTR) => Ok(vec![false; wanted.len()]),
        Err(errno) => Err(Error::sys("poll", errno)),
    }
}
