//! The freezer: `cgroup.freeze`, which stops all processes of a cgroup and below it without a signal.

use super::PATIENCE;
use super::directory::{Directory, Waited, ignore_gone, is_gone, is_populated};
use super::existing::Existing;
use super::path::CgroupPath;
use crate::error::{Error, ErrorKind, Result, phrase};
use std::os::fd::BorrowedFd;

/// Frozen or not as far as this cgroup itself goes: an ancestor may freeze it, too.
const FILE: &str = "cgroup.freeze";

/// Whether the cgroup at `path` itself is frozen; one that is gone is not.
pub fn frozen(path: &CgroupPath) -> Result<bool> {
    match Directory::open(path) {
        Err(error) if is_gone(&error) => Ok(false),
        opened => is_frozen(&opened?),
    }
}

impl Existing {
    /// Whether the cgroup itself is frozen. One that is frozen with an ancestor is not.
    pub fn frozen(&self) -> Result<bool> {
        is_frozen(&self.directory)
    }

    /// Freezes the cgroup and waits until all of its processes have stopped. What fails or is interrupted, because
    /// `interrupt` can be read, leaves them running.
    ///
    /// # Errors
    /// `WrongState` when no process is left, or when one can't be stopped: it waits for a device or file system that
    /// does not answer.
    pub fn freeze(&self, interrupt: BorrowedFd<'_>) -> Result<()> {
        match set(&self.directory, true) {
            Err(error) if is_gone(&error) => return Err(Error::new(ErrorKind::WrongState, phrase::NOT_RUNNING)),
            result => result.map_err(explain)?,
        }
        self.wait_frozen(interrupt).inspect_err(|_| {
            // The error that led here is the one to report.
            let _ = self.thaw();
        })
    }

    fn wait_frozen(&self, interrupt: BorrowedFd<'_>) -> Result<()> {
        // An empty cgroup freezes at once and would make a container that has just ended look paused.
        let settled = |events: &str| !is_populated(events) || events.lines().any(|line| line == "frozen 1");
        match self.directory.wait_events(settled, PATIENCE, Some(interrupt))? {
            Waited::Came if self.directory.is_populated()? => Ok(()),
            Waited::Came | Waited::Gone => Err(Error::new(ErrorKind::WrongState, phrase::NOT_RUNNING)),
            Waited::Interrupted => Err(Error::new(ErrorKind::System, "interrupted by a signal")),
            Waited::TimedOut => {
                let message = format!("unable to freeze cgroup {} in {} s", self.path, PATIENCE.as_secs());
                let why = "a process waits for a device or file system that does not answer; ps shows it in state D";
                Err(Error::new(ErrorKind::WrongState, message).hint(why))
            }
        }
    }

    /// Lets a frozen cgroup run on.
    pub fn thaw(&self) -> Result<()> {
        ignore_gone(set(&self.directory, false)).map_err(explain)
    }

    /// The closest cgroup above that is frozen, and this one with it.
    pub fn frozen_above(&self) -> Result<Option<CgroupPath>> {
        let mut next = self.path.parent();
        while let Some(path) = next {
            match Directory::open(&path).and_then(|directory| is_frozen(&directory)) {
                Ok(true) => return Ok(Some(path)),
                Err(error) if !is_gone(&error) => return Err(error),
                _ => next = path.parent(),
            }
        }
        Ok(None)
    }
}

/// Whether this cgroup itself is frozen; one that is gone is not.
pub(super) fn is_frozen(directory: &Directory) -> Result<bool> {
    match directory.read(FILE) {
        Ok(state) => Ok(state.trim() == "1"),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Freezes or thaws without waiting.
pub(super) fn set(directory: &Directory, frozen: bool) -> Result<()> {
    directory.write(FILE, if frozen { "1" } else { "0" })
}

fn explain(error: Error) -> Error {
    if error.kind() != ErrorKind::Denied {
        return error;
    }
    error.hint("the caller must be allowed to write to the container's cgroup: it must be delegated to them")
}
