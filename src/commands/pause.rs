//! `pause`: stops all processes of a container where they are.

use super::{Global, needed_cgroup, observe, wrong_state};
use crate::container::status::Container;
use crate::error::{Result, phrase};
use crate::sys::signal::Signals;
use std::os::fd::AsFd;

/// Pauses `id`. Returns when no process of it runs any more; on failure, or when a signal asks us to end, all run on.
pub(super) fn pause(global: &Global, id: &str) -> Result<u8> {
    let entry = global.find(id)?;
    let _lock = entry.lock()?;
    let record = match observe(&entry, entry.load()?)? {
        Container::Created(live) | Container::Running(live) => live.record,
        Container::Paused(..) => return Err(wrong_state(phrase::NOT_RUNNING).hint("it is paused already")),
        Container::Creating(..) | Container::Stopped(_) => return Err(wrong_state(phrase::NOT_RUNNING)),
    };
    let cgroup = needed_cgroup(&record, "pause")?.ok_or_else(|| wrong_state(phrase::NOT_RUNNING))?;
    let signals = Signals::block()?;
    cgroup.freeze(signals.ending()?.as_fd())?;
    Ok(0)
}
