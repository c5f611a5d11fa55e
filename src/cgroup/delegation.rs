//! Delegation: the container's cgroup is given to its user, who may then divide it among cgroups of its own; see
//! cgroups(7), "Delegation via a cgroup namespace".

use super::directory::{Directory, is_gone};
use crate::error::{Context, Result};
use crate::sys::Errno;
use crate::sys::fs::{self, Access};

/// Where the kernel names the files that belong to the one whom a cgroup is delegated to (4.15).
const LIST: &str = "/sys/kernel/cgroup/delegate";
/// A page, as all files of sysfs.
const LIST_LIMIT: usize = 4096;
/// The oldest of them, for where the list is not in sight.
const ALWAYS: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Whom a cgroup is delegated to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// On the host.
    pub uid: u32,
    /// Whether we may lack the privilege to give it away, and go on without: then the container can do less.
    pub optional: bool,
}

/// Gives the directory, in which cgroups can be made, and the files that decide who is in which, but none of the limits.
///
/// # Errors
/// EPERM without CAP_CHOWN.
pub(super) fn give(directory: &Directory, owner: Owner) -> Result<()> {
    match give_all(directory, owner.uid) {
        Err(error) if owner.optional && error.is(Errno::EPERM) => Ok(()),
        result => result.context("delegate the container's cgroup"),
    }
}

fn give_all(directory: &Directory, uid: u32) -> Result<()> {
    let list = fs::open(LIST, Access::Read).and_then(|file| fs::read_all(file, LIST_LIMIT));
    let list = list.map_or_else(|_| ALWAYS.to_owned(), |list| String::from_utf8_lossy(&list).into_owned());
    directory.give(None, uid)?;
    for file in list.lines() {
        match directory.give(Some(file), uid) {
            // Of a controller that is not enabled here.
            Err(error) if is_gone(&error) => {}
            result => result?,
        }
    }
    Ok(())
}
