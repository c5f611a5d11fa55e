//! Tables of what each resource makes.

#![allow(clippy::unwrap_used)]

use super::{Amount, Current, IfMissing, Write, writes};
use oci_spec::runtime::LinuxResources;

/// What `config`, a fragment of JSON, makes of a new cgroup: `file=value`, with `?` for a file that may be missing.
fn made(config: &str) -> (Result<Vec<String>, String>, Vec<String>) {
    made_of(&Current::default(), config)
}

/// The same of a cgroup in use.
fn made_of(current: &Current, config: &str) -> (Result<Vec<String>, String>, Vec<String>) {
    let resources: LinuxResources = serde_json::from_str(config).unwrap();
    let mut warnings = Vec::new();
    let shown = |write: &Write| match &write.if_missing {
        IfMissing::Refuse => format!("{}={}", write.file, write.value),
        IfMissing::Skip => format!("{}={}?", write.file, write.value),
        IfMissing::Instead { file, value } => format!("{}={} or {file}={value}", write.file, write.value),
    };
    let list = writes(&resources, current, &mut warnings);
    (list.map(|list| list.iter().map(shown).collect()).map_err(|error| error.to_string()), warnings)
}

/// A cgroup whose files have these values.
fn in_use(files: &[(&str, &str)]) -> Current {
    Current::read(|name| files.iter().find(|(file, _)| *file == name).map(|(_, value)| format!("{value}\n")))
}

fn check(config: &str, expected: &[&str]) {
    check_of(&Current::default(), config, expected);
}

fn check_of(current: &Current, config: &str, expected: &[&str]) {
    let (list, warnings) = made_of(current, config);
    assert_eq!(list.unwrap(), expected, "{config}");
    assert!(warnings.is_empty(), "{config}: {warnings:?}");
}

fn check_refused(config: &str, phrase: &str) {
    check_refused_of(&Current::default(), config, phrase);
}

fn check_refused_of(current: &Current, config: &str, phrase: &str) {
    let error = made_of(current, config).0.unwrap_err();
    assert!(error.starts_with("linux.resources.") && error.contains(phrase), "{config}: {error}");
}

#[test]
fn nothing() {
    check("{}", &[]);
    check(r#"{"memory": {}, "cpu": {}, "blockIO": {}, "unified": {}, "hugepageLimits": []}"#, &[]);
}

#[test]
fn pids() {
    check(r#"{"pids": {"limit": 50}}"#, &["pids.max=50"]);
    check(r#"{"pids": {"limit": 0}}"#, &["pids.max=1"]);
    check(r#"{"pids": {"limit": -1}}"#, &["pids.max=max?"]);
}

#[test]
fn memory() {
    check(r#"{"memory": {"limit": 100}}"#, &["memory.max=100"]);
    check(r#"{"memory": {"limit": 0, "reservation": 0, "swap": 0}}"#, &[]);
    check(r#"{"memory": {"limit": -1}}"#, &["memory.swap.max=max?", "memory.max=max?"]);
    check(r#"{"memory": {"limit": 100, "swap": -1}}"#, &["memory.swap.max=max?", "memory.max=100"]);
    check(r#"{"memory": {"swap": -1}}"#, &["memory.swap.max=max?"]);
    check(r#"{"memory": {"limit": -1, "swap": -1}}"#, &["memory.swap.max=max?", "memory.max=max?"]);
    check(r#"{"memory": {"limit": 100, "swap": 100}}"#, &["memory.swap.max=0?", "memory.max=100"]);
    check(r#"{"memory": {"limit": 100, "swap": 150}}"#, &["memory.swap.max=50", "memory.max=100"]);
    check(r#"{"memory": {"limit": 100, "swap": 0}}"#, &["memory.max=100"]);
    check(r#"{"memory": {"reservation": 60}}"#, &["memory.low=60"]);
    check(r#"{"memory": {"reservation": -1}}"#, &["memory.low=max?"]);
    check_refused(r#"{"memory": {"limit": 100, "swap": 99}}"#, "memory+swap limit should be >= memory limit");
    check_refused(r#"{"memory": {"swap": 99}}"#, "unable to set swap limit without memory limit");
    check(r#"{"memory": {"limit": -1, "swap": 99}}"#, &["memory.swap.max=99", "memory.max=max?"]);
    check_refused(r#"{"memory": {"limit": -2}}"#, "linux.resources.memory.limit: -2");
}

#[test]
fn amounts() {
    for (text, expected) in [
        ("max\n", Some(Amount::Max)),
        ("0\n", Some(Amount::Of(0))),
        ("9223372036854771712", Some(Amount::Of(9_223_372_036_854_771_712))),
        ("10M", Some(Amount::Of(10 << 20))),
        ("1k", Some(Amount::Of(1024))),
        ("7E", Some(Amount::Of(7 << 60))),
        ("8E", None),
        ("5x", None),
        ("5kb", None),
        ("", None),
    ] {
        assert_eq!(Amount::read(text), expected, "{text}");
    }
}

#[test]
fn memory_in_use() {
    let now = in_use(&[("memory.max", "100"), ("memory.swap.max", "50"), ("memory.current", "40")]);
    check_of(&now, r#"{"memory": {"reservation": 60}}"#, &["memory.low=60"]);
    check_of(&now, r#"{"memory": {"swap": 120}}"#, &["memory.swap.max=20"]);
    check_of(&now, r#"{"memory": {"swap": 100}}"#, &["memory.swap.max=0?"]);
    check_of(&now, r#"{"memory": {"limit": 200, "swap": 210}}"#, &["memory.swap.max=10", "memory.max=200"]);
    check_of(&now, r#"{"memory": {"limit": 120}}"#, &["memory.swap.max=30", "memory.max=120"]);
    check_of(&now, r#"{"memory": {"limit": 30}}"#, &["memory.swap.max=120", "memory.max=30"]);
    check_of(&now, r#"{"memory": {"limit": -1}}"#, &["memory.swap.max=max?", "memory.max=max?"]);
    check_refused_of(&now, r#"{"memory": {"swap": 99}}"#, "memory+swap limit should be >= memory limit");
    check_refused_of(
        &now,
        r#"{"memory": {"limit": 151}}"#,
        "150 is less than 151 (that is the one in force: give both)",
    );
    for swap in ["0", "max"] {
        let now = in_use(&[("memory.max", "100"), ("memory.swap.max", swap)]);
        check_of(&now, r#"{"memory": {"limit": 151}}"#, &["memory.max=151"]);
        check_of(&now, r#"{"memory": {"limit": 50}}"#, &["memory.max=50"]);
    }
    let unlimited = in_use(&[("memory.max", "max"), ("memory.swap.max", "50")]);
    check_of(&unlimited, r#"{"memory": {"limit": 30}}"#, &["memory.max=30"]);
    check_refused_of(&unlimited, r#"{"memory": {"swap": 99}}"#, "unable to set swap limit without memory limit");
}

#[test]
fn check_before_update() {
    let now = in_use(&[("memory.current", "40"), ("memory.max", "100")]);
    let config = |rest: &str| format!(r#"{{"memory": {{"checkBeforeUpdate": true{rest}}}}}"#);
    check_refused_of(&now, &config(r#", "limit": 40"#), "memory.limit: rejecting memory limit 40 <= usage 40");
    check_refused_of(
        &now,
        &config(r#", "limit": 30, "swap": 35"#),
        "memory.swap: rejecting memory+swap limit 35 <= usage 40",
    );
    check_of(&now, &config(r#", "limit": 41"#), &["memory.max=41"]);
    check_of(&now, &config(r#", "limit": -1"#), &["memory.swap.max=max?", "memory.max=max?"]);
    check_of(&now, &config(""), &[]);
    check(&config(r#", "limit": 1"#), &["memory.max=1"]);
}

#[test]
fn cpu() {
    check(r#"{"cpu": {"shares": 1024}}"#, &["cpu.weight=100"]);
    check(r#"{"cpu": {"shares": 0}}"#, &[]);
    check(r#"{"cpu": {"quota": 50000, "period": 100000}}"#, &["cpu.max=50000 100000"]);
    check(r#"{"cpu": {"quota": 50000}}"#, &["cpu.max=50000 100000"]);
    check(r#"{"cpu": {"quota": 50000, "period": 0}}"#, &["cpu.max=50000 100000"]);
    check(r#"{"cpu": {"quota": -1}}"#, &["cpu.max=max 100000?"]);
    check(r#"{"cpu": {"quota": 0}}"#, &[]);
    check(r#"{"cpu": {"period": 5000}}"#, &["cpu.max=max 5000?"]);
    check(r#"{"cpu": {"quota": 5000, "burst": 500}}"#, &["cpu.max=5000 100000", "cpu.max.burst=500"]);
    check(r#"{"cpu": {"idle": 1}}"#, &["cpu.idle=1"]);
    check(r#"{"cpu": {"idle": 0}}"#, &["cpu.idle=0?"]);
    check(r#"{"cpu": {"idle": 0, "shares": 2}}"#, &["cpu.idle=0?", "cpu.weight=1"]);
    check(r#"{"cpu": {"burst": 0}}"#, &["cpu.max.burst=0?"]);
    check(r#"{"cpu": {"burst": 500}}"#, &["cpu.max.burst=500"]);
    check_refused(
        r#"{"cpu": {"quota": 500, "burst": 501}}"#,
        "cpu.burst: a burst of 501 is more than the quota of 500",
    );
    check(r#"{"cpu": {"cpus": "0-1,3", "mems": "0"}}"#, &["cpuset.cpus=0-1,3", "cpuset.mems=0"]);
    check(r#"{"cpu": {"cpus": "", "mems": ""}}"#, &[]);
    check_refused(r#"{"cpu": {"idle": 2}}"#, "cpu.idle: must be 0 or 1");
}

#[test]
fn cpu_in_use() {
    let now = in_use(&[("cpu.max", "5000 100000"), ("cpu.max.burst", "2000"), ("cpu.idle", "0")]);
    check_of(&now, r#"{"cpu": {"period": 50000}}"#, &["cpu.max=5000 50000"]);
    check_of(&now, r#"{"cpu": {"quota": 6000}}"#, &["cpu.max=6000 100000"]);
    check_of(&now, r#"{"cpu": {"quota": -1}}"#, &["cpu.max=max 100000?"]);
    check_of(&now, r#"{"cpu": {"quota": 0, "period": 0}}"#, &[]);
    check_of(&now, r#"{"cpu": {"burst": 5000}}"#, &["cpu.max.burst=5000"]);
    check_of(&now, r#"{"cpu": {"quota": 9000, "burst": 8000}}"#, &["cpu.max=9000 100000", "cpu.max.burst=8000"]);
    check_of(&now, r#"{"cpu": {"quota": 1000, "burst": 500}}"#, &["cpu.max.burst=500", "cpu.max=1000 100000"]);
    check_of(
        &now,
        r#"{"unified": {"cpu.max.burst": "500", "cpu.max": "1000"}}"#,
        &["cpu.max.burst=500", "cpu.max=1000"],
    );
    check_of(&now, r#"{"unified": {"cpu.max": "nonsense"}}"#, &["cpu.max=nonsense"]);
    check_refused_of(&now, r#"{"cpu": {"burst": 5001}}"#, "cpu.burst: a burst of 5001 is more than the quota of 5000");
    check_refused_of(&now, r#"{"cpu": {"quota": 1999}}"#, "cpu.quota: a quota of 1999 is less than the burst of 2000");
    let unlimited = in_use(&[("cpu.max", "max 50000")]);
    check_of(&unlimited, r#"{"cpu": {"quota": 6000}}"#, &["cpu.max=6000 50000"]);
    check_of(&unlimited, r#"{"cpu": {"period": 6000}}"#, &["cpu.max=max 6000?"]);
}

#[test]
fn idleness() {
    let idle = in_use(&[("cpu.idle", "1")]);
    check_of(&idle, r#"{"cpu": {"shares": 1024}}"#, &["cpu.idle=0?", "cpu.weight=100"]);
    check_of(&idle, r#"{"cpu": {"shares": 1024, "idle": 0}}"#, &["cpu.idle=0?", "cpu.weight=100"]);
    check_of(&idle, r#"{"unified": {"cpu.weight.nice": "5"}}"#, &["cpu.idle=0?", "cpu.weight.nice=5"]);
    check_of(&idle, r#"{"cpu": {"quota": 6000}}"#, &["cpu.max=6000 100000"]);
    check(r#"{"unified": {"cpu.weight": "8", "cpu.idle": "0"}}"#, &["cpu.idle=0", "cpu.weight=8"]);
    for (both, field) in [
        (r#"{"cpu": {"idle": 1, "shares": 1024}}"#, "cpu.shares"),
        (r#"{"unified": {"cpu.idle": "1", "cpu.weight": "8"}}"#, r#"unified["cpu.weight"]"#),
        (r#"{"unified": {"cpu.idle": "1"}, "cpu": {"shares": 8}}"#, "cpu.shares"),
    ] {
        for current in [Current::default(), idle] {
            let (list, warnings) = made_of(&current, both);
            assert_eq!(list.unwrap(), ["cpu.idle=1"], "{both}");
            let expected = format!("unable to apply both cpu.weight and cpu.idle: linux.resources.{field} is ignored");
            assert_eq!(warnings, [expected], "{both}");
        }
    }
}

#[test]
fn block_io() {
    check(r#"{"blockIO": {"weight": 750}}"#, &["io.bfq.weight=750 or io.weight=7475"]);
    check(r#"{"blockIO": {"weight": 0}}"#, &[]);
    check(
        r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 16, "weight": 10}, {"major": 8, "minor": 0}]}}"#,
        &["io.bfq.weight=8:16 10 or io.weight=8:16 1"],
    );
    check(
        r#"{"blockIO": {
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 10}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 20}, {"major": 9, "minor": 1, "rate": 0}],
            "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 30}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 18446744073709551615}]}}"#,
        &[
            "io.max=8:0 rbps=10",
            "io.max=8:0 wbps=20",
            "io.max=9:1 wbps=max?",
            "io.max=8:0 riops=30",
            "io.max=8:0 wiops=18446744073709551615",
        ],
    );
    check_refused(r#"{"blockIO": {"weight": 9}}"#, "weight 9 is not between 10 and 1000");
    check_refused(r#"{"blockIO": {"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}}"#, "[0]: -1:0");
}

#[test]
fn hugetlb() {
    check(
        r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "64KB", "limit": 65536}]}"#,
        &["hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0?", "hugetlb.64KB.max=65536", "hugetlb.64KB.rsvd.max=65536?"],
    );
    for size in ["", "MB", "2", "2mb", "02MB", "2TB", "../x/2MB", "2.5GB", "2MB/../../x", "-2MB", "2 MB"] {
        let config = format!(r#"{{"hugepageLimits": [{{"pageSize": "{size}", "limit": 1}}]}}"#);
        check_refused(&config, "hugepageLimits[0].pageSize");
    }
    check_refused(r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": -1}]}"#, "hugepageLimits[0].limit");
}

#[test]
fn rdma() {
    check(
        r#"{"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 7}, "x": {}}}"#,
        &["rdma.max=mlx4_0 hca_object=7", "rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
    );
    check_refused(r#"{"rdma": {"a b": {"hcaHandles": 3}}}"#, "is not the name of a device");
}

#[test]
fn unified() {
    check(
        r#"{"unified": {"memory.high": "100", "io.max": "8:0 rbps=1\n\n8:16 rbps=2\n", "cgroup.max.depth": "3"}}"#,
        &["cgroup.max.depth=3", "io.max=8:0 rbps=1", "io.max=8:16 rbps=2", "memory.high=100"],
    );
    check(
        r#"{"unified": {"memory.max": "max"}, "memory": {"limit": 5}, "pids": {"limit": 7}}"#,
        &["pids.max=7", "memory.max=max"],
    );
    check(
        r#"{"unified": {"io.max": "8:0 riops=2"},
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 10}]}}"#,
        &["io.max=8:0 rbps=10", "io.max=8:0 riops=2"],
    );
    check(r#"{"unified": {"cpuset.cpus": ""}}"#, &["cpuset.cpus=\n"]);
    check_refused(r#"{"unified": {"memory.max": " "}}"#, r#"unified["memory.max"]: has no value"#);
    check_refused(r#"{"unified": {"a/b": "1"}}"#, r#"unified resource "a/b" must be a file name (no slashes)"#);
    for name in ["foo", "", ".", "..", ".foo", "foo.", "foo.b r", "foo.\u{e9}"] {
        check_refused(&format!(r#"{{"unified": {{"{name}": "1"}}}}"#), "must be in the form CONTROLLER.PARAMETER");
    }
    check_refused(r#"{"unified": {"cgroup.procs": "1"}}"#, "is not a resource");
}

#[test]
fn ignored_but_told() {
    for (config, field) in [
        (r#"{"memory": {"kernel": 5}}"#, "memory.kernel "),
        (r#"{"memory": {"kernelTCP": 5}}"#, "memory.kernelTCP "),
        (r#"{"memory": {"swappiness": 5}}"#, "memory.swappiness "),
        (r#"{"memory": {"disableOOMKiller": true}}"#, "memory.disableOOMKiller "),
        (r#"{"cpu": {"realtimeRuntime": 5}}"#, "cpu.realtimeRuntime "),
        (r#"{"cpu": {"realtimePeriod": 5}}"#, "cpu.realtimePeriod "),
        (r#"{"blockIO": {"leafWeight": 50}}"#, "blockIO.leafWeight "),
        (r#"{"network": {"classID": 5}}"#, "network.classID "),
        (r#"{"network": {"priorities": [{"name": "eth0", "priority": 1}]}}"#, "network.priorities "),
    ] {
        let (list, warnings) = made(config);
        assert_eq!(list.unwrap(), Vec::<String>::new(), "{config}");
        assert!(warnings.len() == 1 && warnings[0].contains(field), "{config}: {warnings:?}");
    }
}
