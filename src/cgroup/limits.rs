//! Writes limits to the files of a cgroup, whoever made it.

use super::directory::Directory;
use super::resources::{IfMissing, Write};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::{Errno, machine};

/// Sets one limit.
///
/// # Errors
/// `Unsupported` with the field when the kernel has no such file here; the kernel's refusal with the field otherwise.
pub(super) fn set(directory: &Directory, write: &Write) -> Result<()> {
    let result = directory.write(&write.file, &write.value);
    let (file, result) = match (&write.if_missing, result) {
        (IfMissing::Skip, Err(error)) if error.is(Errno::ENOENT) => return Ok(()),
        (IfMissing::Instead { file, value }, Err(error)) if error.is(Errno::ENOENT) => {
            (*file, directory.write(file, value))
        }
        (_, result) => (write.file.as_str(), result),
    };
    match result {
        Err(error) if error.is(Errno::ENOENT) => Err(missing(directory, write, file)),
        Err(error) => Err(match error.errno().and_then(|errno| advice(file, errno)) {
            Some(advice) => error.hint(advice),
            None => error,
        })
        .with_context(|| write.field.clone()),
        Ok(()) => Ok(()),
    }
}

/// Why `file` is missing, and what the user can do.
fn missing(directory: &Directory, write: &Write, file: &str) -> Error {
    let (field, here, controller) = (&write.field, directory.shown(), write.controller());
    let known = directory.controllers("cgroup.controllers").unwrap_or_default();
    let message = if controller == "cgroup" || known.iter().any(|name| name == controller) {
        format!("{file} does not exist in {here}: this kernel lacks it; remove {field}")
    } else if field.contains(".unified[") {
        format!(
            "unified resource {file:?} can't be set: controller {controller:?} not available in {here}: \
             enable it there or remove the entry"
        )
    } else {
        // Users have those that were delegated to their service manager.
        let enable = match machine::effective_uid() {
            0 => "enable it",
            _ => "as root, add it to Delegate= of user@.service,",
        };
        format!("{file} can't be set: controller {controller} is not available in {here}: {enable} or remove {field}")
    };
    Error::new(ErrorKind::Unsupported, format!("{field}: {message}"))
}

/// What a refused value may have been wrong in, where errno alone does not tell.
fn advice(file: &str, errno: Errno) -> Option<&'static str> {
    Some(match (file, errno) {
        ("cpu.max", Errno::EINVAL) => {
            "a quota is at least 1000 microseconds, a period from 1000 to 1000000, and the burst not above the quota"
        }
        ("cpu.weight", Errno::ERANGE) => "a weight is from 1 to 10000",
        ("cpu.weight", Errno::EINVAL) => "a cgroup that is idle has no weight",
        ("cpuset.cpus" | "cpuset.mems", Errno::ENOSPC) => {
            "a set can't be emptied while there are processes: name them all"
        }
        ("cpuset.cpus", _) => "the CPUs of this machine: /sys/devices/system/cpu/online",
        ("cpuset.mems", _) => "the memory nodes of this machine: /sys/devices/system/node/online",
        ("io.max", Errno::EINVAL | Errno::ERANGE) => "a rate is at least 2",
        ("io.max" | "io.weight" | "io.bfq.weight", Errno::ENODEV) => {
            "a whole disk is wanted, no partition: lsblk -dno MAJ:MIN"
        }
        ("io.weight", Errno::EOPNOTSUPP) => "the kernel's cost model is off for this disk: see io.cost.qos",
        _ => return None,
    })
}
