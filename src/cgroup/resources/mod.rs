//! `linux.resources` as an ordered list of writes to the files of a cgroup (cgroup v2). Pure.
//!
//! One file for each resource. A new cgroup and one in use are planned alike: what of a pair is not given, such as the
//! period to a quota, is taken from [`Current`].

mod cpu;
mod current;
mod hugetlb;
mod io;
mod memory;
mod rdma;
#[cfg(test)]
mod tests;
mod unified;

pub use current::Current;
pub(super) use memory::Amount;

use crate::error::{Error, ErrorKind, Result};
use oci_spec::runtime::{LinuxPids, LinuxResources};
use std::fmt;

/// One value for one file of the container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The file's name.
    pub file: String,
    /// What is written to it, in one write(2).
    pub value: String,
    /// The field that asked for it, such as `linux.resources.pids.limit`.
    pub field: String,
    /// What to do when the kernel has no such file here.
    pub if_missing: IfMissing,
}

impl Write {
    /// The controller that the file belongs to; `cgroup` for the core's own files.
    pub fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or_default()
    }

    /// Whether something is asked for that needs the controller, as opposed to "no limit", which is so without it.
    pub fn is_limit(&self) -> bool {
        self.if_missing != IfMissing::Skip
    }
}

/// What to do when a file is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMissing {
    /// Fail: a limit was asked for that can't be kept.
    Refuse,
    /// Go on: the value means "no limit", or another file carries the limit.
    Skip,
    /// Write this to another file, which must exist.
    Instead {
        /// Its name.
        file: &'static str,
        /// What is written to it.
        value: String,
    },
}

/// What to write for `resources` to a cgroup that has the limits `current`, in the order of writing. Limits that cgroup
/// v2 lacks are ignored as in runc, but named in `warnings`. Device rules are not looked at.
///
/// # Errors
/// `InvalidConfig` with the field, for values that contradict each other or can't be meant.
pub(super) fn writes(resources: &LinuxResources, current: &Current, warnings: &mut Vec<String>) -> Result<Vec<Write>> {
    let mut list = List(Vec::new());
    if let Some(limit) = resources.pids() {
        pids(&mut list, *limit);
    }
    if let Some(limits) = resources.memory() {
        memory::plan(&mut list, limits, current, warnings)?;
    }
    if let Some(limits) = resources.block_io() {
        io::plan(&mut list, limits, warnings)?;
    }
    if let Some(limits) = resources.cpu() {
        cpu::plan(&mut list, limits, current, warnings)?;
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        hugetlb::plan(&mut list, index, limit)?;
    }
    if let Some(limits) = resources.rdma() {
        rdma::plan(&mut list, limits)?;
    }
    if let Some(network) = resources.network() {
        ignored(warnings, network.class_id().is_some_and(|id| id != 0), "network.classID");
        ignored(warnings, network.priorities().as_ref().is_some_and(|list| !list.is_empty()), "network.priorities");
    }
    // Last, so that it has the final word over the typed ones.
    if let Some(files) = resources.unified() {
        unified::plan(&mut list, files)?;
    }
    cpu::arrange(&mut list.0, current, warnings)?;
    match list.0.iter().find(|write| write.value.contains('\0')) {
        Some(write) => Err(Error::new(ErrorKind::InvalidConfig, format!("{}: contains a NUL byte", write.field))),
        None => Ok(list.0),
    }
}

/// The list being made.
struct List(Vec<Write>);

impl List {
    /// A value for `file`. One that begins with `max` means "no limit", which a missing file means as well.
    fn set(&mut self, file: impl Into<String>, value: impl fmt::Display, field: impl fmt::Display) {
        let value = value.to_string();
        let no_limit = value == "max" || value.starts_with("max ") || value.ends_with("=max");
        let if_missing = if no_limit { IfMissing::Skip } else { IfMissing::Refuse };
        self.push(file, value, field, if_missing);
    }

    /// A value for `file` of which 0 is the default, so that a missing file means it as well.
    fn set_or_zero(&mut self, file: &str, value: u64, field: &str) {
        let if_missing = if value == 0 { IfMissing::Skip } else { IfMissing::Refuse };
        self.push(file, value.to_string(), field, if_missing);
    }

    fn push(&mut self, file: impl Into<String>, value: String, field: impl fmt::Display, if_missing: IfMissing) {
        self.0.push(Write { file: file.into(), value, field: format!("linux.resources.{field}"), if_missing });
    }
}

fn refused(field: impl fmt::Display, message: impl AsRef<str>) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("linux.resources.{field}: {}", message.as_ref()))
}

fn ignored(warnings: &mut Vec<String>, given: bool, field: &str) {
    if given {
        warnings.push(format!("linux.resources.{field} is ignored: cgroup v2 has nothing like it"));
    }
}

/// As in runc a limit of 0 is not "none" (Docker's meaning, which it translates itself) but the smallest there is.
fn pids(list: &mut List, limit: LinuxPids) {
    match limit.limit() {
        ..0 => list.set("pids.max", "max", "pids.limit"),
        limit => list.set("pids.max", limit.max(1), "pids.limit"),
    }
}
