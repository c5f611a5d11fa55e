//! Entering the container's tree and leaving the host's.

use super::prepare::Prepared;
use super::root::Root;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access};
use crate::sys::mount::{self, Attributes, Depth, Propagation};
use crate::sys::{Errno, mount_table, this_process};
use std::os::fd::AsFd;
use std::path::Path;

impl Prepared {
    /// Attaches the container's tree in the calling process's mount namespace, which is the container's by now: on top of
    /// "/", or, when there are hooks to find it, at its own path. The process's root stays the old one, so absolute
    /// paths name files of the host until [`Prepared::pivot`].
    ///
    /// # Errors
    /// The errno of move_mount(2); `Unsupported` when a joined namespace would spread the tree to others.
    pub fn enter(&self, me: &InChild) -> Result<&Root> {
        if self.plan.joined {
            self.attach_to_joined(me)?;
        } else {
            // The copies of the host's mounts are about to go; that must not travel back. Recursive slave whatever the
            // configuration says, as its value is about the new root.
            mount::set_namespace_propagation(me, Propagation::Slave).context("make / of the host a slave")?;
            if !self.plan.pivot {
                detach_host_mounts(me)?;
            }
            match self.plan.at_own_path {
                true => self.attach_at_own_path(me)?,
                false => mount::attach_over_root(me, &self.root).context("attach the root filesystem")?,
            }
        }
        this_process::fchdir(me, &self.root)?;
        Ok(&self.root)
    }

    /// The path is that of the bundle, which the engine owns; what it leads to must be the directory that was opened on
    /// the host.
    fn attach_at_own_path(&self, me: &InChild) -> Result<()> {
        let told = || format!("attach the root filesystem at {} for the hooks", self.plan.source.display());
        // Under a user namespace the path may lead through directories that are closed to us.
        let target = match &self.place {
            Some(place) => fs::duplicate(place.as_fd()),
            None => fs::open(&self.plan.source, Access::Dir),
        };
        let target = target.with_context(told)?;
        let (found, opened) = (fs::stat(&target).with_context(told)?, fs::stat(&self.root).with_context(told)?);
        if (found.device, found.inode) != (opened.device, opened.inode) {
            return Err(Error::new(ErrorKind::Denied, "it is another directory now")).with_context(told);
        }
        mount::attach(me, &self.root, target).with_context(told)
    }

    /// The propagation of a joined namespace is not ours to change; the tree is unbindable for the moment, so that the
    /// kernel refuses to attach it to a shared "/".
    fn attach_to_joined(&self, me: &InChild) -> Result<()> {
        mount::attach_over_root(me, &self.root).map_err(|error| {
            if error.is(Errno::EINVAL) {
                let text = "the mount namespace to join shares its / with other namespaces, which would get the \
                            container's root too";
                return Error::new(ErrorKind::Unsupported, text);
            }
            error.context("attach the root filesystem to the joined mount namespace")
        })?;
        mount::set_attributes(&self.root, Attributes::NONE, Some(Propagation::Private), Depth::Top)
    }

    /// Makes the container's tree the root of the process, and in a namespace of its own that of the namespace: the old
    /// root is detached.
    ///
    /// # Errors
    /// EINVAL from pivot_root(2) when the host's root is a ramfs: `--no-pivot` is for that.
    pub fn pivot(&self, me: &InChild, root: &Root) -> Result<()> {
        this_process::fchdir(me, root)?;
        if self.plan.pivot && !self.plan.joined {
            return mount::pivot_root_here(me).map_err(|error| {
                if error.is(Errno::EINVAL) {
                    return error.hint("a host that runs from a ramfs needs --no-pivot");
                }
                error
            });
        }
        // Other processes live in a joined namespace, and keep their root there.
        mount::chroot_here(me)
    }
}

/// Detaches every mount of the host but its root, so that a chroot leaves none to be found: a full /proc or /sys would
/// undo the masks.
fn detach_host_mounts(me: &InChild) -> Result<()> {
    for point in mount_table::points(&mount_table::read()?, None) {
        if point == Path::new("/") {
            continue;
        }
        match mount::detach(me, &point) {
            // Gone already, with a mount that it was below.
            Err(error) if error.is(Errno::EINVAL) || error.is(Errno::ENOENT) => {}
            other => other.context("detach the host's mounts for --no-pivot")?,
        }
    }
    Ok(())
}
