//! On the host, in the parent: everything the plan names becomes a detached mount with its attributes set.

use super::host_mounts::{self, Spot};
use super::idmap::{self, Idmaps};
use super::named::{self, Named};
use super::pivot::Way;
use super::root::Root;
use super::{MountPlan, Plan, What};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::CGROUP_MOUNT;
use crate::sys::fs::{self, Stat, magic};
use crate::sys::mount::{self, Attributes, Depth, Link, Propagation};
use std::os::fd::OwnedFd;
use std::path::Path;

/// What the parent hands to the child, which inherits it across the clone and does the rest. The parent may drop its
/// copy at any time after the clone: a detached tree lives for as long as either side holds its open file.
#[derive(Debug)]
pub enum Sources {
    /// Detached mounts of the host's.
    Ready(Prepared),
    /// Under a user namespace: to be opened again as the container's mount namespace shows them.
    Named(Named),
}

/// The plan with its detached mounts.
#[derive(Debug)]
pub struct Prepared {
    pub(super) plan: Plan,
    pub(super) root: Root,
    /// The directory that the root filesystem was cloned from, where it can be attached to it again.
    pub(super) place: Option<OwnedFd>,
    /// Where the root is attached among the host's mounts, if it is.
    pub(super) spot: Option<Spot>,
    /// One entry for each mount of the plan; `None` for those made in the child.
    pub(super) trees: Vec<Option<Tree>>,
    /// One entry for each device of the plan; `None` for nodes made in the child.
    pub(super) nodes: Vec<Option<OwnedFd>>,
    /// The user namespaces of ID-mapped mounts, for sources inside the root.
    pub(super) maps: Idmaps,
    /// Whether the host has /proc/kcore, which `/dev/core` points to.
    pub(super) kcore: bool,
}

/// A detached mount, with its attributes set.
#[derive(Debug)]
pub(super) struct Tree {
    pub mount: OwnedFd,
    pub is_dir: bool,
}

/// Refuses a root filesystem that is missing or no directory, before anything is made. It is only looked at: [`prepare`]
/// opens it, once, and checks what it has opened.
///
/// # Errors
/// `invalid rootfs: …`.
pub fn check(plan: &Plan) -> Result<()> {
    let stat = fs::stat_path(&plan.source).map_err(|error| missing_root(error, &plan.source))?;
    check_root(&plan.source, &stat)?;
    if plan.way == Way::OnHost { host_mounts::check(&plan.source, &stat) } else { Ok(()) }
}

/// Opens what the plan names; `maps` are the user namespaces for [`Plan::idmaps`]. Call it on the host, before the clone,
/// with the host's privileges: sources need not be reachable for the container's user namespace.
///
/// # Errors
/// `invalid rootfs: …` for the root; for mounts and devices the field of the configuration and the path.
pub fn prepare(plan: Plan, maps: Idmaps) -> Result<Sources> {
    let kcore = plan.devices.is_some() && Path::new("/proc/kcore").exists();
    if plan.reopens {
        return named::prepare(plan, maps, kcore).map(Sources::Named);
    }
    let (spot, tree) = match plan.way {
        Way::OnHost => {
            let prepared = Spot::prepare(&plan.source).map_err(|error| missing_root(error, &plan.source));
            prepared.map(|(spot, tree)| (Some(spot), tree))?
        }
        _ => (None, open_root(&plan.source)?),
    };
    let root = root_of(&plan, tree)?;
    let trees = plan.mounts.iter().map(|mount| open_source(mount, &plan, &maps)).collect::<Result<_>>()?;
    let nodes = match &plan.devices {
        Some(devices) => devices.open_host_nodes()?,
        None => Vec::new(),
    };
    Ok(Sources::Ready(Prepared { plan, root, place: None, spot, trees, nodes, maps, kcore }))
}

/// Where the host has its sysfs.
pub(super) const SYSFS_MOUNT: &str = "/sys";

/// What every failure about the root filesystem's directory starts with.
pub(super) const INVALID_ROOT: &str = "invalid rootfs";

fn open_root(source: &Path) -> Result<OwnedFd> {
    mount::clone_path(source, Depth::All, Link::Keep).map_err(|error| missing_root(error, source))
}

/// A root filesystem that can't be opened.
pub(super) fn missing_root(error: Error, source: &Path) -> Error {
    error.phrased(format!("stat {}", source.display())).context(INVALID_ROOT)
}

/// Refuses a root that is no directory.
pub(super) fn check_root(source: &Path, stat: &Stat) -> Result<()> {
    if stat.is_dir() {
        return Ok(());
    }
    let what = if stat.is_symlink() { "is a symlink; name its target instead" } else { "is not a directory" };
    let text = format!("{} {what}", source.display());
    Err(Error::new(ErrorKind::InvalidConfig, text).context(INVALID_ROOT))
}

/// Makes the container's root of the detached mount `tree`.
pub(super) fn root_of(plan: &Plan, tree: OwnedFd) -> Result<Root> {
    let stat = fs::stat(&tree)?;
    check_root(&plan.source, &stat)?;
    let (propagation, depth) = plan.propagation.of_new_root();
    mount::set_attributes(&tree, Attributes::NONE, Some(propagation), depth).context(INVALID_ROOT)?;
    if plan.way == Way::Joined {
        // The kernel refuses to attach an unbindable tree where the attachment would spread to other namespaces, which
        // is what we want to know when the namespace is not ours; see `Prepared::enter`.
        let unbindable = Some(Propagation::Unbindable);
        mount::set_attributes(&tree, Attributes::NONE, unbindable, Depth::Top).context(INVALID_ROOT)?;
    }
    Ok(Root::new(tree, stat))
}

fn open_source(mount: &MountPlan, plan: &Plan, maps: &Idmaps) -> Result<Option<Tree>> {
    let (tree, depth) = match &mount.what {
        What::Filesystem { .. } | What::Inside { .. } | What::Remount(_) => return Ok(None),
        What::Bind { source, depth } => {
            (mount::clone_path(source, *depth, Link::Follow).map_err(|error| unfulfilled(error, mount))?, *depth)
        }
        What::HostCgroup => (host_cgroup().with_context(|| mount.failure())?, Depth::Top),
        What::HostSysfs => {
            let tree = mount::clone_path(Path::new(SYSFS_MOUNT), Depth::All, Link::Follow);
            (tree.with_context(|| mount.failure())?, Depth::All)
        }
    };
    idmap::apply(&tree, mount, maps)?;
    tree_of(mount, plan, tree, depth).map(Some)
}

/// A bind mount whose source can't be opened.
pub(super) fn unfulfilled(error: Error, mount: &MountPlan) -> Error {
    error.context("failed to fulfil mount request").context(format!("{}.source", mount.field))
}

/// Gives the detached mount `tree` the attributes and the propagation of `mount`.
pub(super) fn tree_of(mount: &MountPlan, plan: &Plan, tree: OwnedFd, depth: Depth) -> Result<Tree> {
    let is_dir = fs::stat(&tree)?.is_dir();
    // A mount on a file has nothing below it.
    let depth = if is_dir { depth } else { Depth::Top };
    for step in steps(mount, plan.propagation.base(), depth) {
        mount::set_attributes(&tree, step.change, step.propagation, step.depth).with_context(|| mount.failure())?;
    }
    Ok(Tree { mount: tree, is_dir })
}

fn host_cgroup() -> Result<OwnedFd> {
    let tree = mount::clone_path(Path::new(CGROUP_MOUNT), Depth::Top, Link::Follow)?;
    check_cgroup(&tree)?;
    Ok(tree)
}

/// Refuses what is not cgroup2 at its usual place.
pub(super) fn check_cgroup(tree: &OwnedFd) -> Result<()> {
    if fs::filesystem_magic(tree)? == magic::CGROUP2 {
        return Ok(());
    }
    let text = format!("{CGROUP_MOUNT} on this machine is not cgroup version 2; list a cgroup namespace");
    Err(Error::new(ErrorKind::Unsupported, text))
}

/// One mount_setattr call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    change: Attributes,
    propagation: Option<Propagation>,
    depth: Depth,
}

/// The calls that give a cloned tree its attributes and propagation, as few as can be.
fn steps(mount: &MountPlan, base: Option<Propagation>, tree: Depth) -> Vec<Step> {
    let single = tree == Depth::Top;
    let mut propagations: Vec<(Propagation, Depth)> = base.map(|base| (base, tree)).into_iter().collect();
    for &(propagation, depth) in &mount.propagation {
        let depth = if single { Depth::Top } else { depth };
        if depth == tree && matches!(propagation, Propagation::Private | Propagation::Unbindable) {
            // Whatever it was before, it no longer is.
            propagations.clear();
        }
        propagations.push((propagation, depth));
    }
    let mut steps: Vec<Step> = propagations
        .into_iter()
        .map(|(propagation, depth)| Step { change: Attributes::NONE, propagation: Some(propagation), depth })
        .collect();
    let (top, all) = if single {
        (mount.attributes.then(mount.recursive), Attributes::NONE)
    } else {
        (mount.attributes, mount.recursive)
    };
    // The attributes ride on the first propagation of their depth; recursive ones come after those of the top.
    for (change, depth) in [(all, Depth::All), (top, Depth::Top)] {
        match steps.first_mut() {
            _ if change.is_empty() => {}
            Some(first) if first.depth == depth && first.change.is_empty() => first.change = change,
            _ => steps.insert(0, Step { change, propagation: None, depth }),
        }
    }
    steps
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::plan_of;
    use super::*;
    use crate::sys::mount::Attribute;

    fn check(options: &str, tree: Depth, expected: &[(Attributes, Option<Propagation>, Depth)]) {
        let options = options.split(' ').collect::<Vec<_>>().join("\",\"");
        let fragment = format!(r#"{{"mounts":[{{"destination":"/d","source":"/s","options":["{options}"]}}]}}"#);
        let plan = plan_of(&fragment, false).unwrap();
        let told: Vec<_> = steps(&plan.mounts[0], plan.propagation.base(), tree)
            .into_iter()
            .map(|step| (step.change, step.propagation, step.depth))
            .collect();
        assert_eq!(told, expected, "{options}");
    }

    const NONE: Attributes = Attributes::NONE;
    const RO: Attributes = NONE.with(Attribute::READ_ONLY);
    const NODEV: Attributes = NONE.with(Attribute::NO_DEV);

    #[test]
    fn one_mount_takes_one_call() {
        check("bind", Depth::Top, &[(NONE, Some(Propagation::Slave), Depth::Top)]);
        check("bind rprivate ro", Depth::Top, &[(RO, Some(Propagation::Private), Depth::Top)]);
        check("rbind ro rnodev", Depth::Top, &[(RO.then(NODEV), Some(Propagation::Slave), Depth::Top)]);
    }

    #[test]
    fn a_tree_takes_one_call_for_each_depth() {
        check("rbind rprivate", Depth::All, &[(NONE, Some(Propagation::Private), Depth::All)]);
        check("rbind rprivate rro", Depth::All, &[(RO, Some(Propagation::Private), Depth::All)]);
        let calls = [(NODEV, None, Depth::Top), (RO, Some(Propagation::Slave), Depth::All)];
        check("rbind rro nodev", Depth::All, &calls);
    }

    #[test]
    fn shared_after_slave_is_both() {
        let calls = [(NONE, Some(Propagation::Slave), Depth::All), (NONE, Some(Propagation::Shared), Depth::All)];
        check("rbind rshared", Depth::All, &calls);
    }
}
