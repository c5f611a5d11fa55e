//! Where mounts go: targets of every kind, and what is there already; filesystems that show a namespace.

use crate::harness::{Bundle, Snapshot, is_peer, is_rootless, needs_root};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

#[test]
fn relative_ones_count_from_the_root() {
    let mut bundle = Bundle::new();
    bundle.mount("data", "tmpfs", "tmpfs", &["size=64k"]);
    bundle.report().assert_mount("/data", "tmpfs", &["size=64k"]);
}

/// What a bundle has for the table below.
fn with_targets() -> Bundle {
    let mut bundle = Bundle::new();
    let (root, volume) = (bundle.rootfs(), bundle.path().join("volume"));
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "content\n").unwrap();
    fs::create_dir_all(root.join("there/dir")).unwrap();
    fs::write(root.join("there/file"), "below\n").unwrap();
    nix::unistd::mkfifo(&root.join("there/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    drop(std::os::unix::net::UnixListener::bind(root.join("there/socket")).unwrap());
    for (link, target) in [
        ("to-dir", "/there/dir"),
        ("to-file", "file"),
        ("upwards", "../../../../there/dir"),
        ("dangling", "/made/deep"),
        ("dangling-chain", "dangling-next"),
        ("dangling-next", "made-too"),
        ("loop", "loop"),
        ("magic", "/proc/self/cwd"),
    ] {
        symlink(target, root.join("there").join(link)).unwrap();
    }
    bundle.set("/root/readonly", json!(false));
    bundle
}

/// Destination as configured; whether a directory is mounted, or a file; where the mount is then, or what is said.
const TABLE: &[(&str, bool, Result<&str, &str>)] = &[
    ("/there/dir", true, Ok("/there/dir")),
    ("/there/file", false, Ok("/there/file")),
    ("/there/dir", false, Err("not a directory")),
    ("/there/file", true, Err("not a directory")),
    ("/there/missing", true, Ok("/there/missing")),
    ("/there/missing/deep/file", false, Ok("/there/missing/deep/file")),
    ("/there/file/below", false, Err("not a directory")),
    ("there/dir", true, Ok("/there/dir")),
    ("//there///dir//", true, Ok("/there/dir")),
    ("/there/./../there/dir/.", true, Ok("/there/dir")),
    ("/../../there/dir", true, Ok("/there/dir")),
    ("/there/to-dir", true, Ok("/there/dir")),
    ("/there/to-dir/new", true, Ok("/there/dir/new")),
    ("/there/to-file", false, Ok("/there/file")),
    ("/there/to-file", true, Err("not a directory")),
    ("/there/upwards", true, Ok("/there/dir")),
    ("/there/dangling", true, Ok("/made/deep")),
    ("/there/dangling/er", true, Ok("/made/deep/er")),
    ("/there/dangling-chain", false, Ok("/there/made-too")),
    ("/there/loop", true, Err("too many levels of symbolic links")),
    ("/there/magic", true, Err("mounts[7]")),
    // Whatever is no directory can be covered by a file.
    ("/there/fifo", false, Ok("/there/fifo")),
    ("/there/socket", false, Ok("/there/socket")),
    ("/there/fifo", true, Err("not a directory")),
    ("/", true, Err("on the top of rootfs")),
    ("", true, Err("on the top of rootfs")),
    ("/there/..", true, Err("on the top of rootfs")),
    ("/proc/self", true, Err("inside /proc")),
    ("/proc/1/root/there", true, Err("inside /proc")),
    ("/proc/uptime", false, Ok("/proc/uptime")),
    ("/sys/fs/cgroup", true, Ok("/sys/fs/cgroup")),
];

#[test]
fn of_every_kind() {
    for (destination, directory, expected) in TABLE {
        if is_peer() && (destination.is_empty() || *destination == "/there/magic") {
            continue;
        }
        let mut bundle = with_targets();
        let source = if *directory { "volume" } else { "volume/file" };
        bundle.mount(destination, "none", source, &["bind"]);
        match expected {
            Ok(point) => {
                let seen = bundle.report();
                let mut there = seen.json["mounts"].as_array().unwrap().iter().filter(|mount| mount["point"] == *point);
                let ours =
                    |mount: &serde_json::Value| mount["root"].as_str().is_some_and(|root| root.ends_with(source));
                assert!(there.any(ours), "{destination}: {}", seen.json["mounts"]);
            }
            Err(says) => {
                bundle.args(&["/bin/true"]);
                let before = Snapshot::of(&bundle);
                let done = bundle.run();
                assert!(!done.status.success(), "{destination} from {source}: {done}");
                if !is_peer() {
                    done.exits(1).says(says).says("mounts[7]");
                }
                before.ignoring_bundle(&bundle).assert_unchanged(&bundle);
            }
        }
    }
}

/// In a user namespace a sysfs shows the network namespace that it owns. With the host's network there is the host's
/// /sys, and nothing of it can be written, the host's cgroups least of all (CVE-2023-25809).
#[test]
fn sysfs_with_the_hosts_network() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    if !is_rootless() {
        bundle.namespace("user", None);
        let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    }
    bundle.without_namespace("network").without_mount("/sys/fs/cgroup");
    // For a user the harness has bound the host's.
    bundle.without_mount("/sys").mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev"]);
    let seen = bundle.report();
    let below = seen.json["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|mount| mount["point"].as_str().is_some_and(|point| point == "/sys" || point.starts_with("/sys/")));
    let below: Vec<_> = below.map(|mount| (mount["point"].as_str().unwrap(), mount["options"][0].clone())).collect();
    assert!(!below.is_empty() && below.iter().all(|(_, option)| *option == "ro"), "{below:?}");
    bundle.args(&["/bin/sh", "-c", "! echo 0 > /sys/fs/cgroup/cgroup.procs"]);
    bundle.run().ok().says("the container gets the host's /sys, read-only");
}

/// A link at /sys must not lead it elsewhere there either.
#[test]
fn the_hosts_sysfs_is_not_led_astray() {
    if is_peer() || !needs_root("a link at /sys in a user namespace", "the template has no user namespace otherwise") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.namespace("user", None);
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    bundle.without_namespace("network").without_mount("/sys/fs/cgroup").args(&["/bin/true"]);
    fs::remove_dir(bundle.rootfs().join("sys")).unwrap();
    symlink("/data", bundle.rootfs().join("sys")).unwrap();
    bundle.run().exits(1).says("filesystem \"sysfs\" must be mounted on ordinary directory");
}

/// In a user namespace as without: a size is a size, and what is full is full.
#[test]
fn size_of_a_tmpfs() {
    for with_user_namespace in [false, true] {
        let mut bundle = Bundle::new();
        if with_user_namespace && !is_rootless() {
            bundle.namespace("user", None);
            let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
            bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        }
        bundle.mount("/data", "tmpfs", "tmpfs", &["size=64k"]);
        bundle.script("head -c 60000 /dev/zero > /data/a && ! head -c 60000 /dev/zero > /data/b 2> /dev/null");
        bundle.run().ok();
    }
}

/// With a cgroup namespace the root is the container's own cgroup; without one it is all that the host shows.
#[test]
fn cgroup_with_and_without_a_namespace() {
    let groups = |bundle: &mut Bundle| {
        bundle.script("find /sys/fs/cgroup -type d | wc -l").run().ok().stdout.trim().parse::<usize>().unwrap()
    };
    let mut bundle = Bundle::new();
    assert_eq!(groups(&mut bundle), 1, "its own, without any below");
    for kind in ["cgroup", "cgroup2"] {
        let mut bundle = Bundle::new();
        let index = bundle.mount_index("/sys/fs/cgroup");
        bundle.set(&format!("/mounts/{index}/type"), json!(kind)).without_namespace("cgroup");
        assert!(groups(&mut bundle) > 1, "{kind}: the tests' own groups at least");
        bundle.report().assert_mount("/sys/fs/cgroup", "cgroup2", &["ro"]);
    }
}

#[test]
fn mqueue_is_the_containers_own() {
    let mut bundle = Bundle::new();
    bundle.script("touch /dev/mqueue/one && ls /dev/mqueue");
    assert_eq!(bundle.run().ok().stdout, "one\n");
    assert!(!Path::new("/dev/mqueue/one").exists());
}
