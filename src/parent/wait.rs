//! Foreground: relays signals, the terminal or pipes until the init process ends, and reaps everything meanwhile.

use super::init_process::InitProcess;
use super::notify::Notify;
use super::relay::Relay;
use crate::error::{Error, Result};
use crate::sys::pidfd::{self, Exit};
use crate::sys::poll::{Interest, poll};
use crate::sys::signal::{Signals, number};
use crate::sys::{reap, this_process};
use std::os::fd::{AsFd, OwnedFd};

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
    mut relay: Relay,
    early: &[i32],
    mut notify: Option<&mut Notify>,
) -> Result<Ended> {
    for &signal in early {
        handle(init.pidfd(), signal, &mut relay)?;
    }
    loop {
        let mut wanted = vec![(init.pidfd().as_fd(), Interest::Read), (signals.as_fd(), Interest::Read)];
        wanted.extend(relay.wants());
        wanted.extend(notify.as_deref().and_then(Notify::wants));
        let ready = poll(&wanted, notify.as_deref().and_then(Notify::left))?;
        drop(wanted);
        // Of no use to one that has ended, and whose death is the first of them mostly.
        while !ready[0]
            && let Some(signal) = signals.next()?
        {
            handle(init.pidfd(), signal, &mut relay)?;
        }
        relay.pump(&ready[2..]);
        if let Some(notify) = &mut notify {
            notify.pump(this_process::pid());
        }
        if ready[0] {
            let exit = init.reap()?;
            let lost_output = relay.finish();
            if let Some(notify) = notify {
                notify.settle(this_process::pid())?;
            }
            return Ok(Ended { exit, lost_output });
        }
    }
}

fn handle(init: &OwnedFd, signal: i32, relay: &mut Relay) -> Result<()> {
    match signal {
        number::CHILD => reap::others(init)?,
        // If the terminal is gone, the relay will notice.
        number::WINDOW_CHANGED if relay.has_terminal() => drop(relay.resize()),
        signal => {
            if signal == number::CONTINUE {
                let _ = relay.resume();
            }
            forward(init, signal);
        }
    }
    Ok(())
}

fn forward(init: &OwnedFd, signal: i32) {
    // It may have ended meanwhile, which the pidfd tells next.
    let _ = pidfd::send_signal(init, signal);
}
