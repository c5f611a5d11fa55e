//! Writing the id maps of a new user namespace, from outside, before its first process goes on.

use crate::error::{Context, Result};
use crate::namespaces::{IdMap, Plan};
use crate::sys::Errno;
use crate::sys::fs::{self, Access, Resolve};
use std::os::fd::BorrowedFd;

/// Writes `setgroups`, `uid_map` and `gid_map` of the process `pid` through the host's procfs.
///
/// Without privileges the kernel takes one line that maps the caller's own id, and group ids only after `setgroups` has
/// been denied (CVE-2014-8989).
pub fn write(proc: BorrowedFd<'_>, pid: i32, namespaces: &Plan, privileged: bool) -> Result<()> {
    if !privileged {
        put(proc, pid, "setgroups", "deny")?;
    }
    for (file, field, maps) in
        [("uid_map", "linux.uidMappings", &namespaces.uid_map), ("gid_map", "linux.gidMappings", &namespaces.gid_map)]
    {
        put(proc, pid, file, &IdMap::file(maps))
            .map_err(|error| match error.errno() {
                Some(Errno::EPERM) => error.hint("onggi may not map these ids: it needs CAP_SETUID and CAP_SETGID"),
                _ => error,
            })
            .with_context(|| format!("config.json: {field}"))?;
    }
    Ok(())
}

/// Writes one file of the process `pid`, which is our child and not reaped yet, so that the number can't be another's.
pub fn put(proc: BorrowedFd<'_>, pid: i32, file: &str, content: &str) -> Result<()> {
    fs::open_at(proc, format!("{pid}/{file}"), Access::Write, Resolve::BeneathOneMount)
        .and_then(|opened| fs::write(opened, content.as_bytes()))
        .with_context(|| format!("write /proc/{pid}/{file}"))
}
