//! Where the container's terminal goes: to the console socket, or to our own terminal, relayed.

use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::terminal::Terminal;
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
    size: WindowSize,
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
            Self::Relay(own) => Relay::start(master, own).map(Some),
        }
    }
}

/// Most bytes that are moved at once. A pipe that poll(2) calls writable takes as many without waiting (pipe(7)).
const PIECE: usize = 4096;

/// Most bytes that are copied after the end of the container: more than a terminal holds, but somebody else may have it
/// open and go on writing.
const LAST_WORDS: usize = 1 << 20;

/// Copies between our terminal and the container's, without a thread: [`Relay::wants`] names what to poll, and
/// [`Relay::pump`] moves one piece each way, so that no flood in one direction stops the other, or signals. Our terminal
/// is in raw mode as long as the relay lives; dropping it hangs up on the container.
#[derive(Debug)]
pub struct Relay {
    master: OwnedFd,
    terminal: OwnedFd,
    saved: SavedMode,
    /// Read, but not written to the container yet.
    input: Vec<u8>,
    input_open: bool,
    /// Read from the container, but not written to our stdout yet.
    output: Vec<u8>,
    output_open: bool,
}

/// Which of our own standard descriptors can be used without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usable {
    /// stdin can be read.
    pub stdin: bool,
    /// stdout can be written.
    pub stdout: bool,
}

impl Relay {
    fn start(master: OwnedFd, own: OwnTerminal) -> Result<Self> {
        fs::set_nonblocking(&master)?;
        let saved = tty::set_raw(&own.fd)?;
        Ok(Self {
            master,
            terminal: own.fd,
            saved,
            input: Vec::new(),
            input_open: true,
            output: Vec::new(),
            output_open: true,
        })
    }

    /// Gives the container's terminal the size of ours.
    pub fn resize(&self) -> Result<()> {
        let size = tty::window_size(&self.terminal)?;
        tty::set_window_size(&self.master, size)
    }

    /// The descriptors to poll.
    pub fn wants(&self) -> Vec<(BorrowedFd<'_>, Interest)> {
        let mut wanted = Vec::new();
        if !self.output.is_empty() {
            wanted.push((stdio::stdout(), Interest::Write));
        } else if self.output_open {
            wanted.push((self.master.as_fd(), Interest::Read));
        }
        if !self.input.is_empty() {
            wanted.push((self.master.as_fd(), Interest::Write));
        } else if self.input_open {
            wanted.push((stdio::stdin(), Interest::Read));
        }
        wanted
    }

    /// Moves what can be moved without waiting.
    ///
    /// # Errors
    /// Our stdout takes nothing any more.
    pub fn pump(&mut self, usable: Usable) -> Result<()> {
        if usable.stdin && self.input_open && self.input.is_empty() {
            let mut buffer = [0; PIECE];
            match fs::read(stdio::stdin(), &mut buffer) {
                Ok(0) => self.input_open = false,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.is(Errno::EAGAIN) => {}
                Err(_) => self.input_open = false,
            }
        }
        self.send_input();
        if usable.stdout {
            self.write_output()?;
        }
        self.read_output()
    }

    /// After the end of the container: copies what it wrote last.
    pub fn drain(&mut self) -> Result<()> {
        let mut left = LAST_WORDS;
        loop {
            fs::write_all(stdio::stdout(), &self.output).context(COPYING)?;
            left = left.saturating_sub(self.output.len());
            self.output.clear();
            self.read_output()?;
            if self.output.is_empty() || left == 0 {
                return Ok(());
            }
        }
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

    fn write_output(&mut self) -> Result<()> {
        match fs::write_some(stdio::stdout(), &self.output) {
            Ok(count) => drop(self.output.drain(..count)),
            Err(error) if error.is(Errno::EAGAIN) => {}
            Err(error) => return Err(error.context(COPYING)),
        }
        Ok(())
    }

    fn read_output(&mut self) -> Result<()> {
        if !self.output_open || !self.output.is_empty() {
            return Ok(());
        }
        let mut buffer = [0; PIECE];
        match fs::read(&self.master, &mut buffer) {
            Ok(0) => self.output_open = false,
            Ok(count) => self.output.extend_from_slice(&buffer[..count]),
            Err(error) if error.is(Errno::EAGAIN) => {}
            // A master without any open slave answers EIO.
            Err(error) if error.is(Errno::EIO) => self.output_open = false,
            Err(error) => return Err(error.context("read from the container's terminal")),
        }
        Ok(())
    }
}

/// What was being done when output was lost.
const COPYING: &str = "copy the container's output";

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
