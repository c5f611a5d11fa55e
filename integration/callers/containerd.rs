//! containerd's shim by way of go-runc, which is also what Docker and nerdctl come by: stdio of containers is passed on
//! as it is, everything else is captured with stdout and stderr in one, and the runtime dies with its caller.

use super::{last_error, pid_in, talkative};
use crate::cgroup::cgroup_of;
use crate::harness::{Bundle, Invocation, Outcome, Running, is_peer, probe_path, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write, pipe};
use std::path::PathBuf;

fn log(bundle: &Bundle) -> PathBuf {
    bundle.path().join("log.json")
}

/// The global flags are the same on each call.
fn go_runc(bundle: &Bundle, args: &[&str]) -> Invocation {
    let log = log(bundle);
    bundle.invoke(&[&["--log", log.to_str().unwrap(), "--log-format", "json"], args].concat()).dies_with_caller()
}

/// A call whose output is captured.
#[track_caller]
fn call(bundle: &Bundle, args: &[&str]) -> Outcome {
    go_runc(bundle, args).combined().run()
}

/// A call of the shim that says nothing when all is well.
#[track_caller]
fn silent(bundle: &Bundle, args: &[&str]) {
    let done = call(bundle, args).ok();
    assert_eq!(done.stdout, "", "{done}");
}

fn create(bundle: &Bundle) -> (Invocation, PathBuf) {
    let pid_file = bundle.path().join("init.pid");
    let (path, file) = (bundle.path().to_str().unwrap(), pid_file.to_str().unwrap());
    (go_runc(bundle, &["create", "--bundle", path, "--pid-file", file, &bundle.id]), pid_file)
}

#[test]
fn a_container_from_create_to_delete() {
    let bundle = talkative();
    let id = bundle.id.as_str();
    let ((stdin, mut input), (output, stdout), (errors, stderr)) = (pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
    let (command, pid_file) = create(&bundle);
    command.stdio(stdin.into(), stdout.into(), stderr.into()).run().ok();
    let init = pid_in(&pid_file);
    let state = call(&bundle, &["state", id]).ok().json();
    assert_eq!((&state["pid"], &state["status"], &state["id"]), (&json!(init), &json!("created"), &json!(id)));
    // The shim enables controllers up the tree and watches for kills there, so it must be the last place.
    let cgroup = cgroup_of(&bundle);
    silent(&bundle, &["start", id]);
    writeln!(input, "hello").unwrap();
    let mut lines = BufReader::new(output).lines();
    for line in ["ready", "got=hello"] {
        assert_eq!(lines.next().unwrap().unwrap(), line);
    }
    assert_eq!(BufReader::new(errors).lines().next().unwrap().unwrap(), "err");
    assert_eq!(cgroup_of(&bundle), cgroup);

    let process = bundle.process_file(&json!({"cwd": "/", "args": ["/bin/sleep", "1000"], "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0}}));
    let exec_file = bundle.path().join("exec.pid");
    let exec = ["exec", "--process", &process, "--detach", "--pid-file", exec_file.to_str().unwrap(), id];
    go_runc(&bundle, &exec).run().ok().quiet();
    fs::remove_file(&process).unwrap();
    let second = pid_in(&exec_file);
    let pids = call(&bundle, &["ps", "--format", "json", id]).ok().json();
    for pid in [init, second] {
        assert!(pids.as_array().unwrap().contains(&json!(pid)), "{pids}");
    }
    let table = call(&bundle, &["ps", "--format", "table", id, "-o", "pid,comm"]).ok().stdout;
    assert!(table.lines().any(|line| line.split_whitespace().eq([second.to_string().as_str(), "sleep"])), "{table}");

    silent(&bundle, &["pause", id]);
    assert_eq!(call(&bundle, &["state", id]).ok().json()["status"], "paused");
    silent(&bundle, &["resume", id]);
    go_runc(&bundle, &["update", "--resources=-", id]).stdin_text("{}").combined().run().ok();
    let stats = call(&bundle, &["events", "--stats", id]).ok().json();
    assert_eq!((&stats["type"], &stats["id"]), (&json!("stats"), &json!(id)));

    silent(&bundle, &["kill", id, "15"]);
    wait_until("it ends", || call(&bundle, &["state", id]).ok().json()["status"] == "stopped");
    silent(&bundle, &["kill", "--all", id, "9"]);
    call(&bundle, &["kill", id, "9"]).exits(1);
    silent(&bundle, &["delete", id]);
    let gone = call(&bundle, &["delete", id]).exits(1);
    assert!(is_peer() || gone.stdout == "container does not exist\n", "{gone}");
    assert!(last_error(&fs::read_to_string(log(&bundle)).unwrap()).is_some_and(|text| text.contains("does not exist")));
}

/// The log grows with each call; what the shim reports is the last error in it.
#[test]
fn the_last_error_in_the_log_is_the_message() {
    let mut bundle = Bundle::new();
    call(&bundle, &["state", &bundle.id]).exits(1);
    bundle.args(&["nosuch"]).set("/process/capabilities/bounding/-", json!("CAP_NO_SUCH")).save();
    let (command, pid_file) = create(&bundle);
    let done = command.combined().run().exits(1);
    let log = fs::read_to_string(log(&bundle)).unwrap();
    let message = last_error(&log).unwrap();
    assert!(message.contains("nosuch"), "{message}");
    assert!(is_peer() || log.lines().count() == 2, "one line for each failure: {log}");
    assert!(done.stdout.contains(&message), "the same is captured: {done}");
    assert!(!pid_file.exists(), "the pid file is for containers that exist");
}

/// Starts a command as the child of a process that takes on what it leaves behind.
fn adopted(command: Invocation, pid_file: &str) -> Running {
    command.under(&[probe_path().to_str().unwrap(), "adopt", pid_file]).spawn()
}

/// Nothing of the runtime stays in between: the shim waits for the container's processes itself.
#[test]
fn the_processes_become_the_shims_children() {
    let mut bundle = Bundle::new();
    bundle.script("while [ ! -e /data/go ]; do sleep 0.05; done; exit 42").save();
    let (command, pid_file) = create(&bundle);
    let shim = adopted(command, pid_file.to_str().unwrap());
    wait_until("it is created", || bundle.verb("state", &[]).status.success() && pid_file.exists());
    silent(&bundle, &["start", &bundle.id]);

    let process = bundle.process_file(&json!({"cwd": "/", "args": ["/bin/sh", "-c", "exit 43"], "env": ["PATH=/bin"]}));
    let exec_file = bundle.path().join("exec.pid");
    let file = exec_file.to_str().unwrap();
    let exec = go_runc(&bundle, &["exec", "--process", &process, "--detach", "--pid-file", file, &bundle.id]);
    let ended = adopted(exec, file).wait().ok().json();
    assert_eq!(ended, json!({"command": 0, "left": 43}));

    fs::write(bundle.rootfs().join("data/go"), "").unwrap();
    assert_eq!(shim.wait().ok().json(), json!({"command": 0, "left": 42}));
    silent(&bundle, &["delete", &bundle.id]);
}

/// A shim that finds itself orphaned cleans up without knowing who made the cgroup, or whether there is anything left.
#[test]
fn cleaning_up_after_a_crash() {
    let mut bundle = Bundle::new();
    silent(&bundle, &["delete", "--force", &bundle.id]);
    bundle.asleep();
    let init = PathBuf::from(format!("/proc/{}", bundle.pid()));
    for _ in 0..2 {
        silent(&bundle, &["delete", "--force", &bundle.id]);
    }
    wait_until("it has ended", || !init.exists());
    call(&bundle, &["state", &bundle.id]).exits(1);
}

/// Called without any flag, in an empty environment and an empty directory.
#[test]
fn probes_for_features_and_version() {
    let dir = tempfile::tempdir().unwrap();
    let probe =
        |arg: &str| Invocation::runtime(dir.path(), [arg]).current_dir(dir.path()).only_env(&[]).run().ok().quiet();
    let features: Value = probe("features").json();
    // Recursive read-only mounts of Docker and Kubernetes; user namespaces of Kubernetes.
    assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rro")));
    assert!(features["linux"]["namespaces"].as_array().unwrap().contains(&json!("user")));
    assert!(features["linux"]["mountExtensions"]["idmap"]["enabled"].is_boolean());
    let version = probe("--version").stdout;
    let (name, rest) = version.lines().next().unwrap().split_once(" version ").unwrap();
    assert!(!name.contains(' ') && rest.chars().next().unwrap().is_ascii_digit(), "{version}");
    for line in ["commit: ", "spec: "] {
        assert!(version.lines().any(|found| found.starts_with(line)), "{version}");
    }
}

/// Docker wraps a runtime with arguments in a script that is not replaced by it.
#[test]
fn as_the_child_of_a_shell() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]).save();
    let (command, pid_file) = create(&bundle);
    command.under(&["sh", "-c", "\"$@\"; exit $?", "-"]).run().ok().quiet();
    assert_eq!(pid_in(&pid_file), bundle.pid());
    go_runc(&bundle, &["start", &bundle.id]).under(&["sh", "-c", "\"$@\"; exit $?", "-"]).run().ok().quiet();
    assert_eq!(bundle.status(), "running");
}
