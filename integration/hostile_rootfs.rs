//! Images made to lead the runtime astray: every path it touches replaced by something else. Whether it refuses or
//! resolves inside, the host stays as it was. Tests are named after the advisories they answer.

use crate::harness::{Bundle, Pty, Snapshot, is_peer, is_rootless, patience};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A directory next to the rootfs with what attackers went for; the snapshot covers it.
fn with_canary() -> (Bundle, PathBuf) {
    let mut bundle = Bundle::new();
    let canary = bundle.path().join("canary");
    fs::create_dir(&canary).unwrap();
    for name in ["ptmx", "null", "file", "console", "sys"] {
        fs::write(canary.join(name), "canary").unwrap();
    }
    bundle.args(&["/bin/true"]).set("/root/readonly", json!(false));
    (bundle, canary)
}

/// The entries next to the rootfs, with contents: what the tests here compare on top of the snapshot.
fn listing(canary: &Path) -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(canary).unwrap().flatten().collect();
    found.sort_by_key(fs::DirEntry::file_name);
    let text = |entry: &fs::DirEntry| fs::read_to_string(entry.path()).unwrap_or_default();
    found.iter().map(|entry| (entry.file_name().to_string_lossy().into_owned(), text(entry))).collect()
}

fn replace(rootfs: &Path, path: &str, kind: &str, canary: &Path) {
    let at = rootfs.join(path);
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent).unwrap();
    }
    if fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_dir()) {
        fs::remove_dir_all(&at).unwrap();
    } else {
        fs::remove_file(&at).ok();
    }
    let upwards = format!("{}{}", "../".repeat(20), canary.to_str().unwrap().trim_start_matches('/'));
    match kind {
        "absolute" => symlink(canary, &at).unwrap(),
        "relative" => symlink(upwards, &at).unwrap(),
        "to-file" => symlink(canary.join("file"), &at).unwrap(),
        "dangling" => symlink(canary.join("new"), &at).unwrap(),
        "loop" => symlink(&at, &at).unwrap(),
        "magic" => symlink("/proc/self/root", &at).unwrap(),
        "file" => fs::write(&at, "x").unwrap(),
        "fifo" => nix::unistd::mkfifo(&at, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        other => panic!("{other}"),
    }
}

const KINDS: [&str; 8] = ["absolute", "relative", "to-file", "dangling", "loop", "magic", "file", "fifo"];

/// Runs with `path` replaced by each kind in turn and asserts that the canary lived. `ran` sees each outcome.
fn each_kind(path: &str, change: impl Fn(&mut Bundle), ran: impl Fn(&str, &crate::harness::Outcome)) {
    for kind in KINDS {
        let (mut bundle, canary) = with_canary();
        replace(&bundle.rootfs(), path, kind, &canary);
        change(&mut bundle);
        let (before, names) = (Snapshot::of(&bundle), listing(&canary));
        let done = bundle.run();
        ran(kind, &done);
        assert_eq!(listing(&canary), names, "{path} as {kind}: {done}");
        before.ignoring_bundle(&bundle).assert_unchanged(&bundle);
    }
}

fn without_dev_mounts(bundle: &mut Bundle) {
    bundle.config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
}

/// CVE-2015-3629, 2018-18837, 2021-30465 and their family: the whole product of mount targets and kinds.
#[test]
fn mount_targets_never_lead_out() {
    for path in ["dev", "dev/pts", "dev/shm", "sys/fs/cgroup", "data", "data/deep", "data/deep/file"] {
        each_kind(
            path,
            |bundle| {
                bundle.mount("/data/deep/file", "bind", "/etc/hostname", &["bind", "ro"]);
            },
            |_, _| {},
        );
    }
}

/// CVE-2019-19921, 2023-27561, 2023-28642, 2025-54867: `/proc` and `/sys` must be real directories.
#[test]
fn proc_and_sys_must_be_directories() {
    for path in ["proc", "sys"] {
        each_kind(
            path,
            |_| {},
            |kind, done| {
                assert!(!done.status.success(), "/{path} as {kind} must be refused");
            },
        );
    }
    // Also a link that stays inside.
    for path in ["proc", "sys"] {
        let mut bundle = Bundle::new();
        fs::remove_dir(bundle.rootfs().join(path)).unwrap();
        symlink("/data", bundle.rootfs().join(path)).unwrap();
        bundle.args(&["/bin/true"]);
        let before = Snapshot::of(&bundle);
        bundle.run().exits(1).says("must be mounted on ordinary directory");
        before.assert_unchanged(&bundle);
    }
}

/// CVE-2026-47766, 2026-41579: no mount on `/dev`, and `/dev` or an entry of it is a link out.
#[test]
fn dev_of_the_image_is_not_followed_out() {
    for path in ["dev", "dev/ptmx", "dev/null", "dev/zero", "dev/fd", "dev/stdin", "dev/pts", "dev/console"] {
        each_kind(path, without_dev_mounts, |kind, done| {
            if path == "dev" && !is_peer() {
                assert!(!done.status.success(), "/dev as {kind} must be refused");
            }
        });
    }
}

/// CVE-2026-88264: `/dev/console` for a terminal.
#[test]
fn console_of_the_image_is_not_followed_out() {
    for kind in KINDS {
        for readonly in [false, true] {
            let (mut bundle, canary) = with_canary();
            without_dev_mounts(&mut bundle);
            bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "gid=5"]);
            replace(&bundle.rootfs(), "dev/console", kind, &canary);
            bundle.set("/process/terminal", json!(true)).set("/root/readonly", json!(readonly));
            let names = listing(&canary);
            let mut pty = Pty::new(24, 80);
            let stdio = (pty.stdio(), pty.stdio(), pty.stdio());
            let run = bundle
                .start_with("run", &[])
                .under(&["setsid", "--ctty", "--wait"])
                .stdio(stdio.0, stdio.1, stdio.2)
                .spawn();
            pty.close_slave();
            pty.rest();
            run.wait();
            assert_eq!(listing(&canary), names, "{kind}, read-only root {readonly}");
        }
    }
}

/// CVE-2025-31133, 2025-62161, 2026-88265: the null device that masks and stdio use is proven to be one.
#[test]
fn null_device_is_proven() {
    // A user can make no nodes, and has the host's bound over whatever file there is.
    let all = ["absolute", "to-file", "none", "file", "zero", "tty"];
    for replacement in if is_rootless() { &all[..3] } else { &all[..] } {
        // The runtime fills the image's own /dev, and leaves alone one that is mounted.
        for mounted in [false, true] {
            null_device_is_proven_as(replacement, mounted);
        }
    }
}

#[track_caller]
fn null_device_is_proven_as(replacement: &str, mounted: bool) {
    let (mut bundle, canary) = with_canary();
    without_dev_mounts(&mut bundle);
    let dev = bundle.rootfs().join("dev");
    let null = dev.join("null");
    if mounted {
        bundle.mount("/dev", "none", dev, &["bind"]);
    }
    let device = |major, minor| {
        let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::from_bits_truncate(0o666));
        nix::sys::stat::mknod(&null, kind, mode, nix::sys::stat::makedev(major, minor)).unwrap();
    };
    match replacement {
        "zero" => device(1, 5),
        "tty" => device(5, 0),
        "none" => {}
        kind => replace(&bundle.rootfs(), "dev/null", kind, &canary),
    }
    fs::write(bundle.rootfs().join("etc/secret"), "secret").unwrap();
    bundle.set("/linux/maskedPaths", json!(["/etc/secret", "/proc/kcore"]));
    bundle
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .script("head -c 100 /etc/secret; echo x > /etc/secret; true");
    let (before, names) = (Snapshot::of(&bundle), listing(&canary));
    let done = bundle.run();
    assert!(!done.stdout.contains("secret"), "{replacement}: the mask is void: {done}");
    if replacement != "none" && !is_peer() {
        assert!(!done.status.success(), "{replacement} must be refused: {done}");
    }
    assert_eq!(listing(&canary), names, "{replacement}");
    assert_eq!(fs::read_to_string(bundle.rootfs().join("etc/secret")).unwrap(), "secret", "{replacement}");
    before.ignoring_bundle(&bundle).assert_unchanged(&bundle);
}

/// CVE-2019-16884, 2015-3630: what is put over `/proc` cannot void masks or labels.
#[test]
fn volumes_over_proc_are_refused() {
    for (destination, kind, options) in [
        ("/proc", "bind", vec!["bind"]),
        ("/proc", "tmpfs", vec![]),
        ("/proc/self", "bind", vec!["bind"]),
        ("/proc/../proc/sys", "bind", vec!["bind"]),
    ] {
        let (mut bundle, canary) = with_canary();
        bundle.mount(destination, kind, &canary, &options).script("echo ran");
        let done = bundle.run();
        assert!(!done.status.success() && done.stdout.is_empty(), "{destination} {kind}: {done}");
    }
    // By a link of the image that leads there.
    let (mut bundle, canary) = with_canary();
    symlink("/proc/sys", bundle.rootfs().join("innocent")).unwrap();
    bundle.mount("/innocent", "bind", &canary, &["bind"]).script("echo ran");
    let done = bundle.run();
    assert!(!done.status.success() && done.stdout.is_empty(), "{done}");
}

/// CVE-2024-45310 without the race: directories that have to be made are made inside.
#[test]
fn missing_targets_below_links_are_made_inside() {
    let (mut bundle, canary) = with_canary();
    symlink(&canary, bundle.rootfs().join("out")).unwrap();
    symlink("../../../../../../../../../..", bundle.rootfs().join("up")).unwrap();
    let names = listing(&canary);
    let tmp: Vec<_> = fs::read_dir("/").unwrap().flatten().map(|entry| entry.file_name()).collect();
    bundle.mount("/out/a/b/c/d/e/f/g/h", "tmpfs", "tmpfs", &[]).mount(
        "/up/onggi-escaped/x",
        "bind",
        "/etc/hostname",
        &["bind"],
    );
    bundle.script("grep -c -e /onggi-escaped/x -e /a/b/c/d/e/f/g/h /proc/self/mountinfo");
    assert_eq!(bundle.run().ok().stdout, "2\n");
    assert_eq!(listing(&canary), names);
    assert_eq!(fs::read_dir("/").unwrap().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>(), tmp);
}

/// The working directory is made inside as well.
#[test]
fn cwd_is_made_inside() {
    let (mut bundle, canary) = with_canary();
    symlink(&canary, bundle.rootfs().join("out")).unwrap();
    bundle.set("/process/cwd", json!("/out/new/dir"));
    let names = listing(&canary);
    bundle.run();
    assert_eq!(listing(&canary), names);
}

/// A passwd that never ends, is no file, or leads out costs neither time nor memory, and makes no HOME.
#[test]
fn passwd_of_the_image_is_read_with_care() {
    for kind in ["fifo", "loop", "to-file", "magic", "huge"] {
        let (mut bundle, canary) = with_canary();
        fs::write(canary.join("file"), "root:x:0:0::/evil:/bin/sh\n").unwrap();
        if kind == "huge" {
            let file = fs::File::create(bundle.rootfs().join("etc/passwd")).unwrap();
            file.set_len(1 << 30).unwrap();
        } else {
            replace(&bundle.rootfs(), "etc/passwd", kind, &canary);
        }
        bundle.args(&["/bin/env"]);
        if is_peer() && ["fifo", "huge"].contains(&kind) {
            continue; // runc waits for a writer, and reads a gigabyte.
        }
        let start = std::time::Instant::now();
        let done = bundle.run();
        assert!(start.elapsed() < patience(5), "{kind} took {:?}", start.elapsed());
        assert!(!done.stdout.contains("/evil"), "{kind}: {done}");
    }
}
