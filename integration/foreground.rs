//! `run` in the foreground: which signals go on to the container, what is reaped, which status comes back.

use crate::harness::{Bundle, Snapshot, is_peer, needs_root, patience, rounds, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::process::Command;
use std::time::Instant;

/// By number: nix has no names for real-time signals.
fn send(pid: u32, signal: u32) {
    assert!(Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().unwrap().success());
}

/// All but those that no program can catch, that of our own children, and the two that the C library keeps to itself.
#[test]
fn every_signal_goes_on() {
    let mut bundle = Bundle::new();
    // By 21 and 22 the kernel stops who uses a terminal from its background: they are about the runtime.
    let signals: Vec<u32> = (1..=64).filter(|signal| ![9, 17, 19, 21, 22, 32, 33].contains(signal)).collect();
    let list = signals.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    bundle.script(&format!(
        "for n in {list}; do trap \"echo got $n.\" $n; done; echo ready; while :; do sleep 0.05; done"
    ));
    let run = bundle.start_with("run", &[]).spawn();
    wait_until("the traps are set", || run.stdout().contains("ready"));
    for signal in signals {
        if is_peer() && [23, 28].contains(&signal) {
            continue; // Go uses SIGURG, and SIGWINCH is for terminals there.
        }
        send(run.pid(), signal);
        wait_until(&format!("signal {signal} arrives"), || run.stdout().contains(&format!("got {signal}.")));
    }
    bundle.verb("delete", &["--force"]).ok();
    run.wait().exits(137);
}

/// While the container is made, what does not ask for an end waits for the program.
#[test]
fn a_signal_before_the_program_is_not_lost() {
    let mut bundle = Bundle::new();
    // The first process of a PID namespace would not die of it.
    bundle.without_namespace("pid").args(&["/bin/sleep", "1000"]);
    let (entered, leave) = (bundle.logs().join("entered"), bundle.logs().join("leave"));
    let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.05; done", entered.display(), leave.display());
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", wait], "env": ["PATH=/bin"]}]));
    let run = bundle.start_with("run", &[]).spawn();
    wait_until("the hook runs", || entered.exists());
    run.signal(Signal::SIGUSR1);
    fs::write(leave, "").unwrap();
    run.wait().exits(128 + 10);
}

/// The children of a process, and whether each has ended and is not reaped.
fn children(pid: u32) -> Vec<(u32, bool)> {
    let of = |pid: u32| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let zombie = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    of(pid).split_whitespace().map(|child| child.parse().unwrap()).map(|child| (child, zombie(child))).collect()
}

/// What loses its parent in a container without a PID namespace comes to `run`, which reaps it; with `--no-subreaper` it
/// goes to an ancestor.
#[test]
fn orphans_are_reaped() {
    for (flags, adopts) in [(&[][..], true), (&["--no-subreaper"], false)] {
        let mut bundle = Bundle::new();
        bundle.without_namespace("pid").set("/root/readonly", json!(false));
        bundle.script("(while [ ! -e /data/go ]; do sleep 0.05; done & echo $! > /data/pid); echo up; exec sleep 1000");
        let run = bundle.start_with("run", flags).spawn();
        wait_until("it is up", || run.stdout().contains("up"));
        let orphan: u32 = fs::read_to_string(bundle.rootfs().join("data/pid")).unwrap().trim().parse().unwrap();
        let has_it = || children(run.pid()).iter().any(|child| child.0 == orphan);
        wait_until("the orphan finds a parent", || has_it() == adopts);
        fs::write(bundle.rootfs().join("data/go"), "").unwrap();
        wait_until("the orphan is gone", || !has_it());
        assert!(children(run.pid()).iter().all(|child| !child.1), "{flags:?}: {:?}", children(run.pid()));
        bundle.kill("KILL").ok();
        run.wait().exits(137);
    }
}

/// A caller that becomes us by execve may have had children, whose end is not the container's.
#[test]
fn children_of_the_caller() {
    let mut bundle = Bundle::new();
    bundle.script("echo up; sleep 0.5; exit 6");
    let caller = "sleep 0.1 & sleep 0.2 & exec \"$@\"";
    let run = bundle.start_with("run", &[]).under(&["sh", "-c", caller, "-"]).spawn();
    run.wait().exits(6).quiet();
}

#[test]
fn statuses() {
    let mut bundle = Bundle::new();
    for code in [0, 1, 2, 125, 126, 127, 128, 255] {
        bundle.script(&format!("exit {code}"));
        bundle.run().exits(code).quiet();
    }
    bundle.without_namespace("pid");
    for signal in [1, 6, 9, 11, 15, 34, 64] {
        bundle.script(&format!("kill -{signal} $$; sleep 5"));
        bundle.run().exits(128 + signal).quiet();
    }
}

/// A `run` that is stopped and goes on notices what happened meanwhile.
#[test]
fn stopped_and_continued() {
    let mut bundle = Bundle::new();
    bundle.script("echo up; exec sleep 1000");
    let run = bundle.start_with("run", &[]).spawn();
    // Said by the program, and known to the state file.
    wait_until("it is up", || run.stdout().contains("up") && bundle.verb("state", &[]).stdout.contains("\"running\""));
    run.signal(Signal::SIGSTOP);
    bundle.kill("KILL").ok();
    // Nobody reaps it, and it has stopped all the same.
    bundle.wait_stopped();
    assert!(children(run.pid()).iter().any(|child| child.1), "it is a zombie");
    bundle.kill("KILL").exits(1).says("container not running");
    run.signal(Signal::SIGCONT);
    run.wait().exits(137).quiet();
    bundle.verb("state", &[]).exits(1).says("container does not exist");
}

/// None hangs. `ONGGI_TEST_WHOLE` makes all ten thousand.
#[test]
fn ten_thousand_that_end_at_once() {
    let whole = std::env::var_os("ONGGI_TEST_WHOLE").is_some();
    let rounds = if whole { 10_000 } else { rounds("foreground: programs that end at once", 300) };
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.run().ok();
    let before = Snapshot::of(&bundle);
    let begin = Instant::now();
    for round in 0..rounds {
        let done = bundle.run();
        assert!(done.status.success() && done.stderr.is_empty(), "round {round}: {done}");
        for entry in fs::read_dir(bundle.logs()).unwrap().flatten() {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    if whole {
        eprintln!("{rounds} in {:?}", begin.elapsed());
    }
    before.assert_unchanged(&bundle);
}

/// A process of the container's PID namespace that somebody outside does not reap keeps its init process from ending.
#[test]
fn a_container_that_can_not_end() {
    if !needs_root("a container that can not end", "its PID namespace is joined from outside") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.asleep();
    let pid = bundle.pid().to_string();
    let mut joined = Command::new("nsenter").args(["-t", &pid, "-p", "sleep", "1000"]).spawn().unwrap();
    wait_until("it has joined", || children(joined.id()).len() == 1);
    send(joined.id(), Signal::SIGSTOP as u32);
    let begin = Instant::now();
    bundle.verb("delete", &["--force"]).exits(1).says("container init still running");
    let took = begin.elapsed();
    assert!(took.as_secs() >= 9 && took < patience(30), "{took:?}");
    assert_eq!(bundle.status(), "running");
    assert!(children(joined.id())[0].1, "it waits for a zombie outside");
    send(joined.id(), Signal::SIGCONT as u32);
    joined.wait().unwrap();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok().quiet();
}
