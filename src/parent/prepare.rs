//! Plan to Prepared: opens everything that the child needs while we still stand on the host.

use super::{idmapped, net_devices};
use crate::child::{Prepared, Role};
use crate::container::record::Record;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::Host;
use crate::intel_rdt;
use crate::namespaces::{Joins, Origin, Plan as Namespaces};
use crate::plan::Plan;
use crate::rootfs;
use crate::sys::clone::{CloneFlags, SingleThreaded};
use crate::sys::fs::{self, Access, PROC_ROOT_INODE, magic};
use std::os::fd::{AsFd, OwnedFd};

/// Before anything is made: opens the namespaces to join, looks whether the root filesystem, the network devices and the
/// resctrl filesystem are there, and raises what limits of ours are below the container's. When config.json leads nowhere
/// there is nothing to undo.
pub fn check(plan: &Plan) -> Result<Joins> {
    plan.process.rlimits.raise_own()?;
    rootfs::check(&plan.rootfs)?;
    let joins = Joins::prepare(&plan.namespaces)?;
    plan.intel_rdt.as_ref().map_or(Ok(()), intel_rdt::check)?;
    net_devices::check(&plan.namespaces.net_devices, joins.of(CloneFlags::NETWORK))?;
    Ok(joins)
}

/// Opens the root filesystem, the sources of bind mounts and the host's procfs.
pub fn prepare(
    mut plan: Plan,
    mut joins: Joins,
    record: &Record,
    host: &Host,
    gate: Option<OwnedFd>,
) -> Result<Prepared> {
    let single_threaded = SingleThreaded::prove(host.threads)?;
    let proc = host_proc()?;
    if host.has_sys_admin() && plan.namespaces.makes_user_namespace_beside_joined() {
        let Namespaces { uid_map, gid_map, .. } = &plan.namespaces;
        let user =
            idmapped::make(uid_map, gid_map, proc.as_fd(), single_threaded).context("make the user namespace")?;
        joins.take_user(user);
        plan.namespaces.join_user();
    }
    let new_user_namespace = plan.namespaces.origin(CloneFlags::USER) == Origin::New;
    let maps = idmapped::namespaces(plan.rootfs.idmaps(), &joins, proc.as_fd(), single_threaded)?;
    Ok(Prepared {
        record: record.clone(),
        single_threaded,
        joins,
        namespaces: plan.namespaces,
        role: Role::Init(rootfs::prepare(plan.rootfs, maps)?),
        process: plan.process,
        seccomp: plan.seccomp,
        hooks: plan.hooks,
        proc,
        ignored_signals: host.ignored_signals,
        hidden: !new_user_namespace || host.euid == 0,
        shows_listener: !host.may_trace(),
        awaits_cgroup: false,
        intel_rdt: None,
        gate,
    })
}

/// The host's procfs, proved to be the root of one.
pub fn host_proc() -> Result<OwnedFd> {
    let proc = fs::open("/proc", Access::Dir)?;
    if fs::filesystem_magic(&proc)? == magic::PROC && fs::stat(&proc)?.inode == PROC_ROOT_INODE {
        return Ok(proc);
    }
    Err(Error::new(ErrorKind::Unsupported, "/proc is not a procfs: mount one there")).context("open the host's procfs")
}
