//! The cgroup of a container that is being made, whichever driver makes it.

use super::path::CgroupPath;
use super::systemd::Scope;
use super::{Place, Plan, fs};
use crate::error::Result;
use std::os::fd::BorrowedFd;

/// A container's cgroup in the making. Dropping it kills what runs in it and removes what was made; [`Cgroup::keep`]
/// ends that.
#[derive(Debug)]
pub struct Cgroup(Driver);

#[derive(Debug)]
enum Driver {
    /// The cgroupfs driver has made it, with limits and device rules, before the first process is in it.
    Directory(fs::Cgroup),
    /// The systemd driver makes it around the first process.
    Unit(Box<Scope>),
}

impl Cgroup {
    /// Makes the cgroup that `plan` describes, as far as it can be made without a process. `None`: nothing was asked
    /// for, we run without privileges and may not make one, so the container stays in the caller's.
    ///
    /// # Errors
    /// `WrongState` when the cgroup exists and holds processes or is frozen; `Unsupported` when a controller is
    /// missing. Nothing is left behind.
    pub fn create(plan: &Plan) -> Result<Option<Self>> {
        let driver = match &plan.place {
            Place::Directory(path) => fs::Cgroup::create(path, plan)?.map(Driver::Directory),
            Place::Unit(unit) => Some(Driver::Unit(Box::new(Scope::new(unit, plan)))),
        };
        Ok(driver.map(Self))
    }

    /// The cgroup at `path`, which exists, for one more process: nothing of it is ours to undo.
    pub(super) fn existing(path: &CgroupPath) -> Result<Self> {
        fs::Cgroup::existing(path).map(|cgroup| Self(Driver::Directory(cgroup)))
    }

    /// The directory, for starting a process in it (`CLONE_INTO_CGROUP`); `None` when a process must come first.
    pub fn dir(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Driver::Directory(made) => Some(made.dir()),
            Driver::Unit(_) => None,
        }
    }

    /// Moves the process `pid`, which was started elsewhere, into the cgroup. What can be read from `interrupt` ends a
    /// wait for others.
    pub fn add(&mut self, pid: i32, interrupt: BorrowedFd<'_>) -> Result<()> {
        match &mut self.0 {
            Driver::Directory(made) => made.add(pid),
            Driver::Unit(scope) => scope.add(pid, interrupt),
        }
    }

    /// Where it lies, once it is there.
    pub fn path(&self) -> Option<&CgroupPath> {
        match &self.0 {
            Driver::Directory(made) => Some(made.path()),
            Driver::Unit(scope) => scope.path(),
        }
    }

    /// How many processes the kernel has killed here for lack of memory; 0 as well where memory is not accounted.
    pub fn oom_kills(&self) -> u64 {
        match &self.0 {
            Driver::Directory(made) => made.oom_kills(),
            Driver::Unit(scope) => scope.oom_kills(),
        }
    }

    /// Ends the undoing: from here on the cgroup lives as long as the container.
    pub fn keep(self) {
        match self.0 {
            Driver::Directory(made) => drop(made.keep()),
            Driver::Unit(scope) => scope.keep(),
        }
    }
}
