//! What callers make of an error: they look for words in it, and choose exit statuses and next steps by them.

use super::last_error;
use crate::harness::{Bundle, Outcome, is_peer};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// Podman's exit status for an error of `create`, `start` or `exec`: regular expressions, whatever the case.
fn podman_status(message: &str) -> i32 {
    let message = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match () {
        () if has(&["permission denied", "operation not permitted"]) => 126,
        () if has(&["executable file not found in", "no such file or directory", "open executable"]) => 127,
        () => 125,
    }
}

/// Docker's, and whether it tells the user that a file may have been mounted on a directory.
fn docker_status(message: &str) -> (i32, bool) {
    let message = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match () {
        () if has(&["permission denied", "is a directory"]) => (126, false),
        () if has(&["not a directory"]) => (127, true),
        () if has(&["executable file not found", "no such file or directory"]) => (127, false),
        () => (128, false),
    }
}

/// Whether containerd takes a failed `kill` for "it has ended already": looked for in stdout and stderr.
fn has_ended_for_containerd(output: &str) -> bool {
    output.contains("os: process already finished")
        || output.contains("container not running")
        || output.to_lowercase().contains("no such process")
}

/// The same for CRI-O, on stderr.
fn has_ended_for_crio(stderr: &str) -> bool {
    ["no such process", "container not running", "invalid process"].iter().any(|word| stderr.contains(word))
}

/// Runs a command with a JSON log, as Podman and containerd do, and gives the message that all of them see: the last
/// error of the log, the whole log as one object, and stderr say the same.
#[track_caller]
fn message(bundle: &Bundle, args: &[&str]) -> (Outcome, String) {
    let log = bundle.logs().join("error.json");
    let _ = fs::remove_file(&log);
    let done = bundle.onggi(&[&["--log", log.to_str().unwrap(), "--log-format=json"], args].concat()).fails();
    assert_eq!(done.stdout, "", "{done}");
    let log = fs::read_to_string(log).unwrap();
    let message = last_error(&log).unwrap_or_else(|| panic!("no error in the log: {done}"));
    if !is_peer() {
        let whole: Value = serde_json::from_str(&log).unwrap_or_else(|error| panic!("Podman: {error}: {log}"));
        assert_eq!(whole["msg"], json!(message));
        assert_eq!(done.stderr, format!("{message}\n"));
    }
    (done, message)
}

#[track_caller]
fn create_is_understood(bundle: &Bundle, text: &str, podman: i32, docker: (i32, bool)) {
    bundle.save();
    let path = bundle.path().to_str().unwrap();
    for verb in ["create", "run"] {
        let (done, message) = message(bundle, &[verb, "--bundle", path, &bundle.id]);
        done.exits(1).says(text);
        if !is_peer() {
            assert_eq!((podman_status(&message), docker_status(&message)), (podman, docker), "{message}");
        }
    }
}

#[test]
fn programs_that_cannot_be_run() {
    let mut bundle = Bundle::new();
    // A warning on the way must not be a second object in the log.
    bundle.set("/process/capabilities/bounding/-", json!("CAP_NO_SUCH"));
    fs::write(bundle.rootfs().join("data/noexec"), "#!/bin/sh\n").unwrap();
    for (program, text, podman, docker) in [
        ("nosuch", "exec: \"nosuch\": executable file not found in $PATH", 127, (127, false)),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory", 127, (127, false)),
        ("/data/noexec", "exec: \"/data/noexec\": permission denied", 126, (126, false)),
        ("/etc", "exec: \"/etc\": is a directory: permission denied", 126, (126, false)),
        ("/etc/passwd/x", "not a directory", 125, (127, true)),
    ] {
        create_is_understood(bundle.args(&[program]), text, podman, docker);
    }
    let mut bundle = Bundle::new();
    bundle.set("/process/capabilities/bounding/-", json!("CAP_NO_SUCH")).asleep();
    for (program, text, podman) in [
        ("nosuch", "exec: \"nosuch\": executable file not found in $PATH", 127),
        ("/no/such", "stat /no/such: no such file or directory", 127),
        ("/etc", "is a directory: permission denied", 126),
    ] {
        let (done, message) = message(&bundle, &["exec", &bundle.id, program]);
        done.exits(255).says(text);
        assert!(is_peer() || podman_status(&message) == podman, "{message}");
    }
}

#[test]
fn mounts_that_do_not_fit() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    let mounts = bundle.get("/mounts").clone();
    let file = bundle.rootfs().join("etc/passwd");
    let (file, dir, missing) = (file, bundle.logs(), bundle.path().join("missing"));
    let cannot_mount = |source: &str, at: &str| format!("error mounting \"{source}\" to rootfs at \"{at}\"");
    for (source, at, text, podman, docker) in [
        (&file, "/data", cannot_mount(file.to_str().unwrap(), "/data"), 125, (127, true)),
        (&dir, "/etc/passwd", cannot_mount(dir.to_str().unwrap(), "/etc/passwd"), 125, (127, true)),
        (&missing, "/data", "failed to fulfil mount request".to_owned(), 127, (127, false)),
    ] {
        bundle.set("/mounts", mounts.clone()).mount(at, "bind", source, &["bind"]);
        create_is_understood(&bundle, &text, podman, docker);
    }
}

#[test]
fn directories_that_cannot_be_entered() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    fs::write(bundle.rootfs().join("data/file"), "").unwrap();
    bundle.set("/process/cwd", json!("/data/file"));
    create_is_understood(&bundle, "/data/file: not a directory", 125, (127, true));
    bundle.set("/process/cwd", json!("/")).asleep();
    for (cwd, why, podman) in [("/no/such", "no such file or directory", 127), ("/data/file", "not a directory", 125)] {
        let (done, message) = message(&bundle, &["exec", "--cwd", cwd, &bundle.id, "true"]);
        done.exits(255).says(&format!("chdir to cwd (\"{cwd}\") set in config.json failed: {why}"));
        assert!(is_peer() || podman_status(&message) == podman, "{message}");
    }
}

#[test]
fn a_container_that_has_ended() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]).start_with("run", &["-d"]).run().ok();
    bundle.wait_stopped();
    for args in [&["kill", &bundle.id, "15"], &["kill", &bundle.id, "KILL"]] {
        let (done, _) = message(&bundle, args);
        assert!(has_ended_for_containerd(&done.stderr) && has_ended_for_crio(&done.stderr), "{done}");
    }
    bundle.onggi(&["kill", "--all", &bundle.id, "9"]).ok().quiet();
}

/// The process may end at any moment of a `kill`: whatever is said is taken for "it has ended".
#[test]
fn a_container_that_ends_during_kill() {
    let mut bundle = Bundle::new();
    bundle.script("sleep 0.05");
    for _ in 0..3 {
        bundle.start_with("run", &["-d"]).run().ok();
        let end = std::time::Instant::now() + crate::harness::patience(5);
        loop {
            let done = bundle.kill("0");
            if !done.status.success() {
                assert!(is_peer() || (has_ended_for_containerd(&done.stderr) && has_ended_for_crio(&done.stderr)));
                break;
            }
            assert!(std::time::Instant::now() < end, "it does not end");
        }
        bundle.verb("delete", &[]).ok();
    }
}

#[test]
fn a_container_that_does_not_exist() {
    let bundle = Bundle::new();
    for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps", "events", "update"] {
        let (done, message) = message(&bundle, &[verb, &bundle.id]);
        done.exits(1);
        assert!(is_peer() || message == "container does not exist", "{verb}: {message}");
    }
    let (done, message) = message(&bundle, &["exec", &bundle.id, "true"]);
    done.exits(255);
    assert!(message.contains("does not exist"), "{message}");
    bundle.verb("delete", &["--force"]).ok().quiet();
}

/// Users find these by searching for them.
#[test]
fn phrases_that_people_look_for() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let path = bundle.path().to_str().unwrap().to_owned();
    let id = bundle.id.clone();
    let long_id = "x".repeat(2000);
    let cases: [(&[&str], &str); 10] = [
        (&["create", "-b", &path, &id], "container with given ID already exists"),
        (&["create", "-b", &path, "a/b"], "invalid container ID format"),
        (&["create", "-b", &path, &long_id], "invalid container ID format"),
        (&["create", "-b", &path, ""], "container id cannot be empty"),
        (&["create", "-b", &path, "-f", "other.json", "c"], "JSON specification file other.json not found"),
        (&["delete", &id], "that is not stopped: running"),
        (&["start", &id], "cannot start an already running container"),
        (&["resume", &id], "container not paused"),
        (&["kill", &id, "NOSUCH"], "unknown signal \"NOSUCH\""),
        (&["create", "-b", &path, "--preserve-fds", "300", "c"], "unable to stat preserved-fd"),
    ];
    for (args, text) in cases {
        let (done, message) = message(&bundle, args);
        done.exits(1);
        assert!(is_peer() || message.contains(text), "{text}: {message}");
    }
    bundle.verb("pause", &[]).ok();
    for (args, text) in [
        (&["start", &id][..], "cannot start a container in the paused state"),
        (&["pause", &id], "container not running"),
        (&["delete", &id], "that is not stopped: paused"),
        (&["exec", &id, "true"], "cannot exec in a paused container (use --ignore-paused to override)"),
    ] {
        let (_, message) = message(&bundle, args);
        assert!(is_peer() || message.contains(text), "{text}: {message}");
    }
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    for (args, text) in [
        (&["start", &id][..], "cannot start a container that has stopped".to_owned()),
        (&["exec", &id, "true"], "cannot exec in a stopped container".to_owned()),
        (&["pause", &id], "container not running".to_owned()),
        (&["update", "--pids-limit", "5", &id], "container not running".to_owned()),
        (&["events", "--stats", &id], format!("container with id {id} is not running")),
    ] {
        let (_, message) = message(&bundle, args);
        assert!(is_peer() || message.contains(&text), "{text}: {message}");
    }
}

/// The words are the C library's in any language, and a command without one fails on a closed stderr as well.
#[test]
fn whatever_the_language_and_without_stderr() {
    let mut bundle = Bundle::new();
    bundle.args(&["/no/such"]).save();
    let path = bundle.path().to_str().unwrap().to_owned();
    let create = || bundle.invoke(&["create", "-b", &path, &bundle.id]);
    create().env("LANG", "de_DE.UTF-8").env("LC_ALL", "de_DE.UTF-8").run().exits(1).says("no such file or directory");
    let closed = create().under(&["sh", "-c", "exec \"$@\" 2>&-", "-"]).run().exits(1);
    assert_eq!(closed.stderr, "");
    let full =
        Command::new("sh").args(["-c", "exec \"$0\" state x 2>/dev/full"]).arg(crate::harness::binary()).status();
    assert_eq!(full.unwrap().code(), Some(1));
}
