//! Who runs the tests: root, or a user without privileges, whose containers need a user namespace.

use super::skip;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Whether the tests run without privileges (`integration/as-user`).
pub fn is_rootless() -> bool {
    uid() != 0
}

/// The user id of the tests.
pub fn uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The group id of the tests.
pub fn gid() -> u32 {
    nix::unistd::getegid().as_raw()
}

/// Whether the tests run as root; says visibly why `what` does not run where they don't.
pub fn needs_root(what: &str, why: &str) -> bool {
    if is_rootless() {
        skip(what, &format!("needs root: {why}"));
    }
    !is_rootless()
}

/// Whether the tests run without privileges; says visibly why `what` does not run where root runs the tests.
pub fn needs_user(what: &str) -> bool {
    if !is_rootless() {
        skip(what, "needs a user without privileges: integration/as-user");
    }
    is_rootless()
}

/// The caller as id 0 of the container, and the subordinate ids from 1 on, as `spec --rootless` and rootless engines map
/// them.
pub fn mappings(file: &str, own: u32) -> Value {
    let (first, count) = subordinate(file);
    json!([{"containerID": 0, "hostID": own, "size": 1}, {"containerID": 1, "hostID": first, "size": count.min(65535)}])
}

/// The id on the host of the container's `id`, of users as of groups.
pub fn on_host(id: u32) -> u32 {
    match id {
        id if !is_rootless() => id,
        0 => uid(),
        id => subordinate("/etc/subuid").0 + id - 1,
    }
}

/// First and number of the ids that `file` gives to us.
pub fn subordinate(file: &str) -> (u32, u32) {
    let name = name();
    let text = fs::read_to_string(file).expect("subordinate ids");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    let (first, count) = line.and_then(|line| line.split_once(':')).expect("a line of ours");
    (first.parse().expect("a number"), count.parse().expect("a number"))
}

/// What a config written for root must have for a user without privileges.
pub fn adapted(mut config: Value) -> Value {
    if is_rootless() {
        config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "user"}));
        config["linux"]["uidMappings"] = mappings("/etc/subuid", uid());
        config["linux"]["gidMappings"] = mappings("/etc/subgid", gid());
    }
    config
}

/// The name of the user that runs the tests.
pub fn name() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("passwd").expect("we are in passwd").name
}

/// Gives `path` to the container's `id`, of users as of groups.
pub fn chown_inside(path: &Path, id: u32) {
    if !is_rootless() {
        return std::os::unix::fs::chown(path, Some(id), Some(id)).expect("chown");
    }
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--map-auto", "chown", &format!("{id}:{id}")]).arg(path);
    assert!(command.status().expect("unshare").success(), "chown {}", path.display());
}

/// Replaces the mounts of filesystems that only the owner of a namespace may mount by binds of the host's.
pub fn bind_what_shows(namespace: &str, config: &mut Value) {
    let fstype = match namespace {
        "network" => "sysfs",
        "pid" => "proc",
        "ipc" => "mqueue",
        _ => return,
    };
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    // Not every machine has one to bind.
    mounts.retain(|mount| mount["type"] != fstype || fstype != "mqueue");
    for mount in mounts.iter_mut().filter(|mount| mount["type"] == fstype) {
        mount["type"] = json!("none");
        mount["source"] = mount["destination"].clone();
        let options = mount["options"].take();
        let mut options: Vec<Value> = options.as_array().cloned().unwrap_or_default();
        options.insert(0, json!("rbind"));
        mount["options"] = json!(options);
    }
}
