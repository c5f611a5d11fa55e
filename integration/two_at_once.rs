//! Several commands on one id at the same time: what one leaves must not hit the container of another.

use crate::harness::{Bundle, Snapshot, is_peer, rounds, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;

/// A `create` in a hook of the host's, its container deleted and made anew meanwhile: when the hook ends, the old command
/// undoes its own container, which is gone, and not the new one of the same id and cgroup.
#[test]
fn an_old_create_does_not_kill_the_new_container() {
    if is_peer() {
        return;
    }
    let mut old = Bundle::new();
    let (entered, leave) = (old.logs().join("entered"), old.logs().join("leave"));
    let script = format!("touch {}; while [ ! -e {} ]; do sleep 0.05; done", entered.display(), leave.display());
    old.set("/hooks/createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]));
    old.args(&["/bin/sleep", "100"]);
    let creating = old.start_with("create", &[]).spawn();
    wait_until("the hook runs", || entered.exists());
    old.verb("delete", &["--force"]).ok();

    old.unset("/hooks");
    old.start_with("run", &["-d"]).run().ok();
    fs::write(&leave, "").unwrap();
    creating.wait().exits(1);
    // Long enough for a SIGKILL to be noticed.
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(old.status(), "running");
}

/// A foreground `run` that comes late to its clean-up finds the id in other hands.
#[test]
fn an_old_run_does_not_clean_up_the_new_container() {
    for private in [true, false] {
        if is_peer() {
            return;
        }
        let mut bundle = Bundle::new();
        bundle.script("echo up; exec sleep 100");
        if !private {
            bundle.without_namespace("pid");
        }
        let old = bundle.start_with("run", &[]).spawn();
        // Said by the program, and known to the state file.
        wait_until("it runs", || old.stdout() == "up\n" && bundle.verb("state", &[]).stdout.contains("\"running\""));
        old.signal(Signal::SIGSTOP);
        bundle.verb("delete", &["--force"]).ok();
        bundle.start_with("run", &["-d"]).run().ok();
        old.signal(Signal::SIGCONT);
        old.wait().exits(137).quiet();
        assert_eq!(bundle.status(), "running", "private PID namespace: {private}");
    }
}

#[test]
fn delete_while_create_is_at_work() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.warm_up();
    let before = Snapshot::of(&bundle);
    let rounds = u32::try_from(rounds("two at once: delete while create is at work", 40)).unwrap();
    for round in 0..rounds {
        let creating = bundle.start_with("create", &[]).spawn();
        std::thread::sleep(std::time::Duration::from_millis(20) * round / rounds);
        bundle.verb("delete", &["--force"]).ok();
        let created = creating.wait();
        // Whoever was first: a container is there and whole, or nothing is.
        if created.status.success() && bundle.verb("state", &[]).status.success() {
            assert_eq!(bundle.status(), "created");
            bundle.verb("delete", &["--force"]).ok();
        }
        before.assert_unchanged(&bundle);
    }
}

#[test]
fn start_against_delete_and_kill() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.warm_up();
    let before = Snapshot::of(&bundle);
    for round in 0..rounds("two at once: start against delete and kill", 20) {
        bundle.create().ok();
        let starting = bundle.invoke(&["start", &bundle.id]).spawn();
        if round % 2 == 0 {
            bundle.verb("delete", &["--force"]).ok();
        } else {
            bundle.kill("KILL").ok();
            bundle.wait_stopped();
        }
        let started = starting.wait();
        assert!(started.status.code().is_some(), "{started}");
        bundle.verb("delete", &["--force"]).ok();
        before.assert_unchanged(&bundle);
    }
}
