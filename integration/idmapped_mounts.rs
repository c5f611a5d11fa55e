//! ID-mapped mounts: `uidMappings` and `gidMappings` of a mount, and the options `idmap` and `ridmap`.

use crate::harness::{Bundle, Invocation, Report, Snapshot, is_peer, is_rootless, needs_root};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::Path;

/// What the tests of a working map need.
fn can_map(what: &str) -> bool {
    needs_root(what, "the host's filesystems can be ID-mapped by root alone")
}

fn line(container: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

/// A volume of mode 0777 with a file that belongs to 0 and one that belongs to 5.
fn with_volume() -> Bundle {
    let bundle = Bundle::new();
    let volume = bundle.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
    for (name, owner) in [("roots", 0), ("fives", 5), ("others", 70_000)] {
        fs::write(volume.join(name), "content\n").unwrap();
        chown(volume.join(name), Some(owner), Some(owner + u32::from(owner == 5))).ok();
    }
    bundle
}

/// Adds a mount with maps.
fn map(bundle: &mut Bundle, destination: &str, options: &[&str], uids: Value, gids: Value) {
    bundle.mount(destination, "none", "volume", options);
    let index = bundle.get("/mounts").as_array().unwrap().len() - 1;
    bundle.set(&format!("/mounts/{index}/uidMappings"), uids);
    bundle.set(&format!("/mounts/{index}/gidMappings"), gids);
}

/// Gives the container a user namespace whose ids start at 100000, which owns the root filesystem.
fn in_user_namespace(bundle: &mut Bundle) {
    fn give(path: &Path) {
        lchown(path, Some(100_000), Some(100_000)).unwrap();
        if path.symlink_metadata().unwrap().is_dir() {
            fs::read_dir(path).unwrap().flatten().for_each(|entry| give(&entry.path()));
        }
    }
    bundle.namespace("user", None);
    bundle.set("/linux/uidMappings", line(0, 100_000, 65536)).set("/linux/gidMappings", line(0, 100_000, 65536));
    give(&bundle.rootfs());
}

fn owner(seen: &Report, path: &str) -> (u64, u64) {
    let stat = &seen.json["stat"][path];
    (stat["uid"].as_u64().unwrap(), stat["gid"].as_u64().unwrap())
}

/// Nothing shifts the container's own ids, so that what the map says is what is seen; and the other way round for what is
/// written. An id without a counterpart can't write.
#[test]
fn maps_of_a_mount_without_a_user_namespace() {
    if !can_map("maps of a mount") {
        return;
    }
    let mut bundle = with_volume();
    map(&mut bundle, "/mapped", &["bind"], line(0, 1000, 10), line(0, 2000, 10));
    // The same source with another map, and without any.
    map(&mut bundle, "/shifted", &["rbind", "ridmap", "ro"], line(0, 3000, 10), line(0, 3000, 10));
    bundle.mount("/plain", "none", "volume", &["bind"]);
    let files = ["/mapped/roots", "/mapped/fives", "/mapped/others", "/shifted/roots", "/plain/fives"];
    let seen = bundle.report_with(&files.map(|file| ["--stat", file]).concat());
    let owners = files.map(|file| owner(&seen, file));
    assert_eq!(owners, [(1000, 2000), (1005, 2006), (65534, 65534), (3000, 3000), (5, 6)]);
    seen.assert_mount("/shifted", "", &["ro"]);
    bundle.script("touch /mapped/new").run().fails().says("Value too large");
    bundle.set("/process/user", json!({"uid": 1003, "gid": 2004})).script("touch /mapped/new").run().ok();
    let made = fs::metadata(bundle.path().join("volume/new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (3, 4), "what is written is mapped back");
}

/// The container's own map turns what is on disk into the same ids inside; a map of the mount's own goes before it.
#[test]
fn in_a_user_namespace() {
    if !can_map("maps in a user namespace") {
        return;
    }
    let mut bundle = with_volume();
    in_user_namespace(&mut bundle);
    bundle.mount("/own", "none", "volume", &["bind", "idmap"]);
    map(&mut bundle, "/listed", &["bind"], line(0, 100_007, 10), line(0, 100_008, 10));
    bundle.mount("/plain", "none", "volume", &["bind"]);
    let files = ["/own/roots", "/own/fives", "/own/others", "/listed/roots", "/plain/roots"];
    let seen = bundle.report_with(&files.map(|file| ["--stat", file]).concat());
    let owners = files.map(|file| owner(&seen, file));
    assert_eq!(owners, [(0, 0), (5, 6), (65534, 65534), (7, 8), (65534, 65534)]);
    bundle.script("touch /own/new && ! touch /plain/roots 2> /dev/null").run().ok();
    assert_eq!(fs::metadata(bundle.path().join("volume/new")).unwrap().uid(), 0);
}

/// The map of a user namespace that is there already.
#[test]
fn in_a_user_namespace_that_is_joined() {
    if !can_map("the map of a user namespace that is joined") {
        return;
    }
    let mut donor = Bundle::new();
    in_user_namespace(&mut donor);
    donor.asleep();
    let mut bundle = with_volume();
    in_user_namespace(&mut bundle);
    bundle.without_namespace("user").unset("/linux/uidMappings").unset("/linux/gidMappings");
    bundle.namespace("user", Some(Path::new(&format!("/proc/{}/ns/user", donor.pid()))));
    bundle.mount("/own", "none", "volume", &["bind", "idmap"]);
    let seen = bundle.report_with(&["--stat", "/own/fives"]);
    assert_eq!(owner(&seen, "/own/fives"), (5, 6));
}

/// Runs in a mount namespace where another filesystem, of user 0's, is mounted at `sub` of the volume.
fn over_submount(bundle: &Bundle, flags: &str) -> Invocation {
    let sub = bundle.path().join("volume/sub");
    fs::create_dir_all(&sub).unwrap();
    let sub = sub.display();
    let script = format!("mount -t tmpfs -o mode=755{flags} none {sub} && touch {sub}/file && exec \"$@\"");
    bundle.start_with("run", &[]).under(&["unshare", "--mount", "sh", "-c", &script, "-"])
}

/// `ridmap` reaches what is mounted below, `idmap` does not.
#[test]
fn recursive_or_not() {
    if !can_map("maps of submounts") {
        return;
    }
    for with_user_namespace in [false, true] {
        let mut bundle = with_volume();
        if with_user_namespace {
            in_user_namespace(&mut bundle);
        }
        let first = if with_user_namespace { 100_001 } else { 1 };
        map(&mut bundle, "/top", &["rbind", "idmap"], line(0, first, 10), line(0, first, 10));
        map(&mut bundle, "/all", &["rbind", "ridmap"], line(0, first, 10), line(0, first, 10));
        let files = ["/top/roots", "/top/sub/file", "/all/roots", "/all/sub/file"];
        let mut args = vec!["/probe", "report"];
        args.extend(files.map(|file| ["--stat", file]).concat());
        bundle.args(&args);
        let seen = Report::parse(&over_submount(&bundle, "").run().ok());
        // What belongs to the host's root belongs to nobody in a user namespace.
        let unmapped = if with_user_namespace { 65534 } else { 0 };
        assert_eq!(files.map(|file| owner(&seen, file).0), [1, unmapped, 1, 1], "{with_user_namespace}");
    }
}

/// An ID-mapped clone has the locks of all others: container root can't take the host's flags off.
#[test]
fn flags_of_the_hosts_mounts_stay_locked() {
    if !can_map("locks of an ID-mapped mount") {
        return;
    }
    let mut bundle = with_volume();
    in_user_namespace(&mut bundle);
    bundle.mount("/data", "none", "volume/sub", &["bind", "idmap"]);
    for key in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{key}/-"), json!("CAP_SYS_ADMIN"));
    }
    bundle.script("mount -o remount,bind,suid,dev,exec /data; grep ' /data ' /proc/self/mountinfo | cut -d' ' -f6");
    let done = over_submount(&bundle, ",nosuid,nodev,noexec").run().ok();
    assert!(done.stdout.contains("nosuid,nodev,noexec"), "{done}");
}

/// Each form that can't be, by its field, and nothing left behind.
#[test]
fn refused_forms() {
    let entry = |options: Value, uids: Value, gids: Value| {
        json!({"destination": "/x", "type": "none", "source": "volume", "options": options,
            "uidMappings": uids, "gidMappings": gids})
    };
    let good = line(0, 0, 1);
    let both = "must have both uid and gid mappings specified";
    let mut refused = vec![
        (entry(json!(["bind"]), good.clone(), json!([])), both),
        (entry(json!(["bind"]), json!([]), good.clone()), both),
        (entry(json!(["bind"]), line(0, 0, 0), good.clone()), ".uidMappings[0]: size must be at least 1"),
        (entry(json!(["bind"]), good.clone(), line(u32::MAX, 0, 2)), ".gidMappings[0]: size must be at least 1"),
        (json!({"destination": "/x", "type": "tmpfs", "source": "x", "options": ["idmap"]}), "only supported for bind"),
        (
            json!({"destination": "/x", "type": "tmpfs", "source": "x", "uidMappings": good, "gidMappings": good}),
            "only supported for bind",
        ),
    ];
    if is_rootless() {
        // Whatever form it has.
        refused.iter_mut().for_each(|(_, says)| *says = "an ID-mapped mount needs root");
        refused.push((entry(json!(["bind"]), good.clone(), good.clone()), "an ID-mapped mount needs root"));
    } else {
        refused.push((entry(json!(["bind", "idmap"]), json!([]), json!([])), both));
        let of = |source: &str| {
            let mut entry = entry(json!(["bind"]), good.clone(), good.clone());
            entry["source"] = json!(source);
            entry
        };
        // Nothing is mounted below it, as on other hosts below /sys/kernel.
        refused.push((of("/sys/class"), "filesystem (sysfs) can't be ID-mapped"));
        refused.push((of("/proc/self/ns/net"), "filesystem (nsfs) can't be ID-mapped"));
    }
    for (mount, says) in refused {
        for with_user_namespace in [false, true] {
            // There the container's own map stands for what is missing.
            if with_user_namespace && (is_rootless() || mount["options"] == json!(["bind", "idmap"])) {
                continue;
            }
            let mut bundle = with_volume();
            if with_user_namespace {
                in_user_namespace(&mut bundle);
            }
            bundle.set("/mounts/-", mount.clone()).args(&["/bin/true"]);
            let before = Snapshot::of(&bundle);
            let done = bundle.run();
            assert!(!done.status.success(), "{mount}: {done}");
            if !is_peer() {
                done.exits(1).says(says).says("mounts[7]");
            }
            before.assert_unchanged(&bundle);
        }
    }
}
