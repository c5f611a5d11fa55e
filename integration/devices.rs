//! Default devices and links, and `linux.devices`.

use crate::harness::{Bundle, is_rootless, needs_root};
use serde_json::{Value, json};

const DEFAULTS: [(&str, &str); 6] = [
    ("/dev/null", "1:3"),
    ("/dev/zero", "1:5"),
    ("/dev/full", "1:7"),
    ("/dev/random", "1:8"),
    ("/dev/urandom", "1:9"),
    ("/dev/tty", "5:0"),
];

fn stat(bundle: &mut Bundle, paths: &[&str]) -> Value {
    let mut args = vec!["stat"];
    args.extend(paths);
    bundle.probe(&args)
}

#[test]
fn defaults_and_links() {
    let mut bundle = Bundle::new();
    let mut paths: Vec<&str> = DEFAULTS.iter().map(|(path, _)| *path).collect();
    paths.extend(["/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/ptmx"]);
    let seen = stat(&mut bundle, &paths);
    for (path, numbers) in DEFAULTS {
        let node = &seen[path];
        assert_eq!((&node["kind"], &node["rdev"]), (&json!("char"), &json!(numbers)), "{path}");
        // Bound ones belong to the host's root, whom a user namespace does not know.
        let owner = if is_rootless() { 65534 } else { 0 };
        assert_eq!(
            (&node["mode"], &node["uid"], &node["gid"]),
            (&json!(0o666), &json!(owner), &json!(owner)),
            "{path}"
        );
    }
    for (path, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
    ] {
        assert_eq!(seen[path]["target"], target, "{path}");
    }
}

#[test]
fn they_work() {
    let mut bundle = Bundle::new();
    bundle.script(
        "echo x > /dev/null && test $(head -c 8 /dev/zero | wc -c) = 8 && test $(head -c 8 /dev/urandom | wc -c) = 8 \
         && ! echo x > /dev/full && echo err > /dev/stderr && echo out > /dev/stdout",
    );
    let done = bundle.run().ok();
    assert_eq!(done.stdout, "out\n");
    assert!(done.stderr.contains("err\n"), "{done}");
}

#[test]
fn listed_ones_with_mode_and_owner() {
    if !needs_root("device nodes of any mode and owner", "a user gets those of the host") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/process/user/umask", json!(0o77));
    bundle.set(
        "/linux/devices",
        json!([
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 3, "gid": 4},
            {"path": "/dev/deep/disk", "type": "b", "major": 7, "minor": 0, "fileMode": 0o640},
            {"path": "/dev/pipe", "type": "p"},
            {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3},
        ]),
    );
    let seen = stat(&mut bundle, &["/dev/fuse", "/dev/deep/disk", "/dev/pipe", "/dev/unbuffered", "/dev/deep"]);
    let fuse = &seen["/dev/fuse"];
    assert_eq!(
        (&fuse["kind"], &fuse["rdev"], &fuse["mode"]),
        (&json!("char"), &json!("10:229"), &json!(0o666)),
        "no umask"
    );
    assert_eq!((&fuse["uid"], &fuse["gid"]), (&json!(3), &json!(4)));
    let disk = &seen["/dev/deep/disk"];
    assert_eq!((&disk["kind"], &disk["rdev"], &disk["mode"]), (&json!("block"), &json!("7:0"), &json!(0o640)));
    assert_eq!(seen["/dev/deep"]["mode"], 0o755);
    assert_eq!(seen["/dev/pipe"]["kind"], "fifo");
    assert_eq!((&seen["/dev/unbuffered"]["kind"], &seen["/dev/unbuffered"]["mode"]), (&json!("char"), &json!(0o666)));
}

#[test]
fn default_paths_can_be_listed() {
    if !needs_root("a device under the name of another", "a user gets those of the host") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set(
        "/linux/devices",
        json!([{"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 9}]),
    );
    let seen = stat(&mut bundle, &["/dev/zero"]);
    assert_eq!((&seen["/dev/zero"]["mode"], &seen["/dev/zero"]["uid"]), (&json!(0o600), &json!(9)));
}

#[test]
fn bad_ones_are_refused() {
    for (device, says) in [
        (json!({"path": "/dev/x", "type": "z", "major": 1, "minor": 3}), "`z`"),
        (json!({"path": "/dev/x", "type": "c", "major": -1, "minor": 3}), "linux.devices[0]"),
        (json!({"path": "", "type": "c", "major": 1, "minor": 3}), "linux.devices[0]"),
    ] {
        let mut bundle = Bundle::new();
        bundle.set("/linux/devices", json!([device])).args(&["/bin/true"]);
        bundle.run().exits(1).says(says);
    }
}

/// A device may be anywhere; what is there already must be the very same.
#[test]
fn a_file_in_the_way_is_refused() {
    if !needs_root("device nodes in the root filesystem", "a user has those of the host bound over any file") {
        return;
    }
    let mut bundle = Bundle::new();
    let zero = json!([{"path": "/data/zero", "type": "c", "major": 1, "minor": 5}]);
    bundle.set("/linux/devices", zero).args(&["/bin/true"]);
    let place = bundle.rootfs().join("data/zero");
    std::fs::write(&place, "content").unwrap();
    bundle.run().exits(1).says("/data/zero exists in the root filesystem, but is not this device");
    assert_eq!(std::fs::read_to_string(&place).unwrap(), "content");
    std::fs::remove_file(&place).unwrap();
    // The first makes it, the second finds it.
    bundle.run().ok();
    bundle.run().ok();
    bundle.set("/linux/devices/0/minor", json!(7)).run().exits(1).says("is not this device");
}

/// With a bind mount of `/dev` nothing is made in it: it is somebody else's directory.
#[test]
fn nothing_is_made_in_a_bound_dev() {
    let mut bundle = Bundle::new();
    let other = bundle.path().join("other-dev");
    std::fs::create_dir(&other).unwrap();
    for point in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.without_mount(point);
    }
    bundle.set("/mounts/-", json!({"destination": "/dev", "type": "bind", "source": other, "options": ["bind"]}));
    bundle.unset("/linux/maskedPaths").script("ls -a /dev");
    // No /dev/null: nothing to mask files with, and none to reopen in place of the host's.
    assert_eq!(bundle.start_with("run", &[]).stdin_text("").run().ok().stdout, ".\n..\n");
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 0);
}
