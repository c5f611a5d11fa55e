//! `ps`: which processes, in which form.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{Bundle, remove_cgroup, wait_until};
use serde_json::{Value, json};
use std::fs;

/// A container of three processes, and their pids on the host.
fn busy() -> (Bundle, Vec<i32>) {
    let mut bundle = Bundle::new();
    bundle.script("sleep 301 & sleep 302 & wait");
    bundle.start_with("run", &["-d"]).run().ok();
    let procs = directory(&cgroup_of(&bundle)).join("cgroup.procs");
    let pids = || fs::read_to_string(&procs).unwrap().lines().map(|line| line.parse().unwrap()).collect::<Vec<i32>>();
    wait_until("all are there", || {
        let names =
            pids().into_iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default());
        names.filter(|name| name.contains("sleep\u{0}30")).count() == 2
    });
    (bundle, pids())
}

#[track_caller]
fn listed(bundle: &Bundle) -> Vec<i32> {
    let mut pids: Vec<i32> = serde_json::from_value(bundle.verb("ps", &["-f", "json"]).ok().quiet().json()).unwrap();
    pids.sort_unstable();
    pids
}

#[test]
fn a_table_by_the_hosts_ps() {
    let (bundle, pids) = busy();
    let done = bundle.verb("ps", &[]).ok().quiet();
    let mut lines = done.stdout.lines();
    let header: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    let mut shown: Vec<i32> = lines.map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap()).collect();
    shown.sort_unstable();
    assert_eq!(shown, pids, "{done}");
    assert!(done.stdout.contains("sleep 301") && done.stdout.ends_with('\n'), "{done}");
}

#[test]
fn options_for_the_hosts_ps() {
    let (bundle, pids) = busy();
    let done = bundle.onggi(&["ps", &bundle.id, "-e", "-x"]).ok();
    let header: Vec<_> = done.stdout.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["PID", "TTY", "STAT", "TIME", "COMMAND"], "{done}");
    assert_eq!(done.stdout.lines().count(), 1 + pids.len(), "{done}");
    // As containerd asks.
    let done = bundle.onggi(&["ps", "--format", "table", &bundle.id, "-eo", "ppid,pid,args"]).ok();
    assert_eq!(done.stdout.lines().filter(|line| line.contains(" sleep 30")).count(), pids.len(), "{done}");
    // Threads, whose lines have no pid of their own.
    let done = bundle.onggi(&["ps", &bundle.id, "-em", "-o", "pid,tid,comm"]).ok();
    assert_eq!(done.stdout.lines().filter(|line| line.trim_start().starts_with("- ")).count(), pids.len(), "{done}");
}

#[test]
fn json_is_a_list_of_pids() {
    let (bundle, pids) = busy();
    assert_eq!(listed(&bundle), pids);
    let done = bundle.verb("ps", &["--format=json"]).ok();
    assert!(done.stdout.starts_with('[') && done.stdout.ends_with("]\n") && done.stdout.lines().count() == 1, "{done}");
}

#[test]
fn in_every_state() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.onggi(&["ps", &bundle.id]).exits(1).says("container does not exist");
    bundle.create().ok();
    assert_eq!(listed(&bundle), [bundle.pid()], "created");
    bundle.verb("start", &[]).ok();
    assert_eq!(listed(&bundle), [bundle.pid()], "running");
    bundle.verb("pause", &[]).ok();
    assert_eq!(listed(&bundle), [bundle.pid()], "paused");
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    assert_eq!(bundle.verb("ps", &["-f", "json"]).ok().quiet().stdout, "null\n", "stopped");
    assert_eq!(bundle.verb("ps", &[]).ok().quiet().stdout.lines().count(), 1, "stopped: the header only");
}

#[test]
fn a_stopped_container_whose_cgroup_is_gone() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.start_with("run", &["-d"]).run().ok();
    let group = directory(&cgroup_of(&bundle));
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    remove_cgroup(&group);
    assert_eq!(bundle.verb("ps", &["-f", "json"]).ok().stdout, "null\n");
    assert_eq!(bundle.verb("ps", &[]).ok().stdout.lines().count(), 1);
}

#[test]
fn processes_of_cgroups_below() {
    let (bundle, pids) = busy();
    let group = directory(&cgroup_of(&bundle));
    let deep = group.join("a").join("b");
    fs::create_dir_all(&deep).unwrap();
    for pid in &pids[1..] {
        fs::write(deep.join("cgroup.procs"), pid.to_string()).unwrap();
    }
    assert_eq!(listed(&bundle), pids);
    assert_eq!(bundle.verb("ps", &[]).ok().stdout.lines().count(), 1 + pids.len());
}

/// The root of a threaded subtree lists the processes of those below itself.
#[test]
fn processes_of_threaded_cgroups_are_listed_once() {
    let (bundle, pids) = busy();
    let below = directory(&cgroup_of(&bundle)).join("below");
    fs::create_dir(&below).unwrap();
    fs::write(below.join("cgroup.type"), "threaded").unwrap();
    fs::write(below.join("cgroup.threads"), pids[1].to_string()).unwrap();
    let done = bundle.verb("ps", &["-f", "json"]).ok();
    assert_eq!(serde_json::from_value::<Vec<i32>>(done.json()).unwrap(), pids, "{done}");
}

#[test]
fn what_can_not_be_listed_is_said() {
    let (bundle, _) = busy();
    bundle.verb("ps", &["-f", "yaml"]).exits(1).says("invalid format option");
    bundle.onggi(&["ps", &bundle.id, "-eo", "args"]).exits(1).says("couldn't find PID field in ps output");
    bundle.onggi(&["ps", &bundle.id, "-eo", "args,pid"]).exits(1).says("ask for the PID first");
    let done = bundle.onggi(&["ps", &bundle.id, "--nosuch"]).exits(1).says("ps --nosuch: exit status 1: error: ");
    assert_eq!(done.stdout, "");
    let without = bundle.invoke(&["ps", &bundle.id]).env("PATH", "/nonexistent").run();
    without.exits(1).says("exec ps: no such file or directory (install it (procps), or use --format json)");
    let json = bundle.invoke(&["ps", "-f", "json", &bundle.id]).env("PATH", "/nonexistent").run().ok().json();
    assert!(json.as_array().is_some_and(|pids| pids.contains(&json!(bundle.pid()))), "{}", Value::to_string(&json));
}
