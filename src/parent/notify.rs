//! Readiness: what sd_notify(3) tells in the container goes on to the service manager that started us.
//!
//! ```text
//! container ── READY=1 ──► notify.sock in the state directory ── us ──► $NOTIFY_SOCKET
//! ```
//!
//! As with runc: the first line that begins with `READY=` is passed on, followed by `MAINPID=` and `BARRIER=1`, and
//! everything else a container may say is its own affair. A relay that fails does not fail the container.

use crate::container::store::NOTIFY_SOCKET;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::poll::{Interest, poll};
use crate::sys::{Errno, fs, socket};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The variable that holds the socket's address, for the service manager's as for the container's.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// How long the service manager may take to read what it is told, as in sd_notify_barrier(3).
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest message that service managers look at, in bytes.
const LONGEST: usize = 4096;

/// Most messages that are read at once: a container that sends them without end does not keep us from all else.
const AT_ONCE: usize = 32;

/// The address of a service manager that waits to hear from us.
pub fn address() -> Option<OsString> {
    std::env::var_os(VARIABLE).filter(|address| !address.is_empty())
}

/// A relay, which does something only when it is asked to go on.
#[derive(Debug)]
pub struct Notify {
    manager: OwnedFd,
    stage: Stage,
    failure: Option<Error>,
}

#[derive(Debug)]
enum Stage {
    /// Waits for the container's word on its socket.
    Listening(OwnedFd),
    /// Passes it on.
    Telling(Talk),
    Done,
}

impl Notify {
    /// Gives the container its socket in `directory` and connects to the service manager at `address`.
    ///
    /// # Errors
    /// The errno of either, with the address.
    pub fn new(directory: &OwnedFd, address: &OsStr) -> Result<Self> {
        let manager = socket::connect_datagram(address).context(VARIABLE)?;
        match fs::unlink_at(directory, NOTIFY_SOCKET) {
            // Of a `start` that was killed.
            Ok(()) => {}
            Err(error) if error.is(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        let listening = socket::bind_datagram(directory, NOTIFY_SOCKET)?;
        Ok(Self { manager, stage: Stage::Listening(listening), failure: None })
    }

    /// What to poll before [`Notify::pump`]; nothing when all is said.
    pub fn wants(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        match &self.stage {
            Stage::Listening(socket) => Some((socket.as_fd(), Interest::Read)),
            Stage::Telling(talk) if talk.unsent.is_empty() => Some((talk.pipe.as_fd(), Interest::Hangup)),
            Stage::Telling(_) => Some((self.manager.as_fd(), Interest::Write)),
            Stage::Done => None,
        }
    }

    /// How long to poll at most.
    pub fn left(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Telling(talk) => Some(talk.deadline.saturating_duration_since(Instant::now())),
            Stage::Listening(_) | Stage::Done => None,
        }
    }

    /// Goes on as far as that is possible without waiting. The service manager will know the service by `main_pid`.
    pub fn pump(&mut self, main_pid: i32) {
        if let Err(error) = self.go_on(main_pid) {
            self.failure = Some(error.context("tell the service manager that the container is ready"));
            self.stage = Stage::Done;
        }
    }

    fn go_on(&mut self, main_pid: i32) -> Result<()> {
        if let Stage::Listening(socket) = &self.stage {
            let Some(ready) = hear(socket)? else { return Ok(()) };
            self.stage = Stage::Telling(Talk::new(ready, main_pid)?);
        }
        if let Stage::Telling(talk) = &mut self.stage
            && talk.go_on(&self.manager)?
        {
            self.stage = Stage::Done;
        }
        Ok(())
    }

    /// Waits until the service manager has heard of the container's readiness, or the container's process has ended.
    ///
    /// # Errors
    /// `System` when `interrupt` could be read before that.
    pub fn wait(&mut self, init: &OwnedFd, main_pid: i32, interrupt: Option<BorrowedFd<'_>>) -> Result<()> {
        while let Stage::Listening(socket) = &self.stage {
            let wanted = [socket.as_fd(), init.as_fd()].into_iter().chain(interrupt);
            let wanted: Vec<_> = wanted.map(|fd| (fd, Interest::Read)).collect();
            let ready = poll(&wanted, None)?;
            self.pump(main_pid);
            if ready.get(2).copied().unwrap_or(false) {
                return Err(Error::new(ErrorKind::System, "interrupted by a signal before the container was ready"));
            }
            if ready[1] {
                break;
            }
        }
        self.settle(main_pid)
    }

    /// When the container can say no more: waits until the service manager has read what it said.
    pub fn settle(&mut self, main_pid: i32) -> Result<()> {
        self.pump(main_pid);
        if matches!(self.stage, Stage::Listening(_)) {
            self.stage = Stage::Done;
        }
        while let Some(wanted) = self.wants() {
            poll(&[wanted], self.left())?;
            self.pump(main_pid);
        }
        Ok(())
    }

    /// Why the service manager may not have heard.
    pub fn failure(self) -> Option<Error> {
        self.failure
    }
}

/// What the service manager is told, and how it shows that it has heard.
#[derive(Debug)]
struct Talk {
    /// Each with a descriptor that goes along; the first one comes last.
    unsent: Vec<(Vec<u8>, Option<OwnedFd>)>,
    /// Its other end goes to the service manager, who closes it after reading all that came before.
    pipe: OwnedFd,
    deadline: Instant,
}

impl Talk {
    fn new(ready: Vec<u8>, main_pid: i32) -> Result<Self> {
        let (pipe, other_end) = std::io::pipe().map_err(|error| Error::io("pipe", &error))?;
        let main_pid = format!("MAINPID={main_pid}\n").into_bytes();
        let unsent = vec![(b"BARRIER=1".to_vec(), Some(other_end.into())), (main_pid, None), (ready, None)];
        Ok(Self { unsent, pipe: pipe.into(), deadline: Instant::now() + PATIENCE })
    }

    /// Sends what can be sent without waiting; tells whether everything has been read.
    fn go_on(&mut self, manager: &OwnedFd) -> Result<bool> {
        while let Some((text, file)) = self.unsent.last() {
            let file = file.as_ref().map(AsFd::as_fd);
            match socket::send(manager, text, file.as_slice()) {
                Ok(()) => drop(self.unsent.pop()),
                Err(error) if error.is(Errno::EAGAIN) => break,
                Err(error) => return Err(error),
            }
        }
        if self.unsent.is_empty() && poll(&[(self.pipe.as_fd(), Interest::Hangup)], Some(Duration::ZERO))?[0] {
            return Ok(true);
        }
        if Instant::now() < self.deadline {
            return Ok(false);
        }
        let text = format!("it has not read that within {} seconds", PATIENCE.as_secs());
        Err(Error::new(ErrorKind::System, text))
    }
}

/// The first line that tells of readiness among what the container has sent. Descriptors that came along are closed by
/// the kernel, since nobody asks for them.
fn hear(socket: &OwnedFd) -> Result<Option<Vec<u8>>> {
    let mut buffer = [0; LONGEST + 1];
    for _ in 0..AT_ONCE {
        let length = match fs::read(socket, &mut buffer) {
            Err(error) if error.is(Errno::EAGAIN) => break,
            result => result?,
        };
        let message = buffer.get(..length).filter(|_| length <= LONGEST);
        if let Some(line) = message.and_then(readiness) {
            return Ok(Some([line, b"\n"].concat()));
        }
    }
    Ok(None)
}

fn readiness(message: &[u8]) -> Option<&[u8]> {
    message.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"READY="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let check = |message: &[u8], expected: Option<&[u8]>| assert_eq!(readiness(message), expected);
        check(b"READY=1", Some(b"READY=1"));
        check(b"STATUS=x\nREADY=1\nMAINPID=1\n", Some(b"READY=1"));
        check(b"STATUS=READY=1", None);
        check(b"READY", None);
        check(b"", None);
        check(b"\0\n\n", None);
    }
}
