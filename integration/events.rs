//! `events`: statistics now and then, notices of kills for lack of memory, and the end.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{Bundle, Running, is_peer, needs, needs_user, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn sleeper() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.start_with("run", &["-d"]).run().ok();
    bundle
}

fn follow(bundle: &Bundle, interval: &str) -> Running {
    bundle.invoke(&["events", "--interval", interval, &bundle.id]).spawn()
}

/// `events --stats`.
#[track_caller]
fn stats(bundle: &Bundle) -> Value {
    let done = bundle.verb("events", &["--stats"]).ok().quiet();
    let begin = format!("{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{", bundle.id);
    assert!(done.stdout.starts_with(&begin) && done.stdout.ends_with("}}\n"), "{done}");
    assert_eq!(done.stdout.lines().count(), 1, "{done}");
    done.json()["data"].take()
}

#[track_caller]
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn statistics_once() {
    let mut bundle = Bundle::new();
    bundle.script("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000 & echo done; wait");
    let started = bundle.start_with("run", &["-d"]).run().ok();
    wait_until("it has worked", || started.stdout_now().contains("done"));
    let stats = stats(&bundle);
    let keys = ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"];
    assert!(keys.iter().all(|key| stats.get(key).is_some()), "{stats}");
    let usage = &stats["cpu"]["usage"];
    let (total, user, kernel) = (&usage["total"], &usage["user"], &usage["kernel"]);
    assert!(total.as_u64().unwrap() > 1_000_000, "nanoseconds: {stats}");
    assert!(user.as_u64().unwrap() + kernel.as_u64().unwrap() <= total.as_u64().unwrap() + 1000, "{stats}");
    assert_eq!(stats["pids"]["current"], 2, "{stats}");
    assert_eq!(stats["network_interfaces"], Value::Null);
    let group = directory(&cgroup_of(&bundle));
    for (kind, file) in [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("blkio", "io.pressure")] {
        assert_eq!(stats[kind].get("psi").is_some(), fs::read(group.join(file)).is_ok(), "{file}: {stats}");
    }
}

#[test]
fn statistics_of_huge_pages() {
    if !needs("hugetlb", "statistics of huge pages") {
        return;
    }
    let stats = stats(&sleeper());
    let sizes = stats["hugetlb"].as_object().unwrap();
    assert!(!sizes.is_empty() && sizes.values().all(|size| size["failcnt"] == 0), "{stats}");
    assert!(sizes.keys().all(|size| size.ends_with("MB") || size.ends_with("GB")), "{stats}");
}

#[test]
fn statistics_with_controllers() {
    if !needs("memory", "statistics of memory") || !needs("pids", "statistics of tasks") || !needs("cpu", "of cpu") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle
        .set("/linux/resources/memory", json!({"limit": 67_108_864}))
        .set("/linux/resources/pids", json!({"limit": 9}));
    bundle.set("/linux/resources/cpu", json!({"quota": 5000}));
    bundle.script("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000 & echo done; wait");
    let started = bundle.start_with("run", &["-d"]).run().ok();
    wait_until("it has worked", || started.stdout_now().contains("done"));
    let stats = stats(&bundle);
    let usage = &stats["memory"]["usage"];
    assert_eq!((&usage["limit"], &usage["failcnt"]), (&json!(67_108_864), &json!(0)), "{stats}");
    assert!(usage["usage"].as_u64().unwrap() > 0, "{stats}");
    assert!(stats["memory"]["raw"]["anon"].as_u64().unwrap() > 0, "{stats}");
    assert!(stats["memory"]["swap"]["usage"].as_u64() >= usage["usage"].as_u64(), "{stats}");
    assert_eq!(stats["pids"], json!({"current": 2, "limit": 9}), "{stats}");
    let throttling = &stats["cpu"]["throttling"];
    assert!(
        throttling["throttledPeriods"].as_u64() > Some(0) && throttling["throttledTime"].as_u64() > Some(0),
        "{stats}"
    );
    if fs::exists(directory(&cgroup_of(&bundle)).join("cpu.pressure")).unwrap() {
        assert!(stats["cpu"]["psi"]["some"]["total"].as_u64() > Some(0), "{stats}");
    }
}

#[test]
fn statistics_of_block_devices() {
    if !needs("io", "statistics of block devices") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/root/readonly", json!(false));
    bundle.script("dd if=/dev/zero of=/data/file bs=1M count=8 && sync && echo done; sleep 1000");
    let started = bundle.start_with("run", &["-d"]).run().ok();
    wait_until("it has written", || started.stdout_now().contains("done"));
    let stats = stats(&bundle);
    let of = |list: &str, op: &str| {
        let entries = stats["blkio"][list].as_array().cloned().unwrap_or_default();
        entries.iter().filter(|entry| entry["op"] == op).filter_map(|entry| entry["value"].as_u64()).sum::<u64>()
    };
    assert!(of("ioServiceBytesRecursive", "Write") >= 8 << 20, "{stats}");
    assert!(of("ioServicedRecursive", "Write") > 0, "{stats}");
}

#[test]
fn a_line_each_interval_until_the_container_ends() {
    let bundle = sleeper();
    let running = follow(&bundle, "100ms");
    wait_until("three lines", || running.stdout().lines().count() >= 3);
    bundle.kill("KILL").ok();
    let done = running.wait().ok().quiet();
    for line in lines(&done.stdout) {
        assert_eq!((&line["type"], &line["id"]), (&json!("stats"), &json!(bundle.id)), "{line}");
        assert!(line["data"]["cpu"]["usage"]["total"].as_u64() > Some(0), "{line}");
    }
}

#[test]
fn nothing_before_the_first_interval_is_over() {
    let bundle = sleeper();
    let begun = Instant::now();
    let running = follow(&bundle, "1.5s");
    wait_until("a line", || !running.stdout().is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{}", running.stdout());
    bundle.verb("delete", &["-f"]).ok();
    running.wait().ok().quiet();
}

/// However it ends, and long before the interval is over.
#[test]
fn ends_with_the_container() {
    for paused in [false, true] {
        let bundle = sleeper();
        if paused {
            bundle.verb("pause", &[]).ok();
        }
        let running = follow(&bundle, "1h");
        wait_until("it has begun", || running.has_open("cgroup.events"));
        bundle.verb("delete", &["-f"]).ok();
        assert_eq!(running.wait().ok().quiet().stdout, "");
    }
}

#[test]
fn a_reading_that_fails_is_told_and_passed_over() {
    if !needs_user("statistics that can't be read") {
        return;
    }
    let bundle = sleeper();
    let time = directory(&cgroup_of(&bundle)).join("cpu.stat");
    fs::set_permissions(&time, PermissionsExt::from_mode(0o000)).unwrap();
    bundle.verb("events", &["--stats"]).exits(1).says("cpu.stat: permission denied");
    let running = follow(&bundle, "50ms");
    wait_until("a warning", || running.stderr().contains("cpu.stat: permission denied"));
    assert_eq!(running.stdout(), "");
    fs::set_permissions(&time, PermissionsExt::from_mode(0o444)).unwrap();
    wait_until("a line", || !running.stdout().is_empty());
    bundle.kill("KILL").ok();
    running.wait().ok().says("level=warning").says("cpu.stat: permission denied");
}

#[test]
fn follows_a_created_container_into_its_life() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.create().ok();
    let running = follow(&bundle, "20ms");
    wait_until("a line", || !running.stdout().is_empty());
    bundle.verb("start", &[]).ok();
    running.wait().ok().quiet();
}

#[test]
fn goes_on_while_paused() {
    let bundle = sleeper();
    let running = follow(&bundle, "50ms");
    bundle.verb("pause", &[]).ok();
    let before = running.stdout().lines().count();
    wait_until("more lines", || running.stdout().lines().count() > before + 1);
    bundle.verb("resume", &[]).ok();
    bundle.kill("KILL").ok();
    running.wait().ok().quiet();
}

#[test]
fn ends_when_nobody_listens() {
    if is_peer() {
        return;
    }
    let bundle = sleeper();
    for interval in ["1h", "1ms"] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let invocation = bundle.invoke(&["events", "--interval", interval, &bundle.id]);
        let running = invocation.stdio(Stdio::null(), writer.into(), Stdio::null()).spawn();
        if interval == "1h" {
            wait_until("it has begun", || running.has_open("cgroup.events"));
        } else {
            reader.read_exact(&mut [0]).unwrap();
        }
        drop(reader);
        running.wait().ok();
    }
    assert_eq!(bundle.status(), "running");
}

#[test]
fn refusals() {
    let bundle = sleeper();
    for interval in ["0", "0s", "-1s"] {
        let done = bundle.verb("events", &["--interval", interval]).exits(1);
        assert_eq!(done.says("duration interval must be greater than 0").stdout, "");
    }
    bundle.verb("events", &["--interval", "5"]).exits(1).says("invalid value \"5\" for flag -interval");
    bundle.onggi(&["events", "--interval", "0", "nonexistent"]).exits(1).says("container does not exist");
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    for flags in [&["--stats"][..], &[]] {
        bundle.verb("events", flags).exits(1).says(&format!("container with id {} is not running", bundle.id));
    }
}

#[test]
fn a_kill_for_lack_of_memory_is_told() {
    if !needs("memory", "notices of kills for lack of memory") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    bundle.script("while :; do while [ ! -e /data/go ]; do sleep 0.05; done; tail -c 100000000 /dev/zero; done");
    bundle.start_with("run", &["-d"]).run().ok();
    let go = bundle.rootfs().join("data/go");
    let running = follow(&bundle, "1h");
    wait_until("it has begun", || running.has_open("cgroup.events"));
    let notice = format!("{{\"type\":\"oom\",\"id\":\"{}\"}}\n", bundle.id);
    fs::write(&go, "").unwrap();
    wait_until("a notice", || running.stdout().contains(&notice));
    wait_until("another notice", || running.stdout().matches(&notice).count() > 1);
    fs::remove_file(&go).unwrap();
    let group = directory(&cgroup_of(&bundle));
    wait_until("the last of them is killed", || {
        let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap();
        let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        pids.lines().all(|pid| name(pid).trim() != "tail")
    });
    let counted = || {
        let events = fs::read_to_string(group.join("memory.events")).unwrap();
        events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse::<usize>().ok()).unwrap()
    };
    assert!(running.stdout().matches(&notice).count() <= counted());
    // Those of before are no news.
    let later = follow(&bundle, "100ms");
    wait_until("statistics", || !later.stdout().is_empty());
    assert!(stats(&bundle)["memory"]["usage"]["failcnt"].as_u64() > Some(0));
    bundle.verb("delete", &["-f"]).ok();
    assert_eq!(running.wait().ok().quiet().stdout.replace(&notice, ""), "");
    assert!(lines(&later.wait().ok().quiet().stdout).iter().all(|line| line["type"] == "stats"));
}

/// The kill is the end of the container as well: the notice comes all the same.
#[test]
fn the_last_process_is_killed_for_lack_of_memory() {
    if !needs("memory", "notice of the kill that ends a container") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    bundle.args(&["/bin/tail", "-c", "100000000", "/dev/zero"]);
    bundle.create().ok();
    let running = follow(&bundle, "1h");
    wait_until("it has begun", || running.has_open("cgroup.events"));
    bundle.verb("start", &[]).ok();
    let done = running.wait().ok().quiet();
    assert_eq!(done.stdout, format!("{{\"type\":\"oom\",\"id\":\"{}\"}}\n", bundle.id));
}
