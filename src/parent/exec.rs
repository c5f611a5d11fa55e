//! Adds a process to a container: opens what it needs, clones it into the container's cgroup, and serves it until its
//! program runs. Nothing is written and no lock is held: a failure leaves the container as it was.

use super::agent::Agent;
use super::console::Console;
use super::conversation::{Conversation, Done};
use super::launch::{self, Progress};
use crate::cgroup::{CgroupPath, Destination};
use crate::child::{Prepared, Role};
use crate::container::record::Record;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hooks::Hooks;
use crate::host::Host;
use crate::intel_rdt::Groups;
use crate::namespaces::{self, Joins, Target};
use crate::plan::exec::Plan;
use crate::sys::clone::SingleThreaded;
use crate::sys::fs::{self, Access};
use crate::sys::signal::Signals;
use crate::sys::this_process;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// The container to join.
#[derive(Debug)]
pub struct Container {
    /// Its record.
    pub record: Record,
    /// Its init process's pid, which is nobody else's: `init` was alive after what follows had been looked up by it.
    pub pid: i32,
    /// A pidfd of its init process.
    pub init: OwnedFd,
    /// Where its init process is.
    pub target: Target,
    /// Its root, where it is not that of the mount namespace.
    pub inner_root: Option<OwnedFd>,
    /// Where in its cgroup to go; nowhere if it has none.
    pub place: Option<Destination>,
    /// The host's procfs.
    pub proc: OwnedFd,
}

impl Container {
    /// Opens the root of the init process, which may lie in a part of the mount namespace.
    pub fn open_root(pid: i32) -> Result<OwnedFd> {
        fs::open(format!("/proc/{pid}/root"), Access::Dir).context("open the container's root")
    }
}

/// Starts the process that `plan` describes in `container`.
///
/// # Errors
/// Whatever failed, on either side; by then the process is gone again.
pub fn exec(
    plan: Plan,
    container: Container,
    host: &Host,
    mut console: Option<Console>,
    mut agent: Option<Agent>,
    signals: &Signals,
) -> Result<Done> {
    plan.process.rlimits.raise_own()?;
    plan.affinities.prepare()?;
    let mut warnings = plan.warnings;
    let Container { record, pid, init, target, inner_root, place, proc } = container;
    let cgroup = place.as_ref().map(|place| place.open(pid)).transpose()?;
    // Where the caller is already: a container without privileges that has none of its own.
    let callers = if host.euid != 0 || host.in_user_namespace { Some(host.own_cgroup()?) } else { None };
    let mut cgroup = cgroup.filter(|cgroup| callers.is_none() || cgroup.path().map(CgroupPath::as_str) != callers);
    let intel_rdt = record.intel_rdt.as_ref().map(Groups::existing).transpose()?.flatten().map(Rc::new);
    let mut prepared = Prepared {
        record,
        single_threaded: SingleThreaded::prove(host.threads)?,
        namespaces: namespaces::Plan::default(),
        joins: Joins::of_process(&target, init, host.has_sys_admin()),
        role: Role::Joining { inner_root },
        process: plan.process,
        seccomp: plan.seccomp,
        hooks: Hooks::default(),
        proc,
        ignored_signals: host.ignored_signals,
        hidden: true,
        shows_listener: !host.may_trace(),
        awaits_cgroup: false,
        intel_rdt,
        gate: None,
    };
    if host.euid == 0 {
        // The container sees the child from its birth on. (Without privileges that is not so, and a process that is hidden
        // could not write to its own files in procfs, which belong to root then.)
        this_process::hide_with_children()?;
    }
    let mut moved = false;
    let mut done = loop {
        let (line, process) = match (launch::bear(&prepared, cgroup.as_ref()), &place) {
            (Err(error), Some(_)) if cgroup.is_some() && may_do_without(&error, host) => {
                warnings.push(format!("the process runs outside of the container's cgroup: {error}"));
                cgroup = None;
                continue;
            }
            (Err(error), Some(place)) if cgroup.is_some() && !moved => {
                cgroup = Some(place.instead(error, pid)?);
                moved = true;
                continue;
            }
            (born, _) => born?,
        };
        let placed = match cgroup.as_mut().filter(|_| prepared.awaits_cgroup) {
            Some(cgroup) => cgroup.add(process.pid, signals.ending()?.as_fd()),
            None => Ok(()),
        };
        let conversation =
            Conversation::new(&prepared, &prepared.record, host, line, process, &mut console, &mut agent);
        match conversation.hold(placed, signals, cgroup.as_ref(), &mut Progress::default())? {
            Some(done) => break done,
            // As in `launch`.
            None => prepared.awaits_cgroup = true,
        }
    };
    done.warnings.splice(0..0, warnings);
    Ok(done)
}

/// Whether a process that may not enter the cgroup runs where the caller is, as with runc: without privileges one can
/// move processes only inside of what was delegated, and the caller may stand in another session.
fn may_do_without(error: &Error, host: &Host) -> bool {
    error.kind() == ErrorKind::Denied && (host.euid != 0 || host.in_user_namespace)
}
