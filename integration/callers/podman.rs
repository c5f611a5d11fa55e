//! Podman, which has conmon create containers and calls the runtime for all that comes after. conmon holds pipes of its
//! own, which the variables `_OCI_*` name: they are not for the runtime.

use super::{bare, pid_in};
use crate::harness::{Bundle, Invocation, Outcome, is_peer, probe_path, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, pipe};
use std::path::PathBuf;

/// Opens what conmon has open when it starts the runtime.
const WITH_PIPES: [&str; 4] = [
    "sh",
    "-c",
    "exec 3</dev/null 4</dev/null 5</dev/null; export _OCI_SYNCPIPE=3 _OCI_STARTPIPE=4 _OCI_ATTACHPIPE=5; exec \"$@\"",
    "-",
];

/// `create` or `exec` as conmon calls it, with what it finds on its pipe for stderr, which ends with the container.
fn conmon(bundle: &Bundle, args: &[&str]) -> (Outcome, impl Read + use<>) {
    let log = bundle.path().join("oci-log");
    let global = ["--log-format=json", "--log", log.to_str().unwrap()];
    let ((stdin, _), (output, stdout), (errors, stderr)) = (pipe().unwrap(), pipe().unwrap(), pipe().unwrap());
    let command = bundle.invoke(&[&global, args].concat()).under(&WITH_PIPES).dies_with_caller();
    let done = command.stdio(stdin.into(), stdout.into(), stderr.into()).run();
    (done, output.chain(errors))
}

fn text_of(mut pipes: impl Read) -> String {
    let mut text = String::new();
    pipes.read_to_string(&mut text).unwrap();
    text
}

fn create(bundle: &Bundle) -> (Outcome, impl Read + use<>, PathBuf) {
    bundle.save();
    let pid_file = bundle.path().join("pidfile");
    let (path, file) = (bundle.path().to_str().unwrap(), pid_file.to_str().unwrap());
    let (done, pipes) = conmon(bundle, &["create", "--bundle", path, "--pid-file", file, &bundle.id]);
    (done, pipes, pid_file)
}

/// What Podman calls by itself for this container, without PATH and HOME.
#[track_caller]
fn direct(bundle: &Bundle, args: &[&str]) -> Outcome {
    bare(bundle.invoke(args)).run()
}

#[test]
fn a_container_from_create_to_delete() {
    let mut bundle = Bundle::new();
    bundle.set("/root/readonly", json!(false)).script("ls /proc/self/fd; env; touch /data/told; exec sleep 1000");
    let (done, pipes, pid_file) = create(&bundle);
    done.ok();
    assert_eq!(pid_in(&pid_file), bundle.pid());
    let id = bundle.id.as_str();
    assert_eq!(direct(&bundle, &["start", id]).ok().quiet().stdout, "");
    wait_until("it has told", || bundle.rootfs().join("data/told").exists());
    for (args, status) in [(["pause", id], "paused"), (["resume", id], "running")] {
        assert_eq!(direct(&bundle, &args).ok().quiet().stdout, "");
        let state = direct(&bundle, &["state", id]).ok().quiet().json();
        assert_eq!((&state["status"], &state["pid"]), (&json!(status), &json!(bundle.pid())));
    }
    let resources = bundle.logs().join("resources.json");
    fs::write(&resources, "{}").unwrap();
    let flag = format!("--resources={}", resources.display());
    assert_eq!(direct(&bundle, &["update", &flag, id]).ok().quiet().stdout, "");
    assert_eq!(direct(&bundle, &["kill", id, "0"]).ok().quiet().stdout, "");
    assert_eq!(direct(&bundle, &["kill", "--all", id, "9"]).ok().quiet().stdout, "");
    bundle.wait_stopped();
    assert_eq!(direct(&bundle, &["delete", "--force", id]).ok().quiet().stdout, "");
    assert!(direct(&bundle, &["state", id]).exits(1).stderr.contains("does not exist") || is_peer());
    let seen = text_of(pipes);
    // The last one is the directory that ls has open.
    assert!(seen.starts_with("0\n1\n2\n3\n") && !seen.starts_with("0\n1\n2\n3\n4"), "{seen}");
    assert!(!seen.contains("_OCI_"), "{seen}");
}

/// Hooks are found by their paths and the cgroup by its own.
#[test]
fn a_running_container_is_deleted_without_path_and_home() {
    let mut bundle = Bundle::new();
    let mark = bundle.logs().join("poststop");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("echo x > {}", mark.display())]});
    bundle.set("/hooks/poststop", json!([hook])).asleep();
    direct(&bundle, &["delete", "--force", &bundle.id]).ok().quiet();
    assert!(mark.exists());
}

/// What comes up the pipe is the message when conmon has no log; the log is read as one object.
#[test]
fn a_failure_is_one_object_and_one_text() {
    let mut bundle = Bundle::new();
    bundle.args(&["nosuch"]).set("/process/capabilities/bounding/-", json!("CAP_NO_SUCH"));
    let (done, pipes, pid_file) = create(&bundle);
    done.exits(1);
    assert!(!pid_file.exists());
    let text = text_of(pipes);
    if !is_peer() {
        let log: Value = serde_json::from_slice(&fs::read(bundle.path().join("oci-log")).unwrap()).unwrap();
        assert_eq!((&log["level"], log["msg"].as_str()), (&json!("error"), text.strip_suffix('\n')));
        assert!(text.contains("executable file not found in $PATH"), "{text}");
    }
}

#[test]
fn exec_for_conmon() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let process = bundle.process_file(&json!({"cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        "args": ["/bin/sh", "-c", "ls /proc/self/fd; env; echo err >&2; exit 5"]}));
    let file = bundle.path().join("exec.pid");
    let args = ["exec", "--pid-file", file.to_str().unwrap(), "--process", &process, "--detach", &bundle.id];
    let (done, pipes) = conmon(&bundle, &args);
    done.ok();
    pid_in(&file);
    let seen = text_of(pipes);
    assert!(seen.starts_with("0\n1\n2\n3\n") && seen.ends_with("err\n") && !seen.contains("_OCI_"), "{seen}");

    let adopt = [probe_path().to_str().unwrap(), "adopt", file.to_str().unwrap()];
    let ended = bundle.invoke(&args).under(&adopt).run().ok().json();
    assert_eq!(ended, json!({"command": 0, "left": 5}));
}

/// Podman takes an exit status of 0 for "checkpoints work", and one of these words for "pods can be restored".
#[test]
fn probes_for_checkpoint_and_restore() {
    if is_peer() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let probe = |args: &[&str]| bare(Invocation::runtime(dir.path(), args)).run().fails();
    probe(&["checkpoint", "--help"]);
    let restore = probe(&["restore", "--lsm-mount-context"]);
    for word in ["flag needs an argument", "requires an argument"] {
        assert!(!format!("{restore}").contains(word), "{restore}");
    }
    bare(Invocation::runtime(dir.path(), ["--version"])).run().ok().quiet();
}

/// `podman run --cgroups=disabled`: nothing is made, and nothing is done to the cgroup that the container shares with us.
#[test]
fn cgroups_disabled() {
    if is_peer() {
        return;
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    for private in [true, false] {
        let mut bundle = Bundle::new();
        if !private {
            bundle.without_namespace("pid");
        }
        bundle.args(&["/bin/sleep", "1000"]).save();
        let (path, pid_file) = (bundle.path().to_str().unwrap(), bundle.path().join("pidfile"));
        let create = ["--cgroup-manager", "disabled", "create", "--bundle", path, "--pid-file"];
        bundle.onggi(&[&create[..], &[pid_file.to_str().unwrap(), &bundle.id]].concat()).ok();
        let id = bundle.id.as_str();
        let cgroup = || fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid())).unwrap();
        assert_eq!(cgroup(), own);
        direct(&bundle, &["start", id]).ok().quiet();
        let exec = bundle.exec(&["-d", "--pid-file", pid_file.to_str().unwrap()], &["sleep", "1000"]);
        exec.ok();
        let joined = fs::read_to_string(format!("/proc/{}/cgroup", pid_in(&pid_file))).unwrap();
        assert_eq!((cgroup(), joined), (own.clone(), own.clone()));
        assert_eq!(bundle.status(), "running");
        direct(&bundle, &["kill", "--all", id, "9"]).ok().quiet();
        bundle.wait_stopped();
        direct(&bundle, &["delete", "--force", id]).ok().quiet();
        let second = PathBuf::from(format!("/proc/{}", pid_in(&pid_file)));
        if private {
            wait_until("the other process ends with the namespace", || !second.exists());
        } else {
            // Nobody knows it any more: that is what a container without cgroup and namespace means.
            let pid = nix::unistd::Pid::from_raw(pid_in(&pid_file));
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    }
}
