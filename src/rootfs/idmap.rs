//! ID-mapped mounts: what the ids on disk are in the container; mount_setattr(2), "ID-mapped mounts".
//!
//! The kernel takes the map from a user namespace, and only on a detached mount, from whoever has CAP_SYS_ADMIN where the
//! filesystem was mounted: for the host's filesystems nobody in a user namespace.

use super::mounts::{MountPlan, What};
use super::{Input, Plan};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::idmap::{self, IdMap};
use crate::sys::Errno;
use crate::sys::fs::{self, magic};
use crate::sys::mount::{self, Depth};
use oci_spec::runtime as spec;
use std::os::fd::OwnedFd;

/// The map of an ID-mapped mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idmap {
    /// These lines: ids on disk, and what they are on the host.
    Lines {
        /// Users.
        uids: Vec<IdMap>,
        /// Groups.
        gids: Vec<IdMap>,
    },
    /// That of the user namespace which the container joins.
    Joined,
}

/// The user namespaces that hold the maps.
#[derive(Debug, Default)]
pub struct Idmaps(pub Vec<(Idmap, OwnedFd)>);

impl Plan {
    /// The maps that its mounts want, each once.
    pub fn idmaps(&self) -> Vec<Idmap> {
        let mut maps = Vec::new();
        for (map, _) in self.mounts.iter().filter_map(|mount| mount.idmap.as_ref()) {
            if !maps.contains(map) {
                maps.push(map.clone());
            }
        }
        maps
    }
}

/// Reads the lists of `mount`, which stand above the option `idmap` or `ridmap`; its depth is `option`. Without lists it
/// is the container's own map.
pub(super) fn plan(
    at: &str,
    mount: &spec::Mount,
    option: Option<Depth>,
    what: &What,
    input: &Input<'_>,
) -> Result<Option<(Idmap, Depth)>> {
    let uids = mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = mount.gid_mappings().as_deref().unwrap_or_default();
    if uids.is_empty() && gids.is_empty() && option.is_none() {
        return Ok(None);
    }
    let field = |name: &str| format!("{at}.{name}");
    let at_fault = if uids.is_empty() && gids.is_empty() { "options" } else { "uidMappings" };
    match what {
        What::Bind { .. } => {}
        What::Inside { .. } if !input.user_namespace => {}
        What::Inside { .. } => {
            let advice = "in a user namespace what lies inside the root filesystem can't be ID-mapped: name a source \
                          outside of it";
            return Err(Error::config(field(at_fault), advice).of_kind(ErrorKind::Unsupported));
        }
        _ => return Err(Error::config(field(at_fault), "id-mapped mounts are only supported for bind-mounts")),
    }
    let map = match (uids.is_empty(), gids.is_empty()) {
        (false, false) => Idmap::Lines {
            uids: idmap::plan(&field("uidMappings"), uids)?,
            gids: idmap::plan(&field("gidMappings"), gids)?,
        },
        (true, true) if input.user_namespace && input.uid_map.is_empty() => Idmap::Joined,
        (true, true) if input.user_namespace => {
            Idmap::Lines { uids: input.uid_map.to_vec(), gids: input.gid_map.to_vec() }
        }
        (true, true) => {
            let advice = "id-mapped mounts must have both uid and gid mappings specified where the container has no user \
                          namespace: add uidMappings and gidMappings to the mount";
            return Err(Error::config(field("options"), advice));
        }
        (true, false) | (false, true) => {
            let advice = "id-mapped mounts must have both uid and gid mappings specified";
            return Err(Error::config(at, advice));
        }
    };
    Ok(Some((map, option.unwrap_or(Depth::Top))))
}

/// Gives the detached mount `tree` the map of `mount`, if it has one.
pub(super) fn apply(tree: &OwnedFd, mount: &MountPlan, maps: &Idmaps) -> Result<()> {
    let Some((wanted, depth)) = &mount.idmap else { return Ok(()) };
    let missing = || Error::new(ErrorKind::System, "its user namespace is missing");
    let (_, namespace) = maps.0.iter().find(|(map, _)| map == wanted).ok_or_else(missing)?;
    mount::set_idmap(tree, namespace, *depth)
        .map_err(|error| explain(error, tree, *depth))
        .with_context(|| mount.failure())
}

/// Refuses a source that the kernel would refuse, which is only found out later.
pub(super) fn refuse(mount: &MountPlan, filesystem: i64) -> Result<()> {
    match mount.idmap {
        Some((_, depth)) => Err(unsupported(Error::sys("mount_setattr(idmap)", Errno::EINVAL), filesystem, depth)),
        None => Ok(()),
    }
}

fn explain(error: Error, tree: &OwnedFd, depth: Depth) -> Error {
    match error.errno() {
        Some(Errno::EINVAL) => unsupported(error, fs::filesystem_magic(tree).unwrap_or_default(), depth),
        Some(Errno::EPERM) => error.hint(
            "an ID-mapped mount needs CAP_SYS_ADMIN in the user namespace that mounted the filesystem, and a source that is \
             not ID-mapped already",
        ),
        _ => error,
    }
}

fn unsupported(error: Error, filesystem: i64, depth: Depth) -> Error {
    let name = match filesystem {
        magic::PROC => "proc".to_owned(),
        magic::DEVPTS => "devpts".to_owned(),
        magic::CGROUP2 => "cgroup2".to_owned(),
        magic::NSFS => "nsfs".to_owned(),
        0x6265_6572 => "sysfs".to_owned(),
        0x6573_5546 => "fuse".to_owned(),
        0x6969 => "nfs".to_owned(),
        0x0102_1997 => "9p".to_owned(),
        0x794c_7630 => "overlay".to_owned(),
        magic::TMPFS => "tmpfs".to_owned(),
        other => format!("type {other:#x}"),
    };
    let below = if depth == Depth::All { ", or one mounted below it," } else { "" };
    error.hint(format!(
        "the source's filesystem ({name}){below} can't be ID-mapped in this kernel; ext4, xfs, btrfs and, since 6.3, tmpfs \
         can"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::plan_of;
    use super::*;

    const MAPS: &str = r#""uidMappings":[{"containerID":0,"hostID":1000,"size":10}],
        "gidMappings":[{"containerID":0,"hostID":2000,"size":10}]"#;

    fn read(mount: &str, user_namespace: bool) -> std::result::Result<Option<(Idmap, Depth)>, String> {
        let fragment = format!(r#"{{"mounts":[{{"destination":"/d",{mount}}}]}}"#);
        plan_of(&fragment, user_namespace).map(|plan| plan.mounts[0].idmap.clone()).map_err(|error| error.to_string())
    }

    fn lines(uid: (u32, u32), gid: (u32, u32)) -> Idmap {
        let map = |(host, size)| vec![IdMap { container: 0, host, size }];
        Idmap::Lines { uids: map(uid), gids: map(gid) }
    }

    #[test]
    fn lists_stand_above_the_containers_own_map() {
        let with = |options: &str| format!(r#""source":"/s","options":{options},{MAPS}"#);
        let listed = lines((1000, 10), (2000, 10));
        assert_eq!(read(&with(r#"["bind"]"#), false), Ok(Some((listed.clone(), Depth::Top))));
        assert_eq!(read(&with(r#"["rbind","idmap"]"#), true), Ok(Some((listed.clone(), Depth::Top))));
        assert_eq!(read(&with(r#"["rbind","ridmap"]"#), true), Ok(Some((listed, Depth::All))));
        let own = read(r#""source":"/s","options":["rbind","ridmap"]"#, true);
        assert_eq!(own, Ok(Some((lines((0, 1), (0, 1)), Depth::All))));
        assert_eq!(read(r#""source":"/s","options":["rbind"]"#, true), Ok(None));
    }

    #[test]
    fn bad_forms_are_refused_by_their_field() {
        let check = |mount: &str, user_namespace, expected: &str| {
            let told = read(mount, user_namespace).unwrap_err();
            assert!(told.contains(expected), "{mount}: {told}");
        };
        let uids = r#""uidMappings":[{"containerID":0,"hostID":1000,"size":10}]"#;
        check(
            &format!(r#""source":"/s","options":["bind"],{uids}"#),
            false,
            "mounts[0]: id-mapped mounts must have both",
        );
        check(
            &format!(r#""type":"tmpfs",{MAPS}"#),
            false,
            "mounts[0].uidMappings: id-mapped mounts are only supported",
        );
        check(r#""type":"tmpfs","options":["idmap"]"#, true, "mounts[0].options: id-mapped mounts are only supported");
        check(
            r#""source":"/s","options":["bind","idmap"]"#,
            false,
            "mounts[0].options: id-mapped mounts must have both",
        );
        let inside = format!(r#""source":"rootfs/x","options":["bind"],{MAPS}"#);
        assert!(read(&inside, false).is_ok());
        check(&inside, true, "mounts[0].uidMappings: in a user namespace");
        let empty = uids.replace("10}", "0}");
        let empty = format!(
            r#""source":"/s","options":["bind"],{empty},"gidMappings":[{{"containerID":0,"hostID":0,"size":1}}]"#
        );
        check(&empty, false, "mounts[0].uidMappings[0]: size must be at least 1");
    }
}
