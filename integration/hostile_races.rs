//! Somebody who shares a volume swaps a directory for a link, again and again, while containers are made of it
//! (CVE-2019-19921, CVE-2021-30465, CVE-2024-45310, CVE-2025-31133, GHSA-3q8j-pf29-vwv8). Whatever the kernel shows at the
//! moment, nothing outside is reached. A bounded number of rounds: what is checked by path would be found by one of them.

use crate::harness::{Bundle, Canary, Pty, Snapshot, is_peer, is_rootless, rounds, skip};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Runs for each race.
const ROUNDS: usize = 25;

/// Exchanges two names as fast as it can until it is dropped.
struct Swapper {
    ended: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    #[expect(clippy::disallowed_methods, reason = "the runtime has one thread, its tests need not")]
    fn new(one: PathBuf, other: PathBuf) -> Self {
        let (ended, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, count) = (ended.clone(), swaps.clone());
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &one, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { ended, swaps, thread: Some(thread) }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Runs `bundle` while `path` of its root filesystem changes between what it is and a link to the canary, or below it.
/// `check` sees each run that succeeded.
fn race(what: &str, bundle: &mut Bundle, canary: &Canary, path: &str, target: &Path, run: impl Fn(&Bundle)) {
    if is_peer() {
        return skip(what, "other runtimes may lose it");
    }
    let at = bundle.rootfs().join(path);
    let other = bundle.rootfs().join("other");
    symlink(target, &other).unwrap();
    let before = Snapshot::of(bundle);
    let swapper = Swapper::new(at, other);
    for _ in 0..rounds(what, ROUNDS) {
        run(bundle);
        canary.assert_unchanged(what);
    }
    assert!(swapper.swaps.load(Ordering::Relaxed) > 100, "there was no race");
    drop(swapper);
    before.ignoring_bundle(bundle).assert_unchanged(bundle);
}

fn with_canary() -> (Bundle, Canary) {
    let mut bundle = Bundle::new();
    let canary = Canary::new(&bundle);
    bundle.set("/root/readonly", json!(false));
    (bundle, canary)
}

fn without_dev_mounts(bundle: &mut Bundle) {
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
}

/// CVE-2021-30465, CVE-2024-45310: the parents of a mount target that has to be made, eight levels deep.
#[test]
fn cve_2024_45310_mount_targets() {
    let (mut bundle, canary) = with_canary();
    fs::create_dir_all(bundle.rootfs().join("vol/deep")).unwrap();
    bundle.mount("/vol/deep/a/b/c/d/e/f/g/h", "tmpfs", "tmpfs", &[]).mount(
        "/vol/deep/x/y/file",
        "none",
        "/etc/hostname",
        &["bind"],
    );
    bundle.script("test ! -e /vol/deep/file || echo canary; cat /proc/self/mountinfo");
    let target = canary.path().to_owned();
    race("the race for a mount target", &mut bundle, &canary, "vol", &target, |bundle| {
        let done = bundle.run();
        assert!(!done.stdout.contains("canary\n"), "{done}");
    });
}

/// CVE-2021-30465: a source inside the root that an earlier mount has made.
#[test]
fn cve_2021_30465_sources_inside_the_root() {
    let (mut bundle, canary) = with_canary();
    fs::create_dir_all(bundle.rootfs().join("vol/deep")).unwrap();
    let inside = bundle.rootfs().join("vol/deep");
    bundle.mount("/seen", "none", inside, &["rbind"]).script("ls /seen");
    let target = canary.path().to_owned();
    race("the race for a source inside the root", &mut bundle, &canary, "vol", &target, |bundle| {
        let done = bundle.run();
        assert!(!done.stdout.contains("ptmx"), "the canary is seen inside: {done}");
    });
}

/// CVE-2019-19921: /proc is a real directory, or there is no container.
#[test]
fn cve_2019_19921_proc() {
    let (mut bundle, canary) = with_canary();
    bundle.script("grep -c ' /proc proc\\| /proc .* - proc ' /proc/self/mountinfo");
    race("the race for /proc", &mut bundle, &canary, "proc", Path::new("/data"), |bundle| {
        let done = bundle.run();
        assert!(!done.status.success() || done.stdout == "1\n", "{done}");
    });
}

/// CVE-2025-31133, GHSA-3q8j-pf29-vwv8: what is masked or read-only is what the path leads to, inside, at one moment.
#[test]
fn ghsa_3q8j_pf29_vwv8_masked_and_read_only_paths() {
    let (mut bundle, canary) = with_canary();
    fs::create_dir_all(bundle.rootfs().join("vol/sys")).unwrap();
    fs::write(bundle.rootfs().join("vol/secret"), "secret").unwrap();
    bundle.set("/linux/maskedPaths", json!(["/vol/secret", "/vol/deep"]));
    bundle.set("/linux/readonlyPaths", json!(["/vol/sys"])).args(&["/bin/true"]);
    let target = canary.path().to_owned();
    race("the race for masked paths", &mut bundle, &canary, "vol", &target, |bundle| drop(bundle.run()));
}

/// CVE-2026-47766, CVE-2026-41579: the image's own /dev.
#[test]
fn cve_2026_41579_devices() {
    let (mut bundle, canary) = with_canary();
    without_dev_mounts(&mut bundle);
    if !is_rootless() {
        bundle.set("/linux/devices", json!([{"path": "/dev/deep/zero", "type": "c", "major": 1, "minor": 5}]));
    }
    bundle.args(&["/bin/true"]);
    // Nothing but a ptmx is in the way there.
    let target = canary.path().join("deep");
    race("the race for /dev", &mut bundle, &canary, "dev", &target, |bundle| drop(bundle.run()));
}

#[test]
fn working_directory() {
    let (mut bundle, canary) = with_canary();
    fs::create_dir_all(bundle.rootfs().join("work")).unwrap();
    bundle.set("/process/cwd", json!("/work/new/deep")).script("ls -a /work; pwd");
    let target = canary.path().to_owned();
    race("the race for the working directory", &mut bundle, &canary, "work", &target, |bundle| {
        let done = bundle.run();
        assert!(!done.stdout.contains("ptmx"), "{done}");
        fs::remove_dir_all(bundle.rootfs().join("work/new")).ok();
    });
}

/// CVE-2026-88264, CVE-2025-52565: /dev/console becomes a link while the terminal is made.
#[test]
fn cve_2026_88264_console() {
    let (mut bundle, canary) = with_canary();
    without_dev_mounts(&mut bundle);
    bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
    fs::create_dir_all(bundle.rootfs().join("dev/pts")).unwrap();
    fs::write(bundle.rootfs().join("dev/console"), "").unwrap();
    bundle.set("/process/terminal", json!(true)).args(&["/bin/true"]);
    let target = canary.path().join("console");
    race("the race for /dev/console", &mut bundle, &canary, "dev/console", &target, |bundle| {
        let (mut pty, run) = Pty::control(bundle.start_with("run", &[]));
        pty.rest();
        run.wait();
    });
}
