//! `linux.namespaces` of type user with `uidMappings` and `gidMappings`.

use crate::harness::{Bundle, caller, is_rootless, needs_root};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

/// Container ids 0 to 65535 are host ids 100000 and up; for users, what all their containers have.
fn mapped() -> Bundle {
    let mut bundle = Bundle::new();
    if is_rootless() {
        return bundle;
    }
    bundle.namespace("user", None);
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    give(&bundle.rootfs());
    bundle
}

/// The host's id for the container's `id`.
fn on_host(id: u32) -> u32 {
    if is_rootless() { caller::on_host(id) } else { 100_000 + id }
}

/// Everything below `dir` to host id 100000, which is container root.
fn give(dir: &PathBuf) {
    if is_rootless() {
        return;
    }
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
    let first = seen.json["uid_map"].as_str().unwrap().lines().next().unwrap().to_owned();
    let size = if is_rootless() { 1 } else { 65536 };
    assert_eq!(first.split_whitespace().collect::<Vec<_>>().join(" "), format!("0 {} {size}", on_host(0)));
    if !is_rootless() {
        assert_eq!(seen.json["gid_map"], seen.json["uid_map"]);
    }
    assert_eq!(seen.numbers("Uid"), [0; 4]);
    assert_eq!(seen.numbers("Gid"), [0; 4]);
    assert_eq!(seen.json["setgroups"], "allow");
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    assert_ne!(seen.json["namespaces"]["user"], own.to_str().unwrap());
    seen.assert_mount("/dev/mqueue", "mqueue", &[]);
    // The kernel shows it as the initial user namespace sees it.
    seen.assert_mount("/dev/pts", "devpts", &[&format!("gid={}", on_host(5))]);
}

#[test]
fn the_host_sees_mapped_ids() {
    let mut bundle = mapped();
    bundle.args(&["/bin/sleep", "100"]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.start_with("run", &["-d"]).run().ok();
    let meta = fs::metadata(format!("/proc/{}", bundle.pid())).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (on_host(1000), on_host(1000)));
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
    let [first, second, third] = if is_rootless() { [0, 100, 50].map(on_host) } else { [100_000, 200_000, 300_000] };
    let map = json!([
        {"containerID": 0, "hostID": first, "size": 1}, {"containerID": 1, "hostID": second, "size": 10},
        {"containerID": 1000, "hostID": third, "size": 1},
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
    bundle.unset("/linux/uidMappings").unset("/linux/gidMappings").namespace("user", None).args(&["/bin/true"]);
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
    bundle.run().exits(1).says(if is_rootless() { "cannot set any additional groups" } else { "unmapped" });
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
    if !needs_root("a file of root in a container", "a user has none") {
        return;
    }
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

/// What the host has made read-only or nosuid, or covered by another mount, stays so for container root with
/// CAP_SYS_ADMIN: its mounts are clones of its own namespace's, in which the kernel has locked them.
#[test]
fn flags_and_covers_of_the_hosts_mounts_are_locked() {
    if !needs_root("flags and covers of mounts", "they have to be mounted first") {
        return;
    }
    let mut bundle = mapped();
    let shared = bundle.path().join("shared");
    fs::create_dir(&shared).unwrap();
    let show = "for dir in /data /run; do grep \" $dir \" /proc/self/mountinfo | cut -d' ' -f6; done";
    bundle.script(&format!(
        "{show}; mount -o remount,bind,suid,dev,exec /data; mount -o remount,bind,rw /run; umount /data/cover; \
         cat /data/cover/hidden; {show}"
    ));
    for key in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{key}/-"), json!("CAP_SYS_ADMIN"));
    }
    bundle.mount("/data", "bind", &shared, &["rbind"]).mount("/run", "bind", shared.join("ro"), &["bind"]);
    let shown = shared.display();
    let prepare = format!(
        "set -e; mount -t tmpfs -o nosuid,nodev,noexec,mode=755 none {shown}; cd {shown}; mkdir ro cover; \
         echo secret > cover/hidden; mount -t tmpfs none cover; mount --bind ro ro; mount -o remount,bind,ro ro; \
         cd /; exec \"$@\""
    );
    // In a mount namespace of its own, so that nothing is left of it.
    let wrapper = ["unshare", "--mount", "sh", "-c", &prepare, "-"];
    let done = bundle.start_with("run", &[]).under(&wrapper).run();
    assert!(!done.stdout.contains("secret"), "a cover was taken off: {done}");
    let flags: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(flags.len(), 4, "{done}");
    assert_eq!(flags[..2], flags[2..], "flags were cleared: {done}");
    assert!(flags[0].contains("nosuid,nodev,noexec") && flags[1].starts_with("ro,"), "{done}");
}

#[test]
fn namespace_files_can_be_bound() {
    let mut bundle = mapped();
    fs::write(bundle.rootfs().join("data/net"), "").unwrap();
    bundle.mount("/data/net", "bind", "/proc/self/ns/net", &["bind"]);
    let seen = bundle.report_with(&["--stat", "/data/net"]);
    let inode = fs::metadata("/proc/self/ns/net").unwrap().ino();
    assert_eq!(seen.json["stat"]["/data/net"]["inode"], inode, "{}", seen.json["stat"]);
}

#[test]
fn what_is_mounted_below_a_source_comes_along_or_is_refused() {
    if !needs_root("what is mounted below a source", "it has to be mounted first") {
        return;
    }
    let mut bundle = mapped();
    let shared = bundle.path().join("shared");
    fs::create_dir_all(shared.join("below")).unwrap();
    bundle.mount("/data", "bind", &shared, &["bind"]).args(&["/bin/true"]);
    let script = format!("mount -t tmpfs none {}/below; exec \"$@\"", shared.display());
    let wrapper = ["unshare", "--mount", "sh", "-c", &script, "-"];
    bundle.start_with("run", &[]).under(&wrapper).run().exits(1).says("use rbind");
    let mount = bundle.mount_index("/data");
    bundle.set(&format!("/mounts/{mount}/options"), json!(["rbind"]));
    bundle.start_with("run", &[]).under(&wrapper).run().ok();
}

/// Hooks look for the root filesystem at its own path, which may lie in a directory that is closed to container root.
#[test]
fn hooks_with_a_root_in_a_private_directory() {
    let mut bundle = mapped();
    let hidden = bundle.path().join("hidden");
    fs::create_dir(&hidden).unwrap();
    fs::rename(bundle.rootfs(), hidden.join("rootfs")).unwrap();
    fs::set_permissions(&hidden, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    bundle.set("/root/path", json!("hidden/rootfs")).args(&["/bin/echo", "ran"]);
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/true"}]));
    assert_eq!(bundle.run().ok().stdout, "ran\n");
}

/// A user namespace that is joined gives every capability back, whatever the caller's bounding set was.
#[test]
fn joined_namespaces_bring_no_capability_beyond_the_config() {
    if !needs_root("joining with few capabilities", "a user has none to drop") {
        return;
    }
    let mut donor = mapped();
    donor.args(&["/bin/sleep", "100"]);
    donor.start_with("run", &["-d"]).run().ok();
    let mut bundle = Bundle::new();
    give(&bundle.rootfs());
    bundle.namespace("user", Some(&PathBuf::from(format!("/proc/{}/ns/user", donor.pid()))));
    bundle.args(&["/bin/grep", "CapBnd", "/proc/self/status"]);
    let expected = bundle.run().ok().stdout;
    // sys_time and sys_boot are in no default set of anybody's.
    let drop = ["setpriv", "--bounding-set", "-sys_time,-sys_boot", "--inh-caps", "-all"];
    let seen = bundle.start_with("run", &[]).under(&drop).run().ok().stdout;
    assert_eq!(seen, expected);
    assert_eq!(expected.trim(), "CapBnd:\t0000000020000420");
}

#[test]
fn a_missing_program_is_told() {
    let mut bundle = mapped();
    bundle.args(&["/no/such/program"]);
    bundle.run().exits(1).says("exec: \"/no/such/program\"").says("no such file or directory");
}
