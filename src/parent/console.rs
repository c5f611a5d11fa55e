//! Where the container's terminal goes: to the console socket, or to our own terminal, relayed.

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs::{self, Access};
use crate::sys::poll::Interest;
use crate::sys::tty::{self, SavedMode, WindowSize};
use crate::sys::{Errno, socket, stdio};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
    pub size: WindowSize,
}

impl Console {
    /// Connects to the console socket at `path` before anything is made.
    pub fn connect(path: &Path) -> Result<Self> {
        socket::connect(path)
            .map(Self::Socket)
            .with_context(|| format!("--console-socket {}: nobody listens", path.display()))
    }

    /// Looks for our own terminal before anything is made.
    ///
    /// # Errors
    /// `InvalidConfig` when we have none.
    pub fn own() -> Result<OwnTerminal> {
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
            Self::Relay(own) => Relay::start(master, own).map(Some),
        }
    }
}

/// Copies between our terminal and the container's, without a thread: [`Relay::wants`] names what to poll, and
/// [`Relay::pump`] moves what is there. Our terminal is in raw mode as long as the relay lives.
#[derive(Debug)]
pub struct Relay {
    master: OwnedFd,
    terminal: OwnedFd,
    saved: SavedMode,
    /// What was typed and not yet taken.
    input: Vec<u8>,
    input_open: bool,
    output_open: bool,
}

impl Relay {
    fn start(master: OwnedFd, own: OwnTerminal) -> Result<Self> {
        fs::set_nonblocking(&master)?;
        let saved = tty::set_raw(&own.fd)?;
        Ok(Self { master, terminal: own.fd, saved, input: Vec::new(), input_open: true, output_open: true })
    }

    /// Gives the container's terminal the size of ours.
    pub fn resize(&self) -> Result<()> {
        let size = tty::window_size(&self.terminal)?;
        tty::set_window_size(&self.master, size)
    }

    /// The descriptors to poll.
    pub fn wants(&self) -> Vec<(BorrowedFd<'_>, Interest)> {
        let mut wanted = Vec::new();
        if self.output_open {
            wanted.push((self.master.as_fd(), Interest::Read));
        }
        if !self.input.is_empty() {
            wanted.push((self.master.as_fd(), Interest::Write));
        } else if self.input_open {
            wanted.push((stdio::stdin(), Interest::Read));
        }
        wanted
    }

    /// Moves what can be moved without waiting for the container.
    pub fn pump(&mut self, stdin_ready: bool) -> Result<()> {
        if stdin_ready && self.input_open && self.input.is_empty() {
            let mut buffer = [0; 4096];
            match fs::read(stdio::stdin(), &mut buffer) {
                Ok(0) => self.input_open = false,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.is(Errno::EAGAIN) => {}
                Err(_) => self.input_open = false,
            }
        }
        self.send_input();
        self.copy_output()
    }

    fn send_input(&mut self) {
        if self.input.is_empty() {
            return;
        }
        match fs::write_some(&self.master, &self.input) {
            Ok(count) => drop(self.input.drain(..count)),
            Err(error) if error.is(Errno::EAGAIN) => {}
            // Nobody is there to read it any more.
            Err(_) => {
                self.input.clear();
                self.input_open = false;
            }
        }
    }

    /// Copies what the container has written; once more after its end.
    pub fn copy_output(&mut self) -> Result<()> {
        let mut buffer = [0; 16384];
        while self.output_open {
            match fs::read(&self.master, &mut buffer) {
                Ok(0) => self.output_open = false,
                Ok(count) => fs::write_all(stdio::stdout(), &buffer[..count]).context("copy the container's output")?,
                Err(error) if error.is(Errno::EAGAIN) => return Ok(()),
                // A master without any open slave answers EIO.
                Err(error) if error.is(Errno::EIO) => self.output_open = false,
                Err(error) => return Err(error.context("read from the container's terminal")),
            }
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The terminal may be gone, and then there is nothing to restore.
        let _ = tty::restore(&self.terminal, &self.saved);
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
