//! Foreground: relays signals and the terminal until the init process ends, and reaps everything meanwhile.

use super::console::{Relay, Usable};
use super::init_process::InitProcess;
use super::notify::Notify;
use crate::error::{Error, Result};
use crate::sys::pidfd::{self, Exit};
use crate::sys::poll::{Interest, poll};
use crate::sys::signal::{Signals, number};
use crate::sys::{reap, stdio, this_process};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How the init process ended, and why output of it may be missing.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub exit: Exit,
    /// The failure after which the container's terminal was hung up.
    pub lost_output: Option<Error>,
}

/// Waits for the end of the init process and returns how it ended.
///
/// Every signal that reaches us goes on to it, except SIGCHLD and, with a terminal, SIGWINCH. `early` holds those that
/// came before the process was there. When our own terminal is gone, or our stdout takes nothing any more, the
/// container's terminal is hung up, and it is the container's to end by that. For the service manager that `notify`
/// talks to the service is this process of ours.
pub fn wait(
    init: &mut InitProcess,
    signals: &Signals,
    mut relay: Option<Relay>,
    early: &[i32],
    mut notify: Option<&mut Notify>,
) -> Result<Ended> {
    for &signal in early {
        handle(init.pidfd(), signal, relay.as_ref())?;
    }
    let mut lost_output = None;
    loop {
        let mut wanted = vec![(init.pidfd().as_fd(), Interest::Read), (signals.as_fd(), Interest::Read)];
        wanted.extend(relay.iter().flat_map(Relay::wants));
        wanted.extend(notify.as_deref().and_then(Notify::wants));
        let ready = poll(&wanted, notify.as_deref().and_then(Notify::left))?;
        let usable = |own: BorrowedFd<'_>| {
            wanted.iter().zip(&ready).any(|((fd, _), ready)| *ready && fd.as_raw_fd() == own.as_raw_fd())
        };
        let usable = Usable { stdin: usable(stdio::stdin()), stdout: usable(stdio::stdout()) };
        let ended = ready[0];
        drop(wanted);
        while let Some(signal) = signals.next()? {
            handle(init.pidfd(), signal, relay.as_ref())?;
        }
        if let Some(notify) = &mut notify {
            notify.pump(this_process::pid());
        }
        if let Some(Err(error)) = relay.as_mut().map(|relay| relay.pump(usable)) {
            lost_output = Some(error);
            relay = None;
        }
        if ended {
            let exit = init.reap()?;
            if let Some(Err(error)) = relay.map(|mut relay| relay.drain()) {
                lost_output = Some(error);
            }
            if let Some(notify) = notify {
                notify.settle(this_process::pid())?;
            }
            return Ok(Ended { exit, lost_output });
        }
    }
}

fn handle(init: &OwnedFd, signal: i32, relay: Option<&Relay>) -> Result<()> {
    match signal {
        number::CHILD => reap::others(init),
        number::WINDOW_CHANGED if relay.is_some() => {
            // Without a terminal there is no size, and the relay will notice the rest.
            let _ = relay.map(Relay::resize);
            Ok(())
        }
        signal => {
            forward(init, signal);
            Ok(())
        }
    }
}

fn forward(init: &OwnedFd, signal: i32) {
    // It may have ended meanwhile, which the pidfd tells next.
    let _ = pidfd::send_signal(init, signal);
}
