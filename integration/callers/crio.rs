//! CRI-O: conmon for what stays, and direct calls with next to no environment, of which it reads stderr.

use super::{bare, pid_in, talkative};
use crate::harness::{Bundle, Invocation, Outcome, is_peer, wait_until};
use serde_json::json;
use std::fs;
use std::io::{Read, Write, pipe};

#[track_caller]
fn call(bundle: &Bundle, args: &[&str]) -> Outcome {
    bare(bundle.invoke(args)).env("CRI_O_EXTERNAL", "1").run()
}

#[test]
fn stopping_pausing_and_updating() {
    let bundle = talkative();
    let id = bundle.id.as_str();
    let (input, mut line) = pipe().unwrap();
    let pid_file = bundle.path().join("pidfile");
    let (path, file) = (bundle.path().to_str().unwrap(), pid_file.to_str().unwrap());
    let (output, stdout) = pipe().unwrap();
    let create = bundle.invoke(&["create", "--bundle", path, "--pid-file", file, id]);
    create.stdio(input.into(), stdout.try_clone().unwrap().into(), stdout.into()).run().ok();
    assert_eq!(pid_in(&pid_file), bundle.pid());
    call(&bundle, &["start", id]).ok().quiet();
    writeln!(line, "x").unwrap();
    let update = bare(bundle.invoke(&["update", "--resources", "-", id])).stdin_text("{}").run().ok().quiet();
    assert_eq!(update.stdout, "");
    for verb in ["pause", "resume"] {
        call(&bundle, &[verb, id]).ok().quiet();
    }
    let state = call(&bundle, &["state", id]).ok().quiet().json();
    for key in ["id", "pid", "status", "created", "bundle"] {
        assert!(!state[key].is_null(), "{key}: {state}");
    }
    let mut seen = [0; 12];
    let mut output = output;
    output.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"ready\ngot=x\n");
    call(&bundle, &["kill", id, "15"]).ok().quiet();
    wait_until("it ends", || call(&bundle, &["state", id]).ok().json()["status"] == "stopped");
    for signal in ["15", "KILL"] {
        let done = call(&bundle, &["kill", id, signal]).exits(1);
        assert!(is_peer() || done.stderr.contains("container not running"), "{done}");
    }
    call(&bundle, &["delete", "--force", id]).ok().quiet();
    // Taken for "stopped".
    call(&bundle, &["state", id]).exits(1);
}

/// A container in its pod's PID namespace.
#[test]
fn every_process_of_a_container_without_a_pid_namespace() {
    let mut bundle = Bundle::new();
    bundle.without_namespace("pid").script("sleep 1000 & sleep 1000 & echo ready; wait");
    let started = bundle.start_with("run", &["-d"]).run().ok();
    wait_until("it runs", || started.stdout_now().contains("ready"));
    let pids = call(&bundle, &["ps", "-f", "json", &bundle.id]).ok().json();
    assert_eq!(pids.as_array().unwrap().len(), 3);
    call(&bundle, &["kill", "-a", &bundle.id, "9"]).ok().quiet();
    for pid in pids.as_array().unwrap() {
        let process = format!("/proc/{pid}/cmdline");
        wait_until("it has ended", || fs::read(&process).unwrap_or_default().is_empty());
    }
    call(&bundle, &["delete", "--force", &bundle.id]).ok().quiet();
}

/// Streaming exec: in the foreground, stdin a pipe, the status is the program's.
#[test]
fn exec_in_the_foreground() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let (input, mut lines) = pipe().unwrap();
    let process = |script: &str| {
        bundle.process_file(&json!({"cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 1000, "gid": 1000},
            "args": ["/bin/sh", "-c", script]}))
    };
    let file = process("cat; id -u; echo err >&2; exit 9");
    let (output, stdout) = pipe().unwrap();
    let exec = bare(bundle.invoke(&["exec", "--process", &file, &bundle.id]));
    let running = exec.stdio(input.into(), stdout.try_clone().unwrap().into(), stdout.into()).spawn();
    writeln!(lines, "over the pipe").unwrap();
    drop(lines);
    running.wait().exits(9);
    let mut text = String::new();
    { output }.read_to_string(&mut text).unwrap();
    assert_eq!(text, "over the pipe\n1000\nerr\n");
    // The runtime's own failure has a status that it knows from the program's.
    let missing = process("true").replace(".json", "-missing.json");
    bare(bundle.invoke(&["exec", "--process", &missing, &bundle.id])).run().exits(255);
}

/// Both are read with stderr in the same text.
#[test]
fn probes_for_features_and_version() {
    let dir = tempfile::tempdir().unwrap();
    let probe = |arg: &str| bare(Invocation::runtime(dir.path(), [arg])).combined().run().ok();
    let features = probe("features").json();
    for key in ["ociVersionMin", "ociVersionMax"] {
        assert!(features[key].as_str().is_some_and(|version| version.starts_with("1.")), "{features}");
    }
    assert!(probe("--version").stdout.contains(" version "));
}
