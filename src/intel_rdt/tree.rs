//! The mounted resctrl filesystem, and what can be known of it before anything is made.

use super::{Plan, schemata};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::fs::{self, Access, Resolve, magic};
use crate::sys::{Errno, mount_table};
use std::os::fd::OwnedFd;
use std::path::Path;

/// More than any file of the filesystem has, in bytes: `tasks` of a million threads.
const READ_LIMIT: usize = 8 << 20;

/// What L3 caches are called: code and data have parts of their own where the filesystem is mounted with `cdp`.
pub(super) const L3_CACHE: [&str; 2] = ["L3", "L3CODE"];
/// What memory bandwidth is called.
pub(super) const MEMORY_BANDWIDTH: [&str; 1] = ["MB"];

/// The root of the filesystem.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    /// Its path on the host, for messages.
    shown: String,
}

/// Whether the host can give what `plan` asks for.
///
/// # Errors
/// `Unsupported` without the filesystem, or without what it must control or measure; `InvalidConfig` for a group that
/// has to be there and is not, or that is there with other schemata.
pub fn check(plan: &Plan) -> Result<()> {
    Tree::needed()?.check(plan)
}

impl Tree {
    /// Where the host has mounted it; `None` if nowhere.
    pub(super) fn find() -> Result<Option<Self>> {
        for point in mount_table::points(&mount_table::read()?, Some("resctrl")) {
            let tree = Self::at(&point)?;
            // Another mount may hide it.
            if fs::filesystem_magic(&tree.root)? == magic::RESCTRL {
                return Ok(Some(tree));
            }
        }
        Ok(None)
    }

    /// The same for a container that can't be without.
    pub(super) fn needed() -> Result<Self> {
        let message = "intelRdt is specified in config, but Intel RDT is not enabled: no resctrl filesystem is mounted";
        let missing = || {
            let advice = "mount -t resctrl resctrl /sys/fs/resctrl, if processor and kernel have it, or leave it out";
            Error::config("linux.intelRdt", message).of_kind(ErrorKind::Unsupported).hint(advice)
        };
        Self::find()?.ok_or_else(missing)
    }

    /// The one whose root is the directory `path`.
    pub(super) fn at(path: &Path) -> Result<Self> {
        Ok(Self { root: fs::open(path, Access::Dir)?, shown: path.display().to_string() })
    }

    pub(super) fn check(&self, plan: &Plan) -> Result<()> {
        let unsupported = |field: &str, why: &str| {
            Err(Error::config(format!("linux.intelRdt.{field}"), why).of_kind(ErrorKind::Unsupported))
        };
        if plan.needs.l3_cache && !self.controls(&L3_CACHE)? {
            return unsupported(
                "l3CacheSchema",
                "Intel RDT/CAT is not enabled: this machine's L3 caches can't be divided",
            );
        }
        if plan.needs.memory_bandwidth && !self.controls(&MEMORY_BANDWIDTH)? {
            let why = "Intel RDT/MBA is not enabled: this machine's memory bandwidth can't be divided";
            return unsupported("memBwSchema", why);
        }
        if plan.monitor.is_some() && !self.has("mon_groups")? {
            return unsupported("enableMonitoring", "this machine has nothing of Intel RDT to monitor");
        }
        if self.has(&plan.group)? {
            return self.check_existing(plan);
        }
        if !plan.own && plan.schemata.is_empty() {
            let why = format!("there is no group {}: make it, or say in schemata what it is to have", plan.group);
            return Err(Error::config("linux.intelRdt.closID", why));
        }
        Ok(())
    }

    /// A group that others may share is joined as it is, never changed.
    pub(super) fn check_existing(&self, plan: &Plan) -> Result<()> {
        if plan.schemata.is_empty() {
            return Ok(());
        }
        let step = self.read("info/MB/bandwidth_gran").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1);
        let found = self.read(&in_group(&plan.group, "schemata"))?;
        let Some(difference) = schemata::difference(&plan.schemata, &found, step) else { return Ok(()) };
        let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
        let why = format!(
            "{difference} is not what the group {} has, which exists already: {found}",
            shown_group(&plan.group)
        );
        Err(Error::config("linux.intelRdt", why))
    }

    /// Whether the kernel controls one of these resources.
    pub(super) fn controls(&self, resources: &[&str]) -> Result<bool> {
        for resource in resources {
            if self.has(&format!("info/{resource}"))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether `path` is there.
    pub(super) fn has(&self, path: &str) -> Result<bool> {
        let path = if path.is_empty() { "." } else { path };
        match fs::open_at(&self.root, path, Access::Path, Resolve::BeneathOneMount) {
            Ok(_) => Ok(true),
            Err(error) if error.is(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error.phrased(format!("open {}/{path}", self.shown))),
        }
    }

    /// Makes the directory `path`. Returns whether it is new: `false` when there was one.
    pub(super) fn make(&self, path: &str) -> Result<bool> {
        match self.in_parent(path, |parent, name| fs::mkdir_at(parent, name, 0o755)) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::EEXIST) => Ok(false),
            Err(error) => Err(self.explained(error.phrased(format!("mkdir {}/{path}", self.shown)))),
        }
    }

    /// Removes the directory `path`; that it is not there is fine. Processes in it go back to the group around it.
    pub(super) fn remove(&self, path: &str) -> Result<()> {
        match self.in_parent(path, |parent, name| fs::rmdir_at(parent, name)) {
            Err(error) if !error.is(Errno::ENOENT) => Err(error.phrased(format!("rmdir {}/{path}", self.shown))),
            _ => Ok(()),
        }
    }

    fn in_parent(&self, path: &str, act: impl FnOnce(&OwnedFd, &str) -> Result<()>) -> Result<()> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        act(&fs::open_at(&self.root, parent, Access::Dir, Resolve::BeneathOneMount)?, name)
    }

    /// The whole of a file.
    pub(super) fn read(&self, path: &str) -> Result<String> {
        let text = fs::open_at(&self.root, path, Access::Read, Resolve::BeneathOneMount)
            .and_then(|file| fs::read_all(file, READ_LIMIT))
            .map_err(|error| error.phrased(format!("read {}/{path}", self.shown)))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Writes `text` to a file, in one write(2).
    pub(super) fn write(&self, path: &str, text: &str) -> Result<()> {
        let written = fs::open_at(&self.root, path, Access::Write, Resolve::BeneathOneMount)
            .and_then(|file| fs::write(file, text.as_bytes()));
        written.map_err(|error| {
            self.explained(error.phrased(format!("write {:?} to {}/{path}", text.trim_end(), self.shown)))
        })
    }

    /// With what the kernel says about what was asked of it last, where it says anything.
    fn explained(&self, error: Error) -> Error {
        match self.read("info/last_cmd_status") {
            Ok(status) if !matches!(status.trim(), "" | "ok") => error.hint(status.trim()),
            _ => error,
        }
    }
}

/// A file of the control group `group`.
pub(super) fn in_group(group: &str, file: &str) -> String {
    if group.is_empty() { file.to_owned() } else { format!("{group}/{file}") }
}

fn shown_group(group: &str) -> &str {
    if group.is_empty() { "/" } else { group }
}
