//! `--log` and what belongs to it: who reads which line where.

use crate::harness::{Bundle, Invocation, Outcome, needs_root};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

#[test]
fn without_a_log_file_errors_are_lines_on_stderr() {
    let bundle = Bundle::new();
    let done = bundle.verb("state", &[]).exits(1);
    assert!(done.stderr.contains("level=error") && done.stderr.contains("container does not exist"), "{done}");
    assert!(done.stderr.starts_with("time=\""), "{done}");
    assert_eq!(done.stdout, "");
}

fn with_log(bundle: &Bundle, format: &str, args: &[&str]) -> (Outcome, String) {
    let log = bundle.logs().join("log");
    let mut all = vec!["--log", log.to_str().unwrap(), "--log-format", format];
    all.extend(args);
    let done = bundle.onggi(&all);
    (done, fs::read_to_string(log).unwrap_or_default())
}

#[test]
fn json_log_is_what_the_shim_reads() {
    let bundle = Bundle::new();
    let (done, log) = with_log(&bundle, "json", &["state", &bundle.id]);
    assert_eq!(done.exits(1).stderr.trim_end(), "container does not exist", "the bare text once more on stderr");
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).expect("one object a line");
    assert_eq!((&last["level"], &last["msg"]), (&json!("error"), &json!("container does not exist")));
    let time = last["time"].as_str().unwrap();
    assert!(time.len() >= 20 && time.as_bytes()[10] == b'T', "RFC 3339: {time}");
    let keys: Vec<&str> =
        ["level", "msg", "time"].into_iter().filter(|key| log.contains(&format!("\"{key}\":"))).collect();
    assert_eq!(keys.len(), 3);
    let position = |key: &str| log.find(&format!("\"{key}\":")).unwrap();
    assert!(position("level") < position("msg") && position("msg") < position("time"), "keys in order: {log}");
}

#[test]
fn text_log_goes_to_the_file() {
    let bundle = Bundle::new();
    let (done, log) = with_log(&bundle, "text", &["state", &bundle.id]);
    assert!(log.contains("level=error msg=\"container does not exist\""), "{log}");
    assert_eq!(done.exits(1).stderr.trim_end(), "container does not exist");
}

#[test]
fn log_is_appended_to() {
    let bundle = Bundle::new();
    with_log(&bundle, "json", &["state", &bundle.id]);
    let (_, log) = with_log(&bundle, "json", &["state", &bundle.id]);
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn unopenable_log_is_an_error() {
    let bundle = Bundle::new();
    let log = bundle.path().join("no/such/dir/log");
    bundle.onggi(&["--log", log.to_str().unwrap(), "list"]).exits(1).says("no such file or directory");
}

#[test]
fn warnings_are_logged_and_do_not_reach_stderr() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]).set("/process/capabilities/bounding/-", json!("CAP_NO_SUCH"));
    bundle.save();
    let dir = bundle.path().to_str().unwrap().to_owned();
    let (done, log) = with_log(&bundle, "json", &["run", "-b", &dir, &bundle.id]);
    done.ok().quiet();
    let warned = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let warned: Vec<_> = warned.filter(|entry| entry["level"] == "warning").collect();
    assert!(warned.iter().any(|entry| entry["msg"].as_str().unwrap().contains("CAP_NO_SUCH")), "{log}");
}

#[test]
fn debug_lines_go_to_the_log_alone() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "hello"]);
    bundle.save();
    let dir = bundle.path().to_str().unwrap().to_owned();
    let (done, log) = with_log(&bundle, "json", &["--debug", "run", "-b", &dir, &bundle.id]);
    assert_eq!(done.ok().quiet().stdout, "hello\n");
    assert!(log.contains("\"level\":\"debug\""), "{log}");
}

#[test]
fn levels() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]).set("/process/capabilities/bounding/-", json!("CAP_NO_SUCH"));
    bundle.save();
    let dir = bundle.path().to_str().unwrap().to_owned();
    for (flags, written) in [
        (&["--log-level", "error"][..], &[][..]),
        (&[], &["warning"]),
        (&["--log-level=warning"], &["warning"]),
        (&["--log-level", "debug"], &["debug", "warning"]),
        (&["--log-level", "error", "--debug"], &["debug", "warning"]),
    ] {
        let path = bundle.logs().join("log");
        let _ = fs::remove_file(&path);
        let (done, log) = with_log(&bundle, "json", &[flags, &["run", "-b", &dir, &bundle.id]].concat());
        done.ok().quiet();
        let mut levels: Vec<String> = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["level"].as_str().unwrap().to_owned())
            .collect();
        levels.dedup();
        assert_eq!(levels, written, "{flags:?}: {log}");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o133, 0, "mode 0644");
    }
    // Errors are written at each level.
    bundle.onggi(&["--log-level", "error", "state", "nosuch"]).exits(1).says("level=error");
}

/// Whatever fails, and however much was warned of on the way: Podman reads the log as one object.
#[test]
fn a_failing_command_writes_one_line() {
    let mut bundle = Bundle::new();
    bundle.set("/process/capabilities/bounding/-", json!("CAP_NO_SUCH")).args(&["nosuch"]).save();
    let path = bundle.path().to_str().unwrap().to_owned();
    let hooks = json!([{"path": "/bin/false"}]);
    let mut failing = Bundle::new();
    failing.set("/process/capabilities/bounding/-", json!("CAP_NO_SUCH")).args(&["/bin/true"]);
    failing.set("/hooks/createRuntime", hooks.clone()).set("/hooks/poststop", hooks).save();
    let failing = failing.path().to_str().unwrap().to_owned();
    fs::create_dir_all(&path).unwrap();
    for args in [
        &["create", "-b", &path, &bundle.id][..],
        &["run", "-b", &path, &bundle.id],
        &["run", "-d", "-b", &failing, &bundle.id],
        &["create", "-b", "/no/such", &bundle.id],
        &["exec", &bundle.id, "true"],
        &["update", "--memory", "x", &bundle.id],
        &["list", "--format", "yaml"],
        &["bogus"],
        &["kill"],
        &["delete", "--bogus", &bundle.id],
    ] {
        let _ = fs::remove_file(bundle.logs().join("log"));
        let (done, log) = with_log(&bundle, "json", args);
        let entry: Value = serde_json::from_str(&log).unwrap_or_else(|error| panic!("{error}: {log}{done}"));
        assert_eq!(entry["level"], "error");
        let last = done.fails().stderr.lines().last().unwrap().to_owned();
        assert_eq!(entry["msg"].as_str(), Some(last.as_str()), "the same on stderr");
    }
}

#[test]
fn a_file_by_its_longer_name() {
    let bundle = Bundle::new();
    let log = bundle.logs().join("log");
    bundle.onggi(&["--log", &format!("file:{}", log.display()), "state", "nosuch"]).exits(1);
    assert!(fs::read_to_string(log).unwrap().contains("container does not exist"));
}

/// The message that a service gets, listening at `place` in a mount namespace of its own, and the bare text on stderr.
fn served(destination: &str, place: &str) -> String {
    let bundle = Bundle::new();
    let path = bundle.logs().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(crate::harness::patience(10))).unwrap();
    let (top, dir) = (place.split('/').nth(1).unwrap(), place.rsplit_once('/').unwrap().0);
    let script =
        format!("mount -t tmpfs x /{top} && mkdir -p {dir} && ln -s {} {place} && exec \"$@\"", path.display());
    let command = bundle.invoke(&["--log", destination, "state", "nosuch"]);
    let done = command.under(&["unshare", "-m", "sh", "-c", &script, "-"]).run().exits(1);
    assert_eq!(done.stderr, "container does not exist\n");
    let mut text = [0; 1000];
    let length = socket.recv(&mut text).unwrap();
    String::from_utf8_lossy(&text[..length]).into_owned()
}

#[test]
fn journald_and_syslog() {
    if !needs_root("logs of services", "theirs are put in the place of the machine's") {
        return;
    }
    let text = served("journald:pod1", "/run/systemd/journal/socket");
    assert_eq!(text, "PRIORITY=3\nSYSLOG_IDENTIFIER=pod1\nMESSAGE=container does not exist\n");
    let text = served("syslog:pod1", "/dev/log");
    assert!(
        text.starts_with("<11>") && text.contains(" pod1[") && text.ends_with("]: container does not exist"),
        "{text}"
    );
    let text = served("journald:", "/run/systemd/journal/socket");
    assert!(text.contains("SYSLOG_IDENTIFIER=onggi\n"), "{text}");
    let bundle = Bundle::new();
    let hidden = ["unshare", "-m", "sh", "-c", "mount -t tmpfs x /run && exec \"$@\"", "-"];
    let done = bundle.invoke(&["--log", "journald:x", "list"]).under(&hidden).run().exits(1);
    done.says("--log: connect to /run/systemd/journal/socket: no such file or directory");
}

/// Commands that have nothing to say are silent, and results alone are on stdout.
#[test]
fn stdout_has_results_alone() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]);
    let silent = |done: Outcome| assert_eq!(done.ok().quiet().stdout, "");
    silent(bundle.create());
    silent(bundle.verb("start", &[]));
    silent(bundle.exec(&[], &["true"]));
    silent(bundle.exec(&["-d"], &["sleep", "1000"]));
    silent(bundle.verb("pause", &[]));
    silent(bundle.verb("resume", &[]));
    silent(bundle.invoke(&["update", "-r", "-", &bundle.id]).stdin_text("{}").run());
    silent(bundle.kill("KILL"));
    bundle.wait_stopped();
    silent(bundle.verb("delete", &[]));
    silent(bundle.verb("delete", &["-f"]));
    let (dir, root) = (tempfile::tempdir().unwrap(), bundle.state_root().to_owned());
    silent(Invocation::runtime(dir.path(), ["--root", root.to_str().unwrap(), "spec"]).current_dir(dir.path()).run());
}
