//! Terminals: one that a foreground `run` is given, and the receiver of a console socket.

#![allow(unsafe_code)]

use super::{Invocation, Running, patience, wait_until};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

/// The master end of a terminal, with everything read from it so far.
pub struct Pty {
    master: File,
    slave: Option<OwnedFd>,
    seen: String,
}

impl Pty {
    /// A new terminal of this size.
    pub fn new(rows: u16, columns: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).expect("openpty");
        for end in [&master, &slave] {
            // openpty(3) has no close-on-exec flag; other tests start programs meanwhile, harmlessly.
            let flag = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
            nix::fcntl::fcntl(end, flag).expect("fcntl");
        }
        Self { master: master.into(), slave: Some(slave), seen: String::new() }
    }

    /// Starts a program whose controlling terminal is a new one of 24 by 80.
    pub fn control(program: Invocation) -> (Self, Running) {
        let mut pty = Self::new(24, 80);
        let program = program.under(&["setsid", "--ctty", "--wait"]);
        let running = program.stdio(pty.stdio(), pty.stdio(), pty.stdio()).spawn();
        pty.close_slave();
        (pty, running)
    }

    /// The master that came over a console socket.
    pub fn of_master(master: OwnedFd) -> Self {
        Self { master: master.into(), slave: None, seen: String::new() }
    }

    /// The slave end for a program's stdin, stdout or stderr.
    pub fn stdio(&self) -> Stdio {
        self.slave.as_ref().expect("a terminal of our own").try_clone().expect("dup").into()
    }

    /// Lets go of the slave end, so that the master sees when the last program has closed it.
    pub fn close_slave(&mut self) {
        self.slave = None;
    }

    /// Types `text`.
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("write to the terminal");
    }

    /// Reads until `text` has appeared, and returns everything up to its end. Later reads start after it.
    ///
    /// # Panics
    /// After ten seconds, or when the terminal is closed before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + patience(10);
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(Instant::now() < end && self.read_some(), "the terminal never said {text:?}, only {:?}", self.seen);
        }
    }

    /// Reads until every program has closed the terminal.
    pub fn rest(&mut self) -> String {
        let end = Instant::now() + patience(10);
        while Instant::now() < end && self.read_some() {}
        std::mem::take(&mut self.seen)
    }

    /// One read with a short wait; false at the end of the terminal.
    fn read_some(&mut self) -> bool {
        let mut wait = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wait, PollTimeout::from(100_u8)).expect("poll") == 0 {
            return true;
        }
        let mut buffer = [0_u8; 4096];
        // EIO is how a master reports that no slave is open any more.
        let Ok(length @ 1..) = self.master.read(&mut buffer) else { return false };
        self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        true
    }
}

/// A console socket as an engine makes it: `create` sends the master of the container's terminal there.
pub struct ConsoleSocket {
    listener: UnixListener,
    /// Its path, for `--console-socket`.
    pub path: PathBuf,
}

impl ConsoleSocket {
    /// Listens on `console.sock` in `dir`.
    pub fn new(dir: &Path) -> Self {
        let path = dir.join("console.sock");
        let listener = UnixListener::bind(&path).expect("bind");
        listener.set_nonblocking(true).expect("nonblocking");
        Self { listener, path }
    }

    /// Takes the one message of the one connection: its payload and the descriptors in it.
    pub fn receive(&self) -> (String, Vec<OwnedFd>) {
        let mut stream = None;
        wait_until("somebody connects to the console socket", || {
            stream = self.listener.accept().ok();
            stream.is_some()
        });
        received(&stream.expect("accepted").0)
    }

    /// Whether nobody has connected.
    pub fn is_unused(&self) -> bool {
        self.listener.accept().is_err()
    }
}

/// Takes one message from a socket: its payload and the descriptors in it.
pub fn received(socket: &impl AsRawFd) -> (String, Vec<OwnedFd>) {
    let mut payload = [0_u8; 4096];
    let mut space = nix::cmsg_space!([RawFd; 8]);
    let (length, descriptors) = {
        let mut parts = [IoSliceMut::new(&mut payload)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags).expect("recvmsg");
        let mut descriptors = Vec::new();
        for control in message.cmsgs().expect("whole control messages") {
            if let ControlMessageOwned::ScmRights(numbers) = control {
                descriptors.extend(numbers.into_iter().map(|number| {
                    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
                    unsafe { OwnedFd::from_raw_fd(number) }
                }));
            }
        }
        (message.bytes, descriptors)
    };
    (String::from_utf8_lossy(&payload[..length]).into_owned(), descriptors)
}
