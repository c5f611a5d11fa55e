//! A seccomp agent: takes the listener of a filter from the runtime and answers what the filter notifies.

#![allow(unsafe_code)]

use super::pty::ConsoleSocket;
use super::wait_until;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What the agent was sent, and which calls it was asked about.
#[derive(Default)]
struct Heard {
    messages: Vec<(Value, usize)>,
    calls: Vec<i64>,
}

/// An agent in a thread of its own. It ends with the processes of the filter.
pub struct Agent {
    /// Where it listens, for `listenerPath`.
    pub path: PathBuf,
    heard: Arc<Mutex<Heard>>,
}

impl Agent {
    /// Listens in the directory `dir` for so many connections, one after the other. `answer` has the errno for a call;
    /// none lets it go on.
    #[allow(clippy::disallowed_methods, reason = "not the runtime")]
    pub fn listen(dir: &Path, connections: usize, answer: fn(i64) -> Option<i32>) -> Self {
        let socket = ConsoleSocket::new(dir);
        let path = socket.path.clone();
        let heard = Arc::<Mutex<Heard>>::default();
        let of_thread = Arc::clone(&heard);
        std::thread::spawn(move || {
            for _ in 0..connections {
                let (message, files) = socket.receive();
                let message = serde_json::from_str(&message).unwrap_or(Value::String(message));
                of_thread.lock().expect("heard").messages.push((message, files.len()));
                for listener in files {
                    let heard = Arc::clone(&of_thread);
                    std::thread::spawn(move || serve(&listener, &heard, answer));
                }
            }
        });
        Self { path, heard }
    }

    /// The message number `at`, and how many descriptors came with it.
    pub fn message(&self, at: usize) -> (Value, usize) {
        wait_until("the agent hears of the filter", || self.heard.lock().expect("heard").messages.len() > at);
        self.heard.lock().expect("heard").messages[at].clone()
    }

    /// The numbers of the calls that it was asked about since it was last asked for them.
    pub fn calls(&self) -> Vec<i64> {
        std::mem::take(&mut self.heard.lock().expect("heard").calls)
    }
}

// From linux/seccomp.h.
const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const CONTINUE: u32 = 1;

/// Answers until no process is left that has the filter.
fn serve(listener: &OwnedFd, heard: &Mutex<Heard>, answer: fn(i64) -> Option<i32>) {
    loop {
        let mut wait = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut wait, PollTimeout::NONE).expect("poll");
        if !wait[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN)) {
            return;
        }
        // SAFETY: all zeroes is a valid notification, as the kernel wants it.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one notification into `asked`.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut asked) } != 0 {
            continue; // whoever asked is gone
        }
        let call = i64::from(asked.data.nr);
        heard.lock().expect("heard").calls.push(call);
        let errno = answer(call);
        let flags = if errno.is_some() { 0 } else { CONTINUE };
        let reply = libc::seccomp_notif_resp { id: asked.id, val: 0, error: -errno.unwrap_or(0), flags };
        // SAFETY: the kernel reads one answer from `reply`.
        unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw const reply) };
    }
}
