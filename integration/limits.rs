//! `linux.resources` where the controllers exist: values in the container's cgroup, and what they do to its processes.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{Bundle, Snapshot, is_peer, is_rootless, needs, test_cgroup, test_slice};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// A container with these resources, created, and its cgroup's directory.
#[track_caller]
fn created(resources: &Value) -> (Bundle, PathBuf) {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]).set("/linux/resources", resources.clone());
    bundle.create().ok();
    let group = directory(&cgroup_of(&bundle));
    (bundle, group)
}

/// Asserts that `resources` make files of the cgroup have these values; a file that the kernel lacks is `-`.
#[track_caller]
fn check(resources: &Value, expected: &[(&str, &str)]) {
    let (_bundle, group) = created(resources);
    for (file, value) in expected {
        let found = fs::read_to_string(group.join(file)).unwrap_or_else(|_| "-".to_owned());
        assert_eq!(found.trim(), *value, "{file} for {resources}");
    }
}

/// Asserts that the kernel's refusal of a value is reported with the field.
#[track_caller]
fn check_refused(resources: &Value, says: &[&str]) {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "ran"]).set("/linux/resources", resources.clone());
    let before = Snapshot::of(&bundle);
    let mut done = bundle.run().exits(1);
    for text in says {
        done = done.says(text);
    }
    assert_eq!(done.stdout, "");
    before.assert_unchanged(&bundle);
}

#[test]
fn memory_values() {
    if !needs("memory", "memory limits") {
        return;
    }
    let swap = fs::exists("/sys/fs/cgroup/init.scope/memory.swap.max").unwrap_or(false);
    for (memory, max, swap_max, low) in [
        (json!({"limit": 67_108_864, "swap": 134_217_728}), "67108864", "67108864", "0"),
        (json!({"limit": 67_108_864, "swap": 67_108_864}), "67108864", "0", "0"),
        (json!({"limit": 67_108_864, "swap": -1, "reservation": 33_554_432}), "67108864", "max", "33554432"),
        (json!({"limit": 67_108_864, "swap": 0}), "67108864", "max", "0"),
        (json!({"limit": -1}), "max", "max", "0"),
        (json!({"swap": -1}), "max", "max", "0"),
    ] {
        let mut expected = vec![("memory.max", max), ("memory.low", low)];
        if swap {
            expected.push(("memory.swap.max", swap_max));
        }
        check(&json!({ "memory": memory }), &expected);
    }
}

#[test]
fn a_process_over_the_memory_limit_is_killed() {
    if !needs("memory", "the out-of-memory killer") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 33_554_432}));
    bundle.args(&["/bin/tail", "-c", "100000000", "/dev/zero"]);
    bundle.run().exits(137);
    bundle.args(&["/bin/sh", "-c", "head -c 3000000 /dev/zero | tail -c 2000000 | wc -c"]);
    assert_eq!(bundle.run().ok().stdout, "2000000\n", "there is room below the limit");
}

/// Not even the runtime's own steps inside fit.
#[test]
fn a_limit_too_low_to_get_ready_is_said_so() {
    if !needs("memory", "killing of the init process while it gets ready") {
        return;
    }
    // A user's always is in one.
    for in_user_namespace in if is_rootless() { &[false][..] } else { &[false, true] } {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/echo", "ran"]).set("/linux/resources/memory", json!({"limit": 4096, "swap": 4096}));
        if *in_user_namespace {
            bundle.namespace("user", None);
            for kind in ["uid", "gid"] {
                bundle.set(&format!("/linux/{kind}Mappings"), json!([{"containerID": 0, "hostID": 0, "size": 65536}]));
            }
        }
        let before = Snapshot::of(&bundle);
        for verb in ["create", "run"] {
            let done = bundle.start_with(verb, &[]).run().exits(1);
            assert_eq!(done.says("container init was OOM-killed (memory limit too low?)").stdout, "");
            before.assert_unchanged(&bundle);
        }
    }
}

#[test]
fn cpu_values() {
    if !needs("cpu", "cpu limits") {
        return;
    }
    check(
        &json!({"cpu": {"shares": 2048, "quota": 20_000, "period": 50_000, "burst": 10_000}}),
        &[("cpu.max", "20000 50000"), ("cpu.weight", "174"), ("cpu.max.burst", "10000"), ("cpu.idle", "0")],
    );
    check(&json!({"cpu": {"quota": 20_000}}), &[("cpu.max", "20000 100000")]);
    check(&json!({"cpu": {"quota": -1}}), &[("cpu.max", "max 100000")]);
    check(&json!({"cpu": {"idle": 1}}), &[("cpu.idle", "1")]);
    let tiny = json!({"cpu": {"quota": 5, "period": 100_000}});
    if test_slice().is_some() {
        // systemd knows no smaller steps, and the kernel takes this one.
        check(&tiny, &[("cpu.max", "1000 100000")]);
    } else {
        check_refused(&tiny, &["linux.resources.cpu.quota", "invalid argument"]);
    }
}

#[test]
fn a_process_over_its_quota_is_throttled() {
    if !needs("cpu", "throttling") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/linux/resources/cpu", json!({"quota": 5_000, "period": 100_000}));
    bundle
        .script("until test $(sed -n 's/nr_throttled //p' /sys/fs/cgroup/cpu.stat) -gt 2; do :; done; echo throttled");
    assert_eq!(bundle.run().ok().stdout, "throttled\n");
}

#[test]
fn cpusets() {
    if !needs("cpuset", "cpusets") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/linux/resources/cpu", json!({"cpus": "0", "mems": "0"}));
    let seen = bundle.report();
    assert_eq!((seen.status("Cpus_allowed_list"), seen.status("Mems_allowed_list")), ("0", "0"));
    check_refused(&json!({"cpu": {"cpus": "4000000"}}), &["linux.resources.cpu.cpus", "numerical result out of range"]);
}

#[test]
fn pids() {
    if !needs("pids", "limit of processes") {
        return;
    }
    check(&json!({"pids": {"limit": 0}}), &[("pids.max", "1")]);
    check(&json!({"pids": {"limit": -1}}), &[("pids.max", "max")]);
    let mut bundle = Bundle::new();
    bundle.set("/linux/resources/pids", json!({"limit": 10}));
    let started = bundle.probe(&["fork-many", "20", "100"])["started"].as_u64().unwrap();
    assert_eq!(started, 9, "of 20 under a limit of 10");
}

/// `major:minor` of a whole disk of this machine.
pub fn disk() -> Option<(u32, u32)> {
    let names = ["vda", "sda", "nvme0n1", "xvda", "mmcblk0", "vdb", "sdb"];
    let text = names.iter().find_map(|name| fs::read_to_string(format!("/sys/block/{name}/dev")).ok())?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn io_values() {
    if !needs("io", "io limits") {
        return;
    }
    let Some((major, minor)) = disk() else { return crate::harness::skip("io limits", "no disk was found") };
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let limits = json!({"throttleReadBpsDevice": rate(1_048_576), "throttleWriteBpsDevice": rate(2_097_152),
        "throttleReadIOPSDevice": rate(300), "throttleWriteIOPSDevice": rate(400)});
    let expected = format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=300 wiops=400");
    check(&json!({ "blockIO": limits }), &[("io.max", &expected)]);
    check(&json!({"blockIO": {"throttleReadBpsDevice": rate(0)}}), &[("io.max", "")]);
    let (_bundle, group) = created(&json!({"blockIO": {"weight": 500}}));
    let of_bfq = fs::read_to_string(group.join("io.bfq.weight")).unwrap_or_default();
    let of_cost = fs::read_to_string(group.join("io.weight")).unwrap_or_default();
    assert!(of_bfq.trim() == "default 500" || of_cost.trim() == "default 4950", "{of_bfq:?} {of_cost:?}");
    check_refused(
        &json!({"blockIO": {"throttleReadBpsDevice": [{"major": 4000, "minor": 0, "rate": 1}]}}),
        &["linux.resources.blockIO.throttleReadBpsDevice[0]", "no such device"],
    );
}

#[test]
fn unified_has_the_last_word() {
    if !needs("memory", "unified memory limits") {
        return;
    }
    check(
        &json!({"memory": {"limit": 67_108_864}, "unified": {"memory.max": "50331648", "memory.high": "33554432"}}),
        &[("memory.max", "50331648"), ("memory.high", "33554432")],
    );
}

#[test]
fn every_controller_is_enabled_in_all_ancestors() {
    let mut bundle = Bundle::new();
    let first = if is_rootless() { test_cgroup() } else { "/".to_owned() };
    let top = format!("{}/ancestors", test_cgroup());
    let path = format!("{top}/deep/{}", bundle.id);
    bundle.args(&["/bin/sleep", "100"]).set("/linux/cgroupsPath", json!(path));
    bundle.create().ok();
    let read = |path: &str, file: &str| {
        let text = fs::read_to_string(directory(path).join(file)).unwrap();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = read(&first, "cgroup.controllers");
    for ancestor in [first, top.clone(), format!("{top}/deep")] {
        let enabled = read(&ancestor, "cgroup.subtree_control");
        assert!(is_peer() || all.iter().all(|name| enabled.contains(name)), "{ancestor}: {enabled:?} of {all:?}");
    }
    assert_eq!(read(&path, "cgroup.subtree_control"), Vec::<String>::new(), "the container's own is the payload's");
    bundle.verb("delete", &["-f"]).ok();
    for left in [format!("{top}/deep"), top] {
        fs::remove_dir(directory(&left)).unwrap();
    }
}
