//! `--pidfd-socket`: the process's pidfd for a caller that wants to watch it.

use crate::error::{Context, Result};
use crate::sys::socket;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Whose pidfd it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// An init process.
    Init,
    /// One that has joined a container.
    Joining,
}

impl Process {
    /// What runc sends along.
    fn message(self) -> &'static [u8] {
        match self {
            Self::Init => b"standard",
            Self::Joining => b"setns",
        }
    }
}

/// A connection to the caller's socket.
#[derive(Debug)]
pub struct PidfdSocket(OwnedFd);

impl PidfdSocket {
    /// Connects before anything is made.
    pub fn connect(path: &Path) -> Result<Self> {
        socket::connect(path).map(Self).with_context(|| format!("--pidfd-socket {}", path.display()))
    }

    /// Sends the pidfd as one message with one descriptor.
    pub fn send(self, process: Process, pidfd: &OwnedFd) -> Result<()> {
        socket::send(self.0, process.message(), &[pidfd.as_fd()]).context("send the pidfd to --pidfd-socket")
    }
}
