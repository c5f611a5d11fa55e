//! The container's process, its first or one that joins it, while it is ours.

use crate::error::Result;
use crate::sys::pidfd::{self, Exit};
use crate::sys::signal::number;
use std::os::fd::OwnedFd;

/// A process of a container, our child: its init process, or that of `exec`. Dropped without [`InitProcess::release`], it is killed and reaped.
#[derive(Debug)]
pub struct InitProcess {
    /// Its pid in our PID namespace.
    pub pid: i32,
    pidfd: OwnedFd,
    ours: bool,
}

impl InitProcess {
    /// The process that clone3 has just made.
    pub fn new(pid: i32, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, ours: true }
    }

    /// Its pidfd.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Waits for its end; it stays to be reaped.
    pub fn ending(&self) -> Result<Exit> {
        pidfd::peek(&self.pidfd)
    }

    /// Waits for its end and reaps it.
    pub fn reap(&mut self) -> Result<Exit> {
        let exit = pidfd::reap(&self.pidfd)?;
        self.ours = false;
        Ok(exit)
    }

    /// Lets it live on when this is dropped.
    pub fn release(&mut self) {
        self.ours = false;
    }
}

impl Drop for InitProcess {
    fn drop(&mut self) {
        if self.ours {
            // It may have ended already, and then there is only the zombie to take.
            let _ = pidfd::send_signal(&self.pidfd, number::KILL);
            let _ = pidfd::reap(&self.pidfd);
        }
    }
}
