//! Cgroups that belong to the container: whom they are given to, what it can do with them, and containers in containers.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{Bundle, Snapshot, binary, caller, is_rootless, needs_root};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The files that the kernel gives away with a cgroup.
fn delegated() -> Vec<String> {
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    list.lines().map(str::to_owned).collect()
}

/// Asserts whom the container's cgroup belongs to; the limits are always ours. So is all else when we are a user, who can
/// give nothing away: the container's root.
#[track_caller]
fn check(bundle: &mut Bundle, uid: u32) {
    let (own, group_id) = (caller::uid(), caller::gid());
    let uid = if is_rootless() { own } else { uid };
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    let group = directory(&cgroup_of(bundle));
    let owner = |path: &Path| fs::metadata(path).map(|meta| (meta.uid(), meta.gid())).unwrap();
    assert_eq!(owner(&group), (uid, group_id));
    let list = delegated();
    let mut found = 0;
    for entry in fs::read_dir(&group).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let expected = if list.contains(&name) { uid } else { own };
        assert_eq!(owner(&entry.path()), (expected, group_id), "{name}");
        found += u32::from(list.contains(&name));
    }
    assert!(found >= 3, "{found} of {list:?}");
    bundle.verb("delete", &["-f"]).ok();
}

fn as_user(uid: u32) -> Bundle {
    let mut bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": uid, "gid": uid}));
    bundle
}

#[test]
fn a_writable_private_cgroup_belongs_to_the_containers_user() {
    check(as_user(1000).writable_cgroup(), 1000);
    check(as_user(0).writable_cgroup(), 0);
    // Read-only, or with the host's cgroups in view: nothing is given away.
    check(&mut as_user(1000), 0);
    check(as_user(1000).writable_cgroup().without_namespace("cgroup"), 0);
    check(as_user(1000).writable_cgroup().mount("/sys/fs/cgroup", "tmpfs", "tmpfs", &[]), 0);
    check(as_user(1000).without_mount("/sys/fs/cgroup"), 0);
}

#[test]
fn with_a_user_namespace_it_is_the_user_that_the_host_knows() {
    if !needs_root("cgroups given to other ids", "a user can't give any away") {
        return;
    }
    for (uid, on_host) in [(0, 100_000), (1000, 101_000)] {
        let mut bundle = as_user(uid);
        bundle.namespace("user", None).writable_cgroup();
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        check(&mut bundle, on_host);
    }
}

#[test]
fn a_user_without_privileges_divides_its_cgroup() {
    // A user's cgroup stays the user's, who is the container's root.
    let mut bundle = as_user(if is_rootless() { 0 } else { 1000 });
    // There the files of limits are the same user's, and closed by nsdelegate alone.
    let limits = if is_rootless() { "true" } else { "! echo 3 > cgroup.max.depth && ! echo 1 > cgroup.freeze" };
    bundle.writable_cgroup().script(&format!(
        "cd /sys/fs/cgroup && mkdir -p one/deep two && echo 0 > two/cgroup.procs && grep ^0:: /proc/self/cgroup \
         && for one in $(cat cgroup.controllers); do echo +$one; done > cgroup.subtree_control; ls -d one/deep \
         && {limits} && echo kept",
    ));
    let before = Snapshot::of(&bundle);
    let done = bundle.run().ok();
    assert_eq!(done.stdout, "0::/two\none/deep\nkept\n", "{done}");
    before.assert_unchanged(&bundle);
}

/// What a container must have to make containers.
const MAKER: [&str; 15] = [
    "CAP_SYS_ADMIN",
    "CAP_NET_ADMIN",
    "CAP_BPF",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_MKNOD",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_SETFCAP",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_NET_RAW",
];

/// A bundle for within: whoever makes containers there is root, and there is no systemd.
fn inner() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.by_hand().without_namespace("user").unset("/linux/uidMappings").unset("/linux/gidMappings");
    bundle
}

/// A container that runs `script` with the binary under test at `/onggi` and the bundle `inner` at `/inner`.
fn maker(inner: &Bundle, script: &str) -> Bundle {
    let mut outer = Bundle::new();
    inner.save();
    for link in ["lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), outer.rootfs().join(link)).unwrap();
    }
    outer.capabilities(&MAKER).writable_cgroup();
    outer.unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    outer.mount("/usr", "bind", "/usr", &["rbind", "ro"]).mount("/inner", "bind", inner.path(), &["bind"]);
    outer.mount("/onggi", "bind", binary(), &["bind", "ro"]).mount("/run", "tmpfs", "tmpfs", &[]);
    outer.set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
    outer.script(&format!("run() {{ /onggi --root /run/onggi run --bundle /inner $1; }}; {script}"));
    outer
}

#[test]
fn containers_in_a_container() {
    let mut inner = inner();
    inner
        .without_namespace("cgroup")
        .script("grep ^0:: /proc/self/cgroup; grep -c ^1$ /sys/fs/cgroup/inner/cgroup.procs");
    // As Docker in Docker does it: what holds processes can't give controllers to those below.
    let outer = maker(
        &inner,
        "mkdir /sys/fs/cgroup/main && echo 1 > /sys/fs/cgroup/main/cgroup.procs && run inner \
         && test ! -e /sys/fs/cgroup/inner && cd /sys/fs/cgroup \
         && test \"$(cat cgroup.subtree_control)\" = \"$(cat cgroup.controllers)\" && echo all",
    );
    let before = Snapshot::of(&outer);
    let done = outer.run().ok();
    assert_eq!(done.stdout, "0::/inner\n1\nall\n", "{done}");
    before.ignoring_bundle(&outer).assert_unchanged(&outer);
}

#[test]
fn containers_in_a_container_whose_cgroup_is_in_use() {
    let mut inner = inner();
    inner.args(&["/bin/echo", "inside"]);
    let plain = maker(&inner, "run inner && ls -d /sys/fs/cgroup/*/");
    assert_eq!(plain.run().stdout, "inside\n", "without limits nothing stands in the way, and nothing is left");
    inner.set("/linux/resources/unified", json!({"hugetlb.2MB.max": "0"}));
    let limited = maker(&inner, "run inner || ls -d /sys/fs/cgroup/*/ || ls /run/onggi");
    // Only controllers that divide threads can be had below; with one of them, only threads can be.
    let done = limited.run().says("/sys/fs/cgroup/inner").says("remove the");
    assert_eq!(done.stdout, "", "nothing ran and nothing is left: {done}");
}
