//! The container's root filesystem: mounts, devices, masks, pivot; the only place where a container path becomes a
//! descriptor.
//!
//! ```text
//! plan      pure            config.json to numbers and paths, everything refused that can be without looking
//! prepare   on the host     root, bind sources and host devices become detached mounts with their attributes set
//! enter     in the child    the root is attached on top of "/", and `Root` exists
//! mount_all, devices        in config order; targets, and sources inside the root, are opened below its descriptor
//! finish, pivot, restrict   late read-only, the old root goes, read-only and masked paths
//! ```
//!
//! Which of several ways leads to the root is [`Way`]'s. On the host's own mounts there is one that must be gone back
//! again: [`HostMounts`] while the container is made, [`unmount`] when it is deleted.
//!
//! Between `prepare` and `pivot` no path below the root reaches the kernel: only names relative to a descriptor, resolved
//! by openat2 inside the root (CVE-2021-30465, CVE-2024-45310 and their family).

mod attach;
mod copy_up;
mod devices;
mod host_mounts;
mod idmap;
mod label;
mod masks;
mod mounts;
mod named;
mod options;
mod path;
mod pivot;
mod prepare;
mod propagation;
mod root;
mod userns;

pub use attach::Mounted;
pub use host_mounts::{HostMounts, unmount};
pub use idmap::{Idmap, Idmaps};
pub use label::{Label, mount_label};
pub use mounts::NOTIFY;
pub use named::Named;
pub use options::names as mount_option_names;
pub use prepare::{Prepared, Sources, check, prepare};
pub use root::Root;

use crate::error::{Error, Result};
use crate::idmap::IdMap;
use devices::DevicesPlan;
use mounts::{MountPlan, What};
use oci_spec::runtime as spec;
use path::ContainerPath;
use pivot::Way;
use propagation::RootPropagation;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The container's mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountNamespace {
    /// Its own, made for it.
    New,
    /// An existing one, given by path.
    Joined,
    /// The caller's.
    Host,
}

/// What the plan of the root filesystem depends on.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// `root` of the configuration.
    pub root: Option<&'a spec::Root>,
    /// `mounts` of the configuration.
    pub mounts: Option<&'a [spec::Mount]>,
    /// `linux` of the configuration.
    pub linux: Option<&'a spec::Linux>,
    /// SELinux's label for filesystems of the runtime's own making.
    pub mount_label: Option<Label>,
    /// The bundle's absolute directory, which relative paths of the host start from.
    pub bundle: &'a Path,
    /// Which mount namespace the container has.
    pub mount_namespace: MountNamespace,
    /// Whether it has a user namespace of its own, new or joined.
    pub user_namespace: bool,
    /// Whether it has a cgroup namespace of its own, new or joined.
    pub cgroup_namespace: bool,
    /// Whether it has a network namespace of its own, new or joined.
    pub network_namespace: bool,
    /// Likewise a PID namespace.
    pub pid_namespace: bool,
    /// Likewise an IPC namespace.
    pub ipc_namespace: bool,
    /// The user ids of its new user namespace; empty without one, or when its maps are not ours.
    pub uid_map: &'a [IdMap],
    /// Likewise the group ids.
    pub gid_map: &'a [IdMap],
    /// False with `--no-pivot`: the host's root is a ramfs, which pivot_root(2) refuses.
    pub pivot: bool,
    /// Whether hooks run between `enter` and `pivot`.
    pub hooks: bool,
    /// A directory of the host's to show at [`NOTIFY`].
    pub notify: Option<&'a Path>,
}

/// All about the root filesystem in numbers and paths; made by [`plan`].
#[derive(Debug, Clone)]
pub struct Plan {
    /// The root filesystem's directory on the host.
    pub(crate) source: PathBuf,
    /// Mounts in the order of the configuration.
    pub(crate) mounts: Vec<MountPlan>,
    /// Content of `/dev`; `None` when `/dev` is a bind mount.
    pub(crate) devices: Option<DevicesPlan>,
    /// Paths to cover, without duplicates.
    pub(crate) masked: Vec<ContainerPath>,
    /// Paths to make read-only, without duplicates.
    pub(crate) readonly: Vec<ContainerPath>,
    /// SELinux's label for filesystems of the runtime's own making.
    pub(crate) mount_label: Option<Label>,
    /// Whether the root mount itself ends read-only.
    pub(crate) root_readonly: bool,
    /// `linux.rootfsPropagation`.
    pub(crate) propagation: RootPropagation,
    /// How the tree becomes the root.
    pub(crate) way: Way,
    /// Whether sources are opened again in the container's mount namespace, which is one of a user namespace; see
    /// [`Named`].
    pub(crate) reopens: bool,
}

/// Plans the root filesystem. Pure: touches no file. Spec: config.md, Root and Mounts; config-linux.md.
///
/// # Errors
/// `InvalidConfig` naming the field, `Unsupported` for what this version can't do.
pub fn plan(input: &Input<'_>, warnings: &mut Vec<String>) -> Result<Plan> {
    let propagation = propagation::plan(input.linux.and_then(|linux| linux.rootfs_propagation().as_deref()))?;
    let way = pivot::plan(input, propagation)?;
    let source = source(input)?;
    let mounts = mounts::plan(input, &source, warnings)?;
    let dev_is_bind = mounts.iter().any(|mount| mount.destination.is("dev") && mount.is_bind());
    let devices = devices::plan(input.linux, input.user_namespace)?;
    let paths = |list: Option<&Vec<String>>, field| masks::plan(list.map_or(&[], Vec::as_slice), field);
    Ok(Plan {
        source,
        mounts,
        devices: (!dev_is_bind).then_some(devices),
        masked: paths(input.linux.and_then(|linux| linux.masked_paths().as_ref()), "linux.maskedPaths")?,
        readonly: paths(input.linux.and_then(|linux| linux.readonly_paths().as_ref()), "linux.readonlyPaths")?,
        mount_label: input.mount_label.clone(),
        root_readonly: input.root.and_then(spec::Root::readonly).unwrap_or(false),
        propagation,
        way,
        reopens: input.user_namespace && input.mount_namespace == MountNamespace::New,
    })
}

impl Plan {
    /// Whether the container gets a cgroup2 filesystem at the usual place that is not read-only.
    pub fn has_writable_cgroups(&self) -> bool {
        let topmost = self.mounts.iter().rfind(|mount| mount.destination.is("sys/fs/cgroup"));
        topmost.is_some_and(|mount| mount.fstype() == Some("cgroup2") && !mount.is_read_only())
    }
}

fn source(input: &Input<'_>) -> Result<PathBuf> {
    let Some(root) = input.root else { return Err(Error::config("root", "root must be specified")) };
    let path = root.path();
    if path.as_os_str().is_empty() {
        return Err(Error::config("root.path", "is empty; name the root filesystem's directory"));
    }
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(Error::config("root.path", "contains a NUL byte"));
    }
    // Collecting components drops trailing slashes, behind which a link as last component would hide.
    Ok(input.bundle.join(path).components().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use std::collections::HashMap;

    const MAP: &[IdMap] = &[IdMap { container: 0, host: 0, size: 1 }];

    /// Plans `fragment`, which holds `root`, `mounts`, `linux` and `annotations`, with a new mount and user namespace as told.
    pub(crate) fn plan_of(fragment: &str, user_namespace: bool) -> Result<Plan> {
        let map = if user_namespace { MAP } else { &[] };
        plan_with(fragment, |input| (input.user_namespace, input.uid_map, input.gid_map) = (user_namespace, map, map))
    }

    /// The same with a new mount namespace, and what `change` makes of the rest.
    pub(crate) fn plan_with(fragment: &str, change: impl FnOnce(&mut Input<'_>)) -> Result<Plan> {
        #[derive(serde::Deserialize)]
        struct Fragment {
            root: Option<spec::Root>,
            mounts: Option<Vec<spec::Mount>>,
            linux: Option<spec::Linux>,
            annotations: Option<HashMap<String, String>>,
        }
        let fragment: Fragment = serde_json::from_str(fragment).unwrap();
        let rootfs = spec::RootBuilder::default().path("rootfs").build().unwrap();
        let mut input = Input {
            root: fragment.root.as_ref().or(Some(&rootfs)),
            mounts: fragment.mounts.as_deref(),
            linux: fragment.linux.as_ref(),
            mount_label: mount_label(fragment.linux.as_ref(), fragment.annotations.as_ref())?,
            bundle: Path::new("/bundle"),
            mount_namespace: MountNamespace::New,
            user_namespace: false,
            cgroup_namespace: true,
            network_namespace: false,
            pid_namespace: true,
            ipc_namespace: false,
            uid_map: &[],
            gid_map: &[],
            pivot: true,
            hooks: false,
            notify: None,
        };
        change(&mut input);
        plan(&input, &mut Vec::new())
    }

    /// Asserts that `fragment` is refused with a text that holds `expected`.
    pub(crate) fn check_refused(fragment: &str, expected: &str) {
        let text = plan_of(fragment, false).unwrap_err().to_string();
        assert!(text.contains(expected), "{fragment}: {text}");
    }

    #[test]
    fn root_is_relative_to_the_bundle_and_cleaned() {
        let source = |path| plan_of(&format!(r#"{{"root":{{"path":"{path}"}}}}"#), false).unwrap().source;
        assert_eq!(source("rootfs/"), Path::new("/bundle/rootfs"));
        assert_eq!(source("/x/./y//"), Path::new("/x/y"));
    }

    #[test]
    fn bad_fields_are_named() {
        check_refused(r#"{"root":{"path":""}}"#, "root.path: is empty");
        check_refused(r#"{"linux":{"rootfsPropagation":"foo"}}"#, "rootfsPropagation=foo is not supported");
        check_refused(r#"{"linux":{"maskedPaths":["/a","/b\u0000"]}}"#, "linux.maskedPaths[1]");
    }

    #[test]
    fn masks_lose_duplicates() {
        let plan = plan_of(r#"{"linux":{"maskedPaths":["/a/","a","/b"]}}"#, false).unwrap();
        assert_eq!(plan.masked.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/a", "/b"]);
    }
}
