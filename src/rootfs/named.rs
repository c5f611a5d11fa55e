//! Sources of mounts under a user namespace.
//!
//! A mount namespace that is made in a user namespace is a copy of the host's with everything locked: read-only, nosuid,
//! nodev and noexec mounts stay so, and what mounts cover stays covered, whatever capabilities the container's root has
//! there (mount_namespaces(7)). Clones of the copy's mounts are locked, too, those of the host's own mounts are not. So
//! what the plan names is opened by the parent, whose rights reach it, but below the root of the child's copy, and cloned
//! by the child.

use super::idmap::{self, Idmaps};
use super::prepare::{
    INVALID_ROOT, SYSFS_MOUNT, check_cgroup, check_root, missing_root, root_of, tree_of, unfulfilled,
};
use super::{MountPlan, Plan, Prepared, What};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::CGROUP_MOUNT;
use crate::sys::Errno;
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access, Resolve, Stat, magic};
use crate::sys::mount::{self, Depth};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The plan with what it names, found on the host.
#[derive(Debug)]
pub struct Named {
    plan: Plan,
    kcore: bool,
    maps: Idmaps,
    /// The root filesystem, then the sources of mounts, then those of devices, in the order of the plan.
    sources: Vec<Source>,
}

/// Something on the host.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    resolve: Resolve,
    /// What was found on the host and must be found again.
    stat: Stat,
    /// A namespace file, which exists once and not in a copy; there is nothing about it to be locked.
    namespace: Option<OwnedFd>,
    /// Place in `mounts` of the ID-mapped mount that it belongs to.
    idmapped: Option<usize>,
}

pub(super) fn prepare(plan: Plan, maps: Idmaps, kcore: bool) -> Result<Named> {
    let mut sources = Vec::with_capacity(plan.mounts.len() + 1);
    let root = Source::find(&plan.source, Access::PathNoFollow).map_err(|error| missing_root(error, &plan.source))?;
    check_root(&plan.source, &root.stat)?;
    sources.push(root);
    for (index, mount) in plan.mounts.iter().enumerate() {
        match &mount.what {
            What::Filesystem { .. } | What::Inside { .. } | What::Remount(_) => {}
            What::Bind { source, .. } => {
                let mut found = Source::find(source, Access::Path).map_err(|error| unfulfilled(error, mount))?;
                if found.namespace.is_some() {
                    idmap::refuse(mount, magic::NSFS).with_context(|| mount.failure())?;
                }
                found.idmapped = mount.idmap.as_ref().map(|_| index);
                sources.push(found);
            }
            What::HostCgroup | What::HostSysfs => {
                let path = if matches!(mount.what, What::HostSysfs) { SYSFS_MOUNT } else { CGROUP_MOUNT };
                let found = Source::find(Path::new(path), Access::Path);
                sources.push(found.with_context(|| mount.failure())?);
            }
        }
    }
    for (path, field) in plan.devices.iter().flat_map(super::devices::DevicesPlan::host_paths) {
        let found = Source::find(&path, Access::PathNoFollow).map_err(|error| {
            error.hint("a user namespace can't make nodes and gets the host's, so there must be one at this path")
        });
        sources.push(found.with_context(|| field)?);
    }
    Ok(Named { plan, kcore, maps, sources })
}

impl Source {
    fn find(path: &Path, access: Access) -> Result<Self> {
        let handle = fs::open(path, access)?;
        let stat = fs::stat(&handle)?;
        let resolve = if access == Access::Path { Resolve::InRoot } else { Resolve::InRootNoFollow };
        let namespace = fs::filesystem_magic(&handle)? == magic::NSFS;
        Ok(Self { path: path.to_owned(), resolve, stat, namespace: namespace.then_some(handle), idmapped: None })
    }

    /// Opens it below `root`, which is the root of a copy of our mount namespace.
    fn find_again(&self, root: &OwnedFd) -> Result<OwnedFd> {
        let told = || format!("open {} in the container's mount namespace", self.path.display());
        let handle =
            fs::open_at(root, &self.path, Access::Path, self.resolve).map_err(|error| error.phrased(told()))?;
        let stat = fs::stat(&handle)?;
        if (stat.device, stat.inode) == (self.stat.device, self.stat.inode) {
            return Ok(handle);
        }
        Err(Error::new(ErrorKind::Denied, "it is another file now")).with_context(told)
    }
}

impl Named {
    /// In the parent: opens everything once more, below `root`, the root of the child's mount namespace. What is ID-mapped
    /// `mapped` gives instead, from what [`Named::map_all`] sends.
    ///
    /// # Errors
    /// The path that can't be opened, or leads elsewhere now.
    pub fn reopen<'a>(
        &'a self,
        root: &'a OwnedFd,
        mut mapped: impl FnMut() -> Result<OwnedFd> + 'a,
    ) -> impl Iterator<Item = Result<OwnedFd>> + 'a {
        let sources = self.sources.iter().filter(|source| source.namespace.is_none());
        sources.map(move |source| if source.idmapped.is_some() { mapped() } else { source.find_again(root) })
    }

    /// Whether there are ID-mapped mounts.
    pub fn has_idmaps(&self) -> bool {
        !self.maps.0.is_empty()
    }

    /// In a process of ours that has joined the child's mount namespace, whose root is `root`: clones the sources of the
    /// ID-mapped mounts, so that they are locked, and maps them, which the child may not.
    ///
    /// # Errors
    /// The mount at fault with what failed.
    pub fn map_all(&self, _: &InChild, root: &OwnedFd, mut send: impl FnMut(OwnedFd) -> Result<()>) -> Result<()> {
        for source in &self.sources {
            let Some(mount) = source.idmapped.and_then(|index| self.plan.mounts.get(index)) else { continue };
            let depth = depth_of(mount).unwrap_or(Depth::Top);
            let tree = source
                .find_again(root)
                .and_then(|handle| mount::clone_at(&handle, depth))
                .map_err(|error| below_is_locked(error, depth))
                .with_context(|| mount.failure())?;
            idmap::apply(&tree, mount, &self.maps)?;
            send(tree)?;
        }
        Ok(())
    }

    /// In the child: makes detached mounts of what [`Named::reopen`] has opened, which `next` hands over.
    ///
    /// # Errors
    /// The mount or device at fault with what failed.
    pub fn clone_all(&self, _: &InChild, mut next: impl FnMut() -> Result<OwnedFd>) -> Result<Prepared> {
        let plan = &self.plan;
        let mut sources = self.sources.iter();
        let mut take = |depth| {
            // One source for each of the calls below.
            let source = sources.next();
            match source.and_then(|source| source.namespace.as_ref()) {
                Some(namespace) => Ok((None, mount::clone_at(namespace, Depth::Top)?)),
                None if source.is_some_and(|source| source.idmapped.is_some()) => Ok((None, next()?)),
                None => {
                    let handle = next()?;
                    let tree = mount::clone_at(&handle, depth);
                    tree.map(|tree| (Some(handle), tree)).map_err(|error| below_is_locked(error, depth))
                }
            }
        };
        let (place, root) = take(Depth::All).context(INVALID_ROOT)?;
        let root = root_of(plan, root)?;
        let mut trees = Vec::with_capacity(plan.mounts.len());
        for mount in &plan.mounts {
            let Some(depth) = depth_of(mount) else {
                trees.push(None);
                continue;
            };
            let (_, tree) = take(depth).with_context(|| mount.failure())?;
            if matches!(mount.what, What::HostCgroup) {
                check_cgroup(&tree).with_context(|| mount.failure())?;
            }
            trees.push(Some(tree_of(mount, plan, tree, depth).map_err(flags_are_locked)?));
        }
        let nodes = match &plan.devices {
            Some(devices) => devices.take_nodes(|| take(Depth::Top).map(|(_, node)| node))?,
            None => Vec::new(),
        };
        let (maps, kcore) = (Idmaps::default(), self.kcore);
        Ok(Prepared { plan: plan.clone(), root, place, spot: None, trees, nodes, maps, kcore })
    }
}

fn depth_of(mount: &MountPlan) -> Option<Depth> {
    match mount.what {
        What::Filesystem { .. } | What::Inside { .. } | What::Remount(_) => None,
        What::Bind { depth, .. } => Some(depth),
        What::HostCgroup => Some(Depth::Top),
        What::HostSysfs => Some(Depth::All),
    }
}

fn below_is_locked(error: Error, depth: Depth) -> Error {
    if error.is(Errno::EINVAL) && depth == Depth::Top {
        return error.hint("in a user namespace what is mounted below a source comes along: use rbind");
    }
    error
}

fn flags_are_locked(error: Error) -> Error {
    if error.is(Errno::EPERM) {
        return error.hint("in a user namespace the flags of the host's mounts stay: leave out options against them");
    }
    error
}
