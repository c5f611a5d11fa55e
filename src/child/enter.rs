//! The first steps: from a bare clone into the container's namespaces.

use super::Prepared;
use super::init::{ask, await_order};
use crate::error::{Error, ErrorKind, Result};
use crate::handshake::{Channel, Report};
use crate::namespaces::Origin;
use crate::sys::clone::{CloneFlags, Fork, InChild, clone3_sibling};
use crate::sys::{namespace, this_process};
use std::os::fd::AsFd;

/// Ties the process to its parent and hides it: nothing of ours may be traced or outlive a killed parent.
pub(super) fn guard(me: &InChild, p: &Prepared) -> Result<()> {
    this_process::set_pdeathsig(me, true)?;
    // Whoever is in a PID namespace that we joined sees us, and with the user id that made our user namespace has all
    // capabilities over it.
    if p.hidden {
        this_process::set_dumpable(me, false)?;
    }
    // Modes in config.json are final; the container's own umask comes last.
    this_process::umask(me, 0);
    // Also detaches from the caller's terminal, so that nothing can be pushed into it (CVE-2016-10124).
    this_process::setsid(me)
}

/// With a new user namespace the parent does it, since the file belongs to the host's root then.
pub(super) fn oom_score(me: &InChild, p: &Prepared) -> Result<()> {
    if p.namespaces.origin(CloneFlags::USER) == Origin::New {
        return Ok(());
    }
    p.process.scheduling.apply_oom_score(me, &p.proc)
}

/// Joins and makes all namespaces that clone3 has not made.
pub(super) fn namespaces(me: &InChild, p: &Prepared, parent: &Channel) -> Result<()> {
    if p.namespaces.origin(CloneFlags::USER) == Origin::New {
        await_order(parent)?;
        this_process::become_root(me)?;
    }
    p.joins.join(me)?;
    if p.namespaces.needs_second_clone() || p.joins.needs_second_clone() {
        second_clone(me, p, parent)?;
    }
    p.namespaces.unshare(me)?;
    if p.namespaces.origin(CloneFlags::TIME) == Origin::New {
        let missing = || Error::new(ErrorKind::System, "no time namespace came along");
        let clocks = ask(parent, &Report::TimeNamespace)?.ok_or_else(missing)?;
        namespace::join(me, clocks, CloneFlags::TIME)?;
    }
    let became_root = p.namespaces.origin(CloneFlags::USER) == Origin::New || p.joins.user_namespace();
    if became_root { hide_again(me) } else { Ok(()) }
}

/// After a change of ids, by which the kernel makes a process dumpable again, or whatever fs.suid_dumpable says
/// (CVE-2016-9962), and forgets the parent's death signal.
pub(super) fn hide_again(me: &InChild) -> Result<()> {
    this_process::set_dumpable(me, false)?;
    this_process::set_pdeathsig(me, true)
}

/// Into the cgroup by the parent's hand, where clone3 could not start us there. Before the cgroup namespace is made,
/// whose root our cgroup becomes.
pub(super) fn cgroup(p: &Prepared, parent: &Channel) -> Result<()> {
    if p.awaits_cgroup { await_order(parent).map(drop) } else { Ok(()) }
}

/// Continues in a new process inside the PID namespace, which is made here or was joined.
fn second_clone(me: &InChild, p: &Prepared, parent: &Channel) -> Result<()> {
    // Whom the container can see from its birth on must be hidden by then: joining has made us visible again.
    hide_again(me)?;
    match clone3_sibling(me, p.namespaces.create.both(CloneFlags::PID))? {
        Fork::Parent { pid, pidfd } => {
            parent.send(&Report::Moved { pid }, Some(pidfd.as_fd()))?;
            this_process::exit(me, 0)
        }
        Fork::Child(_) => {
            guard(me, p)?;
            // Before the parent knows us, it would take what we ask for to be for the one that we were.
            await_order(parent).map(drop)
        }
    }
}
