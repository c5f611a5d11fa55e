//! Signals of the parent: blocked before the child exists, then read one by one from a descriptor.

#![allow(unsafe_code)]

use super::Errno;
use crate::error::{Error, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// Numbers of the signals that onggi treats specially.
pub mod number {
    /// A child changed its state.
    pub const CHILD: i32 = libc::SIGCHLD;
    /// End without appeal.
    pub const KILL: i32 = libc::SIGKILL;
    /// The polite request to end.
    pub const TERMINATE: i32 = libc::SIGTERM;
    /// The terminal's size changed.
    pub const WINDOW_CHANGED: i32 = libc::SIGWINCH;
    /// Goes on after it was stopped.
    pub const CONTINUE: i32 = libc::SIGCONT;
}

/// SIGPIPE as signalfd tells it.
const PIPE: u32 = libc::SIGPIPE.cast_unsigned();

/// The signals by which a user or a supervisor ends a program.
pub(super) const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Whether the signal asks the program to end.
pub fn asks_for_end(signal: i32) -> bool {
    ENDING.iter().any(|ending| *ending as i32 == signal)
}

/// All signals of this process but two, held back and read from a descriptor; see signalfd(2). By SIGTTIN and SIGTTOU the
/// kernel stops a program that uses its terminal from the background; those do what they do to any program.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks every other signal that can be blocked. Made before the child exists, so that none is lost in between.
    pub fn block() -> Result<Self> {
        let mut all = every_signal();
        all.remove(Signal::SIGTTIN);
        all.remove(Signal::SIGTTOU);
        all.thread_block().map_err(|errno| Error::sys("sigprocmask", errno))?;
        SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map(Self)
            .map_err(|errno| Error::sys("signalfd", errno))
    }

    /// Can be polled until a signal has come that asks for an end; it is still to be read here then.
    pub fn ending(&self) -> Result<Ending> {
        let ending: SigSet = ENDING.into_iter().collect();
        SignalFd::with_flags(&ending, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map(Ending)
            .map_err(|errno| Error::sys("signalfd", errno))
    }

    /// The number of the next signal that has come, if any.
    pub fn next(&self) -> Result<Option<i32>> {
        loop {
            match self.0.read_signal() {
                // The kernel's answer to a write of our own, which has failed with EPIPE.
                Ok(Some(info)) if info.ssi_signo == PIPE && info.ssi_pid == std::process::id() => {}
                Ok(info) => return Ok(info.map(|info| i32::try_from(info.ssi_signo).unwrap_or(0))),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(Error::sys("read(signalfd)", errno)),
            }
        }
    }
}

/// All 64. A C library's own set of all leaves out those that it keeps for its threads: musl 32 to 34, and 34 is SIGRTMIN to
/// the rest of the world.
fn every_signal() -> SigSet {
    // SAFETY: a sigset_t is an array of integers, which may hold any bits.
    let every: libc::sigset_t = unsafe { std::mem::transmute([0xff_u8; size_of::<libc::sigset_t>()]) };
    // SAFETY: whatever the bits, they are a set of signals; the kernel ignores those of signals that can't be blocked.
    unsafe { SigSet::from_sigset_t_unchecked(every) }
}

/// The signals that ask for an end, to be waited for and not to be taken; from [`Signals::ending`].
#[derive(Debug)]
pub struct Ending(SignalFd);

impl AsFd for Ending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives SIGCHLD its default disposition. A caller may have had it ignored, and then the kernel reaps our children
/// itself, so that nobody learns how they ended.
pub fn notice_children() -> Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed.
    unsafe { sigaction(Signal::SIGCHLD, &default) }.map(drop).map_err(|errno| Error::sys("sigaction(SIGCHLD)", errno))
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
