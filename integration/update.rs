//! `update`: new limits for a container that exists, all or none.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{Bundle, Outcome, is_peer, needs, needs_root, skip, test_slice, wait_until};
use crate::limits::disk;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// A created container with these resources, which sleeps once started, and its cgroup.
struct Container {
    bundle: Bundle,
    group: PathBuf,
}

impl Container {
    #[track_caller]
    fn with(resources: &Value, args: &[&str]) -> Self {
        let mut bundle = Bundle::new();
        bundle.args(args).set("/linux/resources", resources.clone()).set("/root/readonly", json!(false));
        bundle.create().ok();
        let group = directory(&cgroup_of(&bundle));
        Self { bundle, group }
    }

    fn sleeping(resources: &Value) -> Self {
        Self::with(resources, &["/bin/sleep", "1000"])
    }

    /// `update ID FLAGS`.
    fn update(&self, flags: &[&str]) -> Outcome {
        let mut args = vec!["update", self.bundle.id.as_str()];
        args.extend(flags);
        self.bundle.onggi(&args)
    }

    /// `update --resources - ID`.
    fn update_by(&self, resources: &Value) -> Outcome {
        self.update_by_text(&resources.to_string())
    }

    fn update_by_text(&self, text: &str) -> Outcome {
        self.bundle.invoke(&["update", "--resources", "-", &self.bundle.id]).stdin_text(text).run()
    }

    /// The text of one of the cgroup's files; `-` where the kernel has none.
    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.group.join(file)).map_or("-".to_owned(), |text| text.trim().to_owned())
    }

    #[track_caller]
    fn check(&self, expected: &[(&str, &str)]) {
        for (file, value) in expected {
            let found = self.read(file);
            // Without swap there is nothing to limit.
            if !(found == "-" && *file == "memory.swap.max") {
                assert_eq!(found, *value, "{file}");
            }
        }
    }
}

/// What natively every machine has: the limits of the cgroup's core.
#[test]
fn from_a_file_stdin_and_nothing() {
    let container = Container::sleeping(&json!({}));
    container.check(&[("cgroup.max.depth", "max")]);
    container.update_by(&json!({"unified": {"cgroup.max.depth": "5"}})).ok().quiet();
    container.check(&[("cgroup.max.depth", "5")]);
    let file = container.bundle.path().join("limits.json");
    fs::write(&file, r#"{"unified": {"cgroup.max.descendants": "7"}} trailing"#).unwrap();
    for flags in [["--resources", file.to_str().unwrap()], ["-r", file.to_str().unwrap()]] {
        container.update(&flags).ok().quiet();
    }
    container.check(&[("cgroup.max.depth", "5"), ("cgroup.max.descendants", "7")]);
    container.update(&[]).ok().quiet();
    container.update_by_text("null").ok().quiet();
    container.check(&[("cgroup.max.depth", "5"), ("cgroup.max.descendants", "7")]);
    assert_eq!(container.bundle.status(), "created");
    container.bundle.verb("start", &[]).ok();
    container.update_by(&json!({"unified": {"cgroup.max.depth": "max"}})).ok();
    container.check(&[("cgroup.max.depth", "max")]);
    let file = file.to_str().unwrap();
    container.update(&["-r", file, "--cpu-share", "nonsense"]).ok().says("all other limits are ignored");
}

#[test]
fn a_failed_update_changes_nothing() {
    let container = Container::sleeping(&json!({"unified": {"cgroup.max.depth": "5"}}));
    for (second, says) in [
        (("cgroup.nonsense", "1"), "cgroup.nonsense does not exist"),
        (("cgroup.max.descendants", "many"), "invalid argument"),
        (("nonsense.max", "1"), r#"controller "nonsense" not available"#),
    ] {
        let limits = json!({"unified": {"cgroup.max.depth": "6", second.0: second.1}});
        let done = container.update_by(&limits).exits(1).says(says);
        done.says(&format!("linux.resources.unified[\"{}\"]", second.0)).says(second.0);
        container.check(&[("cgroup.max.depth", "5"), ("cgroup.max.descendants", "max")]);
    }
    assert_eq!(container.bundle.status(), "created");
    container.bundle.verb("start", &[]).ok();
}

#[test]
fn huge_pages() {
    if !needs("hugetlb", "update of huge page limits") {
        return;
    }
    let pages = |limit: u64| json!([{"pageSize": "2MB", "limit": limit}]);
    let container = Container::sleeping(&json!({"hugepageLimits": pages(4_194_304)}));
    let files = |value| [("hugetlb.2MB.max", value), ("hugetlb.2MB.rsvd.max", value)];
    container.check(&files("4194304"));
    container.update_by(&json!({"hugepageLimits": pages(2_097_152)})).ok();
    container.check(&files("2097152"));
    container.update_by(&json!({"hugepageLimits": pages(0), "unified": {"hugetlb.1GB.max": "some"}})).exits(1);
    container.check(&files("2097152"));
    let unknown = json!([{"pageSize": "2MB", "limit": 0}, {"pageSize": "3MB", "limit": 0}]);
    let done = container.update_by(&json!({"hugepageLimits": unknown})).exits(1);
    done.says("linux.resources.hugepageLimits[1]").says("hugetlb.3MB.max does not exist");
    container.check(&files("2097152"));
}

#[test]
fn requests_that_make_no_sense() {
    let container = Container::sleeping(&json!({}));
    for (flags, says) in [
        (&["--memory", "5X"][..], "invalid value for memory: invalid suffix: 'x'"),
        (&["--memory", "-5"], "invalid value for memory"),
        (&["--cpu-quota", "1.5"], "invalid value for cpu-quota"),
        (&["--cpu-period", "-1"], "cpu.period: invalid value: integer `-1`, expected u64"),
        (&["--pids-limit", "many"], "pids-limit"),
        (&["--cpu-idle", "2"], "linux.resources.cpu.idle: must be 0 or 1"),
        (&["--cpu-idle", "-1"], "linux.resources.cpu.idle: must be 0 or 1"),
        (&["--blkio-weight", "5"], "linux.resources.blockIO.weight: weight 5 is not between 10 and 1000"),
        (&["--resources", "/nonexistent"], "read /nonexistent: no such file or directory"),
        (&["--l3-cache-schema", "L3:0=f"], "updating a non-existent Intel RDT configuration"),
        (&["--mem-bw-schema", "MB:0=20"], "updating a non-existent Intel RDT configuration"),
        (&["--nonsense", "1"], "flag provided but not defined: -nonsense"),
        (&["--memory"], "flag needs an argument: --memory"),
        (&["one-more"], "requires exactly 1 argument(s)"),
    ] {
        container.update(flags).exits(1).says(says);
    }
    for (text, says) in [
        ("", "EOF while parsing"),
        ("{", "EOF while parsing"),
        ("[]", "not a JSON object"),
        (r#"{"memory": {"limit": "5M"}}"#, "memory.limit: invalid type: string \"5M\", expected i64"),
        (r#"{"unified": {"a/b": "1"}}"#, "must be a file name (no slashes)"),
        (r#"{"unified": {"nodot": "1"}}"#, "must be in the form CONTROLLER.PARAMETER"),
        (r#"{"unified": {"cgroup.freeze": "1"}}"#, "is not a resource"),
        (r#"{"memory": {"limit": 100, "swap": 99}}"#, "memory+swap limit should be >= memory limit"),
        (r#"{"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}"#, "hugepageLimits[0].pageSize"),
    ] {
        container.update_by_text(text).exits(1).says(says);
    }
    assert_eq!(container.bundle.status(), "created");
}

#[test]
fn only_containers_that_live_have_limits() {
    let bundle = Bundle::new();
    bundle.verb("update", &["--pids-limit", "5"]).exits(1).says("container does not exist");
    let container = Container::with(&json!({}), &["/bin/true"]);
    container.bundle.verb("start", &[]).ok();
    container.bundle.wait_stopped();
    container.update(&["--pids-limit", "5"]).exits(1).says("container not running");
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]).save();
    let path = bundle.path().to_str().unwrap();
    bundle.onggi(&["--cgroup-manager", "disabled", "create", "--bundle", path, &bundle.id]).ok();
    bundle.verb("update", &["--pids-limit", "5"]).exits(1).says("has no cgroup of its own");
}

#[test]
fn what_cgroup_v2_lacks_is_told() {
    let container = Container::sleeping(&json!({}));
    for (flag, field) in [
        ("--kernel-memory", "memory.kernel"),
        ("--kernel-memory-tcp", "memory.kernelTCP"),
        ("--cpu-rt-period", "cpu.realtimePeriod"),
        ("--cpu-rt-runtime", "cpu.realtimeRuntime"),
    ] {
        container.update(&[flag, "50000"]).ok().says(&format!("linux.resources.{field} is ignored"));
    }
    container.update_by(&json!({"memroy": {}})).ok().says("memroy is ignored");
}

#[test]
fn paused_containers_stay_paused() {
    let container = Container::sleeping(&json!({}));
    container.bundle.verb("start", &[]).ok();
    container.bundle.verb("pause", &[]).ok();
    container.update_by(&json!({"unified": {"cgroup.max.depth": "3"}})).ok();
    container.check(&[("cgroup.max.depth", "3"), ("cgroup.freeze", "1")]);
    assert_eq!(container.bundle.status(), "paused");
    container.bundle.verb("resume", &[]).ok();
    assert_eq!(container.bundle.status(), "running");
}

/// Rules in the request are those of the whole container repeated, as far as engines send any.
#[test]
fn device_rules_stay() {
    if !needs_root("update of device rules", "no user may load them") {
        return;
    }
    let script =
        "until test -e /data/go; do usleep 10000; done; echo x > /dev/null && echo open; head -c 1 /dev/odd 2>&1";
    let mut bundle = Bundle::new();
    bundle.script(script).set("/root/readonly", json!(false));
    // A number that no driver has: ENXIO for who may.
    bundle.set("/linux/devices", json!([{"path": "/dev/odd", "type": "c", "major": 1, "minor": 12}]));
    bundle.set("/linux/resources", json!({"devices": [{"allow": false, "access": "rwm"}]}));
    let created = bundle.create().ok();
    bundle.verb("start", &[]).ok();
    for rules in [json!([{"allow": true, "access": "rwm"}]), json!([{"allow": false, "access": "rwm"}])] {
        let text = json!({"devices": rules, "unified": {"cgroup.max.depth": "3"}}).to_string();
        bundle.invoke(&["update", "-r", "-", &bundle.id]).stdin_text(&text).run().ok();
    }
    fs::write(bundle.rootfs().join("data/go"), "").unwrap();
    bundle.wait_stopped();
    let seen = created.stdout_now();
    assert!(seen.starts_with("open\n") && seen.contains("Operation not permitted"), "{seen}");
}

const MIB: u64 = 1 << 20;

/// runc's `update cgroup v1/v2 common limits`.
#[test]
fn memory() {
    if !needs("memory", "update of memory limits") {
        return;
    }
    let initial = json!({"memory": {"limit": 33_554_432, "reservation": 25_165_824}});
    let container = Container::sleeping(&initial);
    container.check(&[("memory.max", "33554432"), ("memory.low", "25165824")]);
    container.update(&["--memory", "67108864"]).ok();
    container.check(&[("memory.max", "67108864"), ("memory.low", "25165824"), ("memory.swap.max", "max")]);
    container.update(&["--memory", "50M"]).ok();
    container.check(&[("memory.max", "52428800")]);
    container.update(&["--memory-reservation", "33554432"]).ok();
    container.check(&[("memory.max", "52428800"), ("memory.low", "33554432")]);
    if container.read("memory.swap.max") == "-" {
        skip("update of swap limits", "this kernel has no accounting of swap");
    } else {
        container.update(&["--memory-swap", "-1"]).ok();
        container.check(&[("memory.swap.max", "max")]);
        container.update(&["--memory", "52428800", "--memory-swap", "96468992"]).ok();
        container.check(&[("memory.max", "52428800"), ("memory.swap.max", "44040192")]);
        // The sum is what was given.
        container.update(&["--memory", "60M"]).ok();
        container.check(&[("memory.max", "62914560"), ("memory.swap.max", "33554432")]);
        container.update(&["--memory", "100M"]).exits(1).says("memory+swap limit should be >= memory limit");
        container.check(&[("memory.max", "62914560"), ("memory.swap.max", "33554432")]);
        container.update(&["--memory-swap", "70M"]).ok();
        container.check(&[("memory.max", "62914560"), ("memory.swap.max", "10485760")]);
        container.update(&["--memory", "30M", "--memory-swap", "50M"]).ok();
        container.check(&[("memory.max", "31457280"), ("memory.swap.max", "20971520")]);
        // Above the old sum.
        container.update(&["--memory", "60M", "--memory-swap", "80M"]).ok();
        container.check(&[("memory.max", "62914560"), ("memory.swap.max", "20971520")]);
    }
    container.update(&["--memory", "-1"]).ok();
    container.check(&[("memory.max", "max"), ("memory.swap.max", "max")]);
    container.update_by(&initial).ok();
    container.check(&[("memory.max", "33554432"), ("memory.low", "25165824")]);
    let done = container.update_by(&json!({"memory": {"limit": 50_000_000}, "unified": {"memory.min": "x"}})).exits(1);
    done.says("linux.resources.unified[\"memory.min\"]");
    container.check(&[("memory.max", "33554432"), ("memory.swap.max", "max")]);
}

#[test]
fn check_before_update() {
    if !needs("memory", "checkBeforeUpdate") {
        return;
    }
    let container = Container::sleeping(&json!({"memory": {"limit": 33_554_432}}));
    container.bundle.verb("start", &[]).ok();
    for (memory, says) in [
        (json!({"limit": 1024, "checkBeforeUpdate": true}), "rejecting memory limit 1024 <= usage "),
        (json!({"limit": 1024, "swap": 2048, "checkBeforeUpdate": true}), "rejecting memory+swap limit 2048 <= usage "),
    ] {
        container.update_by(&json!({ "memory": memory })).exits(1).says(says);
        container.check(&[("memory.max", "33554432"), ("memory.swap.max", "max")]);
        assert_eq!(container.bundle.status(), "running");
    }
    container.update_by(&json!({"memory": {"limit": 30_000_000, "checkBeforeUpdate": true}})).ok();
}

/// Peers set the limit, and the kernel kills.
#[test]
fn memory_in_use_is_not_limited_away() {
    if !needs("memory", "memory limits below what is in use") {
        return;
    }
    let held = 30 * MIB;
    let container = Container::with(
        &json!({"memory": {"limit": 100 * MIB}}),
        &["/bin/sh", "-c", &format!("tail -c {held} /dev/zero; sleep 1000")],
    );
    container.bundle.verb("start", &[]).ok();
    let used = || container.read("memory.current").parse::<u64>().unwrap();
    wait_until("the container holds memory", || used() > held);
    for (limits, field) in [
        (json!({"memory": {"limit": 10 * MIB, "swap": 10 * MIB}}), "memory.limit"),
        (json!({"unified": {"memory.max": "10M", "memory.swap.max": "0"}}), "unified[\"memory.max\"]"),
        (json!({"memory": {"swap": 100 * MIB}, "unified": {"memory.max": "4096"}}), "unified[\"memory.max\"]"),
    ] {
        let done = container.update_by(&limits).exits(1).says("or choose at least ");
        done.says(&format!("linux.resources.{field}: memory in use is "));
        container.check(&[("memory.max", "104857600"), ("memory.swap.max", "max"), ("memory.high", "max")]);
    }
    assert!(container.read("memory.events").contains("\noom_kill 0"), "{}", container.read("memory.events"));
    assert_eq!(container.bundle.status(), "running");
    assert!(used() > held);
    // What fits is set.
    container.update(&["--memory", "60M", "--memory-swap", "60M"]).ok();
    container.check(&[("memory.max", "62914560"), ("memory.swap.max", "0")]);
    assert_eq!(container.bundle.status(), "running");
}

#[test]
fn memory_that_can_be_reclaimed_is() {
    if !needs("memory", "reclaiming before a lower memory limit") {
        return;
    }
    let script = "head -c 62914560 /dev/zero > /data/file; sync; touch /data/done; sleep 1000";
    let container = Container::with(&json!({"memory": {"limit": 100 * MIB}}), &["/bin/sh", "-c", script]);
    container.bundle.verb("start", &[]).ok();
    wait_until("the container has written its file", || container.bundle.rootfs().join("data/done").exists());
    let stat = |key: &str| {
        let text = container.read("memory.stat");
        text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok()).unwrap()
    };
    if stat("shmem ") > 50 * MIB {
        return skip("reclaiming before a lower memory limit", "the scratch directory is on a tmpfs");
    }
    assert!(stat("file ") > 50 * MIB, "{}", container.read("memory.stat"));
    container.update(&["--memory", "20M"]).ok();
    container.check(&[("memory.max", "20971520"), ("memory.high", "max")]);
    assert!(container.read("memory.events").contains("\noom_kill 0"), "{}", container.read("memory.events"));
    assert_eq!(container.bundle.status(), "running");
}

/// runc's `update cgroup cpu limits` and those after it.
#[test]
fn cpu() {
    if !needs("cpu", "update of cpu limits") {
        return;
    }
    let initial = json!({"cpu": {"shares": 100, "quota": 500_000, "period": 1_000_000}});
    let container = Container::sleeping(&initial);
    for (flags, max, weight) in [
        (&["--cpu-period", "500000"][..], "500000 500000", "17"),
        (&["--cpu-quota", "600000"], "600000 500000", "17"),
        (&["--cpu-quota", "-1"], "max 500000", "17"),
        (&["--cpu-share", "200"], "max 500000", "29"),
        (&["--cpu-period", "50000"], "max 50000", "29"),
        (&["--cpu-period", "500000", "--cpu-quota", "600000", "--cpu-share", "100"], "600000 500000", "17"),
        (&["--cpu-quota", "-1", "--cpu-period", "100000"], "max 100000", "17"),
    ] {
        container.update(flags).ok();
        container.check(&[("cpu.weight", weight)]);
        if test_slice().is_some() && max.starts_with("max ") {
            // systemd keeps no period without a quota, and may write its own whenever it looks at the unit.
            assert!(container.read("cpu.max").starts_with("max "));
        } else {
            container.check(&[("cpu.max", max)]);
        }
    }
    container.update_by(&initial).ok();
    container.check(&[("cpu.max", "500000 1000000"), ("cpu.weight", "17")]);
    // systemd keeps quotas in steps of 10 ms a second, and so do we with it.
    container.update(&["--cpu-period", "900000"]).ok();
    container.check(&[("cpu.max", if test_slice().is_some() { "504000 900000" } else { "500000 900000" })]);
    container.update_by(&initial).ok();
    let says = "a quota is at least 1000 microseconds";
    container.update(&["--cpu-share", "200", "--cpu-period", "100"]).exits(1).says("cpu.period").says(says);
    container.check(&[("cpu.max", "500000 1000000"), ("cpu.weight", "17")]);
    let unlimited = Container::sleeping(&json!({}));
    unlimited.update(&["--cpu-quota", "30000"]).ok();
    unlimited.check(&[("cpu.max", "30000 100000")]);
}

#[test]
fn cpu_burst() {
    if !needs("cpu", "update of cpu.max.burst") {
        return;
    }
    let container = Container::sleeping(&json!({"cpu": {"quota": 500_000, "period": 1_000_000}}));
    container.update(&["--cpu-period", "500000", "--cpu-burst", "500000"]).ok();
    container.check(&[("cpu.max", "500000 500000"), ("cpu.max.burst", "500000")]);
    container.update(&["--cpu-quota", "100000"]).exits(1).says("is less than the burst of 500000 in force");
    container.update(&["--cpu-burst", "500001"]).exits(1).says("is more than the quota of 500000");
    container.check(&[("cpu.max", "500000 500000"), ("cpu.max.burst", "500000")]);
    // In either direction both at once.
    container.update(&["--cpu-quota", "100000", "--cpu-burst", "90000"]).ok();
    container.check(&[("cpu.max", "100000 500000"), ("cpu.max.burst", "90000")]);
    container.update(&["--cpu-quota", "800000", "--cpu-burst", "700000"]).ok();
    container.check(&[("cpu.max", "800000 500000"), ("cpu.max.burst", "700000")]);
    let bad = json!({"cpu": {"quota": 100_000, "burst": 90_000}, "unified": {"cpu.uclamp.nonsense": "1"}});
    container.update_by(&bad).exits(1);
    container.check(&[("cpu.max", "800000 500000"), ("cpu.max.burst", "700000")]);
    container.update(&["--cpu-burst", "0"]).ok();
    container.check(&[("cpu.max.burst", "0")]);
}

/// runc's `update cgroup cpu.idle`, with what it leaves to systemd.
#[test]
fn cpu_idle() {
    if !needs("cpu", "update of cpu.idle") {
        return;
    }
    let container = Container::sleeping(&json!({"cpu": {"shares": 200}}));
    for value in ["1", "0", "1"] {
        container.update(&["--cpu-idle", value]).ok().quiet();
        container.check(&[("cpu.idle", value)]);
    }
    container.update(&["--cpu-period", "10000"]).ok();
    container.check(&[("cpu.idle", "1")]);
    container.update(&["--cpu-share", "200", "--cpu-idle", "1"]).ok().says("unable to apply both");
    container.check(&[("cpu.idle", "1")]);
    container.update(&["--cpu-share", "200"]).ok();
    container.check(&[("cpu.idle", "0"), ("cpu.weight", "29")]);
    let both = json!({"unified": {"cpu.idle": "1", "cpu.weight": "8"}});
    container.update_by(&both).ok().says("unable to apply both");
    container.check(&[("cpu.idle", "1")]);
    container.update_by(&json!({"unified": {"cpu.weight": "8"}})).ok();
    container.check(&[("cpu.idle", "0"), ("cpu.weight", "8")]);
    // Back with its weight, which idleness would have taken.
    container.update_by(&json!({"cpu": {"idle": 1}, "unified": {"cpu.nonsense": "8"}})).exits(1);
    container.check(&[("cpu.idle", "0"), ("cpu.weight", "8")]);
}

#[test]
fn pids() {
    if !needs("pids", "update of pids.limit") {
        return;
    }
    let container = Container::sleeping(&json!({"pids": {"limit": 20}}));
    for (limit, expected) in [("12345", "12345"), ("-1", "max"), ("0", "1"), ("10", "10")] {
        container.update(&["--pids-limit", limit]).ok();
        container.check(&[("pids.max", expected)]);
    }
    for nothing in ["{\"pids\": {}}", "{\"pids\": {\"limit\": null}}", "{\"pids\": null}"] {
        container.update_by_text(nothing).ok();
        container.check(&[("pids.max", "10")]);
    }
    container.bundle.verb("start", &[]).ok();
    let limits = json!({"unified": {"pids.max": "9", "cpu.max": "max 100000", "cpu.weight": "16"}});
    container.update_by(&limits).ok();
    container.check(&[("pids.max", "9"), ("cpu.weight", "16"), ("cpu.max", "max 100000")]);
}

#[test]
fn cpusets() {
    if !needs("cpuset", "update of cpusets") {
        return;
    }
    let container = Container::sleeping(&json!({}));
    container.update(&["--cpuset-cpus", "0", "--cpuset-mems", "0"]).ok();
    container.check(&[("cpuset.cpus", "0"), ("cpuset.mems", "0")]);
    // As runc's own tests write it.
    container.update_by_text(r#"{"CPU": {"Cpus": "0-0"}}"#).ok();
    let says = ["linux.resources.cpu.mems", "numerical result out of range", "/sys/devices/system/node/online"];
    let done = container.update(&["--cpuset-cpus", "0", "--cpuset-mems", "4000"]).exits(1);
    says.into_iter().fold(done, Outcome::says);
    container.check(&[("cpuset.cpus", "0"), ("cpuset.mems", "0")]);
    let done = container.update_by(&json!({"unified": {"cpuset.cpus": ""}})).exits(1);
    done.says("can't be emptied while there are processes");
    // Nor by us, when a set that was not given is to be put back.
    let container = Container::sleeping(&json!({}));
    let all = container.read("cpuset.cpus.effective");
    container.update_by(&json!({"cpu": {"cpus": "0"}, "unified": {"cpuset.mems": "x"}})).exits(1);
    container.check(&[("cpuset.cpus", &all), ("cpuset.cpus.effective", &all), ("cpuset.mems", "")]);
}

/// runc's `update per-device iops/bps values`.
#[test]
fn io() {
    if !needs("io", "update of io limits") {
        return;
    }
    let Some((major, minor)) = disk() else { return skip("update of io limits", "no disk was found") };
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let twice = json!([{"major": major, "minor": minor, "rate": 5}, {"major": major, "minor": minor, "rate": 485_760}]);
    let container = Container::sleeping(&json!({"blockIO": {"throttleReadBpsDevice": twice}}));
    let line = |rates: &str| format!("{major}:{minor} {rates}");
    container.check(&[("io.max", &line("rbps=485760 wbps=max riops=max wiops=max"))]);
    let limits = json!({"throttleReadBpsDevice": rate(10_485_760), "throttleWriteBpsDevice": rate(9_437_184),
        "throttleReadIOPSDevice": rate(1000), "throttleWriteIOPSDevice": rate(900)});
    container.update_by(&json!({ "blockIO": limits })).ok();
    let all = line("rbps=10485760 wbps=9437184 riops=1000 wiops=900");
    container.check(&[("io.max", &all)]);
    let unknown = json!([{"major": major, "minor": minor, "rate": 5}, {"major": 4000, "minor": 0, "rate": 5}]);
    let done = container.update_by(&json!({"blockIO": {"throttleWriteBpsDevice": unknown}})).exits(1);
    done.says("throttleWriteBpsDevice[1]").says("lsblk");
    container.check(&[("io.max", &all)]);
    let none = json!({"throttleReadBpsDevice": rate(0), "throttleWriteBpsDevice": rate(0),
        "throttleReadIOPSDevice": rate(0), "throttleWriteIOPSDevice": rate(0)});
    container.update_by(&json!({ "blockIO": none })).ok();
    container.check(&[("io.max", "")]);
    let bad = json!({"blockIO": {"throttleReadBpsDevice": rate(5)}, "unified": {"io.nonsense": "1"}});
    container.update_by(&bad).exits(1);
    container.check(&[("io.max", "")]);
    let weights = || (container.read("io.bfq.weight"), container.read("io.weight"));
    let before = weights();
    container.update(&["--blkio-weight", "500"]).ok();
    let (bfq, cost) = weights();
    assert!(bfq.starts_with("default 500") || cost.starts_with("default 4950"), "{bfq:?} {cost:?}");
    container.update(&["--blkio-weight", "100"]).ok();
    let after = weights();
    container.update_by(&json!({"blockIO": {"weight": 200}, "unified": {"io.nonsense": "1"}})).exits(1);
    assert_eq!(weights(), after);
    assert_ne!(before, after);
}
