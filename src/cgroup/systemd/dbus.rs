//! A connection to a message bus or straight to systemd: one thread, one deadline for each wait.

use super::address::Address;
use super::message::{self, Message, Method};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::poll::{Interest, poll};
use crate::sys::{Errno, fs, socket};
use serde::Serialize;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use zbus::Type;

/// How long to wait, and what else ends the wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait<'a> {
    deadline: Instant,
    limit: Duration,
    /// Readable when the user wants an end.
    interrupt: Option<BorrowedFd<'a>>,
}

impl<'a> Wait<'a> {
    /// From now on, for `limit`.
    pub(super) fn start(limit: Duration, interrupt: Option<BorrowedFd<'a>>) -> Self {
        Self { deadline: Instant::now() + limit, limit, interrupt }
    }

    /// Waits until `socket` is ready for `interest`.
    fn until(&self, socket: &OwnedFd, interest: Interest) -> Result<()> {
        loop {
            let left = self.left()?;
            let mut wanted = vec![(socket.as_fd(), interest)];
            wanted.extend(self.interrupt.map(|interrupt| (interrupt, Interest::Read)));
            let ready = poll(&wanted, Some(left))?;
            if ready.get(1) == Some(&true) {
                return Err(Error::new(ErrorKind::System, "interrupted by a signal"));
            }
            if ready[0] {
                return Ok(());
            }
        }
    }

    fn left(&self) -> Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::sys(format!("no answer within {} s", self.limit.as_secs()), Errno::ETIMEDOUT));
        }
        Ok(left)
    }
}

/// What came of a call.
#[derive(Debug)]
pub(super) enum Answer {
    /// It was done.
    Done(message::Body),
    /// It was refused: the error's name and text.
    Refused { name: String, text: String },
}

/// A connection whose other side has let us in.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    /// What has come and is not a whole message yet.
    received: Vec<u8>,
    /// Signals that came while we waited for something else.
    news: VecDeque<Message>,
    /// The number of the last call.
    serial: u32,
}

impl Connection {
    /// Connects to `address` and says who we are: the user that the kernel knows us as, which also holds when we are
    /// in a user namespace and the other side is not.
    ///
    /// # Errors
    /// ENOENT, ECONNREFUSED and the like with the address; `Denied` when we are not let in.
    pub(super) fn open(address: &Address, wait: &Wait<'_>) -> Result<Self> {
        let socket = connect(address, wait)?;
        let mut connection = Self { socket, received: Vec::new(), news: VecDeque::new(), serial: 0 };
        connection.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", wait)?;
        loop {
            let line = connection.line(wait)?;
            match line.split_ascii_whitespace().next() {
                Some("OK") => return Ok(connection),
                // It asks for our name, and DATA above says: whoever the kernel says.
                Some("DATA") => {}
                _ => {
                    let message = format!("{address} does not let us in: it says {line:?}");
                    return Err(Error::new(ErrorKind::Denied, message));
                }
            }
        }
    }

    /// Sends a call and returns its number.
    pub(super) fn send<B: Serialize + Type>(&mut self, method: &Method, body: &B, wait: &Wait<'_>) -> Result<u32> {
        self.serial += 1;
        let bytes = message::call(method, self.serial, body)?;
        self.write(&bytes, wait)?;
        Ok(self.serial)
    }

    /// Sends a call and waits for its answer.
    pub(super) fn call<B: Serialize + Type>(&mut self, method: &Method, body: &B, wait: &Wait<'_>) -> Result<Answer> {
        let serial = self.send(method, body, wait)?;
        loop {
            match self.receive(wait)? {
                Message::Reply { to, body } if to == serial => return Ok(Answer::Done(body)),
                Message::Error { to, name, text } if to == serial => return Ok(Answer::Refused { name, text }),
                // One that we did not wait for, since what follows needs it anyway.
                Message::Error { name, text, .. } => {
                    return Err(Error::new(ErrorKind::System, format!("D-Bus: {name}: {text}")));
                }
                signal @ Message::Signal { .. } => self.news.push_back(signal),
                Message::Reply { .. } | Message::Other => {}
            }
        }
    }

    /// The arguments of the next signal `name` of `interface`.
    pub(super) fn signal(&mut self, interface: &str, name: &str, wait: &Wait<'_>) -> Result<message::Body> {
        loop {
            let next = match self.news.pop_front() {
                Some(message) => message,
                None => self.receive(wait)?,
            };
            match next {
                Message::Signal { interface: of, name: called, body } if of == interface && called == name => {
                    return Ok(body);
                }
                _ => {}
            }
        }
    }

    fn receive(&mut self, wait: &Wait<'_>) -> Result<Message> {
        loop {
            if let Some(length) = message::length(&self.received)?
                && self.received.len() >= length
            {
                let rest = self.received.split_off(length);
                let bytes = std::mem::replace(&mut self.received, rest);
                return message::parse(&bytes);
            }
            self.read(wait)?;
        }
    }

    /// The next line of the conversation that precedes all messages.
    fn line(&mut self, wait: &Wait<'_>) -> Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let rest = self.received.split_off(end + 2);
                let line = std::mem::replace(&mut self.received, rest);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.read(wait)?;
        }
    }

    fn read(&mut self, wait: &Wait<'_>) -> Result<()> {
        let mut buffer = [0; 4096];
        wait.until(&self.socket, Interest::Read)?;
        match fs::read(&self.socket, &mut buffer) {
            Ok(0) => Err(Error::new(ErrorKind::System, "D-Bus: the other side has hung up")),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.is(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.context("D-Bus")),
        }
    }

    fn write(&self, mut bytes: &[u8], wait: &Wait<'_>) -> Result<()> {
        while !bytes.is_empty() {
            match fs::write_some(&self.socket, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.is(Errno::EAGAIN) => wait.until(&self.socket, Interest::Write)?,
                Err(error) => return Err(error.context("D-Bus")),
            }
        }
        Ok(())
    }
}

/// Connects, again and again while too many others do (EAGAIN), as long as `wait` allows.
fn connect(address: &Address, wait: &Wait<'_>) -> Result<OwnedFd> {
    const FIRST: Duration = Duration::from_millis(1);
    let mut pause = FIRST;
    loop {
        let result = match address {
            Address::Path(path) => socket::connect_at_once(path),
            Address::Abstract(name) => socket::connect_abstract(name),
        };
        match result {
            Err(error) if error.is(Errno::EAGAIN) => {
                std::thread::sleep(pause.min(wait.left()?));
                pause *= 2;
            }
            result => return result,
        }
    }
}
