//! The messages between parent and child, over one SEQPACKET socket.
//!
//! ```text
//! parent                                   child
//!   clone3 ───────────────────────────────►  (new user namespace: waits)
//!   writes the id maps, Proceed ──────────►
//!                                            joins and makes namespaces
//!   taken for the init process, Proceed ◄─►  Moved (after joining a user namespace)
//!   clocks set, Proceed + namespace ◄─────►  TimeNamespace
//!   devices moved, Proceed ◄──────────────►  NetDevices
//!   moved to its groups, Proceed ◄────────►  IntelRdt
//!   sources opened, Proceed + each ◄──────►  Sources + root (mount namespace of a user namespace)
//!                                            mounts, devices
//!   prestart, createRuntime, Proceed ◄────►  Hooks
//!                                            createContainer hooks
//!   to the console socket or relayed ◄─────  Console + the terminal
//!                                            pivot
//!   copied from and to  ◄────────────────  Pipe + the end of one of up to three
//!                                            identity, lookup of the program
//!   record written  ◄──────────────────────  Ready
//!   (create: returns)                        (create: waits at the gate)
//!   listener to its agent, Proceed ◄──────►  (in place of Ready: Listener, if the filter notifies)
//!                                            execve; the socket closes with it
//! ```
//!
//! A process that joins a container (`exec`) has the same ladder, of which it uses `Moved`,
//! `IntelRdt`, `Console`, `Pipe` and `Ready`.
//!
//! Each pair but the last is sent only when the plan needs it: `run` of a plain container sends `Ready` alone and waits for
//! nothing. Closing without `Ready` or `Failed` means that the child died.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::socket;
use crate::sys::this_process::Stdio;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the child tells its parent.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The init process is another one than the process cloned first; its pidfd comes along.
    Moved {
        /// Its pid in the parent's PID namespace.
        pid: i32,
    },
    /// The time namespace is made; its clocks can be set.
    TimeNamespace,
    /// The network namespace is there, and its devices can be moved to it.
    NetDevices,
    /// The process is the one that stays, and has no children: it can be put into groups of the resctrl filesystem.
    IntelRdt,
    /// The mount namespace of a user namespace is made, and its root comes along: the sources of mounts can be opened
    /// below it, each to be sent by an order of its own.
    Sources,
    /// A source with its ids mapped comes along; from a process that helps the parent.
    Mapped,
    /// Everything is mounted, nothing pivoted: prestart and createRuntime hooks may run.
    Hooks,
    /// The container's terminal exists; its master comes along.
    Console,
    /// The program has a pipe in place of this one of the caller's descriptors; its other end comes along.
    Pipe(Stdio),
    /// Something that was asked for could not be had, and the container runs without.
    Warning(String),
    /// All that can fail before the program runs has been done.
    Ready,
    /// The same, but for a filter that notifies: it is being loaded, and its listener will be found at this number. The
    /// child then waits, at the gate if there is one and for an order otherwise.
    Listener {
        /// The number of the listener in the child.
        number: i32,
    },
    /// Why there will be no container.
    Failed(Error),
}

/// What the parent tells its child.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// What the child waits for has been done.
    Proceed,
}

/// One end of the socket.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends.
    pub fn pair() -> Result<(Self, Self)> {
        socket::pair().map(|(one, other)| (Self(one), Self(other)))
    }

    /// Sends a message, with a copy of `file`.
    pub fn send(&self, message: &impl Serialize, file: Option<BorrowedFd<'_>>) -> Result<()> {
        let text = serde_json::to_vec(message).map_err(|error| Error::new(ErrorKind::System, error.to_string()))?;
        socket::send(&self.0, &text, file.as_slice())
    }

    /// Receives a message and what came along; `None` when the other side is gone.
    ///
    /// # Errors
    /// `System` for a message of another shape: both sides are the same program, so this is a bug or an attack.
    pub fn receive<M: DeserializeOwned>(&self) -> Result<Option<(M, Option<OwnedFd>)>> {
        let Some((text, file)) = socket::receive(&self.0)? else { return Ok(None) };
        let message = serde_json::from_slice(&text)
            .map_err(|error| Error::new(ErrorKind::System, format!("malformed message: {error}")))?;
        Ok(Some((message, file)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::Errno;

    #[test]
    fn a_failure_crosses_whole() {
        let (parent, child) = Channel::pair().unwrap();
        let sent = Error::sys("openat2(etc)", Errno::ENOENT).context("mount /etc (mounts[3])");
        child.send(&Report::Failed(sent.clone()), None).unwrap();
        let (report, file) = parent.receive::<Report>().unwrap().unwrap();
        assert!(file.is_none());
        let Report::Failed(received) = report else { unreachable!("{report:?}") };
        assert_eq!(received, sent);
        assert_eq!(received.to_string(), "mount /etc (mounts[3]): openat2(etc): no such file or directory");
    }

    #[test]
    fn a_file_comes_along_and_the_end_is_seen() {
        let (parent, child) = Channel::pair().unwrap();
        child.send(&Report::Console, Some(child.as_fd())).unwrap();
        assert!(matches!(parent.receive::<Report>().unwrap(), Some((Report::Console, Some(_)))));
        drop(child);
        assert!(parent.receive::<Report>().unwrap().is_none());
    }

    /// The kernel tells of the unread message first.
    #[test]
    fn last_words_arrive_although_an_order_was_not_read() {
        let (parent, child) = Channel::pair().unwrap();
        parent.send(&Order::Proceed, None).unwrap();
        child.send(&Report::Ready, None).unwrap();
        drop(child);
        assert!(matches!(parent.receive::<Report>().unwrap(), Some((Report::Ready, None))));
        assert!(parent.receive::<Report>().unwrap().is_none());
    }

    #[test]
    fn a_message_of_another_shape_is_an_error() {
        let (parent, child) = Channel::pair().unwrap();
        socket::send(&child, b"{\"Ready\":7}", &[]).unwrap();
        assert!(parent.receive::<Report>().is_err());
    }
}
