//! The change from the runtime's rights to the container's.

use super::{Prepared, enter};
use crate::error::{Error, ErrorKind, Result};
use crate::handshake::{Channel, Report};
use crate::process;
use crate::sys::clone::InChild;
use crate::sys::{fs, this_process};
use std::os::fd::AsFd;

/// Takes the limits, ids and capabilities of the container's user, and its working directory.
pub(super) fn become_user(me: &InChild, p: &Prepared, warnings: &mut Vec<String>) -> Result<()> {
    let process = &p.process;
    process.rlimits.apply(me)?;
    // While CAP_SETPCAP is there.
    process.capabilities.drop_bounding(me)?;
    let entered = process.cwd.enter(me)?;
    take_ids(me, &p.process)?;
    warnings.extend(process.capabilities.apply(me, keeps_filter_right(p))?);
    process.cwd.settle(me, entered)?;
    process.identity.apply_umask(me);
    process.apply_no_new_privileges(me)
}

/// Takes user, group and groups. Capabilities, the death signal and what hides us would go with ids that change.
fn take_ids(me: &InChild, process: &process::Plan) -> Result<()> {
    if !process.identity.changes {
        return process.identity.apply(me);
    }
    process.capabilities.keep(me, true)?;
    process.identity.apply(me)?;
    enter::hide_again(me)?;
    process.capabilities.keep(me, false)
}

/// Loads the filter as the last act but execve, so that no other system call of ours runs under a profile made for the
/// program; with a listener one read(2) comes between, see [`install_listening`]. Where new privileges are not forbidden
/// the kernel demands CAP_SYS_ADMIN for that, which was kept and is now given up, so that the filter sees capset(2) as
/// well.
pub(super) fn install_filter(me: &InChild, p: &Prepared) -> Result<()> {
    let Some(filter) = &p.seccomp else { return Ok(()) };
    filter.install(me)?;
    if keeps_filter_right(p) { p.process.capabilities.settle(me) } else { Ok(()) }
}

/// Whether the filter notifies somebody.
pub(super) fn has_listener(p: &Prepared) -> bool {
    p.seccomp.as_ref().is_some_and(|filter| filter.listener().is_some())
}

/// Loads a filter that notifies, in place of reporting ready: whoever sees the container created may count on the agent
/// having the listener. The parent takes it out of this process, which could not hand it over: sendmsg(2) may wait for the
/// agent by then. From here on there are [`await_release`] and execve.
pub(super) fn install_listening(me: &InChild, p: &Prepared, parent: &Channel) -> Result<()> {
    if p.shows_listener {
        this_process::set_dumpable(me, true)?;
    }
    // Nothing is opened before the filter is loaded.
    parent.send(&Report::Listener { number: this_process::next_number(parent)? }, None)?;
    install_filter(me, p)
}

/// Waits for `start` where there is a gate, and else, under a filter that notifies, until the agent has its listener. By
/// one read(2), since that may be under the filter.
pub(super) fn await_release(p: &Prepared, parent: &Channel) -> Result<()> {
    let line = match &p.gate {
        Some(gate) => gate.as_fd(),
        None if has_listener(p) => parent.as_fd(),
        None => return Ok(()),
    };
    match fs::read(line, &mut [0])? {
        1 => Ok(()),
        _ => Err(Error::new(ErrorKind::System, "who was to let the container start is gone")),
    }
}

fn keeps_filter_right(p: &Prepared) -> bool {
    p.seccomp.is_some() && !p.process.no_new_privileges
}
