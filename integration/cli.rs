//! The command line as engines use it: flags in every spelling, exit statuses, logs.

use crate::harness::{Bundle, Invocation, Outcome, is_peer};
use serde_json::{Value, json};
use std::fs;

fn bare(args: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    Invocation::runtime(dir.path(), args).run()
}

#[test]
fn version() {
    for flag in ["--version", "-v", "-version"] {
        let done = bare(&[flag]).ok().quiet();
        let mut lines = done.stdout.lines();
        let first = lines.next().unwrap();
        assert!(first.contains(" version "), "Docker splits on the word: {first}");
        assert!(done.stdout.lines().any(|line| line.starts_with("spec: 1.")), "{done}");
        assert!(done.stdout.lines().any(|line| line.starts_with("commit: ")), "{done}");
        if !is_peer() {
            assert_eq!(first, format!("onggi version {}", env!("CARGO_PKG_VERSION")));
        }
    }
}

#[test]
fn help_goes_to_stdout() {
    for args in [&["--help"][..], &["-h"], &["create", "--help"], &["kill", "-h"], &["-help"]] {
        let done = bare(args).ok();
        assert!(!done.stdout.is_empty() && done.stderr.is_empty(), "{done}");
    }
}

#[test]
fn usage_errors() {
    bare(&["bogus"]).exits(3).says("No help topic for 'bogus'");
    bare(&["list", "--bogus"]).exits(1).says("flag provided but not defined: -bogus");
    bare(&["create", "--bundle"]).exits(1).says("flag needs an argument: ");
    bare(&["state"]).exits(1).says("\"state\" requires exactly 1 argument(s)");
    bare(&["state", "a", "b"]).exits(1).says("\"state\" requires exactly 1 argument(s)");
    bare(&["kill"]).exits(1).says("\"kill\" requires a minimum of 1 argument(s)");
    bare(&["--root", "/", "list"]).exits(1).says("Option --root argument should not be set to /");
    bare(&["--log-format", "yaml", "list"]).exits(1).says("invalid log-format: yaml");
}

#[test]
fn flags_in_every_spelling() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.save();
    let (root, dir) = (bundle.state_root().to_str().unwrap(), bundle.path().to_str().unwrap());
    let (root_is, dir_is) = (format!("--root={root}"), format!("-bundle={dir}"));
    let logs = bundle.logs();
    for args in [
        vec!["--root", root, "run", "--bundle", dir, &bundle.id],
        vec![&root_is, "run", &dir_is, &bundle.id],
        vec!["-root", root, "run", "-bundle", dir, "-no-new-keyring", &bundle.id],
        vec![
            "--root",
            root,
            "--debug=false",
            "--systemd-cgroup=false",
            "--rootless=auto",
            "run",
            "-b",
            dir,
            &bundle.id,
        ],
        vec!["--root", root, "run", "-b", dir, "--no-subreaper", "--keep=false", "--", &bundle.id],
    ] {
        Invocation::runtime(&logs, args).run().ok();
    }
    // Flags after the positional argument.
    Invocation::runtime(&logs, ["--root", root, "run", &bundle.id, "-b", dir]).run().ok();
}

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
fn features_is_json_and_needs_nothing() {
    let done = bare(&["features"]).ok().quiet();
    assert!(done.stdout.starts_with("{\n    \"") && done.stdout.ends_with("}\n"), "indented by four spaces");
    let features = done.json();
    for key in ["ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux"] {
        assert!(!features[key].is_null(), "{key}");
    }
    let kinds = features["linux"]["namespaces"].as_array().unwrap();
    for kind in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
        assert!(kinds.contains(&json!(kind)), "{kind}");
    }
    assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rbind")));
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
    assert_eq!(features["linux"]["cgroup"]["v2"], true);
    if !is_peer() {
        assert_eq!(features["linux"]["cgroup"]["v1"], false);
        assert_eq!(features["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "false");
    }
}

#[test]
fn checkpoint_is_not_offered() {
    if is_peer() {
        return;
    }
    // Podman and CRI-O probe for it this way.
    let done = bare(&["checkpoint", "--help"]);
    assert!(!done.status.success(), "{done}");
}
