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
        result => result.with_context(|| format!("config.json: {}", write.field)),
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
    Error::config(field, message).of_kind(ErrorKind::Unsupported)
}
