//! What a caller without privileges, that is any but user 0, can't have. Said by the field here, rather than by an EPERM of
//! the kernel half way.

use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::namespaces::{self, Origin};
use crate::sys::clone::CloneFlags;
use oci_spec::runtime::{LinuxIdMapping, Spec};

/// # Errors
/// `InvalidConfig` for a container without a user namespace and for additional groups, with runc's phrases; for a mount
/// namespace that is joined; for a new time namespace beside a user namespace that is joined; for network devices of the
/// host. `Unsupported` for ID-mapped mounts.
pub(super) fn check(spec: &Spec, host: &Host, namespaces: &namespaces::Plan) -> Result<()> {
    if host.euid == 0 {
        return Ok(());
    }
    if !namespaces.lists(CloneFlags::USER) {
        let advice = "rootless container requires user namespaces: list {\"type\": \"user\"}, with linux.uidMappings \
                      and linux.gidMappings (spec --rootless writes such a config.json), or run onggi as root";
        return Err(Error::config("linux.namespaces", advice));
    }
    if namespaces.origin(CloneFlags::MOUNT) == Origin::Joined {
        let advice = "a mount namespace that exists can be joined by root alone, who may take the root filesystem along: \
                      list {\"type\": \"mount\"} without a path";
        return Err(Error::config("linux.namespaces", advice));
    }
    // Who has joined a user namespace is hidden from all but root, and its new clocks are out of the parent's reach.
    if namespaces.origin(CloneFlags::USER) == Origin::Joined && namespaces.origin(CloneFlags::TIME) == Origin::New {
        let advice = "beside a user namespace that is joined only root can have a new time namespace: join one as well, \
                      or leave it out";
        return Err(Error::config("linux.namespaces", advice));
    }
    if !namespaces.net_devices.is_empty() {
        return Err(Error::config("linux.netDevices", "only root may move network devices of the host: leave it out"));
    }
    let groups = spec.process().as_ref().and_then(|process| process.user().additional_gids().as_ref());
    if groups.is_some_and(|groups| !groups.is_empty()) {
        let advice = "cannot set any additional groups in a rootless container: leave them out";
        return Err(Error::config("process.user.additionalGids", advice));
    }
    refuse_idmapped_mounts(spec)
}

/// Only who mounted a filesystem may map its ids: of the host's filesystems root.
fn refuse_idmapped_mounts(spec: &Spec) -> Result<()> {
    let listed = |list: &Option<Vec<LinuxIdMapping>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let is_option = |word: &String| word == "idmap" || word == "ridmap";
    for (index, mount) in spec.mounts().iter().flatten().enumerate() {
        let options = mount.options().as_deref().unwrap_or_default();
        let name = match () {
            () if options.iter().any(is_option) => "options",
            () if listed(mount.uid_mappings()) || listed(mount.gid_mappings()) => "uidMappings",
            () => continue,
        };
        let advice =
            "an ID-mapped mount needs root, as the host's filesystems are root's: leave it out, or run onggi as root";
        return Err(Error::config(format!("mounts[{index}].{name}"), advice).of_kind(ErrorKind::Unsupported));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::process::tests::host;

    fn told(euid: u32, linux: &str, groups: &str) -> String {
        let text = format!(
            r#"{{"ociVersion":"1.0.0","root":{{"path":"x"}},"linux":{{{linux}}},
                "process":{{"cwd":"/","user":{{"uid":0,"gid":0,"additionalGids":[{groups}]}}}}}}"#
        );
        let spec: Spec = serde_json::from_str(&text).unwrap();
        let namespaces = namespaces::plan(&spec).unwrap();
        let checked = check(&spec, &Host { euid, ..host() }, &namespaces);
        checked.map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn demands() {
        let map = r#"[{"containerID":0,"hostID":1000,"size":1}]"#;
        let user = format!(r#""namespaces":[{{"type":"user"}}],"uidMappings":{map},"gidMappings":{map}"#);
        assert_eq!(told(0, "", "5"), "");
        assert_eq!(told(1000, &user, ""), "");
        assert_eq!(told(1000, r#""namespaces":[{"type":"user","path":"/proc/9/ns/user"}]"#, ""), "");
        assert!(told(1000, "", "").contains("linux.namespaces: rootless container requires user namespaces"));
        let joined =
            r#""namespaces":[{"type":"user","path":"/proc/9/ns/user"},{"type":"mount","path":"/proc/9/ns/mnt"}]"#;
        assert_eq!(told(0, joined, ""), "");
        assert!(
            told(1000, joined, "").contains("linux.namespaces: a mount namespace that exists can be joined by root")
        );
        let clocks = r#""namespaces":[{"type":"user","path":"/proc/9/ns/user"},{"type":"time"}]"#;
        assert_eq!(told(0, clocks, ""), "");
        assert!(told(1000, clocks, "").contains("linux.namespaces: beside a user namespace that is joined"));
        assert!(told(1000, &user, "5").contains("process.user.additionalGids: cannot set any additional groups"));
    }
}
