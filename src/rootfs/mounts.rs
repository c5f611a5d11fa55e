//! `mounts` of the configuration, planned. Spec: config.md, Mounts.

use super::options::{self, Datum, Options};
use super::{ContainerPath, Idmap, Input, Label, idmap, userns};
use crate::error::{Error, Result};
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
    /// The map of its ids, and how far down it goes.
    pub(crate) idmap: Option<(Idmap, Depth)>,
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
        /// Whether it begins with a copy of what it covers.
        copy_up: bool,
        /// SELinux's label for its root, where it takes none as an option.
        label: Option<String>,
    },
    /// The host's cgroup2 mount, cloned: for a container without a cgroup namespace of its own. A fresh cgroup2 mount
    /// in the initial cgroup namespace resets the host's `nsdelegate` and `memory_recursiveprot` and waits for a grace
    /// period of the kernel.
    HostCgroup,
    /// The host's sysfs with all below it, cloned, read-only: for a container with a user namespace and no network
    /// namespace of its own, as a new one shows the network namespace to whom it belongs.
    HostSysfs,
    /// Nothing new: what is there is changed.
    Remount(Remount),
}

/// A change of a mount that is there; that of its attributes is in the [`MountPlan`].
#[derive(Debug, Clone)]
pub struct Remount {
    /// Flags and options of the filesystem, unless only the mount is to change (`bind`).
    pub(crate) filesystem: Option<(Vec<&'static str>, Vec<Datum>)>,
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
            What::Bind { .. } | What::Inside { .. } | What::HostCgroup | What::HostSysfs | What::Remount(_) => None,
        }
    }

    /// Whether no link may lead to the destination: what is taken for a procfs or a sysfs later must be there.
    pub(super) fn needs_ordinary_directory(&self) -> bool {
        matches!(self.what, What::HostSysfs) || matches!(self.fstype(), Some("proc" | "sysfs"))
    }

    /// What an error about this mount starts with; shims show it to users.
    pub(super) fn failure(&self) -> String {
        let Self { source, destination, field, .. } = self;
        format!("error mounting \"{}\" to rootfs at \"{destination}\" ({field})", source.display())
    }
}

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

/// Where a container finds the directory of the socket that it tells its readiness to.
pub const NOTIFY: &str = "/run/notify";

/// Plans all mounts of a root filesystem that is at `rootfs` on the host.
pub(super) fn plan(input: &Input<'_>, rootfs: &Path, warnings: &mut Vec<String>) -> Result<Vec<MountPlan>> {
    let mut planned = Vec::new();
    for (index, mount) in input.mounts.unwrap_or_default().iter().enumerate() {
        planned.push(plan_one(format!("mounts[{index}]"), mount, input, rootfs, &planned, warnings)?);
    }
    if let Some(source) = input.notify {
        let mount = notify_mount(source);
        planned.push(plan_one("NOTIFY_SOCKET".to_owned(), &mount, input, rootfs, &planned, warnings)?);
    }
    Ok(planned)
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
    earlier: &[MountPlan],
    warnings: &mut Vec<String>,
) -> Result<MountPlan> {
    let destination = destination(&field, mount.destination(), rootfs, warnings)?;
    let words = mount.options().as_deref().unwrap_or_default();
    if let Some(word) = words.iter().find(|word| word.contains('\0')) {
        return Err(Error::config(format!("{field}.options"), format!("{word:?} contains a NUL byte")));
    }
    let options = options::parse(words);
    let source = mount.source().as_deref().unwrap_or(Path::new("")).as_os_str().to_owned();
    if source.as_bytes().contains(&0) {
        return Err(Error::config(format!("{field}.source"), "contains a NUL byte"));
    }
    let fstype = mount.typ().as_deref().unwrap_or_default();
    if fstype.contains('\0') {
        return Err(Error::config(format!("{field}.type"), "contains a NUL byte"));
    }
    let what = what(&field, fstype, &options, &source, &Around { input, rootfs, earlier, destination: &destination })?;
    let idmap = idmap::plan(&field, mount, options.idmap, &what, input)?;
    let Options { attributes, mut recursive, propagation, .. } = options;
    if matches!(what, What::HostSysfs) {
        let told = "without a network namespace of its own the container gets the host's /sys, read-only";
        warnings.push(format!("config.json: {field}: {told}"));
        recursive = recursive.with(Attribute::READ_ONLY);
    }
    let mut plan = MountPlan {
        field,
        destination,
        what,
        source,
        idmap,
        attributes,
        recursive,
        propagation,
        late_read_only: false,
    };
    userns::check(&plan, input)?;
    check_proc(&plan)?;
    if let What::Filesystem { fstype, superblock, .. } = &mut plan.what {
        let late = fstype == "tmpfs" || plan.destination.is("dev");
        if late && attributes.sets(Attribute::READ_ONLY) {
            plan.attributes = attributes.without(Attribute::READ_ONLY);
            superblock.retain(|flag| *flag != "ro");
            plan.late_read_only = true;
        }
    }
    Ok(plan)
}

/// What the kind of a mount depends on besides itself.
struct Around<'a> {
    input: &'a Input<'a>,
    rootfs: &'a Path,
    /// The mounts before it.
    earlier: &'a [MountPlan],
    destination: &'a ContainerPath,
}

fn what(field: &str, fstype: &str, options: &Options, source: &OsString, around: &Around<'_>) -> Result<What> {
    let of_options = format!("{field}.options");
    if options.copy_up && (fstype != "tmpfs" || options.bind.is_some() || options.remount) {
        return Err(Error::config(of_options, "tmpcopyup is for a new mount of type tmpfs: remove it"));
    }
    if options.remount {
        return remount(&of_options, options, around).map(What::Remount);
    }
    let Input { bundle, cgroup_namespace, network_namespace, user_namespace, .. } = *around.input;
    let superblock = options.superblock.clone();
    Ok(match (options.bind, fstype) {
        (Some(depth), _) => {
            refuse_data(&of_options, &options.data, "bind mounts cannot have any filesystem-specific options applied")?;
            let source = bind_source(field, source, bundle)?;
            match inside(around.rootfs, &source) {
                Some(source) => What::Inside { source, depth },
                None => What::Bind { source, depth },
            }
        }
        (None, "cgroup" | "cgroup2") if !cgroup_namespace => {
            refuse_data(&of_options, &options.data, "the host's cgroup mount takes no options of the filesystem")?;
            What::HostCgroup
        }
        (None, "sysfs") if user_namespace && !network_namespace => What::HostSysfs,
        (None, _) => {
            let (data, label) = labelled(fstype, &options.data, around.input.mount_label.as_ref());
            What::Filesystem {
                fstype: if fstype == "cgroup" { "cgroup2" } else { fstype }.to_owned(),
                superblock,
                data,
                copy_up: options.copy_up,
                label,
            }
        }
    })
}

/// The options of a new filesystem with SELinux's label for all that is in it, which counts unless the options have one.
/// The policy says what is in procfs, sysfs and cgroup2; mqueue gets a label for its root.
fn labelled(fstype: &str, data: &[Datum], label: Option<&Label>) -> (Vec<Datum>, Option<String>) {
    let mut data = data.to_vec();
    match (label, fstype) {
        (None, _) | (_, "proc" | "sysfs" | "cgroup" | "cgroup2") => (data, None),
        (Some(label), "mqueue") => (data, Some(label.value.clone())),
        (Some(Label { option, value }), _) => {
            if !data.iter().any(|(key, _)| key == option) {
                data.push(((*option).to_owned(), Some(value.clone())));
            }
            (data, None)
        }
    }
}

/// A change of what an earlier mount has made; with `bind` of the mount alone. The filesystem itself is changed only if it
/// is new in this container: a bind shares it with the host, which would get the change too.
fn remount(field: &str, options: &Options, around: &Around<'_>) -> Result<Remount> {
    if options.bind.is_some() {
        refuse_data(
            field,
            &options.data,
            "with bind, remount changes the mount alone and takes no options of the filesystem",
        )?;
        return Ok(Remount { filesystem: None });
    }
    let there = around.earlier.iter().rfind(|mount| mount.destination == *around.destination);
    if there.is_none_or(|mount| mount.fstype().is_none()) {
        let advice = format!(
            "remount without bind needs an earlier entry of mounts that makes a filesystem at {}; add bind to change a \
             mount that is there",
            around.destination
        );
        return Err(Error::config(field, advice));
    }
    Ok(Remount { filesystem: Some((options.remounted(), options.data.clone())) })
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
    fn labels_of_selinux() {
        let check = |mount: &str, label: &str, context: Option<&str>, of_root: Option<&str>| {
            let text = format!(r#"{{"mounts":[{{"destination":"/d",{mount}}}],"linux":{{"mountLabel":"{label}"}}}}"#);
            let What::Filesystem { data, label, .. } = plan_of(&text, false).unwrap().mounts.remove(0).what else {
                panic!("{mount}");
            };
            let contexts: Vec<_> = data.iter().filter(|(key, _)| key.ends_with("context")).collect();
            assert_eq!(contexts.len(), usize::from(context.is_some()), "{mount}");
            assert_eq!(contexts.first().and_then(|(_, value)| value.as_deref()), context, "{mount}");
            assert_eq!(label.as_deref(), of_root, "{mount}");
        };
        let label = "u:object_r:t:s0:c1,c2";
        for fstype in ["tmpfs", "devpts", "ext4"] {
            check(&format!(r#""type":"{fstype}""#), label, Some(label), None);
            check(&format!(r#""type":"{fstype}""#), "", None, None);
        }
        check(r#""type":"tmpfs","options":["size=1k","context=own"]"#, label, Some("own"), None);
        check(r#""type":"mqueue""#, label, None, Some(label));
        for fstype in ["sysfs", "cgroup", "cgroup2"] {
            check(&format!(r#""type":"{fstype}""#), label, None, None);
        }
        let text = r#"{"mounts":[{"destination":"/d","type":"tmpfs"}],"linux":{"mountLabel":"a"},
            "annotations":{"run.oci.mount_context_type":"rootcontext"}}"#;
        let What::Filesystem { data, .. } = plan_of(text, false).unwrap().mounts.remove(0).what else { panic!() };
        assert_eq!(data, [("rootcontext".to_owned(), Some("a".to_owned()))]);
        check_refused(
            r#"{"annotations":{"run.oci.mount_context_type":"con"}}"#,
            "\"con\" is none of context, fscontext,",
        );
        let bind = r#"{"mounts":[{"destination":"/d","source":"/x","options":["bind"]}],"linux":{"mountLabel":"a"}}"#;
        assert!(plan_of(bind, false).unwrap().mounts[0].is_bind(), "labelled by whom it belongs to");
        assert_eq!(plan_of(bind, false).unwrap().mount_label.unwrap().value, "a", "for masks");
    }

    #[test]
    fn bad_mounts_are_refused() {
        refused(r#"{"destination":"/","type":"tmpfs"}"#, "on the top of rootfs");
        refused(r#"{"destination":"/a/..","type":"tmpfs"}"#, "mounts[0].destination");
        refused(r#"{"destination":"/d","source":"/x","options":["bind","size=1"]}"#, "remove \"size\"");
        refused(r#"{"destination":"/d","options":["bind"]}"#, "mounts[0].source: is missing");
        refused(r#"{"destination":"/d","source":"/x\u0000","options":["bind"]}"#, "NUL");
        refused(r#"{"destination":"/d","type":"ramfs","options":["tmpcopyup"]}"#, "tmpcopyup is for");
        refused(r#"{"destination":"/proc","type":"tmpfs"}"#, "not of type proc");
        refused(r#"{"destination":"/proc/sys","source":"/x","options":["bind"]}"#, "inside /proc");
    }

    #[test]
    fn remounts_change_what_the_container_has() {
        let tmpfs = r#"{"destination":"/d","type":"tmpfs"}"#;
        let again = |mounts: &str| {
            let plan = plan_of(&format!(r#"{{"mounts":[{mounts}]}}"#), false);
            plan.map(|plan| match plan.mounts.into_iter().next_back().unwrap().what {
                What::Remount(remount) => remount.filesystem,
                other => panic!("{other:?}"),
            })
        };
        let remount = r#"{"destination":"/d","options":["remount","rw","size=1k"]}"#;
        let (flags, data) = again(&format!("{tmpfs},{remount}")).unwrap().unwrap();
        assert_eq!((flags, data), (vec!["rw"], vec![("size".to_owned(), Some("1k".to_owned()))]));
        assert!(again(r#"{"destination":"/d","options":["bind","remount","ro"]}"#).unwrap().is_none());
        let bind = r#"{"destination":"/d","source":"/x","options":["bind"]}"#;
        for earlier in [String::new(), format!("{bind},"), format!("{tmpfs},{bind},")] {
            let told = again(&format!("{earlier}{remount}")).unwrap_err().to_string();
            assert!(told.contains("remount without bind needs an earlier entry"), "{told}");
        }
        refused(r#"{"destination":"/d","options":["bind","remount","size=1"]}"#, "remove \"size\"");
    }

    #[test]
    fn the_hosts_sysfs_is_read_only_all_through() {
        let plan = plan_of(r#"{"mounts":[{"destination":"/sys","type":"sysfs"}]}"#, true).unwrap();
        let mount = &plan.mounts[0];
        assert!(matches!(mount.what, What::HostSysfs) && mount.recursive.sets(Attribute::READ_ONLY));
        assert!(mount.needs_ordinary_directory() && mount.is_read_only());
    }

    #[test]
    fn lxcfs_files_may_be_mounted_in_proc() {
        assert!(one(r#"{"destination":"/proc/meminfo","source":"/x","options":["bind"]}"#).is_bind());
    }
}
