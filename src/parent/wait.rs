//! Foreground: relays signals and the terminal until the init process ends, and reaps everything meanwhile.

use super::console::Relay;
use super::init_process::InitProcess;
use crate::error::Result;
use crate::sys::pidfd::{self, Exit};
use crate::sys::poll::{Interest, poll};
use crate::sys::signal::{Signals, number};
use crate::sys::{reap, stdio};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Waits for the end of the init process and returns how it ended.
///
/// Every signal that reaches us goes on to it, except SIGCHLD and, with a terminal, SIGWINCH. `early` holds those that
/// came before the process was there.
pub fn wait(init: &mut InitProcess, signals: &Signals, mut relay: Option<Relay>, early: &[i32]) -> Result<Exit> {
    for &signal in early {
        handle(init.pidfd(), signal, relay.as_ref())?;
    }
    loop {
        let mut wanted = vec![(init.pidfd().as_fd(), Interest::Read), (signals.as_fd(), Interest::Read)];
        wanted.extend(relay.iter().flat_map(Relay::wants));
        let ready = poll(&wanted, None)?;
        let stdin_ready =
            wanted.iter().zip(&ready).any(|((fd, _), ready)| *ready && fd.as_raw_fd() == stdio::stdin().as_raw_fd());
        let ended = ready[0];
        drop(wanted);
        while let Some(signal) = signals.next()? {
            handle(init.pidfd(), signal, relay.as_ref())?;
        }
        if let Some(relay) = &mut relay {
            relay.pump(stdin_ready)?;
        }
        if ended {
            let exit = init.reap()?;
            if let Some(mut relay) = relay {
                relay.copy_output()?;
            }
            return Ok(exit);
        }
    }
}

fn handle(init: &OwnedFd, signal: i32, relay: Option<&Relay>) -> Result<()> {
    match signal {
        number::CHILD => reap::others(init),
        number::WINDOW_CHANGED if relay.is_some() => relay.map_or(Ok(()), Relay::resize),
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
