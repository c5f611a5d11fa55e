//! `state`: the JSON that engines read.

use crate::harness::Bundle;
use serde_json::{Value, json};
use std::fs;

#[test]
fn has_every_key() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]).set("/annotations/org.example.key", json!("a \"quoted\" value/"));
    bundle.create().ok();
    let state = bundle.state();
    assert_eq!(state["id"], bundle.id);
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], bundle.path().to_str().unwrap());
    assert_eq!(state["rootfs"], bundle.rootfs().to_str().unwrap());
    assert_eq!(state["annotations"]["org.example.key"], "a \"quoted\" value/");
    assert_eq!(state["owner"], "");
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{state}");
    let created = state["created"].as_str().unwrap();
    assert!(created.starts_with("20") && created.ends_with('Z') && created.contains('T'), "RFC 3339 in UTC: {created}");
    let pid = bundle.pid();
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a pid of this PID namespace");
    assert!(cgroup.contains(&bundle.id), "the pid is the container's: {cgroup}");
}

#[test]
fn annotations_are_left_out_when_there_are_none() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    assert!(bundle.state().get("annotations").is_none());
}

#[test]
fn is_indented_by_two_spaces_without_a_last_newline() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    let text = bundle.verb("state", &[]).ok().stdout;
    assert!(text.starts_with("{\n  \"ociVersion\": ") && text.ends_with("\n}"), "{text}");
}

#[test]
fn needs_no_bundle() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    fs::remove_file(bundle.path().join("config.json")).unwrap();
    assert_eq!(bundle.status(), "created");
    bundle.verb("start", &[]).ok();
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok();
}

/// Another boot or a recycled pid: same number, another start time. The process of that number is left alone.
#[test]
fn a_recycled_pid_is_not_the_container() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.start_with("run", &["-d"]).run().ok();
    let record = bundle.state_root().join(&bundle.id).join("state.json");
    let text = fs::read_to_string(&record).expect("the record");
    // Start times count in hundredths of a second.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut other = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    let mut changed: Value = serde_json::from_str(&text).unwrap();
    let replaced = replace_number(&mut changed, bundle.pid().into(), other.id().into());
    assert!(replaced > 0, "the record has the pid: {text}");
    fs::write(&record, changed.to_string()).unwrap();
    assert_eq!(bundle.status(), "stopped");
    bundle.kill("KILL").fails();
    assert!(other.try_wait().unwrap().is_none(), "a stranger was killed");
    fs::write(&record, text).unwrap();
    assert_eq!(bundle.status(), "running");
    other.kill().unwrap();
    other.wait().unwrap();
}

/// Replaces every number `old` below `value`, and says how many there were.
fn replace_number(value: &mut Value, old: i64, new: i64) -> usize {
    match value {
        Value::Number(number) if number.as_i64() == Some(old) => {
            *value = json!(new);
            1
        }
        Value::Array(list) => list.iter_mut().map(|item| replace_number(item, old, new)).sum(),
        Value::Object(map) => map.values_mut().map(|item| replace_number(item, old, new)).sum(),
        _ => 0,
    }
}

#[test]
fn of_a_directory_without_a_record_does_not_exist() {
    let bundle = Bundle::new();
    fs::create_dir_all(bundle.state_root().join(&bundle.id)).unwrap();
    bundle.verb("state", &[]).exits(1).says("container does not exist");
    bundle.verb("delete", &["--force"]).ok();
    assert!(!bundle.state_root().join(&bundle.id).exists(), "the leftover is removed");
}

#[test]
fn directory_modes_keep_others_out() {
    use std::os::unix::fs::PermissionsExt;
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(bundle.state_root()), 0o700, "the root directory");
    let directory = bundle.state_root().join(&bundle.id);
    assert!([0o700, 0o711].contains(&mode(&directory)), "{:o}", mode(&directory));
    for entry in fs::read_dir(&directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            assert_eq!(mode(&entry.path()) & 0o077, 0, "{:?} is for the owner alone", entry.path());
        }
    }
}
