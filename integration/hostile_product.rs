//! The whole product of the paths that the runtime touches in a root filesystem and the tricks that can lie there.
//!
//! Whether a container is refused or contained, nothing outside of it changes, nothing is left, nobody waits, and no
//! error is a crash. The tests named after advisories are in `hostile_rootfs`.

use crate::harness::{Snapshot, TRICKS, is_peer, patience, rounds, skip, touching_everything};
use serde_json::json;
use std::time::Instant;

/// Relative to the root.
const TOUCHED: &[&str] = &[
    "dev",
    "dev/pts",
    "dev/ptmx",
    "dev/null",
    "dev/console",
    "dev/fd",
    "dev/shm",
    "dev/mqueue",
    "proc",
    "sys",
    "sys/fs/cgroup",
    "vol",
    "vol/dir",
    "vol/file",
    "vol/tmp",
    "vol/tmp/inner",
    "from",
    "from/source",
    "vol/inside",
    "etc",
    "etc/secret",
    "etc/passwd",
    "secrets",
    "work",
    "work/here",
    "bin",
    "bin/sh",
];

/// What an entry of `/dev` is only without the mounts that cover it.
fn without_dev_mounts(config: &mut serde_json::Value) {
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
}

fn try_all(dev_is_mounted: bool) {
    if is_peer() {
        return skip("tricks in a root filesystem", "other runtimes fall for some of them");
    }
    let (mut refused, mut ran) = (0, 0);
    let product: Vec<_> = TOUCHED.iter().flat_map(|path| TRICKS.map(|trick| (*path, trick))).collect();
    let wanted = |path: &str| dev_is_mounted || path.starts_with("dev");
    let product: Vec<_> = product.into_iter().filter(|(path, _)| wanted(path)).collect();
    let some = rounds("tricks in a root filesystem", product.len());
    for (position, (path, trick)) in product.iter().enumerate().step_by(product.len() / some) {
        let (mut bundle, canary) = touching_everything();
        if !dev_is_mounted {
            without_dev_mounts(&mut bundle.config);
        }
        if !canary.replace(&bundle.rootfs(), path, trick) {
            continue;
        }
        // It takes longer than a run; and integration/enter looks in the end, too.
        let before = (path.len() % TRICKS.len() == position % TRICKS.len()).then(|| Snapshot::of(&bundle));
        let start = Instant::now();
        let done = bundle.run();
        let told = format!("/{path} as {trick}, /dev mounted {dev_is_mounted}: {done}");
        assert!(start.elapsed() < patience(5), "{told}");
        canary.assert_unchanged(&told);
        assert!(!done.stdout.contains("canary"), "the canary is seen inside: {told}");
        assert!(!done.stdout.contains("secret\n") || ["etc/secret", "etc"].contains(path), "the mask is void: {told}");
        assert!(!done.stderr.contains("bug:") && !done.stderr.contains("panicked"), "{told}");
        before.into_iter().for_each(|before| before.ignoring_bundle(&bundle).assert_unchanged(&bundle));
        if done.stdout.ends_with("ran\n") {
            ran += 1;
        } else {
            refused += 1;
            assert!(done.stderr.lines().count() <= 3 && !done.stderr.is_empty(), "one line says why: {told}");
        }
    }
    assert!(refused > 0 && ran > 0, "{refused} refused, {ran} ran: the product is no test");
}

#[test]
fn with_the_mounts_of_the_template() {
    try_all(true);
}

#[test]
fn without_a_mount_on_dev() {
    try_all(false);
}

/// A terminal makes `/dev/console` and opens `/dev/ptmx`; the devpts is the container's, all else the image's.
#[test]
fn with_a_terminal() {
    if is_peer() {
        return skip("tricks where a terminal goes", "other runtimes fall for some of them");
    }
    for path in ["dev", "dev/console", "dev/pts", "dev/ptmx", "dev/tty"] {
        for trick in TRICKS {
            let (mut bundle, canary) = touching_everything();
            without_dev_mounts(&mut bundle.config);
            bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
            bundle.set("/process/terminal", json!(true));
            if !canary.replace(&bundle.rootfs(), path, trick) {
                continue;
            }
            let run = bundle.start_with("run", &[]);
            let (mut pty, run) = crate::harness::Pty::control(run);
            let seen = pty.rest();
            let done = run.wait();
            let told = format!("/{path} as {trick} with a terminal: {seen} {done}");
            canary.assert_unchanged(&told);
            assert!(!seen.contains("canary"), "{told}");
        }
    }
}
