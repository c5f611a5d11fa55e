//! `linux.resources.devices` as the kernel enforces it: each kind, number and way to use a device, by access(2) from
//! inside. That the compiled program says what the rules say is a unit test; here it is the kernel that says it.

use crate::cgroup::directory;
use crate::harness::{Bundle, needs_root, rounds, test_cgroup, test_slice};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// A rule in the notation of cgroup v1 with a sign before it: `+ c 1:3 rwm`.
fn rule(text: &str) -> Value {
    let words: Vec<&str> = text.split([' ', ':']).collect();
    let number = |word: &str| word.parse::<i64>().unwrap_or(-1);
    json!({"allow": words[0] == "+", "type": words[1], "major": number(words[2]), "minor": number(words[3]),
        "access": words[4]})
}

/// Asserts what a container with these rules may do with which device; see the probe's `device-access`.
#[track_caller]
fn check(rules: &[&str], expected: &[(&str, &str)]) {
    if !needs_root("device rules", "no user may load them") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.capabilities(&["CAP_MKNOD"]);
    bundle.set("/linux/resources/devices", rules.iter().map(|text| rule(text)).collect());
    let mut args = vec!["device-access"];
    args.extend(expected.iter().map(|(device, _)| *device));
    let seen = bundle.probe(&args);
    for (device, ways) in expected {
        assert_eq!(seen[device], *ways, "{device} by {rules:?}");
    }
}

const NONE: &str = "m";
const ALL: &str = "m r w rw";

#[test]
fn nothing_but_the_usual_without_rules() {
    for rules in [&[][..], &["- a *:* rwm"], &["+ a *:* rwm", "- a *:* r"]] {
        let usual = ["c:1:3", "c:1:5", "c:1:7", "c:1:8", "c:1:9", "c:5:0", "c:5:1", "c:5:2", "c:10:200"];
        let usual = usual.iter().chain(&["c:136:0", "c:136:77"]).map(|device| (*device, ALL));
        // Not 0:0: the kernel asks no program about it.
        let others = ["c:1:1", "c:1:2", "c:1:4", "c:1:11", "c:5:3", "c:10:229", "c:10:201", "c:137:0"];
        let others = others.iter().chain(&["b:1:3", "b:5:0", "b:136:0", "b:7:0", "b:8:0"]);
        check(rules, &usual.chain(others.map(|device| (*device, NONE))).collect::<Vec<_>>());
    }
}

#[test]
fn each_way_each_kind_each_number() {
    check(
        &["- a *:* rwm", "+ c 240:1 r", "+ c 240:2 w", "+ c 240:3 rw", "+ c 241:* r", "+ b *:7 w", "+ b 240:1 rwm"],
        &[
            ("c:240:1", "m r"),
            ("c:240:2", "m w"),
            ("c:240:3", ALL),
            ("c:240:4", NONE),
            ("c:241:0", "m r"),
            ("c:241:1048575", "m r"),
            ("c:4095:1", NONE),
            ("b:0:7", "m w"),
            ("b:4095:7", "m w"),
            ("c:0:7", NONE),
            ("b:240:1", ALL),
            ("b:240:2", NONE),
        ],
    );
}

#[test]
fn one_rule_must_give_all_that_is_asked_for_at_once() {
    check(&["+ c 240:* r", "+ c 240:1 w"], &[("c:240:1", "m r w"), ("c:240:2", "m r")]);
}

#[test]
fn later_rules_take_back() {
    check(
        &["+ c 240:1 rw", "+ c 240:2 rw", "+ b 240:1 rw", "+ c 241:1 rw", "- c 240:* w", "- c 241:1 rwm"],
        &[("c:240:1", "m r"), ("c:240:2", "m r"), ("b:240:1", ALL), ("c:241:1", NONE)],
    );
    check(
        &["+ a *:* rwm", "- c 240:1 w", "- b 240:* rw", "- c 241:1 rw", "+ c 241:* r"],
        &[("c:240:1", "m r"), ("b:240:5", NONE), ("c:241:1", "m r"), ("c:4095:77", ALL), ("b:8:0", ALL)],
    );
}

#[test]
fn many_rules() {
    let rules: Vec<String> = (0..1000).map(|minor| format!("+ c {}:{} rw", 240 + minor % 10, minor * 7)).collect();
    check(
        &rules.iter().map(String::as_str).collect::<Vec<_>>(),
        &[("c:240:0", ALL), ("c:249:6993", ALL), ("c:249:6986", NONE), ("c:240:6993", NONE), ("c:241:7", ALL)],
    );
}

/// All programs of a cgroup must allow a device, so that one left behind would narrow what the next container may.
#[test]
fn a_failed_attempt_leaves_no_rules_in_a_cgroup_that_was_there_before() {
    if !needs_root("device rules", "no user may load them") {
        return;
    }
    let mut bundle = Bundle::new();
    let path = format!("{}/{}", test_cgroup(), bundle.id);
    fs::create_dir(directory(&path)).unwrap();
    bundle.capabilities(&["CAP_MKNOD"]).set("/linux/cgroupsPath", json!(path));
    for allowed in [&["+ c 240:1 rw", "+ c 240:2 r"][..], &["+ a *:* rwm"]] {
        bundle.set("/linux/resources/devices", json!([rule("+ c 240:9 r")])).args(&["/bin/missing"]);
        bundle.create().exits(1).says("/bin/missing");
        assert!(directory(&path).exists(), "it is not ours to remove");
        bundle.set("/linux/resources/devices", allowed.iter().map(|text| rule(text)).collect());
        let seen = bundle.probe(&["device-access", "c:240:1"]);
        assert_eq!(seen["c:240:1"], ALL, "{allowed:?}");
        fs::create_dir(directory(&path)).unwrap();
    }
    fs::remove_dir(directory(&path)).unwrap();
}

/// The old program decides until the moment that the new one does, and systemd's own never gets in the way.
#[test]
fn updates_leave_no_gap() {
    let what = "access to devices during updates";
    if !needs_root(what, "only root may make device nodes, and programs that guard them") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/probe", "watch-devices", "/dev/null", "/dev/odd", "/data/stop"]);
    bundle.set("/root/readonly", json!(false));
    bundle.set("/linux/devices", json!([{"path": "/dev/odd", "type": "c", "major": 1, "minor": 12}]));
    let rules = json!([rule("- a *:* rwm"), rule("+ c 240:1 r")]);
    bundle.set("/linux/resources/devices", rules.clone());
    let created = bundle.create().ok();
    bundle.verb("start", &[]).ok();
    // systemd hears of these two, if they are there, and nothing of the third.
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
    let has = |name| controllers.split_whitespace().any(|controller| controller == name);
    for round in 0..rounds(what, 100) {
        let mut limits = json!({"devices": rules, "unified": {"cgroup.max.depth": (10 + round % 2).to_string()}});
        if has("pids") {
            limits["pids"] = json!({"limit": 100 + round});
        }
        if has("cpu") {
            limits["cpu"] = json!({"shares": 1000 + round % 2 * 100});
        }
        bundle.invoke(&["update", "-r", "-", &bundle.id]).stdin_text(&limits.to_string()).run().ok().quiet();
    }
    if test_slice().is_some() {
        // systemd makes its programs anew then.
        assert!(Command::new("systemctl").arg("daemon-reload").status().unwrap().success());
    }
    fs::write(bundle.rootfs().join("data/stop"), "").unwrap();
    bundle.wait_stopped();
    let seen: Value = serde_json::from_str(&created.stdout_now()).unwrap();
    assert!(seen["rounds"].as_u64().unwrap() > 100, "{seen}");
    assert_eq!((&seen["refused"], &seen["passed"]), (&json!(0), &json!(0)), "{seen}");
}
