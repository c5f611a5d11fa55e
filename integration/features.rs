//! `features`: complete, and true: what it lists works, and what it does not list is refused.

use crate::harness::{Agent, Bundle, Invocation, Outcome, Report, capability_mask, is_peer, is_rootless};
use crate::{memory_policy, net_devices};
use serde_json::{Value, json};

fn bare(args: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    Invocation::runtime(dir.path(), args).run()
}

fn features() -> Value {
    bare(&["features"]).ok().quiet().json()
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
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
        let cgroup = json!({"v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true});
        assert_eq!(features["linux"]["cgroup"], cgroup);
        assert_eq!(features["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "false");
    }
}

#[test]
fn versions_that_are_told_are_taken() {
    let features = features();
    let versions = ["ociVersionMin", "ociVersionMax"].map(|key| features[key].as_str().unwrap().to_owned());
    let numbers = versions.clone().map(|version| {
        let release = version.split('-').next().unwrap().to_owned();
        release.split('.').map(|number| number.parse::<u32>().unwrap()).collect::<Vec<_>>()
    });
    assert!(numbers[0] <= numbers[1], "{versions:?}");
    for version in versions {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/true"]).set("/ociVersion", json!(version)).run().ok();
    }
}

/// By features.md of the specification, so far as something is to be said.
#[test]
fn every_property_is_there() {
    let features = features();
    for pointer in [
        "/ociVersionMin",
        "/ociVersionMax",
        "/hooks",
        "/mountOptions",
        "/annotations",
        "/potentiallyUnsafeConfigAnnotations",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/cgroup/v1",
        "/linux/cgroup/v2",
        "/linux/cgroup/systemd",
        "/linux/cgroup/systemdUser",
        "/linux/cgroup/rdma",
        "/linux/seccomp/enabled",
        "/linux/seccomp/actions",
        "/linux/seccomp/operators",
        "/linux/seccomp/archs",
        "/linux/seccomp/knownFlags",
        "/linux/seccomp/supportedFlags",
        "/linux/apparmor/enabled",
        "/linux/selinux/enabled",
        "/linux/intelRdt/enabled",
        "/linux/memoryPolicy/modes",
        "/linux/memoryPolicy/flags",
        "/linux/mountExtensions/idmap/enabled",
        "/linux/netDevices/enabled",
    ] {
        assert!(features.pointer(pointer).is_some_and(|value| !value.is_null()), "{pointer}");
    }
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    assert_eq!(features["hooks"], json!(kinds));
    for list in ["/mountOptions", "/linux/namespaces", "/linux/seccomp/actions", "/linux/seccomp/operators"] {
        let names = names(features.pointer(list).unwrap());
        let mut sorted = names.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(names, sorted, "{list} is sorted");
    }
}

#[test]
fn mount_options_are_the_ones_that_are_known() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    let mounts = bundle.get("/mounts").clone();
    let mut create = |kind: &str, options: &[&str]| {
        let logs = bundle.logs();
        bundle.set("/mounts", mounts.clone());
        bundle.mount("/data", "tmpfs", "tmpfs", &[]).mount("/data", kind, logs, options);
        let done = bundle.create();
        bundle.verb("delete", &["--force"]).ok();
        done
    };
    let listed = names(&features()["mountOptions"]);
    // These need a mount of their own kind.
    let (alone, bound): (Vec<&str>, Vec<&str>) =
        listed.iter().map(String::as_str).partition(|option| ["remount", "tmpcopyup"].contains(option));
    let done = create("bind", &bound);
    // What the host has forbidden stays so for a user, who is told.
    let is_taken = is_rootless() && done.stderr.contains("in a user namespace the flags of the host's mounts stay");
    assert!(done.status.success() || is_taken, "{done}");
    for option in alone {
        create("tmpfs", &[option]).ok();
    }
    for option in ["nosuchoption", "idmap", "ridmap"] {
        assert!(!listed.iter().any(|known| known == option), "{option}");
    }
    if !is_peer() {
        create("bind", &["rbind", "nosuchoption"]).exits(1).says("mounts[").says("options");
    }
}

#[test]
fn capabilities_are_those_that_can_be_had() {
    let listed = features()["linux"]["capabilities"].clone();
    let mut bundle = Bundle::new();
    for set in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{set}"), listed.clone());
    }
    bundle.args(&["/probe", "report"]);
    let done = bundle.run().ok();
    let report = Report::parse(&done);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    let own = if is_rootless() { u64::MAX } else { u64::from_str_radix(own.trim(), 16).unwrap() };
    assert_eq!(report.capabilities("CapBnd"), capability_mask(&listed) & own);
    let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
    assert!(names(&listed).len() <= last as usize + 1);
}

/// A program starts under a filter with each of them.
#[test]
fn seccomp_lists_what_filters_may_say() {
    let features = features();
    let seccomp = &features["linux"]["seccomp"];
    let filtered = |filter: Value| {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/true"]).set("/linux/seccomp", filter);
        bundle.run()
    };
    let place = tempfile::tempdir().unwrap();
    let agent = Agent::listen(place.path(), 2, |_| None);
    let rule = |action: &str, operator: &str, name: &str| {
        let args = json!([{"index": 0, "value": 1, "valueTwo": 1, "op": operator}]);
        json!({"names": [name], "action": action, "args": args})
    };
    let calls =
        ["kexec_load", "reboot", "swapon", "swapoff", "acct", "init_module", "delete_module", "syslog", "vhangup"];
    let with_calls = |names: Vec<String>| names.into_iter().zip(calls.into_iter().cycle());
    let actions = with_calls(names(&seccomp["actions"])).map(|(action, call)| rule(&action, "SCMP_CMP_EQ", call));
    let operators = with_calls(names(&seccomp["operators"])).map(|(op, call)| rule("SCMP_ACT_ERRNO", &op, call));
    for rules in [actions.collect::<Vec<_>>(), operators.collect()] {
        assert!(rules.len() > 5, "{rules:?}");
        filtered(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path, "syscalls": rules})).ok();
    }
    let with = |key: &str, value: Value, action: &str| {
        let rules = [rule(action, "SCMP_CMP_EQ", "kexec_load")];
        let mut filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path, "syscalls": rules});
        filter[key] = value;
        filtered(filter).ok();
    };
    with("architectures", seccomp["archs"].clone(), "SCMP_ACT_ERRNO");
    for flag in names(&seccomp["supportedFlags"]) {
        let about_listeners = flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
        with("flags", json!([flag]), if about_listeners { "SCMP_ACT_NOTIFY" } else { "SCMP_ACT_ERRNO" });
        assert!(names(&seccomp["knownFlags"]).contains(&flag), "{flag}");
    }
}

/// By the names that the kernel has for them.
#[test]
fn memory_policies_are_those_that_can_be_had() {
    if is_peer() {
        return;
    }
    let features = features();
    let policies = &features["linux"]["memoryPolicy"];
    let modes = [
        ("MPOL_DEFAULT", "default"),
        ("MPOL_PREFERRED", "prefer:0"),
        ("MPOL_BIND", "bind:0"),
        ("MPOL_INTERLEAVE", "interleave:0"),
        ("MPOL_LOCAL", "local"),
        ("MPOL_PREFERRED_MANY", "prefer (many):0"),
        ("MPOL_WEIGHTED_INTERLEAVE", "weighted interleave:0"),
    ];
    assert_eq!(policies["modes"], json!(modes.map(|(mode, _)| mode)));
    for (mode, name) in modes {
        let nodes = if name.ends_with(":0") { "0" } else { "" };
        memory_policy::check(&json!({"mode": mode, "nodes": nodes}), name);
    }
    let flags = [
        // Older kernels take this flag, and don't show it.
        ("MPOL_F_NUMA_BALANCING", "MPOL_BIND", "bind"),
        ("MPOL_F_RELATIVE_NODES", "MPOL_INTERLEAVE", "interleave=relative:0"),
        ("MPOL_F_STATIC_NODES", "MPOL_INTERLEAVE", "interleave=static:0"),
    ];
    assert_eq!(policies["flags"], json!(flags.map(|(flag, ..)| flag)));
    for (flag, mode, name) in flags {
        memory_policy::check(&json!({"mode": mode, "nodes": "0", "flags": [flag]}), name);
    }
}

#[test]
fn network_devices_are_on_for_root() {
    if is_peer() {
        return;
    }
    assert_eq!(features()["linux"]["netDevices"]["enabled"], true);
    let Some(network) = net_devices::Network::new() else { return };
    let mut bundle = Bundle::new();
    bundle.set("/linux/netDevices", json!({"out": {}})).args(&["/bin/ls", "/sys/class/net"]);
    let done = network.start(&bundle, "run", &[]).wait().ok();
    assert!(done.stdout.lines().any(|device| device == "out"), "{done}");
}

/// What comes of it here, `intel_rdt` proves.
#[test]
fn intel_rdt_is_on() {
    if is_peer() {
        return;
    }
    let expected = json!({"enabled": true, "schemata": true, "monitoring": true});
    assert_eq!(features()["linux"]["intelRdt"], expected);
}
