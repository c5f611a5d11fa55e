//! `linux.namespaces` of type user with `uidMappings` and `gidMappings`.

use crate::harness::Bundle;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

/// Container ids 0 to 65535 are host ids 100000 and up.
fn mapped() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.namespace("user", None);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    give(&bundle.rootfs());
    bundle
}

/// Everything below `dir` to host id 100000, which is container root.
fn give(dir: &PathBuf) {
    std::os::unix::fs::lchown(dir, Some(100_000), Some(100_000)).unwrap();
    if fs::symlink_metadata(dir).unwrap().is_dir() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            give(&entry.path());
        }
    }
}

#[test]
fn maps_are_written_and_the_process_is_root_inside() {
    let mut bundle = mapped();
    let seen = bundle.report();
    let map: Vec<&str> = seen.json["uid_map"].as_str().unwrap().split_whitespace().collect();
    assert_eq!(map, ["0", "100000", "65536"]);
    assert_eq!(seen.json["gid_map"], seen.json["uid_map"]);
    assert_eq!(seen.numbers("Uid"), [0; 4]);
    assert_eq!(seen.numbers("Gid"), [0; 4]);
    assert_eq!(seen.json["setgroups"], "allow");
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    assert_ne!(seen.json["namespaces"]["user"], own.to_str().unwrap());
    seen.assert_mount("/dev/mqueue", "mqueue", &[]);
    // The kernel shows it as the initial user namespace sees it.
    seen.assert_mount("/dev/pts", "devpts", &["gid=100005"]);
}

#[test]
fn the_host_sees_mapped_ids() {
    let mut bundle = mapped();
    bundle.args(&["/bin/sleep", "100"]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.start_with("run", &["-d"]).run().ok();
    let meta = fs::metadata(format!("/proc/{}", bundle.pid())).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (101_000, 101_000));
}

/// In two waves: mqueue's root takes its owner when the IPC namespace is made.
#[test]
fn every_other_namespace_belongs_to_the_user_namespace() {
    let mut bundle = mapped();
    let seen =
        bundle.report_with(&["--stat", "/dev/mqueue", "--stat", "/dev/shm", "--stat", "/dev/null", "--stat", "/dev"]);
    for path in ["/dev/mqueue", "/dev/shm", "/dev"] {
        assert_eq!(seen.json["stat"][path]["uid"], 0, "{path}: {}", seen.json["stat"][path]);
    }
    assert_eq!(seen.json["stat"]["/dev/null"]["rdev"], "1:3");
    assert_eq!(seen.json["stat"]["/dev/null"]["mode"], 0o666);
}

#[test]
fn several_ranges() {
    let mut bundle = mapped();
    let map = json!([
        {"containerID": 0, "hostID": 100_000, "size": 1}, {"containerID": 1, "hostID": 200_000, "size": 10},
        {"containerID": 1000, "hostID": 300_000, "size": 1},
    ]);
    bundle.set("/linux/uidMappings", map).set("/process/user/uid", json!(1000));
    let seen = bundle.report();
    assert_eq!(seen.json["uid_map"].as_str().unwrap().lines().count(), 3);
    assert_eq!(seen.numbers("Uid"), [1000; 4]);
}

#[test]
fn sources_that_container_root_cannot_reach_can_be_bound() {
    let mut bundle = mapped();
    let hidden = bundle.path().join("hidden");
    fs::create_dir(&hidden).unwrap();
    fs::write(hidden.join("file"), "for everyone\n").unwrap();
    fs::set_permissions(&hidden, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    fs::write(bundle.rootfs().join("data/file"), "").unwrap();
    bundle.mount("/data/file", "bind", hidden.join("file"), &["bind", "ro"]).args(&["/bin/cat", "/data/file"]);
    assert_eq!(bundle.run().ok().stdout, "for everyone\n");
}

#[test]
fn what_was_bound_can_be_bound_again() {
    let mut bundle = mapped();
    let private = bundle.path().join("private");
    fs::create_dir_all(private.join("data/deep")).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(private.join("data/deep/file"), "content\n").unwrap();
    let inner = bundle.rootfs().join("mnt/deep");
    bundle.mount("/mnt", "bind", private.join("data"), &["rbind"]).mount("/copy", "bind", &inner, &["rbind"]);
    assert_eq!(bundle.args(&["/bin/cat", "/copy/file"]).run().ok().stdout, "content\n");
}

#[test]
fn joined_by_path() {
    let mut donor = mapped();
    donor.args(&["/bin/sleep", "100"]);
    donor.start_with("run", &["-d"]).run().ok();
    let pid = donor.pid();
    let mut bundle = Bundle::new();
    give(&bundle.rootfs());
    bundle.namespace("user", Some(&PathBuf::from(format!("/proc/{pid}/ns/user"))));
    let seen = bundle.report();
    let donors = fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_eq!(seen.json["namespaces"]["user"], donors.to_str().unwrap());
    assert_eq!(seen.numbers("Uid"), [0; 4]);
}

#[test]
fn needs_mappings() {
    let mut bundle = Bundle::new();
    bundle.namespace("user", None).args(&["/bin/true"]);
    bundle.run().exits(1).says("no uid mappings found");
    bundle.set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 100_000, "size": 10}]));
    bundle.run().exits(1).says("no gid mappings found");
}

#[test]
fn ids_outside_of_the_map_are_refused() {
    let mut bundle = mapped();
    bundle.args(&["/bin/true"]).set("/process/user/uid", json!(70_000));
    bundle.run().exits(1).says("unmapped");
    bundle.set("/process/user/uid", json!(0)).set("/process/user/additionalGids", json!([70_000]));
    bundle.run().exits(1).says("unmapped");
}

#[test]
fn overlapping_maps_are_refused() {
    let mut bundle = mapped();
    let map =
        json!([{"containerID": 0, "hostID": 100_000, "size": 10}, {"containerID": 5, "hostID": 200_000, "size": 10}]);
    bundle.set("/linux/uidMappings", map).args(&["/bin/true"]);
    bundle.run().exits(1).says("uidMappings");
}

#[test]
fn capabilities_are_worthless_outside() {
    let mut bundle = mapped();
    // A file of host root, in a directory of the container: mode 0600 holds against container root.
    let secret = bundle.rootfs().join("data/secret");
    fs::write(&secret, "").unwrap();
    chown(&secret, Some(0), Some(0)).unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    bundle.set("/process/capabilities/permitted/-", json!("CAP_DAC_OVERRIDE"));
    bundle.set("/process/capabilities/effective/-", json!("CAP_DAC_OVERRIDE"));
    bundle.set("/process/capabilities/bounding/-", json!("CAP_DAC_OVERRIDE"));
    let tried = bundle.probe(&["open-read", "/data/secret", "/etc/passwd"]);
    assert_eq!(tried, json!({"/data/secret": "EACCES", "/etc/passwd": "ok"}));
}
