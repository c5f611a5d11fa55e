//! A test for each advisory about paths in a root filesystem, /proc, masks and consoles, named after it: what was done to
//! other runtimes, done to this one. `docs/advisories.md` has all of them, with tests elsewhere and the mutations
//! (`integration/mutate`) that show that a test would notice.

use crate::harness::{Bundle, Canary, Outcome, Pty, is_peer, is_rootless, needs_root, skip, touching_everything};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Runs the config that touches everything, with `path` replaced by `trick`, and asserts that nothing came out of it.
fn led(path: &str, trick: &str, change: impl Fn(&mut Bundle)) -> Outcome {
    let (mut bundle, canary) = touching_everything();
    assert!(canary.replace(&bundle.rootfs(), path, trick));
    change(&mut bundle);
    let done = bundle.run();
    canary.assert_unchanged(format!("/{path} as {trick}: {done}"));
    assert!(!done.stdout.contains("canary"), "/{path} as {trick}: {done}");
    done
}

/// Inside, where the link leads there, is where it belongs.
#[track_caller]
fn contained(path: &str, trick: &str) {
    let done = led(path, trick, |_| {});
    assert!(done.stdout.contains("content\n") && done.stdout.ends_with("ran\n"), "/{path} as {trick}: {done}");
}

#[track_caller]
fn refused(path: &str, trick: &str, says: &str, change: impl Fn(&mut Bundle)) {
    let done = led(path, trick, change);
    assert!(!done.status.success() && !done.stdout.contains("ran"), "/{path} as {trick}: {done}");
    if !is_peer() {
        done.says(says);
    }
}

fn without_dev_mounts(bundle: &mut Bundle) {
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
}

/// With the image's `/dev` for a volume, in which the runtime makes nothing itself.
fn with_the_images_dev(bundle: &mut Bundle) {
    without_dev_mounts(bundle);
    let dev = bundle.rootfs().join("dev");
    bundle.mount("/dev", "none", dev, &["bind"]);
}

/// For a terminal, and without the mount that would cover the image's `/dev`.
fn with_devpts_alone(bundle: &mut Bundle) {
    without_dev_mounts(bundle);
    bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
    bundle.set("/process/terminal", json!(true));
}

/// Runs with a terminal, and returns what it showed with the error.
fn with_terminal(bundle: &Bundle) -> String {
    let (mut pty, run) = Pty::control(bundle.start_with("run", &[]));
    let seen = pty.rest();
    format!("{seen}{}", run.wait())
}

#[test]
fn cve_2015_3629() {
    for trick in ["absolute", "relative"] {
        contained("vol", trick);
        contained("vol/dir", trick);
    }
}

#[test]
fn cve_2015_1335() {
    for path in ["vol", "secrets"] {
        contained(path, "absolute");
        contained(path, "relative");
    }
}

#[test]
fn cve_2019_18837() {
    for path in ["vol/file", "vol/dir"] {
        contained(path, "dangling");
    }
    contained("vol/dir", "absolute");
    contained("vol/file", "to-file");
    refused("vol/dir", "to-file", "mounts[7]", |bundle| {
        fs::create_dir_all(bundle.rootfs().join("etc")).unwrap();
        fs::remove_file(bundle.rootfs().join("vol/dir")).unwrap();
        symlink("/etc/passwd", bundle.rootfs().join("vol/dir")).unwrap();
    });
}

/// Before anything is mounted or made: the first mount's target is not there afterwards.
#[track_caller]
fn must_be_ordinary(path: &str) {
    for target in ["/data", "data", "../../../../data", "/proc/self/root"] {
        let mut bundle = Bundle::new();
        let at = bundle.rootfs().join(path);
        fs::remove_dir(&at).unwrap();
        symlink(target, &at).unwrap();
        bundle.args(&["/bin/echo", "ran"]).set("/root/readonly", json!(false));
        let first = json!({"destination": "/made/first", "type": "tmpfs", "source": "tmpfs"});
        bundle.config["mounts"].as_array_mut().unwrap().insert(0, first);
        let done = bundle.run();
        assert!(!done.status.success() && done.stdout.is_empty(), "/{path} to {target}: {done}");
        if !is_peer() {
            done.says("must be mounted on ordinary directory");
            assert!(!bundle.rootfs().join("made").exists(), "/{path} to {target} was seen too late");
        }
    }
}

#[test]
fn cve_2023_27561() {
    must_be_ordinary("proc");
}

#[test]
fn cve_2025_54867() {
    must_be_ordinary("sys");
}

#[test]
fn cve_2024_45310() {
    let (mut bundle, canary) = touching_everything();
    symlink(canary.path(), bundle.rootfs().join("out")).unwrap();
    bundle.mount("/out/a/b/c/d/e/f/g/h", "tmpfs", "tmpfs", &[]);
    bundle.script("test -d /out/a/b/c/d/e/f/g/h && echo ran");
    assert_eq!(bundle.run().ok().stdout, "ran\n");
    canary.assert_unchanged("directories were made outside");
}

#[test]
fn cve_2026_47766() {
    if is_peer() {
        return skip("the image's /dev as a link", "other runtimes resolve it inside");
    }
    for trick in ["absolute", "relative", "dangling"] {
        refused("dev", trick, "/dev in the root filesystem must be a directory, not a link", without_dev_mounts);
    }
}

/// By `create` and `start`, as Podman and containerd do.
#[test]
fn cve_2026_41579() {
    for path in ["dev/ptmx", "dev/pts", "dev/shm", "dev/mqueue", "dev/fd", "dev/stdin", "dev/core"] {
        let (mut bundle, canary) = touching_everything();
        canary.replace(&bundle.rootfs(), path, "absolute");
        without_dev_mounts(&mut bundle);
        bundle.args(&["/bin/true"]);
        if bundle.create().status.success() {
            bundle.verb("start", &[]).ok();
            bundle.wait_stopped();
            bundle.verb("delete", &["--force"]).ok();
        }
        canary.assert_unchanged(path);
    }
    // Where nothing but a ptmx is in the way.
    let (mut bundle, canary) = touching_everything();
    without_dev_mounts(&mut bundle);
    fs::remove_dir_all(bundle.rootfs().join("dev")).unwrap();
    symlink(canary.path().join("deep"), bundle.rootfs().join("dev")).unwrap();
    bundle.create().fails().says("/dev in the root filesystem must be a directory");
    canary.assert_unchanged("dev");
}

#[test]
fn cve_2026_88264() {
    for (trick, readonly) in [("to-file", false), ("dangling", false), ("dangling", true), ("absolute", true)] {
        let (mut bundle, canary) = touching_everything();
        canary.replace(&bundle.rootfs(), "dev/console", trick);
        with_devpts_alone(&mut bundle);
        fs::create_dir_all(bundle.rootfs().join("dev/pts")).unwrap();
        bundle.set("/root/readonly", json!(readonly)).args(&["/bin/echo", "ran"]);
        let told = with_terminal(&bundle);
        canary.assert_unchanged(&told);
        if !is_peer() {
            assert!(told.contains("mount the terminal on /dev/console") && !told.contains("ran"), "{trick}: {told}");
        }
    }
}

/// The runtime's own stdio is the host's null device, in whose place the container's is opened.
#[test]
fn cve_2026_88265() {
    if is_rootless() {
        return skip("a null device of the image", "a user has the host's bound over whatever file there is");
    }
    for trick in ["to-file", "file", "device", "proc"] {
        refused("dev/null", trick, "/dev/null", without_dev_mounts);
        refused("dev/null", trick, "/dev/null", with_the_images_dev);
    }
}

/// A parent that leads into the old root, which is still attached then.
#[test]
fn cve_2026_87766() {
    for path in ["vol/inside", "vol/tmp"] {
        for trick in ["absolute", "relative"] {
            let done = led(path, trick, |_| {});
            assert!(done.stdout.contains("inside\n") && done.stdout.ends_with("ran\n"), "/{path} as {trick}: {done}");
        }
    }
}

/// The working directory is made after the pivot, inside.
#[test]
fn cve_2018_15664() {
    for trick in ["absolute", "relative", "dangling"] {
        refused("work", trick, "create the working directory", |_| {});
    }
    let done = led("work", "directory", |bundle| {
        fs::remove_dir_all(bundle.rootfs().join("work")).unwrap();
        symlink("../../../../data", bundle.rootfs().join("work")).unwrap();
        bundle.script("pwd -P");
    });
    assert_eq!(done.stdout, "/data/here\n", "inside, a link may lead anywhere");
}

#[test]
fn cve_2015_3630() {
    for destination in ["/proc/sys", "/proc/self", "/proc/sysrq-trigger", "/innocent", "/innocent/kernel"] {
        let (mut bundle, canary) = touching_everything();
        symlink("/proc/sys", bundle.rootfs().join("innocent")).unwrap();
        bundle.mount(destination, "none", canary.path(), &["bind"]);
        let done = bundle.run();
        assert!(!done.status.success() && done.stdout.is_empty(), "{destination}: {done}");
        if !is_peer() {
            done.says("cannot be mounted because it is inside /proc");
        }
    }
}

/// A volume on /proc would take the labels in; a procfs may be bound.
#[test]
fn cve_2019_16884() {
    for (kind, options) in [("none", vec!["bind"]), ("tmpfs", vec![])] {
        let (mut bundle, canary) = touching_everything();
        bundle.mount("/proc", kind, canary.path(), &options);
        let done = bundle.run();
        assert!(!done.status.success() && done.stdout.is_empty(), "{kind}: {done}");
        if !is_peer() {
            done.says("cannot be mounted because it is not of type proc");
        }
    }
    let mut bundle = Bundle::new();
    bundle.without_mount("/proc").mount("/proc", "none", "/proc", &["rbind"]).args(&["/bin/echo", "ran"]);
    assert_eq!(bundle.run().ok().stdout, "ran\n");
}

/// What masks are made of is the null device or nothing.
#[test]
fn cve_2025_31133() {
    if is_rootless() {
        return skip("a null device of the image", "a user has the host's bound over whatever file there is");
    }
    for trick in ["proc", "to-file", "file", "device", "dangling"] {
        refused("dev/null", trick, "/dev/null", without_dev_mounts);
        refused("dev/null", trick, "/dev/null", with_the_images_dev);
    }
    // Not there at all: it is made, and the mask holds.
    let (mut bundle, _canary) = touching_everything();
    without_dev_mounts(&mut bundle);
    bundle.script("head -c 100 /etc/secret; echo ran");
    assert_eq!(bundle.run().ok().stdout, "ran\n");
}

/// A devpts is asked for, not something of that name.
#[test]
fn cve_2025_52565() {
    let mut bundle = Bundle::new();
    let index = bundle.mount_index("/dev/pts");
    bundle.set(&format!("/mounts/{index}/type"), json!("tmpfs")).set(&format!("/mounts/{index}/options"), json!([]));
    bundle.set("/process/terminal", json!(true)).args(&["/bin/echo", "ran"]);
    let told = with_terminal(&bundle);
    assert!(!told.contains("ran\r"), "{told}");
    // With the right device number, on the wrong filesystem.
    if !needs_root("a ptmx that is none", "a user can make no nodes") {
        return;
    }
    let mut bundle = Bundle::new();
    let fake = bundle.rootfs().join("fake");
    fs::create_dir_all(fake.join("pts")).unwrap();
    let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::from_bits_truncate(0o666));
    nix::sys::stat::mknod(&fake.join("ptmx"), kind, mode, nix::sys::stat::makedev(5, 2)).unwrap();
    let index = bundle.mount_index("/dev/pts");
    bundle.set(&format!("/mounts/{index}/type"), json!("none"));
    bundle
        .set(&format!("/mounts/{index}/options"), json!(["bind"]))
        .set(&format!("/mounts/{index}/source"), json!(fake));
    // There the kernel looks for the devpts of a ptmx.
    bundle.mount("/dev/pts/pts", "devpts", "devpts", &["newinstance"]);
    bundle.set("/process/terminal", json!(true)).args(&["/bin/echo", "ran"]);
    let told = with_terminal(&bundle);
    assert!(!told.contains("ran\r"), "{told}");
    assert!(is_peer() || told.contains("a terminal needs a devpts"), "{told}");
}

/// Kernel parameters go to the kernel, whatever the image has at /proc.
#[test]
fn cve_2025_52881() {
    let mut bundle = Bundle::new();
    let decoy = bundle.rootfs().join("proc/sys/kernel/shm_rmid_forced");
    fs::create_dir_all(decoy.parent().unwrap()).unwrap();
    fs::write(&decoy, "decoy").unwrap();
    bundle.without_mount("/proc").unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    bundle.set("/linux/sysctl", json!({"kernel.shm_rmid_forced": "1"})).args(&["/bin/echo", "ran"]);
    if is_peer() {
        return;
    }
    bundle.run();
    assert_eq!(fs::read_to_string(&decoy).unwrap(), "decoy", "a parameter was written into the image");
}

/// Of the same mount and the same moment: what a link leads to is read-only, with all that could be written through it.
#[test]
fn ghsa_3q8j_pf29_vwv8() {
    let (mut bundle, canary) = touching_everything();
    symlink("/vol/dir", bundle.rootfs().join("link")).unwrap();
    bundle.set("/linux/readonlyPaths", json!(["/link", "/etc"]));
    let tried = bundle.probe(&["open-write", "/vol/dir/file", "/vol/dir", "/link/file", "/etc/passwd", "/etc"]);
    assert!(tried.as_object().unwrap().values().all(|tried| tried == "EROFS"), "{tried}");
    canary.assert_unchanged("read-only paths");
}

/// Each advisory of the table has tests that exist, and each mutation names tests that exist.
#[test]
fn the_table_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let exists = |name: &str| {
        let (module, test) = name.split_once("::").unwrap_or_default();
        let text = fs::read_to_string(root.join(format!("integration/{module}.rs"))).unwrap_or_default();
        text.contains(&format!("#[test]\nfn {test}() {{"))
    };
    let table = fs::read_to_string(root.join("docs/advisories.md")).unwrap();
    let mut mutations: Vec<String> = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| CVE-") || line.starts_with("| GHSA-")) {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let names = |column: &str| -> Vec<String> { column.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        let tests = names(columns[3]);
        assert!(!tests.is_empty(), "no test: {row}");
        assert!(tests.iter().all(|test| exists(test)), "a test that is not there: {row}");
        assert!(!columns[4].is_empty(), "neither mutation nor reason: {row}");
        mutations.extend(names(columns[4]));
    }
    let listed = fs::read_dir(root.join("integration/mutations")).unwrap().flatten();
    let listed: Vec<_> = listed.map(|entry| entry.path()).collect();
    for patch in &listed {
        let text = fs::read_to_string(patch).unwrap();
        let named =
            |line: &str| line.strip_prefix("Fails: ").or(line.strip_prefix("Fails for users: ")).map(str::to_owned);
        let tests = text.lines().filter_map(named).collect::<Vec<_>>().join(" ");
        assert!(!tests.is_empty() && tests.split(' ').all(exists), "{}: {tests}", patch.display());
        let name = patch.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(table.contains(&format!("`{name}`")), "{name} is not in docs/advisories.md");
    }
    for name in mutations {
        assert!(root.join(format!("integration/mutations/{name}.patch")).exists(), "no mutation {name}");
    }
}

/// A canary that changes is noticed.
#[test]
#[should_panic(expected = "the canary changed")]
fn the_canary_is_watched() {
    let bundle = Bundle::new();
    let canary = Canary::new(&bundle);
    fs::write(canary.path().join("file"), "another").unwrap();
    canary.assert_unchanged("by this test");
}
