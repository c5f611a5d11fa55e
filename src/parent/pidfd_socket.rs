//! `--pidfd-socket`: the init process's pidfd for a caller that wants to watch it.

use crate::error::{Context, Result};
use crate::sys::socket;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What runc sends along with the pidfd of an init process.
const MESSAGE: &[u8] = b"standard";

/// A connection to the caller's socket.
#[derive(Debug)]
pub struct PidfdSocket(OwnedFd);

impl PidfdSocket {
    /// Connects before anything is made.
    pub fn connect(path: &Path) -> Result<Self> {
        socket::connect(path).map(Self).with_context(|| format!("--pidfd-socket {}", path.display()))
    }

    /// Sends the pidfd as one message with one descriptor.
    pub fn send(self, pidfd: &OwnedFd) -> Result<()> {
        socket::send(self.0, MESSAGE, &[pidfd.as_fd()]).context("send the pidfd to --pidfd-socket")
    }
}
