//! `kill`: names, numbers, whom it reaches.

use crate::harness::{Bundle, Snapshot, wait_until};

fn trapping(signal: &str) -> (Bundle, crate::harness::Outcome) {
    let mut bundle = Bundle::new();
    bundle.script(&format!("trap 'echo got {signal}' {signal}; echo ready; while :; do sleep 0.05; done"));
    let started = bundle.start_with("run", &["-d"]).run().ok();
    wait_until("the trap is set", || started.stdout_now().contains("ready"));
    (bundle, started)
}

#[test]
fn takes_names_and_numbers_in_every_spelling() {
    for spelling in ["USR1", "SIGUSR1", "usr1", "sigusr1", "10"] {
        let (bundle, started) = trapping("USR1");
        bundle.kill(spelling).ok().quiet();
        wait_until(spelling, || started.stdout_now().contains("got USR1"));
    }
}

#[test]
fn defaults_to_sigterm() {
    let (bundle, started) = trapping("TERM");
    bundle.verb("kill", &[]).ok();
    wait_until("SIGTERM arrives", || started.stdout_now().contains("got TERM"));
}

#[test]
fn knows_realtime_signals() {
    let (bundle, started) = trapping("40");
    bundle.kill("40").ok();
    wait_until("signal 40 arrives", || started.stdout_now().contains("got 40"));
}

#[test]
fn refuses_unknown_signals_and_leaves_the_container_alone() {
    let (bundle, _) = trapping("USR1");
    bundle.kill("NOSUCH").exits(1).says("unknown signal \"NOSUCH\"");
    bundle.kill("SIGRTMAX+1").exits(1).says("unknown signal");
    bundle.kill("4711").exits(1).says("invalid argument");
    assert_eq!(bundle.status(), "running");
    bundle.kill("0").ok();
}

#[test]
fn looks_for_the_container_before_the_signal() {
    let bundle = Bundle::new();
    bundle.kill("NOSUCH").exits(1).says("container does not exist");
}

#[test]
fn of_a_stopped_container_is_refused() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.start_with("run", &["-d"]).run().ok();
    bundle.wait_stopped();
    bundle.kill("KILL").exits(1).says("container not running");
    bundle.onggi(&["kill", "--all", &bundle.id, "KILL"]).ok();
}

#[test]
fn sigterm_ends_a_created_container() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    bundle.kill("TERM").ok();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok();
}

#[test]
fn sigkill_ends_an_init_that_ignores_everything() {
    let mut bundle = Bundle::new();
    bundle.script("trap '' TERM INT HUP QUIT; echo ready; while :; do sleep 0.05; done");
    let started = bundle.start_with("run", &["-d"]).run().ok();
    wait_until("ready", || started.stdout_now().contains("ready"));
    bundle.kill("TERM").ok();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(bundle.status(), "running");
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
}

#[test]
fn sigkill_without_a_pid_namespace_ends_every_process_of_the_cgroup() {
    let mut bundle = Bundle::new();
    bundle.without_namespace("pid").args(&["/bin/true"]);
    bundle.run().ok();
    bundle.script("sleep 300 & sleep 301 & echo ready; wait");
    let before = Snapshot::of(&bundle);
    let started = bundle.start_with("run", &["-d"]).run().ok();
    wait_until("ready", || started.stdout_now().contains("ready"));
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok();
    before.assert_unchanged(&bundle);
}
