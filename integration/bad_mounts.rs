//! Bad values in config.json about the root filesystem: `root`, `mounts`, devices, covered paths. As in `bad_values.rs`.

use crate::harness::Moment::{Creation, Validation};
use crate::harness::{Bundle, check_refusals, is_rootless};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;

/// What is wrong with an ID-mapped mount; a user learns first that there can be none.
fn of_root(told: &'static str) -> &'static str {
    if is_rootless() { "an ID-mapped mount needs root" } else { told }
}

#[test]
fn root() {
    check_refusals(
        |bundle| {
            symlink("rootfs", bundle.path().join("link")).unwrap();
            bundle
        },
        &[
            (|b| b.unset("/root"), Validation, &["root: root must be specified"]),
            (|b| b.set("/root", Value::Null), Validation, &["root: root must be specified"]),
            (|b| b.set("/root/path", json!("")), Validation, &["root.path: is empty"]),
            (|b| b.set("/root/path", json!("a\0")), Validation, &["root.path: contains a NUL byte"]),
            (
                |b| b.set("/root/path", json!("no/such/rootfs")),
                Validation,
                &["invalid rootfs: stat ", "no/such/rootfs: no such file or directory"],
            ),
            (|b| b.set("/root/path", json!("config.json")), Validation, &["invalid rootfs", "is not a directory"]),
            (|b| b.set("/root/path", json!("link")), Validation, &["invalid rootfs", "link is a symlink"]),
            (|b| b.set("/root/path", json!("link/")), Validation, &["invalid rootfs", "link is a symlink"]),
            (|b| b.set("/root/readonly", json!("no")), Validation, &["root.readonly: invalid type"]),
            (
                |b| b.set("/linux/rootfsPropagation", json!("up")),
                Validation,
                &["rootfsPropagation=up is not supported"],
            ),
        ],
    );
}

/// A mount on `/data` of which these keys differ.
fn mount(bundle: &mut Bundle, keys: Value) -> &mut Bundle {
    let mut mount = json!({"destination": "/data", "type": "tmpfs", "source": "x", "options": []});
    mount.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    bundle.set("/mounts/-", mount)
}

fn bind<'a>(bundle: &'a mut Bundle, source: &str, destination: &str) -> &'a mut Bundle {
    mount(bundle, json!({"type": "bind", "source": source, "destination": destination, "options": ["bind"]}))
}

/// What is wrong in itself.
#[test]
fn mounts() {
    check_refusals(
        |b| b,
        &[
            (|b| mount(b, json!({"destination": "/a\0"})), Validation, &["mounts[7].destination: contains a NUL byte"]),
            (|b| mount(b, json!({"source": "a\0"})), Validation, &["mounts[7].source: contains a NUL byte"]),
            (|b| mount(b, json!({"type": "tmp\0fs"})), Validation, &["mounts[7].type: contains a NUL byte"]),
            (|b| mount(b, json!({"options": ["size=1\0"]})), Validation, &["mounts[7].options", "contains a NUL byte"]),
            (|b| mount(b, json!({"options": "ro"})), Validation, &["mounts[7].options: invalid type"]),
            (|b| mount(b, json!({"destination": 5})), Validation, &["mounts[7].destination: invalid type"]),
            (|b| mount(b, json!({"destination": ""})), Validation, &["mounts[7].destination", "on the top of rootfs"]),
            (|b| mount(b, json!({"destination": "/x/.."})), Validation, &["mounts[7]", "on the top of rootfs"]),
            (|b| mount(b, json!({"destination": "/proc/sys"})), Validation, &["mounts[7]", "is inside /proc"]),
            (|b| mount(b, json!({"destination": "/proc"})), Validation, &["mounts[7]", "is not of type proc"]),
            (
                |b| mount(b, json!({"options": ["bind", "size=1"]})),
                Validation,
                &[
                    "mounts[7].options: bind mounts cannot have any filesystem-specific options applied: remove \"size\"",
                ],
            ),
            (|b| mount(b, json!({"options": ["bind"], "source": ""})), Validation, &["mounts[7].source: is missing"]),
            (
                |b| mount(b, json!({"options": ["remount"]})),
                Validation,
                &["mounts[7].options: remount without bind needs"],
            ),
            (
                |b| mount(b, json!({"options": ["bind"], "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]})),
                Validation,
                &["mounts[7]", of_root("must have both uid and gid mappings")],
            ),
            (
                |b| {
                    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
                    mount(b, json!({"uidMappings": map, "gidMappings": map}))
                },
                Validation,
                &["mounts[7]", of_root("id-mapped mounts are only supported for bind-mounts")],
            ),
        ],
    );
}

/// What only the host, the kernel or the image can tell.
#[test]
fn mounts_that_fail() {
    check_refusals(
        |bundle| {
            fs::create_dir(bundle.path().join("volume")).unwrap();
            fs::write(bundle.path().join("file"), "").unwrap();
            symlink("data", bundle.rootfs().join("link")).unwrap();
            bundle
        },
        &[
            (
                |b| bind(b, "/no/such/source", "/data"),
                Creation,
                &["mounts[7].source: failed to fulfil mount request: open /no/such/source: no such file or directory"],
            ),
            (|b| bind(b, "file", "/data"), Creation, &["mounts[7]", "mount on /data: not a directory"]),
            (|b| bind(b, "volume", "/etc/passwd"), Creation, &["mounts[7]", "/etc/passwd: not a directory"]),
            (|b| bind(b, "volume", "/proc"), Creation, &["mounts[7]", "because it is not of type proc"]),
            (
                |b| mount(b, json!({"type": "nosuchfs"})),
                Creation,
                &["mounts[7].type: the kernel knows no filesystem \"nosuchfs\": no such device"],
            ),
            (
                |b| mount(b, json!({"type": ""})),
                Creation,
                &["mounts[7].type", "a bind mount needs the option \"bind\" or \"rbind\": no such device"],
            ),
            (
                |b| mount(b, json!({"options": ["frobnicate"]})),
                Creation,
                &["mounts[7].options: the tmpfs filesystem does not know the option \"frobnicate\""],
            ),
            (|b| mount(b, json!({"options": ["size=lots"]})), Creation, &["mounts[7].options", "\"size=lots\""]),
            (
                |b| mount(b, json!({"type": "proc", "destination": "/link"})),
                Creation,
                &["mounts[7]", "filesystem \"proc\" must be mounted on ordinary directory"],
            ),
            (|b| mount(b, json!({"destination": format!("/{}", "x".repeat(300))})), Creation, &["file name too long"]),
        ],
    );
}

/// They are made in the image, which is the caller's.
#[test]
fn mountpoints_that_were_made_stay() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]).mount("/new/point", "tmpfs", "x", &[]).mount("/data", "nosuchfs", "x", &[]);
    bundle.create().exits(1);
    assert!(bundle.rootfs().join("new/point").is_dir());
}

fn device(bundle: &mut Bundle, keys: Value) -> &mut Bundle {
    let mut device = json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3});
    device.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    bundle.set("/linux/devices", json!([device]))
}

#[test]
fn devices() {
    check_refusals(
        |b| b,
        &[
            (|b| device(b, json!({"type": "z"})), Validation, &["linux.devices[0].type", "`z`"]),
            (|b| device(b, json!({"type": "a"})), Validation, &["linux.devices[0].type: invalid device type \"a\""]),
            (|b| device(b, json!({"path": ""})), Validation, &["linux.devices[0].path: names no file"]),
            (|b| device(b, json!({"path": "/dev/\0"})), Validation, &["linux.devices[0].path: contains a NUL byte"]),
            (|b| device(b, json!({"major": -1})), Validation, &["linux.devices[0].major: -1 is outside 0 to 4095"]),
            (|b| device(b, json!({"major": 4096})), Validation, &["linux.devices[0].major: 4096 is outside"]),
            (|b| device(b, json!({"minor": 1 << 20})), Validation, &["linux.devices[0].minor: 1048576 is outside"]),
            (|b| device(b, json!({"uid": u32::MAX})), Validation, &["linux.devices[0].uid: 4294967295 is no id"]),
            (|b| device(b, json!({"gid": u32::MAX})), Validation, &["linux.devices[0].gid: 4294967295 is no id"]),
            (|b| device(b, json!({"fileMode": -1})), Validation, &["linux.devices[0].fileMode: ", "expected u32"]),
        ],
    );
}

#[test]
fn covered_paths() {
    check_refusals(
        |b| b,
        &[
            (
                |b| b.set("/linux/maskedPaths", json!(["/a\0b"])),
                Validation,
                &["linux.maskedPaths[0]: contains a NUL byte"],
            ),
            (|b| b.set("/linux/maskedPaths", json!(["/"])), Validation, &["linux.maskedPaths[0]: is the root itself"]),
            (|b| b.set("/linux/readonlyPaths", json!(["\0"])), Validation, &["linux.readonlyPaths[0]: contains a NUL"]),
        ],
    );
    let without = "unable to restrict sys entries without a private MNT namespace";
    check_refusals(
        |b| b,
        &[
            (|b| b.without_namespace("mount"), Validation, &["linux.maskedPaths", without]),
            (
                |b| b.without_namespace("mount").unset("/linux/maskedPaths"),
                Validation,
                &["linux.readonlyPaths", without],
            ),
        ],
    );
}

/// What the machine may lack: never passed over.
#[test]
fn features_that_must_not_be_passed_over() {
    check_refusals(
        |b| b,
        &[
            (|b| b.set("/linux/netDevices", json!({"nosuch0": {"name": "a/b"}})), Validation, &["linux.netDevices"]),
            (|b| b.set("/linux/intelRdt", json!({"closID": ".."})), Validation, &["linux.intelRdt"]),
            (|b| b.set("/linux/memoryPolicy", json!({"mode": "X"})), Validation, &["linux.memoryPolicy"]),
        ],
    );
}
