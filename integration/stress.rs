//! Many containers, in a row and side by side: no failure, and the host is as it was.

use crate::harness::{Bundle, Snapshot, rounds};

#[test]
fn two_hundred_in_a_row() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.run().ok().quiet();
    let before = Snapshot::of(&bundle);
    for round in 0..rounds("stress: two hundred in a row", 200) {
        let done = bundle.run();
        assert!(done.status.success() && done.stderr.is_empty(), "round {round}: {done}");
    }
    before.assert_unchanged(&bundle);
}

/// In one state directory, from bundles of their own, since a config.json may name the cgroup.
#[test]
fn two_hundred_eight_at_a_time() {
    let mut lanes: Vec<_> = (0..8).map(|_| Bundle::new()).collect();
    for lane in &mut lanes {
        lane.args(&["/bin/true"]).save();
    }
    let bundle = &lanes[0];
    bundle.run().ok().quiet();
    let before = Snapshot::of(bundle);
    for round in 0..rounds("stress: eight at a time", 25) {
        let run = |lane: &Bundle| {
            let (path, id) = (lane.path().to_str().unwrap(), format!("{}.{round}", lane.id));
            bundle.invoke(&["run", "--bundle", path, &id]).spawn()
        };
        let running: Vec<_> = lanes.iter().map(run).collect();
        for run in running {
            let done = run.wait();
            assert!(done.status.success() && done.stderr.is_empty(), "round {round}: {done}");
        }
    }
    before.assert_unchanged(bundle);
}

/// The same id from eight callers at once: one wins, the others say why, nothing is left.
#[test]
fn one_id_for_eight() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.run().ok();
    bundle.args(&["/bin/sleep", "100"]);
    let before = Snapshot::of(&bundle);
    for _ in 0..rounds("stress: one id for eight", 5) {
        let running: Vec<_> = (0..8).map(|_| bundle.start_with("create", &[]).spawn()).collect();
        let done: Vec<_> = running.into_iter().map(crate::harness::Running::wait).collect();
        let won = done.iter().filter(|outcome| outcome.status.success()).count();
        assert_eq!(won, 1, "{done:?}");
        assert_eq!(bundle.status(), "created");
        bundle.verb("delete", &["--force"]).ok();
        before.assert_unchanged(&bundle);
    }
}

/// Large plans: many mounts, long strings, many environment variables, whole or refused, never in part.
#[test]
fn large_configs() {
    let mut bundle = Bundle::new();
    bundle.mount("/tmp", "tmpfs", "tmpfs", &[]);
    for number in 0..300 {
        bundle.mount(&format!("/tmp/{number}"), "bind", "/etc/hostname", &["bind", "ro"]);
    }
    bundle.set("/process/env/-", serde_json::json!(format!("LONG={}", "x".repeat(100_000))));
    for number in 0..2000 {
        bundle.set(&format!("/annotations/key{number}"), serde_json::json!("v".repeat(100)));
    }
    bundle.script("cut -d' ' -f5 /proc/self/mountinfo | grep -c ^/tmp/; echo ${#LONG}");
    assert_eq!(bundle.run().ok().stdout, "300\n100000\n");
}
