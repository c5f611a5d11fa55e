//! What the limits are for: processes that want more than they may have, and trees that are hard to get rid of. Nothing
//! here needs to be stopped by hand: what a container does ends by itself, or with the container.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{Bundle, Snapshot, is_rootless, needs, patience, skip, test_cgroup, test_slice, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A container with these resources that runs `script`, detached, and its cgroup's directory.
fn started(resources: &Value, script: &str) -> (Bundle, PathBuf) {
    let mut bundle = Bundle::new();
    bundle.set("/linux/resources", resources.clone()).script(script);
    bundle.start_with("run", &["-d"]).run().ok();
    let group = directory(&cgroup_of(&bundle));
    (bundle, group)
}

/// The number after `key` in one of the cgroup's files.
fn count(group: &Path, file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(group.join(file)).unwrap();
    let mut found = text.lines().filter_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    found.next().unwrap_or_else(|| panic!("no {key} in {file}: {text}"))
}

/// How many processes the cgroup holds.
fn population(group: &Path) -> usize {
    fs::read_to_string(group.join("cgroup.procs")).unwrap().lines().count()
}

#[test]
fn a_memory_hog_is_killed_at_its_limit() {
    if !needs("memory", "a memory hog") {
        return;
    }
    let limit = 64 << 20;
    let mut bundle = Bundle::new();
    bundle.set("/linux/resources/memory", json!({"limit": limit, "swap": limit}));
    bundle.args(&["/bin/tail", "-c", "1000000000", "/dev/zero"]);
    let before = Snapshot::of(&bundle);
    bundle.run().exits(137);
    before.assert_unchanged(&bundle);
    bundle.create().ok();
    bundle.verb("start", &[]).ok();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok().quiet();
    before.assert_unchanged(&bundle);
    // Not the init process: systemd removes the cgroup with the last one.
    bundle.script("tail -c 1000000000 /dev/zero; exec sleep 1000");
    bundle.start_with("run", &["-d"]).run().ok();
    let group = directory(&cgroup_of(&bundle));
    wait_until("the hog is killed", || count(&group, "memory.events", "oom_kill ") > 0);
    let peak = fs::read_to_string(group.join("memory.peak")).map(|peak| peak.trim().parse::<u64>().unwrap());
    assert!(peak.as_ref().is_ok_and(|peak| *peak <= limit && *peak > limit / 2), "{peak:?} of {limit}");
}

#[test]
fn a_fork_bomb_stops_at_its_limit() {
    if !needs("pids", "a fork bomb") {
        return;
    }
    const LIMIT: usize = 60;
    // A shell that can't fork ends, which must not be the container's first process.
    let bomb = "bomb() { bomb | bomb & }; bomb 2>/dev/null & exec sleep 1000";
    let (bundle, group) = started(&json!({"pids": {"limit": LIMIT}}), bomb);
    wait_until("the bomb is held", || count(&group, "pids.events", "max ") > 20);
    for _ in 0..20 {
        assert!(population(&group) <= LIMIT);
        // The host is well: it starts processes, and other containers.
        assert!(Command::new("true").status().unwrap().success());
    }
    let mut other = Bundle::new();
    other.args(&["/bin/echo", "well"]);
    assert_eq!(other.run().ok().stdout, "well\n");
    bundle.verb("delete", &["--force"]).ok();
    assert!(!group.exists());
}

#[test]
fn cpu_max_holds() {
    if !needs("cpu", "load on a cpu quota") {
        return;
    }
    const TIME: Duration = Duration::from_secs(5);
    // Two processes that want all of two processors get a fifth of one.
    let resources = json!({"cpu": {"quota": 20_000, "period": 100_000}});
    let (_bundle, group) = started(&resources, "(while :; do :; done) & while :; do :; done");
    wait_until("it is throttled", || count(&group, "cpu.stat", "nr_throttled ") > 0);
    let (began, before) = (Instant::now(), count(&group, "cpu.stat", "usage_usec "));
    std::thread::sleep(TIME);
    let used = Duration::from_micros(count(&group, "cpu.stat", "usage_usec ") - before);
    let share = used.as_secs_f64() / began.elapsed().as_secs_f64();
    // A machine under load may give less, but never more than a period's worth on top.
    assert!(share < 0.23, "{share} of a processor under a quota of 0.2");
    assert!(share > 0.02, "{share}: it ran");
}

/// A block device of our own with room for `megabytes`: a loop device over a file.
struct Disk {
    path: String,
}

impl Disk {
    fn new(bundle: &Bundle, megabytes: u64) -> Option<Self> {
        let file = bundle.path().join("logs/disk");
        fs::File::create(&file).unwrap().set_len(megabytes << 20).unwrap();
        let made = Command::new("losetup").args(["--find", "--show", "--direct-io=off"]).arg(&file).output();
        let made = made.ok().filter(|made| made.status.success())?;
        Some(Self { path: String::from_utf8(made.stdout).unwrap().trim().to_owned() })
    }

    fn numbers(&self) -> (u64, u64) {
        use std::os::unix::fs::MetadataExt;
        let device = fs::metadata(&self.path).unwrap().rdev();
        (nix::sys::stat::major(device), nix::sys::stat::minor(device))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("losetup").args(["--detach", &self.path]).status();
        assert!(done.is_ok_and(|done| done.success()) || std::thread::panicking(), "{} is detached", self.path);
    }
}

#[test]
fn io_max_holds() {
    const WHAT: &str = "load on an io limit";
    if !needs("io", WHAT) {
        return;
    }
    let mut bundle = Bundle::new();
    let Some(disk) = Disk::new(&bundle, 64) else { return skip(WHAT, "no loop device can be made") };
    let (major, minor) = disk.numbers();
    bundle.set("/linux/devices", json!([{"path": "/dev/disk", "type": "b", "major": major, "minor": minor}]));
    let rules = json!([{"allow": true, "type": "b", "major": major, "minor": minor, "access": "rw"}]);
    bundle.set("/linux/resources/devices", rules);
    // Past the page cache, so that the requests are the container's own.
    let mut timed = |limits: Value, script: &str| {
        bundle.set("/linux/resources/blockIO", limits).script(script);
        let began = Instant::now();
        bundle.run().ok();
        began.elapsed()
    };
    let write = "dd if=/dev/zero of=/dev/disk bs=1048576 count=8 oflag=direct 2>/dev/null";
    let read = "dd if=/dev/disk of=/dev/null bs=1048576 count=8 iflag=direct 2>/dev/null";
    let rate = json!([{"major": major, "minor": minor, "rate": 2 << 20}]);
    let free = timed(json!({}), write).max(timed(json!({}), read));
    for (field, script) in [("throttleWriteBpsDevice", write), ("throttleReadBpsDevice", read)] {
        let limited = timed(json!({ field: rate }), script);
        // 8 MiB at 2 MiB a second; the kernel lets a first slice pass.
        assert!(limited > Duration::from_secs(3), "{field}: {limited:?}, and {free:?} without a limit");
        assert!(limited < free + patience(10), "{field}: {limited:?} is far more than it takes");
    }
}

#[test]
fn fifty_rounds_leave_no_cgroup_and_no_unit() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.warm_up();
    let before = Snapshot::of(&bundle);
    for round in 0..50 {
        bundle.create().ok().quiet();
        // A third ends while created, a third is killed as it runs, a third ends first.
        if round % 3 != 0 {
            bundle.verb("start", &[]).ok().quiet();
        }
        if round % 3 == 2 {
            bundle.kill("KILL").ok();
            bundle.wait_stopped();
        }
        bundle.verb("delete", &["--force"]).ok().quiet();
    }
    before.assert_unchanged(&bundle);
    let left: Vec<String> = units().into_iter().filter(|unit| unit.contains(&bundle.id)).collect();
    assert!(left.is_empty(), "units of systemd: {left:?}");
}

/// The lines for all units that our systemd has loaded, where there is a systemd.
fn units() -> Vec<String> {
    if !Path::new("/run/systemd/system").exists() {
        return Vec::new();
    }
    let whose = if is_rootless() { "--user" } else { "--system" };
    let list = Command::new("systemctl").args([whose, "list-units", "--all", "--plain", "--no-legend"]).output();
    let list = list.unwrap();
    // Who makes cgroups by hand may have none.
    assert!(list.status.success() || test_slice().is_none(), "{}", String::from_utf8_lossy(&list.stderr));
    String::from_utf8_lossy(&list.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_thousand_processes_die_at_once() {
    for own_pids in [true, false] {
        let mut bundle = Bundle::new();
        if !own_pids {
            bundle.without_namespace("pid");
        }
        let before = Snapshot::of(&bundle);
        // Opening the pipe waits for somebody who writes. Nothing is executed: that would take long on a slow machine.
        bundle.script("mknod /dev/pipe p; for i in $(seq 1000); do (: < /dev/pipe) & done; wait");
        bundle.start_with("run", &["-d"]).run().ok();
        let group = directory(&cgroup_of(&bundle));
        wait_until("a thousand run", || population(&group) >= 1000);
        bundle.verb("delete", &["--force"]).ok().quiet();
        assert!(!group.exists());
        before.assert_unchanged(&bundle);
    }
}

#[test]
fn deep_and_wide_trees_are_removed() {
    let trees = [
        ("wide", "for i in $(seq 600); do all=\"$all c$i\"; done; mkdir $all"),
        ("deep", "d=.; for i in $(seq 200); do d=$d/c; done; mkdir -p $d; echo 0 > $d/cgroup.procs"),
        ("both", "for i in 1 2 3 4 5 6; do for j in 1 2 3 4 5 6; do mkdir -p a$i/b$j/c d$i/e/f/g/h$j; done; done"),
        ("threaded", "mkdir -p t/u && echo threaded > t/cgroup.type; echo threaded > t/u/cgroup.type"),
    ];
    for (name, script) in trees {
        let mut bundle = Bundle::new();
        bundle.writable_cgroup().script(&format!("cd /sys/fs/cgroup && {script} && echo made && exec sleep 1000"));
        let before = Snapshot::of(&bundle);
        let started = bundle.start_with("run", &["-d"]).run().ok();
        wait_until(&format!("the {name} tree is made"), || started.stdout_now() == "made\n");
        bundle.verb("delete", &["--force"]).ok().quiet();
        before.assert_unchanged(&bundle);
    }
    assert!(directory(&test_cgroup()).exists());
}
