//! `mounts` of the configuration, planned. Spec: config.md, Mounts.

use super::options::{self, Datum, Options};
use super::{ContainerPath, Input, userns};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::mount::{Attribute, Attributes, Depth, Propagation};
use oci_spec::runtime as spec;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// One mount, planned.
#[derive(Debug, Clone)]
pub struct MountPlan {
    /// What asks for it, for errors: its place in the configuration, such as `mounts[3]`.
    pub(crate) field: String,
    /// Where it goes.
    pub(crate) destination: ContainerPath,
    /// What is mounted.
    pub(crate) what: What,
    /// The source as the configuration has it, for errors and for filesystems.
    pub(crate) source: OsString,
    /// Attributes to change on the mount.
    pub(crate) attributes: Attributes,
    /// Attributes to change on it and all below.
    pub(crate) recursive: Attributes,
    /// Propagation to set, in order.
    pub(crate) propagation: Vec<(Propagation, Depth)>,
    /// Read-only only at the end, because other things are still put on it.
    pub(crate) late_read_only: bool,
}

/// What a mount is made of.
#[derive(Debug, Clone)]
pub enum What {
    /// A part of the host's tree.
    Bind {
        /// Path on the host.
        source: PathBuf,
        /// Whether mounts below it come along.
        depth: Depth,
    },
    /// A part of the container's own tree, with what the mounts before it have put there. Its source is configured as
    /// a path of the host, but links in it are the container's and are followed inside the root.
    Inside {
        /// Path in the container.
        source: ContainerPath,
        /// Whether mounts below it come along.
        depth: Depth,
    },
    /// A new filesystem.
    Filesystem {
        /// Its type as the kernel knows it.
        fstype: String,
        /// Flags of the filesystem.
        superblock: Vec<&'static str>,
        /// Its own options.
        data: Vec<Datum>,
    },
    /// The host's cgroup2 mount, cloned: for a container without a cgroup namespace of its own. A fresh cgroup2 mount
    /// in the initial cgroup namespace resets the host's `nsdelegate` and `memory_recursiveprot` and waits for a grace
    /// period of the kernel.
    HostCgroup,
}

impl MountPlan {
    /// Whether it is a bind mount.
    pub(super) fn is_bind(&self) -> bool {
        matches!(self.what, What::Bind { .. } | What::Inside { .. })
    }

    /// Whether the mount, as configured, lets nobody write.
    pub(super) fn is_read_only(&self) -> bool {
        self.late_read_only || [self.attributes, self.recursive].iter().any(|set| set.sets(Attribute::READ_ONLY))
    }

    /// The type, if it is a new filesystem.
    pub(super) fn fstype(&self) -> Option<&str> {
        match &self.what {
            What::Filesystem { fstype, .. } => Some(fstype),
            What::Bind { .. } | What::Inside { .. } | What::HostCgroup => None,
        }
    }

    /// What an error about this mount starts with; shims show it to users.
    pub(super) fn failure(&self) -> String {
        let Self { source, destination, field, .. } = self;
        format!("error mounting \"{}\" to rootfs at \"{destination}\" ({field})", source.display())
    }
}

/// Where the container finds the directory of [`Input::notify`].
pub const NOTIFY: &str = "/run/notify";

/// The only paths below /proc that may be mounted on: LXCFS and FIPS. Without leading slash.
pub(super) const PROC_FILES: &[&str] = &[
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/sys/kernel/ns_last_pid",
    "proc/sys/crypto/fips_enabled",
];

/// Plans all mounts of a root filesystem that is at `rootfs` on the host.
pub(super) fn plan(input: &Input<'_>, rootfs: &Path, warnings: &mut Vec<String>) -> Result<Vec<MountPlan>> {
    let mut plans = Vec::new();
    for (index, mount) in input.mounts.unwrap_or_default().iter().enumerate() {
        plans.push(plan_one(format!("mounts[{index}]"), mount, input, rootfs, warnings)?);
    }
    if let Some(source) = input.notify {
        plans.push(plan_one("NOTIFY_SOCKET".to_owned(), &notify_mount(source), input, rootfs, warnings)?);
    }
    Ok(plans)
}

/// Shows the directory with the socket for readiness messages.
fn notify_mount(source: &Path) -> spec::Mount {
    let mut mount = spec::Mount::default();
    mount.set_destination(PathBuf::from(NOTIFY));
    mount.set_source(Some(source.to_owned()));
    mount.set_typ(None);
    mount.set_options(Some(["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec()));
    mount
}

fn plan_one(
    field: String,
    mount: &spec::Mount,
    input: &Input<'_>,
    rootfs: &Path,
    warnings: &mut Vec<String>,
) -> Result<MountPlan> {
    let destination = destination(&field, mount.destination(), rootfs, warnings)?;
    let words = mount.options().as_deref().unwrap_or_default();
    let of_options = format!("{field}.options");
    if let Some(word) = words.iter().find(|word| word.contains('\0')) {
        return Err(Error::config(&of_options, format!("{word:?} contains a NUL byte")));
    }
    let options = options::parse(words).map_err(|(word, why)| {
        Error::config(&of_options, format!("\"{word}\": {why}")).of_kind(ErrorKind::Unsupported)
    })?;
    check_mappings(&field, mount, &options)?;
    let source = mount.source().as_deref().unwrap_or(Path::new("")).as_os_str().to_owned();
    if source.as_bytes().contains(&0) {
        return Err(Error::config(format!("{field}.source"), "contains a NUL byte"));
    }
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let Options { bind, mut attributes, recursive, mut superblock, propagation, data } = options;
    let what = match (bind, fstype) {
        (Some(depth), _) => {
            refuse_data(&of_options, &data, "bind mounts cannot have any filesystem-specific options applied")?;
            let source = bind_source(&field, &source, input.bundle)?;
            match inside(rootfs, &source) {
                Some(source) => What::Inside { source, depth },
                None => What::Bind { source, depth },
            }
        }
        (None, "cgroup" | "cgroup2") if !input.cgroup_namespace => {
            refuse_data(&of_options, &data, "the host's cgroup mount takes no options of the filesystem")?;
            What::HostCgroup
        }
        (None, "cgroup") => What::Filesystem { fstype: "cgroup2".to_owned(), superblock: Vec::new(), data },
        (None, _) => What::Filesystem { fstype: fstype.to_owned(), superblock: Vec::new(), data },
    };
    let mut plan =
        MountPlan { field, destination, what, source, attributes, recursive, propagation, late_read_only: false };
    userns::check(&plan, input)?;
    check_proc(&plan)?;
    if let What::Filesystem { fstype, superblock: flags, .. } = &mut plan.what {
        let late = fstype == "tmpfs" || plan.destination.is("dev");
        if late && attributes.sets(Attribute::READ_ONLY) {
            attributes = attributes.without(Attribute::READ_ONLY);
            superblock.retain(|flag| *flag != "ro");
            plan.late_read_only = true;
        }
        *flags = superblock;
        plan.attributes = attributes;
    }
    Ok(plan)
}

/// Where a mount goes: a path in the container, which may be given as the path that it has on the host.
fn destination(field: &str, path: &Path, rootfs: &Path, warnings: &mut Vec<String>) -> Result<ContainerPath> {
    let field = || format!("{field}.destination");
    let cleaned = ContainerPath::new(path).ok_or_else(|| Error::config(field(), "contains a NUL byte"))?;
    let on_host = inside(rootfs, path);
    let destination = on_host.clone().unwrap_or(cleaned);
    if destination.is_root() {
        return Err(Error::config(field(), format!("mountpoint \"{}\" is on the top of rootfs", path.display())));
    }
    if path.is_relative() || on_host.is_some() {
        warnings.push(format!("config.json: {}: \"{}\" is taken as {destination}", field(), path.display()));
    }
    Ok(destination)
}

/// The part of `path` below the root filesystem, as text: what names the same place in the container. `None` for a path
/// elsewhere, one with `..`, and when the root filesystem is the host's own root.
fn inside(rootfs: &Path, path: &Path) -> Option<ContainerPath> {
    let below = path.strip_prefix(rootfs).ok().filter(|_| rootfs != Path::new("/"))?;
    let plain = below.components().all(|component| matches!(component, Component::Normal(_)));
    plain.then(|| ContainerPath::new(below)).flatten()
}

fn check_mappings(field: &str, mount: &spec::Mount, options: &Options) -> Result<()> {
    let given = |list: &Option<Vec<spec::LinuxIdMapping>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let (uid, gid) = (given(mount.uid_mappings()), given(mount.gid_mappings()));
    if !uid && !gid {
        return Ok(());
    }
    if uid != gid {
        let advice = "id-mapped mounts must have both uid and gid mappings specified";
        return Err(Error::config(field, advice));
    }
    let field = format!("{field}.uidMappings");
    if options.bind.is_none() {
        return Err(Error::config(field, "id-mapped mounts are only supported for bind-mounts"));
    }
    Err(Error::config(field, "ID-mapped mounts are not supported yet").of_kind(ErrorKind::Unsupported))
}

fn refuse_data(field: &str, data: &[Datum], why: &str) -> Result<()> {
    match data.first() {
        None => Ok(()),
        Some((key, _)) => Err(Error::config(field, format!("{why}: remove \"{key}\""))),
    }
}

fn bind_source(field: &str, source: &OsString, bundle: &Path) -> Result<PathBuf> {
    if source.is_empty() {
        return Err(Error::config(format!("{field}.source"), "is missing; a bind mount needs one"));
    }
    Ok(bundle.join(source))
}

/// Nothing but a procfs goes on /proc, and nothing below it (CVE-2019-16884). Here as text; what links lead to is
/// checked again on the open target.
fn check_proc(plan: &MountPlan) -> Result<()> {
    let destination = &plan.destination;
    let refuse = |why: &str| {
        let text = format!("\"{destination}\" cannot be mounted because it is {why}");
        Err(Error::config(format!("{}.destination", plan.field), text))
    };
    if destination.is("proc") && !plan.is_bind() && plan.fstype() != Some("proc") {
        return refuse("not of type proc");
    }
    let below = destination.below_root().starts_with("proc") && !destination.is("proc");
    if below && !PROC_FILES.iter().any(|file| destination.is(file)) {
        return refuse("inside /proc");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{check_refused, plan_of};
    use super::*;

    fn one(mount: &str) -> MountPlan {
        plan_of(&format!(r#"{{"mounts":[{mount}]}}"#), false).unwrap().mounts.remove(0)
    }

    fn refused(mount: &str, expected: &str) {
        check_refused(&format!(r#"{{"mounts":[{mount}]}}"#), expected);
    }

    #[test]
    fn a_bind_ignores_its_type_and_counts_from_the_bundle() {
        let mount = one(r#"{"destination":"/d","type":"ext4","source":"data","options":["rbind","ro"]}"#);
        let What::Bind { source, depth } = mount.what else { panic!() };
        assert_eq!((source.as_path(), depth), (Path::new("/bundle/data"), Depth::All));
        assert!(mount.attributes.sets(Attribute::READ_ONLY));
        assert!(!mount.late_read_only);
    }

    #[test]
    fn paths_below_the_rootfs_are_the_containers() {
        let inside =
            |source: &str| match one(&format!(r#"{{"destination":"/d","source":"{source}","options":["bind"]}}"#)).what
            {
                What::Inside { source, .. } => Some(source.to_string()),
                _ => None,
            };
        assert_eq!(inside("/bundle/rootfs/a//b/").as_deref(), Some("/a/b"));
        assert_eq!(inside("rootfs").as_deref(), Some("/"));
        assert_eq!(inside("rootfs/../volume"), None);
        assert_eq!(inside("/bundle/rootfs2"), None);
        let destination =
            |path: &str| one(&format!(r#"{{"destination":"{path}","type":"tmpfs"}}"#)).destination.to_string();
        assert_eq!(destination("/bundle/rootfs/x"), "/x");
        assert_eq!(destination("/bundle/x"), "/bundle/x");
        refused(r#"{"destination":"/bundle/rootfs/","type":"tmpfs"}"#, "on the top of rootfs");
        refused(r#"{"destination":"/bundle/rootfs/proc","type":"tmpfs"}"#, "not of type proc");
    }

    #[test]
    fn read_only_comes_late_for_tmpfs_and_dev() {
        let check = |kind: &str, destination: &str, late: bool| {
            let mount = one(&format!(r#"{{"destination":"{destination}","type":"{kind}","options":["ro"]}}"#));
            let What::Filesystem { superblock, .. } = &mount.what else { panic!() };
            assert_eq!(mount.late_read_only, late, "{kind} {destination}");
            assert_eq!(mount.attributes.sets(Attribute::READ_ONLY), !late);
            assert_eq!(superblock.contains(&"ro"), !late);
        };
        check("tmpfs", "/x", true);
        check("devtmpfs", "/dev/", true);
        check("sysfs", "/sys", false);
    }

    #[test]
    fn type_bind_without_the_option_is_no_bind() {
        assert_eq!(one(r#"{"destination":"/d","type":"bind","source":"/x"}"#).fstype(), Some("bind"));
    }

    #[test]
    fn cgroup_is_cgroup2() {
        assert_eq!(one(r#"{"destination":"/sys/fs/cgroup","type":"cgroup"}"#).fstype(), Some("cgroup2"));
    }

    #[test]
    fn bad_mounts_are_refused() {
        refused(r#"{"destination":"/","type":"tmpfs"}"#, "on the top of rootfs");
        refused(r#"{"destination":"/a/..","type":"tmpfs"}"#, "mounts[0].destination");
        refused(r#"{"destination":"/d","source":"/x","options":["bind","size=1"]}"#, "remove \"size\"");
        refused(r#"{"destination":"/d","options":["bind"]}"#, "mounts[0].source: is missing");
        refused(r#"{"destination":"/d","source":"/x\u0000","options":["bind"]}"#, "NUL");
        refused(r#"{"destination":"/d","type":"tmpfs","options":["tmpcopyup"]}"#, "tmpcopyup");
        refused(r#"{"destination":"/proc","type":"tmpfs"}"#, "not of type proc");
        refused(r#"{"destination":"/proc/sys","source":"/x","options":["bind"]}"#, "inside /proc");
        let map = r#"[{"containerID":0,"hostID":1,"size":1}]"#;
        refused(
            &format!(r#"{{"destination":"/d","source":"/x","options":["bind"],"uidMappings":{map}}}"#),
            "both uid and gid",
        );
    }

    #[test]
    fn lxcfs_files_may_be_mounted_in_proc() {
        assert!(one(r#"{"destination":"/proc/meminfo","source":"/x","options":["bind"]}"#).is_bind());
    }
}
