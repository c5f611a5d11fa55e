//! `linux.seccomp.listenerPath`: the agent that answers the notifications of a filter.

use crate::container::report::{HookState, ProcessState};
use crate::error::{Error, Result};
use crate::seccomp::{Filter, Listener};
use crate::sys::{Errno, socket};
use std::os::fd::{AsFd, OwnedFd};

/// A connection to the agent, which serves for one message.
#[derive(Debug)]
pub struct Agent {
    socket: OwnedFd,
    listener: Listener,
}

impl Agent {
    /// Connects before anything is made, if `filter` notifies. An agent that does not accept connections keeps nobody
    /// waiting.
    pub fn connect(filter: Option<&Filter>) -> Result<Option<Self>> {
        let Some(listener) = filter.and_then(Filter::listener) else { return Ok(None) };
        let socket = socket::connect_at_once(&listener.path).map_err(refused)?;
        Ok(Some(Self { socket, listener: listener.clone() }))
    }

    /// Sends the listener with what the agent is to know of the process `pid`, whose calls it tells of, and of its
    /// container in `state`, as one message, and closes the connection.
    pub fn send(self, pid: i32, state: HookState<'_>, listener: &OwnedFd) -> Result<()> {
        let message = ProcessState::new(pid, &self.listener.metadata, state).to_json();
        socket::send(self.socket, message.as_bytes(), &[listener.as_fd()]).map_err(|error| match error.errno() {
            Some(Errno::EMSGSIZE) => {
                let limit = socket::MESSAGE_LIMIT;
                let why = format!("with annotations and state a message of {} bytes, above {limit}", message.len());
                Error::config("linux.seccomp.listenerMetadata", why)
            }
            _ => refused(error),
        })
    }
}

fn refused(error: Error) -> Error {
    error.context("config.json: linux.seccomp.listenerPath: failed to connect with seccomp agent")
}
