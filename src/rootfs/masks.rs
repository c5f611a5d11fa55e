//! `linux.maskedPaths` and `linux.readonlyPaths`, and the read-only root.

use super::ContainerPath;
use super::label::Label;
use super::prepare::Prepared;
use super::root::Root;
use crate::error::{Context, Error, Result};
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access};
use crate::sys::mount::{self, Attribute, Attributes, Depth, Filesystem};
use crate::sys::{Errno, this_process};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Reads a list of paths, duplicates left out; relative ones count from `/`.
pub(super) fn plan(list: &[String], field: &str) -> Result<Vec<ContainerPath>> {
    let mut paths: Vec<ContainerPath> = Vec::with_capacity(list.len());
    let mut seen = BTreeSet::new();
    for (index, text) in list.iter().enumerate() {
        let field = || format!("{field}[{index}]");
        let path = ContainerPath::new(Path::new(text)).ok_or_else(|| Error::config(field(), "contains a NUL byte"))?;
        if path.is_root() {
            return Err(Error::config(field(), "is the root itself; use root.readonly"));
        }
        if seen.insert(path.clone()) {
            paths.push(path);
        }
    }
    Ok(paths)
}

const READ_ONLY: Attributes = Attributes::NONE.with(Attribute::READ_ONLY);

impl Prepared {
    /// The last step, after [`Prepared::pivot`]: read-only paths, masked paths, the read-only root, and the root's final
    /// propagation. A path that does not exist is left out; any other failure ends the start.
    ///
    /// # Errors
    /// The path at fault with what failed.
    pub fn restrict(&self, me: &InChild, root: &Root) -> Result<()> {
        for path in &self.plan.readonly {
            make_readonly(me, root, path).with_context(|| format!("make {path} read-only"))?;
        }
        let mut covers = Covers { label: self.plan.mount_label.as_ref(), dir: None, file: None };
        for path in &self.plan.masked {
            covers.mask(me, root, path).with_context(|| format!("mask {path}"))?;
        }
        [covers.dir, covers.file].into_iter().flatten().for_each(|cover| this_process::leave_open(me, cover));
        if self.plan.root_readonly {
            mount::set_attributes(root, READ_ONLY, None, Depth::Top).context("make the root filesystem read-only")?;
        }
        // Last, as an unbindable root could not be cloned for the paths above.
        if let Some((propagation, depth)) = self.plan.propagation.at_end() {
            mount::set_attributes(root, Attributes::NONE, Some(propagation), depth)
                .context("linux.rootfsPropagation")?;
        }
        Ok(())
    }
}

/// Opens `path` unless it does not exist. Looked up before anything is cloned to cover it: a clone that is never attached
/// costs a grace period of the kernel.
fn existing(root: &Root, path: &ContainerPath) -> Result<Option<OwnedFd>> {
    match root.open(path, Access::Path) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.is(Errno::ENOENT) || error.is(Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Covers `path` with a read-only clone of itself. Cloned, changed and attached through one descriptor, so that it can't
/// be exchanged in between, and is never there writable (GHSA-3q8j-pf29-vwv8). Other attributes of the mount stay.
fn make_readonly(me: &InChild, root: &Root, path: &ContainerPath) -> Result<()> {
    let Some(target) = existing(root, path)? else { return Ok(()) };
    let tree = mount::clone_at(&target, Depth::All)?;
    mount::set_attributes(&tree, READ_ONLY, None, Depth::Top)?;
    cover(me, tree, target)
}

fn cover(me: &InChild, mount: OwnedFd, target: OwnedFd) -> Result<()> {
    mount::attach(me, &mount, &target)?;
    this_process::leave_open(me, mount);
    this_process::leave_open(me, target);
    Ok(())
}

/// What masked paths are covered with, made when the first one needs it.
struct Covers<'a> {
    /// SELinux's label of the directory.
    label: Option<&'a Label>,
    /// An empty read-only directory.
    dir: Option<OwnedFd>,
    /// The container's null device.
    file: Option<OwnedFd>,
}

impl Covers<'_> {
    fn mask(&mut self, me: &InChild, root: &Root, path: &ContainerPath) -> Result<()> {
        let Some(target) = existing(root, path)? else { return Ok(()) };
        if !fs::stat(&target)?.is_dir() {
            let null = match self.file.take() {
                Some(null) => null,
                None => root.null_handle().context("a masked file needs /dev/null in the container")?,
            };
            cover(me, mount::clone_at(&null, Depth::Top)?, target)?;
            self.file = Some(null);
            return Ok(());
        }
        match &self.dir {
            Some(empty) => cover(me, mount::clone_at(empty, Depth::Top)?, target),
            None => {
                let empty = empty_directory(me, self.label)?;
                mount::attach(me, &empty, &target)?;
                this_process::leave_open(me, target);
                self.dir = Some(empty);
                Ok(())
            }
        }
    }
}

/// A tmpfs that can hold nothing but its root.
fn empty_directory(me: &InChild, label: Option<&Label>) -> Result<OwnedFd> {
    let attributes = READ_ONLY.with(Attribute::NO_SUID).with(Attribute::NO_DEV).with(Attribute::NO_EXEC);
    // Some kernels count an inode of their own, as runc found.
    match tmpfs_of("1", label) {
        Err(error) if error.is(Errno::ENOSPC) => tmpfs_of("2", label)?,
        other => other?,
    }
    .mount(me, attributes)
}

fn tmpfs_of(inodes: &str, label: Option<&Label>) -> Result<Filesystem> {
    let filesystem = Filesystem::open("tmpfs")?;
    filesystem.set("source", Some(OsStr::new("tmpfs")))?;
    filesystem.set("nr_blocks", Some(OsStr::new("1")))?;
    filesystem.set("nr_inodes", Some(OsStr::new(inodes)))?;
    filesystem.set("mode", Some(OsStr::new("0755")))?;
    filesystem.set("ro", None)?;
    if let Some(Label { option, value }) = label {
        filesystem.set(option, Some(OsStr::new(value))).context("linux.mountLabel")?;
    }
    filesystem.create()?;
    Ok(filesystem)
}
