//! `run`: create and start in one, and, in the foreground, wait and clean up.

use super::create::{Attachment, Made, make};
use super::delete::destroy;
use super::start::run_poststart;
use super::{Global, ON_HOST, RunArgs};
use crate::error::{ErrorKind, Result};
use crate::hooks::Place;
use crate::parent::init_process::InitProcess;
use crate::parent::notify::Notify;
use crate::parent::relay::Relay;
use crate::parent::wait;
use crate::sys::reap;
use crate::sys::signal::Signals;
use std::os::fd::AsFd;

/// Runs `onggi run`; in the foreground the status is the program's.
pub(super) fn run(global: &Global, args: &RunArgs) -> Result<u8> {
    let attachment = if args.detach { Attachment::Detached } else { Attachment::Foreground };
    if attachment == Attachment::Foreground && !args.no_subreaper {
        // What the container leaves behind comes to us, and not to an ancestor that doesn't expect it.
        reap::become_subreaper()?;
    }
    let mut made = make(global, &args.create, attachment)?;
    let started = poststart(&made).and_then(|()| match attachment {
        Attachment::Foreground => Ok(()),
        _ => until_ready(&mut made),
    });
    if let Err(error) = started.and_then(|()| made.write_pid_file()) {
        return Err(made.undo(global, error));
    }
    made.warn(global);
    // Not only when the container ends.
    global.log.settle();
    if attachment == Attachment::Detached {
        tell_failure(global, made.notify.take());
        made.keep();
        return Ok(0);
    }
    foreground(global, made, args.keep)
}

/// Runs the poststart hooks until a signal asks for an end: signals are held back here, unlike in `start`.
fn poststart(made: &Made) -> Result<()> {
    let record = &made.launched.record;
    if record.poststart.is_empty() {
        return Ok(());
    }
    let ending = made.signals.ending()?;
    run_poststart(record, &Place { interrupt: Some(ending.as_fd()), ..ON_HOST })
}

/// Waits until the program has told that it is ready, if the caller is a service manager that wants to know.
fn until_ready(made: &mut Made) -> Result<()> {
    let Some(notify) = &mut made.notify else { return Ok(()) };
    let ending = made.signals.ending()?;
    let init = &made.launched.init;
    notify.wait(init.pidfd(), init.pid, Some(ending.as_fd()))
}

/// Tells why the service manager may not have heard that the container is ready: no failure of the container's.
pub(super) fn tell_failure(global: &Global, notify: Option<Notify>) {
    if let Some(error) = notify.and_then(Notify::failure) {
        global.log.warning(&error.to_string());
    }
}

/// Waits for the program's end; then everything but, with `keep`, the cgroup and the state directory is gone.
fn foreground(global: &Global, mut made: Made, keep: bool) -> Result<u8> {
    made.launched.keep_net_devices();
    let relay = std::mem::take(&mut made.launched.relay);
    let early = std::mem::take(&mut made.launched.early_signals);
    let mut notify = made.notify.take();
    let status = follow(global, &mut made.launched.init, &made.signals, relay, &early, notify.as_mut())?;
    tell_failure(global, notify);
    let record = made.launched.record.clone();
    let entry = made.keep();
    if !keep {
        match entry.lock() {
            Ok(_lock) => destroy(&entry, &record, &global.log)?,
            // `delete --force` was faster, and both id and cgroup may be another container's by now.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // What was killed with the cgroup has become ours, and would be our own parent's to reap.
        reap::all()?;
    }
    Ok(status)
}

/// Serves the process in the foreground until its end, and returns its status.
pub(super) fn follow(
    global: &Global,
    process: &mut InitProcess,
    signals: &Signals,
    relay: Relay,
    early: &[i32],
    notify: Option<&mut Notify>,
) -> Result<u8> {
    let ended = wait::wait(process, signals, relay, early, notify)?;
    if let Some(error) = &ended.lost_output {
        global.log.warning(&error.to_string());
    }
    Ok(ended.exit.status())
}
