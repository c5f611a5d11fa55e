//! `delete`: removes what is left of a container.

use super::kill::kill_container;
use super::{Global, ON_HOST, cgroup, observe, wrong_state};
use crate::cgroup::{self, Existing, PATIENCE};
use crate::container::record::{Phase, Record, SystemdUnit};
use crate::container::report::HookState;
use crate::container::status::{Container, Status};
use crate::container::store::Entry;
use crate::error::{Context, ErrorKind, Result, phrase};
use crate::hooks::{self, Kind};
use crate::intel_rdt::Groups;
use crate::log::Log;
use crate::rootfs;
use crate::sys::pidfd;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Deletes `id`: a stopped or never started one, any with `force`, which also takes an unknown one for deleted.
pub(super) fn delete(global: &Global, id: &str, force: bool) -> Result<u8> {
    let found = global.find(id).and_then(|entry| entry.lock().map(|lock| (entry, lock)));
    let (entry, _lock) = match found {
        Err(error) if force && error.kind() == ErrorKind::NotFound => return Ok(0),
        result => result?,
    };
    let record = match entry.load() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Left over from a crash: no container, but its directory is in the way of the next one.
            entry.remove()?;
            return if force { Ok(0) } else { Err(error) };
        }
        result => result?,
    };
    let container = observe(&entry, record)?;
    let status = container.status();
    let removable = matches!(container, Container::Stopped(_) | Container::Created(_));
    if !removable && !force {
        return Err(wrong_state(format!("cannot delete container {id} that is not stopped: {status}")));
    }
    let (record, init) = container.into_parts();
    if status != Status::Stopped {
        end(&record, init.as_ref())?;
    }
    destroy(&entry, &record, &global.log)?;
    Ok(0)
}

/// Kills the container and waits until its init process has ended.
pub(super) fn end(record: &Record, init: Option<&OwnedFd>) -> Result<()> {
    match kill_container(record, init) {
        // It ended by itself just now.
        Err(error) if error.kind() == ErrorKind::WrongState => {}
        result => {
            result?;
        }
    }
    match init {
        Some(init) if !pidfd::wait_exit(init, Some(PATIENCE))? => Err(wrong_state(phrase::STILL_RUNNING)),
        _ => Ok(()),
    }
}

/// Has systemd stop the unit and forget it. What is left in it is killed before: systemd would ask it to end, and wait
/// for a minute and a half.
fn stop_unit(record: &Record, unit: &SystemdUnit) -> Result<()> {
    let existing = cgroup(record)?;
    existing.as_ref().map_or(Ok(()), Existing::kill)?;
    // Where the cgroup is not known, `create` was killed before it knew.
    let has_ended = existing.is_none() && record.cgroup.is_some();
    cgroup::stop_unit(unit, has_ended)
}

/// With what is left in it, if that has not ended with the init process.
fn remove_cgroup(record: &Record) -> Result<()> {
    /// A moment for the killed to go, before those are killed that have come meanwhile.
    const MOMENT: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + PATIENCE;
    while let Some(cgroup) = cgroup(record)? {
        // Half-made: a `create` that was killed may have left no pid, or not the last, by which its init process could be
        // ended, and one that is still at work may start it only now. It notices when the state is gone.
        let half_made = record.phase == Phase::Creating;
        if half_made || !record.private_pid_namespace {
            cgroup.kill()?;
        }
        match cgroup.remove(if half_made { MOMENT } else { PATIENCE }) {
            Err(error) if half_made && error.kind() == ErrorKind::WrongState && Instant::now() < deadline => {}
            result => return result,
        }
    }
    Ok(())
}

/// Removes everything of a container whose init process has ended, in runc's order: remaining processes, cgroup, mounts
/// on the host, groups of Intel RDT, state directory; then the poststop hooks. What is gone already is fine.
pub(super) fn destroy(entry: &Entry, record: &Record, log: &Log) -> Result<()> {
    if let Some(unit) = &record.systemd {
        stop_unit(record, unit)?;
    }
    remove_cgroup(record).context("remove the container's cgroup")?;
    rootfs::unmount(record).context("remove the container's mounts from the host")?;
    if let Some(groups) = record.intel_rdt.as_ref().map(Groups::existing).transpose()?.flatten() {
        groups.remove().context("unable to remove container's IntelRDT group")?;
    }
    entry.remove().context("remove the container's state")?;
    poststop(record, log);
    Ok(())
}

/// Runs the poststop hooks of a container that is gone. A failure is only told, and the others still run (runtime.md,
/// Lifecycle 13).
pub(super) fn poststop(record: &Record, log: &Log) {
    let state = HookState::new(record, Status::Stopped, None).to_json();
    for failure in hooks::run_all(Kind::Poststop, &record.poststop, &state, &ON_HOST) {
        log.warning(&failure.to_string());
    }
}
