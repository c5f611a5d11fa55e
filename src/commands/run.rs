//! `run`: create and start in one, and, in the foreground, wait and clean up.

use super::create::{Attachment, Made, make};
use super::delete::destroy;
use super::start::run_poststart;
use super::{Global, RunArgs};
use crate::error::Result;
use crate::parent::wait;
use crate::sys::reap;

/// Runs `onggi run`; in the foreground the status is the program's.
pub(super) fn run(global: &Global, args: &RunArgs) -> Result<u8> {
    let attachment = if args.detach { Attachment::Detached } else { Attachment::Foreground };
    if attachment == Attachment::Foreground && !args.no_subreaper {
        // What the container leaves behind comes to us, and not to an ancestor that doesn't expect it.
        reap::become_subreaper()?;
    }
    let made = make(global, &args.create, attachment)?;
    if let Err(error) = run_poststart(&made.launched.record).and_then(|()| made.write_pid_file()) {
        return Err(made.undo(global, error));
    }
    made.warn(global);
    // Not only when the container ends.
    global.log.settle();
    if attachment == Attachment::Detached {
        made.keep();
        return Ok(0);
    }
    foreground(global, made, args.keep)
}

/// Waits for the program's end; then everything but, with `keep`, the cgroup and the state directory is gone.
fn foreground(global: &Global, mut made: Made, keep: bool) -> Result<u8> {
    let relay = made.launched.relay.take();
    let early = std::mem::take(&mut made.launched.early_signals);
    let exit = wait::wait(&mut made.launched.init, &made.signals, relay, &early)?;
    let record = made.launched.record.clone();
    let entry = made.keep();
    if !keep {
        destroy(&entry, &record, &global.log)?;
        // What was killed with the cgroup has become ours, and would be our own parent's to reap.
        reap::all()?;
    }
    Ok(exit.status())
}
