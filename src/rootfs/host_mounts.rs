//! The root filesystem of a container without a mount namespace of its own: among the host's mounts, for as long as the
//! container is there.
//!
//! On the root filesystem's directory lies a holder, a bind mount of that directory alone, and on the holder the
//! container's tree with all that is mounted in it. Where the host's mounts are shared the holder shows in the namespaces
//! that are peers and slaves of ours; it is private itself, so that nothing of the tree does. When it is detached its
//! copies go with it, since nothing lies on them.

use super::prepare::{INVALID_ROOT, Sources};
use super::root::Root;
use crate::container::record::{HostMount, Record};
use crate::container::status;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::Errno;
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access, Stat};
use crate::sys::mount::{self, Attributes, Depth, Propagation};
use crate::sys::mount_table;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Where the container's tree is to be attached.
#[derive(Debug)]
pub(super) struct Spot {
    place: OwnedFd,
    holder: OwnedFd,
}

impl Spot {
    /// The spot for the root filesystem `source`, and that one detached, by one lookup of the path.
    pub(super) fn prepare(source: &Path) -> Result<(Self, OwnedFd)> {
        let place = fs::open(source, Access::PathNoFollow)?;
        let holder = mount::clone_at(&place, Depth::Top)?;
        let tree = mount::clone_at(&place, Depth::All)?;
        // Otherwise its copies would be peers of the host's mount, and hold what is mounted there under the holder.
        make_private(&holder, Depth::Top)?;
        Ok((Self { place, holder }, tree))
    }

    /// Attaches `root` to it.
    pub(super) fn attach(&self, me: &InChild, root: &Root) -> Result<()> {
        mount::attach(me, &self.holder, &self.place)
            .and_then(|()| make_private(&self.holder, Depth::Top))
            .and_then(|()| mount::attach(me, root, &self.holder))
            .context("attach the root filesystem to the host's mounts")
    }
}

/// Refuses the root of the host, whose process would go on to see what is under the container's tree.
pub(super) fn check(source: &Path, stat: &Stat) -> Result<()> {
    let top = fs::open("/", Access::Dir)?;
    let found = fs::stat(&top)?;
    let same_file = (stat.device, stat.inode) == (found.device, found.inode);
    if same_file && mount::mount_id(fs::open(source, Access::PathNoFollow)?)? == mount::mount_id(top)? {
        let text = "/ is the host's root, where a container needs a mount namespace: list {\"type\": \"mount\"}";
        return Err(Error::new(ErrorKind::InvalidConfig, text).context(INVALID_ROOT));
    }
    Ok(())
}

fn make_private(mount: impl AsFd, depth: Depth) -> Result<()> {
    mount::set_attributes(mount, Attributes::NONE, Some(Propagation::Private), depth)
}

/// The host's mounts that a container in the making has or will have. Dropped, they are detached.
#[derive(Debug, Default)]
pub struct HostMounts {
    holder: Option<OwnedFd>,
    /// For the record, before they are there.
    pub record: Vec<HostMount>,
}

impl HostMounts {
    /// Those of `sources`, not yet attached; none where the container has a mount namespace of its own.
    ///
    /// # Errors
    /// The errno of statx(2) or dup(2).
    pub fn of(sources: &Sources) -> Result<Self> {
        let Sources::Ready(prepared) = sources else { return Ok(Self::default()) };
        let Some(Spot { holder, .. }) = &prepared.spot else { return Ok(Self::default()) };
        let record = vec![numbers(holder)?, numbers(&prepared.root)?];
        Ok(Self { holder: Some(fs::duplicate(holder.as_fd())?), record })
    }

    /// Lets them stay.
    pub fn keep(mut self) {
        self.holder = None;
    }
}

impl Drop for HostMounts {
    fn drop(&mut self) {
        if let Some(holder) = &self.holder {
            // What is mounted on the holder goes first, then itself; then, or if it was never attached, there is an error.
            while detach(holder).is_ok() {}
        }
    }
}

/// Detaches what is topmost at `place` with all below it, which does not travel to the host's own mounts, even from binds
/// that are peers of them.
fn detach(place: &OwnedFd) -> Result<()> {
    make_private(place, Depth::All)?;
    mount::detach_at(place)
}

fn numbers(mount: impl AsFd) -> Result<HostMount> {
    let mount = mount.as_fd();
    Ok(HostMount { id: mount::mount_id(mount)?, unique: mount::unique_mount_id(mount)? })
}

/// Detaches what a container has among the host's mounts. What is gone already is fine.
///
/// # Errors
/// `WrongState` when something else is mounted over it; the errno of umount2(2).
pub fn unmount(record: &Record) -> Result<()> {
    if !status::is_of_this_boot(record) {
        return Ok(());
    }
    for wanted in record.host_mounts.iter().rev() {
        // By the kernel's own word on where it is: paths may lead elsewhere by now.
        let Some(mount) = mount_table::find(&mount_table::read()?, wanted.id) else { continue };
        let point = mount.point;
        let doing = || format!("unmount {}", point.display());
        let top = fs::open(&point, Access::PathNoFollow)
            .map_err(|error| error.hint("another mount may hide it: unmount that first"))
            .with_context(doing)?;
        let found = numbers(&top)?;
        let in_place = || fs::open(&record.rootfs, Access::Path).and_then(numbers).is_ok_and(|root| root == found);
        // Without a number that is never given again it is known by its place as well.
        let is_proven = || wanted.unique.map_or_else(in_place, |unique| found.unique == Some(unique));
        if found.id == wanted.id && is_proven() {
            match detach(&top) {
                // Somebody else was faster.
                Err(error) if error.is(Errno::EINVAL) => {}
                other => other.with_context(doing)?,
            }
        } else if found.id != wanted.id && in_place() {
            let advice = "something else is mounted over the container's root filesystem: unmount that first";
            return Err(Error::new(ErrorKind::WrongState, advice)).with_context(doing);
        }
    }
    Ok(())
}
