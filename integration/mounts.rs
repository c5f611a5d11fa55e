//! `mounts`: types, options, targets that have to be made, order, what is refused.

use crate::harness::{Bundle, Snapshot, is_peer, is_rootless, needs_root};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A bundle with a directory `volume` that has a file, and a writable root.
fn with_volume() -> Bundle {
    let mut bundle = Bundle::new();
    let volume = bundle.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "content\n").unwrap();
    bundle.set("/root/readonly", json!(false));
    bundle
}

#[test]
fn bind_of_a_directory_relative_to_the_bundle() {
    let mut bundle = with_volume();
    bundle.mount("/data", "bind", "volume", &["bind"]).script("cat /data/file; echo written > /data/new");
    assert_eq!(bundle.run().ok().stdout, "content\n");
    assert_eq!(fs::read_to_string(bundle.path().join("volume/new")).unwrap(), "written\n");
}

#[test]
fn bind_of_a_file_makes_its_target() {
    let mut bundle = with_volume();
    let source = bundle.path().join("volume/file");
    bundle.mount("/deep/down/here", "none", &source, &["rbind", "rprivate"]).args(&["/bin/cat", "/deep/down/here"]);
    assert_eq!(bundle.run().ok().stdout, "content\n");
    let mode = |path: &str| fs::metadata(bundle.rootfs().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("deep"), mode("deep/down"), mode("deep/down/here")), (0o755, 0o755, 0o644));
    assert_eq!(fs::read(bundle.rootfs().join("deep/down/here")).unwrap(), b"", "an empty file below the mount");
}

#[test]
fn options_of_binds() {
    let mut bundle = with_volume();
    let volume = bundle.path().join("volume");
    for (name, options) in [
        ("ro", vec!["bind", "ro"]),
        ("all", vec!["rbind", "nosuid", "nodev", "noexec"]),
        ("noatime", vec!["bind", "noatime"]),
        ("slave", vec!["bind", "rslave"]),
        ("shared", vec!["bind", "shared"]),
        ("rro", vec!["rbind", "rro"]),
        ("symlink", vec!["bind", "nosymfollow"]),
        ("default", vec!["bind", "defaults"]),
        ("plain", vec!["bind"]),
    ] {
        if is_peer() && ["default", "rro", "symlink"].contains(&name) {
            continue;
        }
        // How access times are kept is locked, see below.
        if is_rootless() && name == "noatime" {
            continue;
        }
        bundle.mount(&format!("/{name}"), "bind", &volume, &options);
    }
    let seen = bundle.report();
    seen.assert_mount("/ro", "", &["ro", "!noexec"]);
    seen.assert_mount("/all", "", &["nosuid", "nodev", "noexec", "rw"]);
    if !is_rootless() {
        seen.assert_mount("/noatime", "", &["noatime"]);
    }
    seen.assert_mount("/plain", "", &["rw", "!nosuid", "!nodev", "!noexec"]);
    let propagation = |point: &str| seen.mount(point).unwrap()["propagation"].to_string();
    assert!(propagation("/shared").contains("shared:"), "{}", propagation("/shared"));
    assert!(!propagation("/slave").contains("shared:"), "{}", propagation("/slave"));
    assert!(!propagation("/plain").contains("shared:"), "{}", propagation("/plain"));
    if !is_peer() {
        seen.assert_mount("/rro", "", &["ro"]);
        seen.assert_mount("/symlink", "", &["nosymfollow"]);
        seen.assert_mount("/default", "", &["rw"]);
    }
}

#[test]
fn read_only_bind_cannot_be_written() {
    let mut bundle = with_volume();
    bundle.mount("/data", "bind", "volume", &["bind", "ro"]);
    let tried = bundle.probe(&["open-write", "/data/file", "/data"]);
    assert_eq!(tried, json!({"/data/file": "EROFS", "/data": "EROFS"}));
}

/// A private view with submounts: `rbind` brings them, `bind` does not, `ro` is of the top, `rro` of all.
#[test]
fn submounts() {
    if !needs_root("mounts below a volume", "they have to be mounted first") {
        return;
    }
    let mut bundle = with_volume();
    fs::create_dir(bundle.path().join("volume/sub")).unwrap();
    for (point, options) in [("/plain", vec!["bind"]), ("/rec", vec!["rbind"]), ("/ro", vec!["rbind", "ro"])] {
        bundle.mount(point, "bind", "volume", &options);
    }
    if !is_peer() {
        bundle.mount("/rro", "bind", "volume", &["rbind", "rro"]);
    }
    bundle.args(&["/probe", "report"]);
    let script = format!("mount -t tmpfs sub {}/volume/sub && exec \"$@\"", bundle.path().display());
    let wrapper = ["unshare", "-m", "--propagation", "slave", "sh", "-c", &script, "-"];
    let seen = crate::harness::Report::parse(&bundle.start_with("run", &[]).under(&wrapper).run().ok());
    assert!(seen.mount("/plain/sub").is_none());
    seen.assert_mount("/rec/sub", "tmpfs", &["rw"]);
    seen.assert_mount("/ro", "", &["ro"]);
    seen.assert_mount("/ro/sub", "tmpfs", &["rw"]);
    if !is_peer() {
        seen.assert_mount("/rro/sub", "tmpfs", &["ro"]);
    }
}

#[test]
fn tmpfs_with_and_without_a_mode() {
    let mut bundle = Bundle::new();
    fs::create_dir(bundle.rootfs().join("moded")).unwrap();
    fs::set_permissions(bundle.rootfs().join("moded"), PermissionsExt::from_mode(0o710)).unwrap();
    bundle.mount("/moded", "tmpfs", "tmpfs", &["size=64k"]).mount(
        "/tmp",
        "tmpfs",
        "tmpfs",
        &["mode=0711", "uid=7", "ro"],
    );
    let seen = bundle.report_with(&["--stat", "/moded", "--stat", "/tmp"]);
    assert_eq!(seen.json["stat"]["/moded"]["mode"], 0o710, "takes the mode of the directory it covers");
    assert_eq!((&seen.json["stat"]["/tmp"]["mode"], &seen.json["stat"]["/tmp"]["uid"]), (&json!(0o711), &json!(7)));
    seen.assert_mount("/moded", "tmpfs", &["size=64k", "rw"]);
    seen.assert_mount("/tmp", "tmpfs", &["ro"]);
}

#[test]
fn in_order_and_on_top_of_each_other() {
    let mut bundle = with_volume();
    bundle.mount("/data", "tmpfs", "tmpfs", &[]).mount("/data/below", "bind", "volume", &["bind"]);
    bundle.mount("/data/below", "tmpfs", "over", &[]);
    bundle.script("cut -d' ' -f5 /proc/self/mountinfo | grep ^/data | sort; ls /data/below");
    assert_eq!(bundle.run().ok().stdout, "/data\n/data/below\n/data/below\n");
}

/// Sources below the root filesystem, named as on the host, show what the mounts before have put there.
#[test]
fn sources_made_by_earlier_mounts() {
    let mut bundle = with_volume();
    let rootfs = bundle.rootfs();
    bundle.mount("/mnt", "bind", "volume", &["bind"]);
    bundle.mount("/mnt/data", "tmpfs", "tmpfs", &["mode=700"]);
    bundle.mount("/copy", "bind", rootfs.join("mnt"), &["rbind"]);
    bundle.mount("/single", "bind", rootfs.join("copy/file"), &["bind", "ro"]);
    bundle.script("cat /copy/file; echo kept > /mnt/data/new; cat /copy/data/new; cat /single; echo > /single");
    let done = bundle.run().fails();
    assert_eq!(done.stdout, "content\nkept\ncontent\n");
    assert!(done.stderr.contains("Read-only file system"), "{}", done.stderr);
    assert!(!bundle.path().join("volume/data/new").exists(), "it lies on the tmpfs");
}

/// A destination named as on the host means the same place in the container.
#[test]
fn destination_below_the_rootfs() {
    let mut bundle = with_volume();
    let destination = bundle.rootfs().join("data");
    bundle.mount(destination.to_str().unwrap(), "bind", "volume", &["bind"]).args(&["/bin/cat", "/data/file"]);
    let done = bundle.run().ok().says("is taken as /data");
    assert_eq!(done.stdout, "content\n");
}

/// Links of the image in such a source lead into the image, not to the host.
#[test]
fn symlinks_in_sources_below_the_rootfs_stay_inside() {
    let mut bundle = with_volume();
    symlink(bundle.path().join("volume"), bundle.rootfs().join("link")).unwrap();
    let source = bundle.rootfs().join("link/file");
    bundle.mount("/data", "bind", &source, &["bind"]).args(&["/bin/cat", "/data"]);
    if !is_peer() {
        bundle.run().exits(1).says("failed to fulfil mount request").says("no such file or directory");
    }
}

#[test]
fn symlinks_in_targets_stay_inside() {
    let mut bundle = with_volume();
    let root = bundle.rootfs();
    fs::create_dir(root.join("real")).unwrap();
    symlink("/real", root.join("absolute")).unwrap();
    symlink("../../../../real", root.join("relative")).unwrap();
    symlink("/made/by/runtime", root.join("dangling")).unwrap();
    bundle.mount("/absolute/a", "bind", "volume", &["bind"]).mount("/relative/b", "bind", "volume", &["bind"]);
    bundle.mount("/dangling", "bind", "volume", &["bind"]);
    let seen = bundle.report();
    for point in ["/real/a", "/real/b", "/made/by/runtime"] {
        assert!(seen.mount(point).is_some(), "{point}: {}", seen.json["mounts"]);
    }
}

#[test]
fn root_read_only_or_not() {
    let mut bundle = Bundle::new();
    let tried = bundle.probe(&["open-write", "/", "/etc/passwd", "/dev", "/dev/shm"]);
    assert_eq!(tried, json!({"/": "EROFS", "/etc/passwd": "EROFS", "/dev": "ok", "/dev/shm": "ok"}));
    bundle.set("/root/readonly", json!(false));
    assert_eq!(bundle.probe(&["open-write", "/", "/etc/passwd"]), json!({"/": "ok", "/etc/passwd": "ok"}));
}

#[test]
fn read_only_dev_still_gets_its_nodes() {
    let mut bundle = Bundle::new();
    let index = bundle.mount_index("/dev");
    bundle.set(&format!("/mounts/{index}/options/-"), json!("ro"));
    let seen = bundle.report_with(&["--stat", "/dev/null", "--stat", "/dev/fd"]);
    seen.assert_mount("/dev", "tmpfs", &["ro"]);
    assert_eq!(seen.json["stat"]["/dev/null"]["rdev"], "1:3");
    assert_eq!(seen.json["stat"]["/dev/fd"]["target"], "/proc/self/fd");
}

#[test]
fn nothing_of_the_host_is_in_the_mount_table() {
    let mut bundle = Bundle::new();
    let seen = bundle.report();
    let points: Vec<&str> =
        seen.json["mounts"].as_array().unwrap().iter().map(|m| m["point"].as_str().unwrap()).collect();
    assert_eq!(points.iter().filter(|point| **point == "/").count(), 1, "one root: {points:?}");
    let allowed = ["/", "/proc", "/dev", "/sys"];
    let inside =
        |point: &str| allowed.contains(&point) || ["/proc/", "/dev/", "/sys/"].iter().any(|top| point.starts_with(top));
    assert!(points.iter().all(|point| inside(point)), "{points:?}");
    for mount in seen.json["mounts"].as_array().unwrap() {
        assert!(!mount["propagation"].to_string().contains("shared:"), "{mount}");
    }
}

#[test]
fn rootfs_propagation() {
    for (asked, mark) in [("shared", "shared:"), ("private", ""), ("slave", ""), ("unbindable", "unbindable")] {
        let mut bundle = Bundle::new();
        bundle.set("/linux/rootfsPropagation", json!(asked));
        let seen = bundle.report();
        let propagation = seen.mount("/").unwrap()["propagation"].to_string();
        assert!(propagation.contains(mark), "{asked}: {propagation}");
        assert!(asked == "shared" || !propagation.contains("shared:"), "{asked}: {propagation}");
    }
    let mut bundle = Bundle::new();
    bundle.set("/linux/rootfsPropagation", json!("sideways")).args(&["/bin/true"]);
    bundle.run().exits(1).says("rootfsPropagation");
}

/// What must be refused; each leaves the host as it was.
#[test]
fn refused() {
    for (destination, kind, source, options, says) in [
        ("/data", "bind", "missing", vec!["bind"], "no such file or directory"),
        ("/", "tmpfs", "tmpfs", vec![], "on the top of rootfs"),
        ("/data/..", "tmpfs", "tmpfs", vec![], "on the top of rootfs"),
        ("/proc", "tmpfs", "tmpfs", vec![], "/proc"),
        ("/proc", "bind", "volume", vec!["bind"], "/proc"),
        ("/proc/sys", "tmpfs", "tmpfs", vec![], "inside /proc"),
        ("/proc/self/attr", "bind", "volume", vec!["bind"], "inside /proc"),
        ("/data", "bind", "volume/file", vec!["bind"], "not a directory"),
        ("/etc/passwd", "bind", "volume", vec!["bind"], "not a directory"),
        ("/data", "nosuchfs", "none", vec![], "no such device"),
        ("/data", "bind", "volume", vec![], "no such device"),
        ("/data", "tmpfs", "tmpfs", vec!["nosuchoption"], "nosuchoption"),
        ("/data", "tmpfs", "tmpfs", vec!["size=lots"], "size=lots"),
        ("/data", "bind", "volume", vec!["bind", "nosuchoption"], "nosuchoption"),
    ] {
        let mut bundle = with_volume();
        bundle.mount(destination, kind, source, &options).args(&["/bin/true"]);
        let index = bundle.get("/mounts").as_array().unwrap().len() - 1;
        let before = Snapshot::of(&bundle);
        let done = bundle.run();
        assert!(!done.status.success(), "{kind} from {source} on {destination}, {options:?}: {done}");
        let done = done.exits(1).fails().says(says).says(&format!("mounts[{index}]"));
        drop(done);
        before.ignoring_bundle(&bundle).assert_unchanged(&bundle);
    }
}

/// LXCFS and FIPS put files over these; everything else inside /proc is closed.
#[test]
fn known_files_in_proc_may_be_covered() {
    let mut bundle = with_volume();
    for name in ["cpuinfo", "meminfo", "uptime", "loadavg", "stat", "diskstats", "swaps"] {
        bundle.mount(&format!("/proc/{name}"), "bind", "volume/file", &["bind"]);
    }
    bundle.args(&["/bin/cat", "/proc/cpuinfo", "/proc/uptime"]);
    assert_eq!(bundle.run().ok().stdout, "content\ncontent\n");
}
