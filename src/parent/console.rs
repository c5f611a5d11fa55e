//! Where the container's terminal goes: to the console socket, or to our own terminal, relayed.

use super::relay::Relay;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::terminal::Terminal;
use crate::sys::fs::{self, Access};
use crate::sys::tty::{self, WindowSize};
use crate::sys::{socket, stdio};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What is sent along with the terminal: receivers want any name that is not empty.
const MASTER_NAME: &[u8] = b"/dev/ptmx";

/// Who gets the master of the container's terminal.
#[derive(Debug)]
pub enum Console {
    /// The program that listens on `--console-socket`.
    Socket(OwnedFd),
    /// The user in front of our own terminal.
    Relay(OwnTerminal),
}

/// The terminal that the user sits at.
#[derive(Debug)]
pub struct OwnTerminal {
    fd: OwnedFd,
    /// Its size now.
    size: WindowSize,
}

impl OwnTerminal {
    /// The terminal itself.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl Console {
    /// Who gets `terminal`, if there is to be one: `socket`, or the user in front of our own, whose size it then has.
    ///
    /// # Errors
    /// Those of [`Console::connect`] and [`Console::own`].
    pub fn of(terminal: Option<&mut Terminal>, socket: Option<&Path>) -> Result<Option<Self>> {
        match (socket, terminal) {
            (Some(path), _) => Self::connect(path).map(Some),
            (None, Some(terminal)) => {
                let own = Self::own()?;
                terminal.relay_to(own.size);
                Ok(Some(Self::Relay(own)))
            }
            (None, None) => Ok(None),
        }
    }

    /// Connects to the console socket at `path` before anything is made.
    fn connect(path: &Path) -> Result<Self> {
        socket::connect(path)
            .map(Self::Socket)
            .with_context(|| format!("--console-socket {}: nobody listens", path.display()))
    }

    /// Looks for our own terminal before anything is made.
    ///
    /// # Errors
    /// `InvalidConfig` when we have none.
    fn own() -> Result<OwnTerminal> {
        let fd = own_terminal()?;
        let size = tty::window_size(&fd)?;
        Ok(OwnTerminal { fd, size })
    }

    /// Hands the master on: to the socket, as one message with one descriptor, or to the relay that is returned.
    pub fn take(self, master: OwnedFd) -> Result<Option<Relay>> {
        match self {
            Self::Socket(socket) => {
                socket::send(socket, MASTER_NAME, &[master.as_fd()])
                    .context("send the terminal to --console-socket")?;
                Ok(None)
            }
            Self::Relay(own) => Relay::terminal(master, own).map(Some),
        }
    }
}

/// The terminal that the user sits at: the first of stderr, stdout and stdin that is one, else `/dev/tty`.
fn own_terminal() -> Result<OwnedFd> {
    for standard in [stdio::stderr(), stdio::stdout(), stdio::stdin()] {
        if tty::is_terminal(standard) {
            return fs::duplicate(standard);
        }
    }
    fs::open("/dev/tty", Access::ReadWrite).map_err(|_| {
        let message = "onggi has no terminal itself: use --detach with --console-socket, or set it to false";
        Error::config("process.terminal", message).of_kind(ErrorKind::InvalidConfig)
    })
}
