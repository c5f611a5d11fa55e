//! Entering the container's tree and leaving the host's.

use super::prepare::Prepared;
use super::propagation::RootPropagation;
use super::root::Root;
use super::{Input, MountNamespace};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access};
use crate::sys::mount::{self, Attributes, Depth, Propagation};
use crate::sys::{Errno, mount_table, this_process};
use std::os::fd::AsFd;
use std::path::Path;

/// How the container's tree becomes the root of its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Attached on top of "/" of a new mount namespace, by pivot_root(2).
    OverRoot,
    /// Attached at its own path there, by pivot_root(2): hooks that enter the namespace (NVIDIA's, anything with nsenter)
    /// look for the root filesystem where it is on the host.
    AtOwnPath,
    /// Attached on top of "/" of a new mount namespace that has nothing else, by chroot(2) (`--no-pivot`).
    NoPivot,
    /// Attached on top of "/" of a mount namespace that is joined, by chroot(2).
    Joined,
    /// Attached at its own path among the host's mounts, by chroot(2); see [`super::HostMounts`].
    OnHost,
}

/// Which way the configuration asks for.
pub(super) fn plan(input: &Input<'_>, propagation: RootPropagation) -> Result<Way> {
    if input.mount_namespace == MountNamespace::Host {
        check_on_host(input)?;
        return Ok(Way::OnHost);
    }
    if !input.pivot {
        check_no_pivot(input, propagation)?;
    }
    Ok(match input.mount_namespace {
        MountNamespace::Joined => Way::Joined,
        _ if !input.pivot => Way::NoPivot,
        _ if input.hooks => Way::AtOwnPath,
        _ => Way::OverRoot,
    })
}

/// As runc, which has the host's paths in mind: these are mounts.
fn check_on_host(input: &Input<'_>) -> Result<()> {
    let paths = [
        ("linux.maskedPaths", input.linux.and_then(|linux| linux.masked_paths().as_ref())),
        ("linux.readonlyPaths", input.linux.and_then(|linux| linux.readonly_paths().as_ref())),
    ];
    for (field, paths) in paths {
        if paths.is_some_and(|paths| !paths.is_empty()) {
            let text = "unable to restrict sys entries without a private MNT namespace";
            return Err(Error::config(field, text));
        }
    }
    if input.user_namespace {
        let advice = "a container with a user namespace can't mount anything without a mount namespace of its own: list \
                      {\"type\": \"mount\"}, too";
        return Err(Error::config("linux.namespaces", advice));
    }
    Ok(())
}

fn check_no_pivot(input: &Input<'_>, propagation: RootPropagation) -> Result<()> {
    if propagation.is_private() {
        let advice = "a private root filesystem is not possible with --no-pivot";
        return Err(Error::config("linux.rootfsPropagation", advice));
    }
    if input.user_namespace {
        // Under a user namespace the host's mounts are locked, so /proc and /sys could not be removed.
        let advice = "--no-pivot is not possible with a user namespace: the host's mounts would stay visible";
        return Err(Error::config("linux.namespaces", advice).of_kind(ErrorKind::Unsupported));
    }
    Ok(())
}

impl Prepared {
    /// Attaches the container's tree in the calling process's mount namespace, which is the container's by now, where
    /// its [`Way`] says. The process's root stays the old one, so absolute paths name files of the host until
    /// [`Prepared::pivot`].
    ///
    /// # Errors
    /// The errno of move_mount(2); `Unsupported` when a joined namespace would spread the tree to others.
    pub fn enter(&self, me: &InChild) -> Result<&Root> {
        match (&self.spot, self.plan.way) {
            (Some(spot), _) => spot.attach(me, &self.root)?,
            (None, Way::Joined) => self.attach_to_joined(me)?,
            // Never on to the next one, which changes every mount of the namespace.
            (None, Way::OnHost) => {
                return Err(Error::new(ErrorKind::System, "there is no spot for the root filesystem"));
            }
            (None, way) => {
                // The copies of the host's mounts are about to go; that must not travel back. Recursive slave whatever the
                // configuration says, as its value is about the new root.
                mount::set_namespace_propagation(me, Propagation::Slave).context("make / of the host a slave")?;
                if way == Way::NoPivot {
                    detach_host_mounts(me)?;
                }
                match way {
                    Way::AtOwnPath => self.attach_at_own_path(me)?,
                    _ => mount::attach_over_root(me, &self.root).context("attach the root filesystem")?,
                }
            }
        }
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
        match self.plan.way {
            Way::OverRoot | Way::AtOwnPath => mount::pivot_root_here(me).map_err(|error| {
                if error.is(Errno::EINVAL) {
                    return error.hint("a host that runs from a ramfs needs --no-pivot");
                }
                error
            }),
            // Other processes live in a namespace that is not new, and keep their root there.
            Way::NoPivot | Way::Joined | Way::OnHost => mount::chroot_here(me),
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::plan_with;
    use super::*;
    use MountNamespace::{Host, Joined, New};

    #[test]
    fn ways() {
        for (mount_namespace, pivot, hooks, way) in [
            (New, true, false, Way::OverRoot),
            (New, true, true, Way::AtOwnPath),
            (New, false, true, Way::NoPivot),
            (Joined, true, true, Way::Joined),
            (Joined, false, false, Way::Joined),
            (Host, true, true, Way::OnHost),
            (Host, false, false, Way::OnHost),
        ] {
            let plan = plan_with("{}", |input| {
                (input.mount_namespace, input.pivot, input.hooks) = (mount_namespace, pivot, hooks);
            });
            assert_eq!(plan.unwrap().way, way, "{mount_namespace:?} {pivot} {hooks}");
        }
    }

    #[test]
    fn what_can_not_be() {
        let check = |mount_namespace, pivot, user_namespace, linux: &str, expected: &str| {
            let plan = plan_with(&format!(r#"{{"linux":{linux}}}"#), |input| {
                (input.mount_namespace, input.pivot, input.user_namespace) = (mount_namespace, pivot, user_namespace);
            });
            let text = plan.map_or_else(|error| error.to_string(), |plan| format!("{:?}", plan.way));
            assert!(text.contains(expected), "{mount_namespace:?} {linux}: {text}");
        };
        check(New, false, false, r#"{"rootfsPropagation":"private"}"#, "not possible with --no-pivot");
        check(Host, false, false, r#"{"rootfsPropagation":"private"}"#, "OnHost");
        check(New, false, true, "{}", "--no-pivot is not possible with a user namespace");
        check(Host, true, true, "{}", "linux.namespaces: a container with a user namespace can't mount");
        check(Host, true, false, r#"{"maskedPaths":["/a"]}"#, "linux.maskedPaths: unable to restrict sys entries");
        check(Host, true, false, r#"{"readonlyPaths":["/a"]}"#, "linux.readonlyPaths: unable to restrict sys entries");
        check(Host, true, false, r#"{"readonlyPaths":[]}"#, "OnHost");
    }
}
