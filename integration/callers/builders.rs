//! Those that build images: BuildKit, which runs each step in the foreground, and Buildah, which asks for the state again
//! and again.

use super::{bare, pid_in, talkative};
use crate::harness::{Bundle, Invocation, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::time::Duration;

/// BuildKit's global flags; the runtime is in a process group of its own and dies with it.
fn buildkit(bundle: &Bundle, args: &[&str]) -> Invocation {
    let log = bundle.logs().join("runc-log.json");
    let global = ["--log", log.to_str().unwrap(), "--log-format", "json"];
    bundle.invoke(&[&global, args].concat()).dies_with_caller().own_group()
}

#[test]
fn a_step_of_buildkit() {
    let mut bundle = Bundle::new();
    bundle.script("echo building; exit 4").save();
    let path = bundle.path().to_str().unwrap().to_owned();
    let done = buildkit(&bundle, &["run", "--bundle", &path, "--keep", &bundle.id]).run().exits(4).quiet();
    assert_eq!(done.stdout, "building\n");
    assert_eq!(bundle.status(), "stopped");
    buildkit(&bundle, &["delete", &bundle.id]).run().ok().quiet();
    let done = buildkit(&bundle, &["run", "--bundle", &path, &bundle.id]).run().exits(4);
    assert_eq!(done.stdout, "building\n");
    bundle.verb("state", &[]).exits(1);
}

/// A step is cancelled by SIGKILL to the container, a process in it by the pid in its file, which is there while it runs.
#[test]
fn buildkit_cancels() {
    let bundle = talkative();
    let (path, id) = (bundle.path().to_str().unwrap(), bundle.id.as_str());
    let step = buildkit(&bundle, &["run", "--bundle", path, id]).spawn();
    wait_until("it runs", || bundle.verb("state", &[]).status.success() && bundle.status() == "running");
    let process = bundle.process_file(&json!({"cwd": "/", "args": ["/bin/sleep", "1000"], "env": ["PATH=/bin"]}));
    let pid_file = bundle.logs().join("exec.pid");
    let exec = ["exec", "--process", &process, "--pid-file", pid_file.to_str().unwrap(), id];
    let exec = buildkit(&bundle, &exec).spawn();
    wait_until("the pid is written", || pid_file.exists());
    let pid = nix::unistd::Pid::from_raw(pid_in(&pid_file));
    nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
    exec.wait().exits(137);
    buildkit(&bundle, &["kill", id, "9"]).run().ok().quiet();
    step.wait().exits(137);
    bundle.verb("state", &[]).exits(1);
}

/// Signals for the step are sent to the runtime.
#[test]
fn buildkit_sends_signals_to_the_runtime() {
    let mut bundle = Bundle::new();
    bundle.script("trap 'echo got; exit 6' USR1; echo ready; while :; do sleep 0.05; done").save();
    let path = bundle.path().to_str().unwrap();
    let step = buildkit(&bundle, &["run", "--bundle", path, &bundle.id]).spawn();
    wait_until("it runs", || step.stdout().contains("ready"));
    step.signal(Signal::SIGWINCH);
    step.signal(Signal::SIGUSR1);
    assert_eq!(step.wait().exits(6).stdout, "ready\ngot\n");
}

#[test]
fn buildah_polls_until_the_end() {
    let mut bundle = Bundle::new();
    bundle.script("sleep 0.4").save();
    let (path, pid_file) = (bundle.path().to_str().unwrap(), bundle.path().join("pid"));
    let id = bundle.id.as_str();
    let create = ["create", "--bundle", path, "--pid-file", pid_file.to_str().unwrap(), "--no-new-keyring", id];
    bundle.invoke(&create).current_dir(bundle.path()).run().ok().quiet();
    bundle.invoke(&["start", id]).current_dir(bundle.path()).run().ok().quiet();
    let mut seen = Vec::new();
    wait_until("it stops", || {
        let state = bundle.invoke(&["state", id]).current_dir(bundle.path()).run().ok().quiet().json();
        let status = state["status"].as_str().unwrap().to_owned();
        assert!(["creating", "created", "running", "stopped"].contains(&status.as_str()), "{status}");
        assert_eq!(state["pid"], json!(if status == "stopped" { 0 } else { pid_in(&pid_file) }));
        let stopped = status == "stopped";
        seen.push(status);
        std::thread::sleep(Duration::from_millis(if stopped { 0 } else { 100 }));
        stopped
    });
    assert!(seen.contains(&"running".to_owned()), "{seen:?}");
    bundle.invoke(&["delete", id]).current_dir(bundle.path()).run().ok().quiet();
}

#[test]
fn buildah_stops_early() {
    for signal in [&[][..], &["SIGKILL"]] {
        let bundle = talkative();
        let path = bundle.path().to_str().unwrap();
        let created = bundle.onggi(&["create", "--bundle", path, &bundle.id]).ok();
        bundle.onggi(&["start", &bundle.id]).ok();
        wait_until("it runs", || created.stdout_now().contains("ready"));
        bare(bundle.invoke(&[&["kill", bundle.id.as_str()], signal].concat())).run().ok().quiet();
        bundle.wait_stopped();
        bundle.onggi(&["delete", &bundle.id]).ok().quiet();
    }
}
