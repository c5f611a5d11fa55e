//! Attaching the mounts in the child, in the order of the configuration.

use super::copy_up::copy_up;
use super::idmap;
use super::mounts::{PROC_FILES, Remount};
use super::options::Datum;
use super::prepare::{Prepared, Tree, tree_of, unfulfilled};
use super::root::{Links, Root, Target, TargetKind};
use super::{MountPlan, What};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access, PROC_ROOT_INODE, magic};
use crate::sys::mount::{self, Attribute, Attributes, Depth, Filesystem};
use crate::sys::{Errno, metadata, this_process};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What [`Prepared::mount_all`] leaves for later steps.
#[derive(Debug)]
pub struct Mounted {
    /// The root of the procfs at the container's /proc, by the descriptor it was mounted with: trusted, whatever the
    /// path leads to. `None` when the configuration mounts none.
    pub proc: Option<OwnedFd>,
    /// Mounts that [`Prepared::finish`] makes read-only, with the field that asks for it.
    late_read_only: Vec<(String, OwnedFd)>,
}

impl Mounted {
    /// Gives up its descriptors; see [`this_process::leave_open`].
    pub fn leave_open(self, me: &InChild) {
        let late = self.late_read_only.into_iter().map(|(_, mount)| mount);
        self.proc.into_iter().chain(late).for_each(|mount| this_process::leave_open(me, mount));
    }
}

impl Prepared {
    /// Attaches all mounts. To call after [`Prepared::enter`] and in the container's other namespaces, which procfs,
    /// sysfs, mqueue and cgroup2 show; before [`Prepared::pivot`], as a user namespace may mount a procfs only where it
    /// sees a full one.
    ///
    /// # Errors
    /// `error mounting "SRC" to rootfs at "DST" (mounts[i]): …`
    pub fn mount_all(&self, me: &InChild, root: &Root) -> Result<Mounted> {
        // All of them before the first is mounted, which looks for itself: a link at /proc would send a later mount, and
        // with it what is written to it, elsewhere (CVE-2019-19921, CVE-2023-27561, CVE-2025-54867).
        for plan in self.plan.mounts.iter().skip(1).filter(|plan| plan.needs_ordinary_directory()) {
            check_ordinary_directory(me, plan, root).with_context(|| plan.failure())?;
        }
        let mut mounted = Mounted { proc: None, late_read_only: Vec::new() };
        for (plan, tree) in self.plan.mounts.iter().zip(&self.trees) {
            if let What::Remount(remount) = &plan.what {
                change(plan, remount, root).with_context(|| plan.failure())?;
                continue;
            }
            let inside = self.clone_inside(plan, root)?;
            match inside.as_ref().or(tree.as_ref()) {
                Some(tree) => {
                    let is_proc = attach_tree(me, plan, root, tree, &mounted).with_context(|| plan.failure())?;
                    if is_proc {
                        mounted.proc = Some(fs::duplicate(tree.mount.as_fd())?);
                    }
                }
                None => {
                    let mount = attach_filesystem(me, plan, root, &mounted).with_context(|| plan.failure())?;
                    if plan.destination.is("proc") {
                        mounted.proc = Some(mount);
                    } else if plan.late_read_only {
                        mounted.late_read_only.push((plan.field.clone(), mount));
                    } else {
                        this_process::leave_open(me, mount);
                    }
                }
            }
        }
        Ok(mounted)
    }

    /// Clones what `plan` takes from the container's own tree, if it does: only now that the mounts before it are there.
    fn clone_inside(&self, plan: &MountPlan, root: &Root) -> Result<Option<Tree>> {
        let What::Inside { source, depth } = &plan.what else { return Ok(None) };
        let tree = root
            .open(source, Access::Path)
            .map_err(|error| error.phrased(format!("open {} inside the root filesystem", plan.source.display())))
            .and_then(|source| mount::clone_at(source, *depth))
            .map_err(|error| unfulfilled(error, plan))?;
        idmap::apply(&tree, plan, &self.maps)?;
        tree_of(plan, &self.plan, tree, *depth).map(Some)
    }

    /// Makes read-only what had to stay writable for the steps before: `/dev` and tmpfs mounts with `ro`.
    ///
    /// # Errors
    /// The errno of mount_setattr(2), with the mount's field.
    pub fn finish(&self, _: &InChild, mounted: &Mounted) -> Result<()> {
        for (field, mount) in &mounted.late_read_only {
            let read_only = Attributes::NONE.with(Attribute::READ_ONLY);
            mount::set_attributes(mount, read_only, None, Depth::Top)
                .with_context(|| format!("{field}: make it read-only"))?;
        }
        Ok(())
    }
}

/// How the destination of `plan` may be resolved.
fn links(plan: &MountPlan) -> Links {
    if plan.needs_ordinary_directory() { Links::Refuse } else { Links::Follow }
}

fn check_ordinary_directory(me: &InChild, plan: &MountPlan, root: &Root) -> Result<()> {
    match root.look(&plan.destination) {
        // Missing: it will be made.
        Err(error) if error.is(Errno::ENOENT) => Ok(()),
        other => other.map(|found| this_process::leave_open(me, found)).map_err(|error| not_ordinary(plan, error)),
    }
}

fn not_ordinary(plan: &MountPlan, error: Error) -> Error {
    if !plan.needs_ordinary_directory() || !(error.is(Errno::ELOOP) || error.is(Errno::ENOTDIR)) {
        return error;
    }
    // A sysfs may be a bind of the host's.
    let fstype = plan.fstype().unwrap_or("sysfs");
    Error::new(ErrorKind::InvalidConfig, format!("filesystem \"{fstype}\" must be mounted on ordinary directory"))
}

/// Attaches a cloned tree; tells whether it is a procfs on /proc.
fn attach_tree(me: &InChild, plan: &MountPlan, root: &Root, tree: &Tree, mounted: &Mounted) -> Result<bool> {
    let kind = if tree.is_dir { TargetKind::Dir } else { TargetKind::File };
    let target =
        root.create_target(me, &plan.destination, kind, links(plan)).map_err(|error| not_ordinary(plan, error))?;
    let procfs = guard_proc(plan, root, &target, Some(tree.mount.as_fd()), mounted)?;
    mount::attach(me, &tree.mount, &target.fd)?;
    this_process::leave_open(me, target.fd);
    Ok(procfs)
}

fn attach_filesystem(me: &InChild, plan: &MountPlan, root: &Root, mounted: &Mounted) -> Result<OwnedFd> {
    let target = root
        .create_target(me, &plan.destination, TargetKind::Dir, links(plan))
        .map_err(|error| not_ordinary(plan, error))?;
    guard_proc(plan, root, &target, None, mounted)?;
    let mount = make(me, plan, &target)?;
    if let What::Filesystem { copy_up: up, label, .. } = &plan.what {
        if *up {
            copy_up(&target.fd, &mount).context("tmpcopyup")?;
        }
        if let Some(label) = label {
            metadata::set_label(fs::reopen(&mount, Access::ReadDir)?, label).context("linux.mountLabel")?;
        }
    }
    propagate(plan, &mount)?;
    mount::attach(me, &mount, &target.fd)?;
    this_process::leave_open(me, target.fd);
    Ok(mount)
}

fn propagate(plan: &MountPlan, mount: &OwnedFd) -> Result<()> {
    plan.propagation
        .iter()
        .try_for_each(|(propagation, depth)| mount::set_attributes(mount, Attributes::NONE, Some(*propagation), *depth))
}

/// Changes the mount that is at the destination of `plan`.
fn change(plan: &MountPlan, remount: &Remount, root: &Root) -> Result<()> {
    let target = root.open(&plan.destination, Access::Path)?;
    let told = |error: Error| match error.errno() {
        Some(Errno::EINVAL) => error.hint("nothing is mounted there, or it is not to be changed that way"),
        _ => error,
    };
    if let Some((superblock, data)) = &remount.filesystem {
        let filesystem = Filesystem::pick(&target).map_err(told)?;
        set_options(plan, &filesystem, "mounted", superblock, data)?;
        filesystem.reconfigure().map_err(told)?;
    }
    for (change, depth) in [(plan.recursive, Depth::All), (plan.attributes, Depth::Top)] {
        if !change.is_empty() {
            mount::set_attributes(&target, change, None, depth).map_err(told)?;
        }
    }
    propagate(plan, &target)
}

/// Makes the filesystem of `plan` as a detached mount.
fn make(me: &InChild, plan: &MountPlan, target: &Target) -> Result<OwnedFd> {
    let What::Filesystem { fstype, superblock, data, .. } = &plan.what else {
        return Err(Error::new(ErrorKind::System, "a bind mount is no filesystem"));
    };
    let filesystem = Filesystem::open(fstype).map_err(|error| unknown_type(plan, fstype, error))?;
    if !plan.source.is_empty() {
        filesystem.set("source", Some(&plan.source))?;
    }
    if fstype == "tmpfs" && !target.created && !data.iter().any(|(key, _)| key == "mode") {
        // Taken from the directory it covers, as runc and crun do; the kernel's default is 1777.
        let mode = format!("{:o}", target.stat.mode & 0o7777);
        filesystem.set("mode", Some(OsStr::new(&mode)))?;
    }
    set_options(plan, &filesystem, fstype, superblock, data)?;
    filesystem.create().map_err(|error| {
        let messages = filesystem.messages();
        match fstype.as_str() {
            _ if !messages.is_empty() => error.phrased(messages.join("; ")),
            "cgroup2" if error.is(Errno::EPERM) => error.hint(
                "the cgroup namespace belongs to another user namespace: leave it out, and the host's cgroups are bound",
            ),
            _ => error,
        }
    })?;
    filesystem.mount(me, plan.attributes.then(plan.recursive)).map_err(|error| {
        if plan.needs_ordinary_directory() && error.is(Errno::EPERM) {
            return error.context("a user namespace may mount it only where one is visible without covers");
        }
        error
    })
}

fn set_options(
    plan: &MountPlan,
    filesystem: &Filesystem,
    fstype: &str,
    superblock: &[&'static str],
    data: &[Datum],
) -> Result<()> {
    let explain = |error, key: &str, value| explain(error, filesystem, plan, fstype, key, value);
    for flag in superblock {
        filesystem.set(flag, None).map_err(|error| explain(error, flag, None))?;
    }
    for (key, value) in data {
        let value = value.as_deref();
        filesystem.set(key, value.map(OsStr::new)).map_err(|error| explain(error, key, value))?;
    }
    Ok(())
}

fn unknown_type(plan: &MountPlan, fstype: &str, error: Error) -> Error {
    if !error.is(Errno::ENODEV) {
        return error;
    }
    let advice = match fstype {
        "bind" | "rbind" | "none" | "" => "; a bind mount needs the option \"bind\" or \"rbind\"",
        _ => "",
    };
    let text = format!("{}.type: the kernel knows no filesystem \"{fstype}\"{advice}", plan.field);
    error.phrased(text).of_kind(ErrorKind::InvalidConfig)
}

/// The refusal of an option in the filesystem's own words.
fn explain(
    error: Error,
    filesystem: &Filesystem,
    plan: &MountPlan,
    fstype: &str,
    key: &str,
    value: Option<&str>,
) -> Error {
    if !error.is(Errno::EINVAL) {
        return error.context(format!("{}.options: \"{key}\"", plan.field));
    }
    let messages = filesystem.messages();
    let option = value.map_or_else(|| key.to_owned(), |value| format!("{key}={value}"));
    let told = if messages.iter().any(|message| message.contains("Unknown parameter")) {
        format!("the {fstype} filesystem does not know the option \"{option}\"")
    } else {
        let why = messages.iter().map(|message| format!(": {message}")).collect::<String>();
        format!("the {fstype} filesystem refuses the option \"{option}\"{why}")
    };
    error.phrased(format!("{}.options: {told}", plan.field)).of_kind(ErrorKind::InvalidConfig)
}

/// Lets nothing but a procfs be mounted on /proc and nothing but a few files inside it, wherever links led
/// (CVE-2019-16884). Tells whether `tree` is a procfs that goes on /proc.
fn guard_proc(
    plan: &MountPlan,
    root: &Root,
    target: &Target,
    tree: Option<BorrowedFd<'_>>,
    mounted: &Mounted,
) -> Result<bool> {
    let stat = &target.stat;
    // Nothing can be made in a procfs, and a root that is one has no /proc.
    let may_be_in_procfs = !target.created && !root.is_on_same_filesystem(stat);
    let in_procfs = may_be_in_procfs && fs::filesystem_magic(&target.fd)? == magic::PROC;
    let on_proc = if in_procfs {
        stat.inode == PROC_ROOT_INODE
    } else {
        // With a procfs on it, /proc is nothing else any more.
        let proc = if mounted.proc.is_none() { root.stat_proc() } else { None };
        proc.is_some_and(|proc| (proc.device, proc.inode) == (stat.device, stat.inode))
    };
    let refuse = |why| {
        let text = format!("\"{}\" cannot be mounted because it is {why}", plan.destination);
        Err(Error::new(ErrorKind::InvalidConfig, text))
    };
    if on_proc {
        let procfs = match tree {
            None => plan.fstype() == Some("proc"),
            Some(tree) => fs::filesystem_magic(tree)? == magic::PROC && fs::stat(tree)?.inode == PROC_ROOT_INODE,
        };
        return if procfs { Ok(plan.destination.is("proc")) } else { refuse("not of type proc") };
    }
    if in_procfs && !PROC_FILES.iter().any(|file| plan.destination.is(file)) {
        return refuse("inside /proc");
    }
    Ok(false)
}
