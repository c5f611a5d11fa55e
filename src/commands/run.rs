//! `run`: create and start in one, and, in the foreground, wait and clean up.

use super::{Global, RunArgs};
use super::create::{Attachment, Made, make, poststop};
use crate::container::report::HookState;
use crate::container::status::Status;
use crate::error::Result;
use crate::hooks::{self, Kind, Place};
use crate::parent::wait;
use crate::sys::pidfd::Exit;
use crate::sys::reap;

/// Runs `onggi run`; in the foreground the status is the program's.
pub fn run(global: &Global, args: &RunArgs) -> Result<u8> {
    let attachment = if args.detach { Attachment::Detached } else { Attachment::Foreground };
    if attachment == Attachment::Foreground && !args.no_subreaper {
        // What the container leaves behind comes to us, and not to an ancestor that doesn't expect it.
        reap::become_subreaper()?;
    }
    let made = make(global, &args.create, attachment)?;
    let record = made.launched.record.clone();
    let started = poststart(&made).and_then(|()| made.write_pid_file());
    if let Err(error) = started {
        drop(made);
        poststop(global, &record);
        return Err(error);
    }
    made.warn(global);
    if attachment == Attachment::Detached {
        made.keep();
        return Ok(0);
    }
    let exit = foreground(made, args.keep)?;
    if !args.keep {
        poststop(global, &record);
    }
    Ok(exit.status())
}

fn poststart(made: &Made) -> Result<()> {
    let record = &made.launched.record;
    let state = HookState::new(record, Status::Running, record.pid).to_json();
    hooks::run(Kind::Poststart, &record.poststart, &state, &Place::host(None))
}

/// Waits for the program's end; then everything but, with `keep`, the cgroup and the state directory is gone.
fn foreground(mut made: Made, keep: bool) -> Result<Exit> {
    let relay = made.launched.relay.take();
    let early = std::mem::take(&mut made.launched.early_signals);
    let exit = wait::wait(&mut made.launched.init, &made.signals, relay, &early)?;
    if keep {
        made.keep();
    } else {
        made.remove()?;
    }
    Ok(exit)
}
