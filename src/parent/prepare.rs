//! Plan to Prepared: opens everything that the child needs while we still stand on the host.

use crate::child::Prepared;
use crate::container::record::Record;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::Host;
use crate::namespaces::Joins;
use crate::plan::Plan;
use crate::rootfs;
use crate::sys::clone::SingleThreaded;
use crate::sys::fs::{self, Access, PROC_ROOT_INODE, magic};
use std::os::fd::OwnedFd;

/// Opens namespaces, the root filesystem, the sources of bind mounts and the host's procfs.
pub fn prepare(plan: Plan, record: &Record, host: &Host, gate: Option<OwnedFd>) -> Result<Prepared> {
    let single_threaded = SingleThreaded::prove(host.threads)?;
    Ok(Prepared {
        record: record.clone(),
        single_threaded,
        joins: Joins::prepare(&plan.namespaces)?,
        namespaces: plan.namespaces,
        rootfs: rootfs::prepare(plan.rootfs)?,
        process: plan.process,
        seccomp: plan.seccomp,
        hooks: plan.hooks,
        proc: host_proc()?,
        ignored_signals: host.ignored_signals,
        gate,
    })
}

/// The host's procfs, proved to be the root of one.
fn host_proc() -> Result<OwnedFd> {
    let proc = fs::open("/proc", Access::Dir)?;
    if fs::filesystem_magic(&proc)? == magic::PROC && fs::stat(&proc)?.inode == PROC_ROOT_INODE {
        return Ok(proc);
    }
    Err(Error::new(ErrorKind::Unsupported, "/proc is not a procfs: mount one there")).context("open the host's procfs")
}
