//! Where `/` is shared, as systemd makes it, nothing that the runtime or a container mounts reaches the host: the
//! host's mount table does not change, not even for a moment.

use crate::harness::{Bundle, Invocation, Outcome, binary, is_peer, needs_root, probe_path};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// Runs `invocation` in a mount namespace where all is shared, after the shell script `prepare`, and says what changed
/// in the namespace's table.
fn watched(invocation: Invocation, prepare: &str) -> Outcome {
    let script = format!("mount --make-rshared / && {prepare} && exec \"$@\"");
    let probe = probe_path().to_str().unwrap();
    let wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "-", probe, "watch-mounts"];
    invocation.under(&wrapper).run().ok()
}

/// Asserts that a run of the container succeeds and leaves the table alone.
#[track_caller]
fn check_with(bundle: &Bundle, flags: &[&str], prepare: &str) {
    let done = watched(bundle.start_with("run", flags), prepare);
    assert_eq!(done.json(), json!({"changes": [], "status": 0}), "{done}");
}

#[track_caller]
fn check(bundle: &Bundle) {
    check_with(bundle, &[], "true");
}

/// A container that may mount, and does, on a volume and elsewhere.
fn mounting(volume_options: &[&str]) -> Bundle {
    let mut bundle = Bundle::new();
    for key in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{key}/-"), json!("CAP_SYS_ADMIN"));
    }
    fs::create_dir_all(bundle.path().join("volume/sub")).unwrap();
    fs::create_dir_all(bundle.rootfs().join("sub")).unwrap();
    bundle.mount("/data", "bind", "volume", volume_options);
    bundle.script("mount -t tmpfs x /data/sub && mount -t tmpfs y /sub && mount --bind /sub /tmp && umount /data/sub");
    bundle
}

#[test]
fn the_watch_sees_mounts_that_are_undone_at_once() {
    if !needs_root("propagation of mounts", "they have to be watched in a mount namespace") {
        return;
    }
    let bundle = Bundle::new();
    let mut command = Command::new("sh");
    command.args(["-c", "mount -t tmpfs x /mnt && umount /mnt"]);
    let seen = watched(Invocation::new(&bundle.logs(), command), "true").json();
    assert!(!seen["changes"].as_array().unwrap().is_empty(), "{seen}");
}

#[test]
fn runs_change_nothing() {
    if !needs_root("propagation of mounts", "they have to be watched in a mount namespace") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    check(&bundle);
    check_with(&bundle, &["--no-pivot"], "true");
    let own_mount = format!("mount --bind {root} {root}", root = bundle.rootfs().display());
    check_with(&bundle, &[], &own_mount);
    bundle.without_namespace("cgroup");
    check(&bundle);
}

#[test]
fn sealing_changes_nothing() {
    if !needs_root("propagation of mounts", "they have to be watched in a mount namespace") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    for seal in ["clone", "memfd"] {
        let done = watched(bundle.start_with("run", &[]).env("ONGGI_SEAL", seal), "true");
        assert_eq!(done.json()["changes"], json!([]), "{seal}: {done}");
    }
}

#[test]
fn a_container_with_hooks_changes_nothing() {
    if !needs_root("propagation of mounts", "they have to be watched in a mount namespace") {
        return;
    }
    let mut bundle = Bundle::new();
    let mounting = "mount -t tmpfs x /mnt && mount -t tmpfs y rootfs/data";
    let hook = |script: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]);
    let script = format!("cd {} && {mounting}", bundle.path().display());
    bundle.set("/hooks/createContainer", hook(&script)).set("/hooks/createRuntime", hook("true"));
    bundle.args(&["/bin/grep", "-q", " /data ", "/proc/self/mountinfo"]);
    check(&bundle);
}

#[test]
fn a_user_namespace_changes_nothing() {
    if !needs_root("propagation of mounts", "they have to be watched in a mount namespace") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.namespace("user", None).args(&["/bin/true"]);
    for kind in ["uid", "gid"] {
        bundle.set(&format!("/linux/{kind}Mappings"), json!([{"containerID": 0, "hostID": 0, "size": 65536}]));
    }
    check(&bundle);
}

#[test]
fn mounts_of_the_container_stay_inside() {
    if !needs_root("propagation of mounts", "they have to be watched in a mount namespace") {
        return;
    }
    for propagation in [Value::Null, json!("private"), json!("rprivate"), json!("slave"), json!("unbindable")] {
        for options in [&["rbind"][..], &["rbind", "rprivate"], &["bind", "rslave"], &["rbind", "rshared"]] {
            let mut bundle = mounting(options);
            if !propagation.is_null() {
                bundle.set("/linux/rootfsPropagation", propagation.clone());
            }
            check(&bundle);
        }
    }
}

/// What `rootfsPropagation: shared` and a shared volume are for, and the only way out.
#[test]
fn a_shared_volume_reaches_the_host_and_nothing_else_does() {
    if !needs_root("propagation of mounts", "they have to be watched in a mount namespace") {
        return;
    }
    let mut bundle = mounting(&["rbind", "rshared"]);
    bundle.set("/linux/rootfsPropagation", json!("shared"));
    let seen = watched(bundle.start_with("run", &[]), "true").json();
    assert_eq!(seen["status"], 0, "{seen}");
    let changes = seen["changes"].as_array().unwrap();
    assert!(!changes.is_empty(), "{seen}");
    let lines = changes.iter().flat_map(|change| ["new", "gone"].map(|key| change[key].as_array().unwrap()));
    for line in lines.flatten() {
        assert!(line.as_str().unwrap().contains("/volume/sub "), "{seen}");
    }
}

#[test]
fn a_life_by_single_commands_changes_nothing() {
    if !needs_root("propagation of mounts", "they have to be watched in a mount namespace") {
        return;
    }
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]).save();
    let onggi = format!("{} --root {}", binary().display(), bundle.state_root().display());
    let (id, path) = (&bundle.id, bundle.path().display());
    let mut command = Command::new("sh");
    command.arg("-ec").arg(format!(
        "{onggi} create --bundle {path} {id}; {onggi} start {id}; {onggi} state {id}; {onggi} list
         {onggi} kill {id} TERM; {onggi} delete --force {id}"
    ));
    let done = watched(Invocation::new(&bundle.logs(), command), "true");
    assert_eq!(done.json(), json!({"changes": [], "status": 0}), "{done}");
}

/// The namespace to join is shared with the host: the container's root would show there.
#[test]
fn joining_a_shared_mount_namespace_is_refused() {
    if !needs_root("propagation of mounts", "they have to be watched in a mount namespace") {
        return;
    }
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]).namespace("mount", Some("/proc/1/ns/mnt".as_ref()));
    let done = bundle.start_with("run", &[]).run().exits(1);
    done.says("the mount namespace to join shares its / with other namespaces");
}
