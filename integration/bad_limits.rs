//! Bad values in config.json about limits and system calls: `linux.resources`, `linux.cgroupsPath`, `linux.seccomp`. As in
//! `bad_values.rs`.

use crate::harness::Moment::{Creation, Validation};
use crate::harness::{Bundle, check_refusals, skip, test_slice};
use serde_json::{Value, json};

fn resource<'a>(bundle: &'a mut Bundle, key: &str, value: Value) -> &'a mut Bundle {
    bundle.set(&format!("/linux/resources/{key}"), value)
}

#[test]
fn values() {
    check_refusals(
        |b| b,
        &[
            (|b| b.set("/linux/resources", json!("x")), Validation, &["linux.resources: invalid type"]),
            (
                |b| resource(b, "memory", json!({"swap": 5})),
                Validation,
                &["memory.swap: unable to set swap limit without"],
            ),
            (
                |b| resource(b, "memory", json!({"limit": 5_000_000, "swap": 5})),
                Validation,
                &["linux.resources.memory.swap: memory+swap limit should be >= memory limit"],
            ),
            (
                |b| resource(b, "memory", json!({"limit": -2})),
                Validation,
                &["linux.resources.memory.limit: -2 is neither"],
            ),
            (
                |b| resource(b, "memory", json!({"limit": 1.5})),
                Validation,
                &["linux.resources.memory.limit: ", "floating"],
            ),
            (
                |b| resource(b, "memory", json!({"limit": 1_u64 << 63})),
                Validation,
                &["linux.resources.memory.limit: ", "expected i64"],
            ),
            (|b| resource(b, "pids", json!({"limit": "5"})), Validation, &["linux.resources.pids.limit: invalid type"]),
            (|b| resource(b, "cpu", json!({"idle": 2})), Validation, &["linux.resources.cpu.idle: must be 0 or 1"]),
            (
                |b| resource(b, "cpu", json!({"shares": -1})),
                Validation,
                &["linux.resources.cpu.shares: ", "expected u64"],
            ),
            (|b| resource(b, "cpu", json!({"cpus": "0\0"})), Validation, &["linux.resources.cpu.cpus: contains a NUL"]),
            (
                |b| resource(b, "blockIO", json!({"weight": 5})),
                Validation,
                &["blockIO.weight: weight 5 is not between"],
            ),
            (
                |b| resource(b, "hugepageLimits", json!([{"pageSize": "2 MB", "limit": 1}])),
                Validation,
                &["linux.resources.hugepageLimits[0].pageSize: \"2 MB\" is not a size"],
            ),
            (
                |b| resource(b, "hugepageLimits", json!([{"pageSize": "2MB", "limit": -2}])),
                Validation,
                &["linux.resources.hugepageLimits[0].limit: -2"],
            ),
            (|b| resource(b, "rdma", json!({"a\nb": {}})), Validation, &["linux.resources.rdma[", "name of a device"]),
        ],
    );
}

#[test]
fn unified() {
    check_refusals(
        |b| b,
        &[
            (
                |b| resource(b, "unified", json!({"a/b": "c"})),
                Validation,
                &["\"a/b\" must be a file name (no slashes)"],
            ),
            (|b| resource(b, "unified", json!({"ab": "c"})), Validation, &["must be in the form CONTROLLER.PARAMETER"]),
            (|b| resource(b, "unified", json!({"..": "c"})), Validation, &["must be in the form CONTROLLER.PARAMETER"]),
            (|b| resource(b, "unified", json!({"a.b\0": "c"})), Validation, &["linux.resources.unified[\"a.b"]),
            (|b| resource(b, "unified", json!({"a.b": "1\0"})), Validation, &["unified[\"a.b\"]: contains a NUL byte"]),
            (|b| resource(b, "unified", json!({"a.b": 1})), Validation, &["linux.resources.unified.a.b: invalid type"]),
            (
                |b| resource(b, "unified", json!({"cgroup.procs": "1"})),
                Validation,
                &["cgroup.procs\" is not a resource"],
            ),
            (
                |b| resource(b, "unified", json!({"foo.bar": "1"})),
                Creation,
                &["unified resource \"foo.bar\" can't be set: controller \"foo\" not available"],
            ),
            (
                |b| resource(b, "unified", json!({"cgroup.max.depth": "deep"})),
                Creation,
                &["linux.resources.unified[\"cgroup.max.depth\"]", "invalid argument"],
            ),
        ],
    );
}

fn rule(bundle: &mut Bundle, rule: Value) -> &mut Bundle {
    resource(bundle, "devices", json!([{"allow": false, "access": "rwm"}, rule]))
}

#[test]
fn device_rules() {
    check_refusals(
        |b| b,
        &[
            (|b| rule(b, json!({"allow": true, "type": "x"})), Validation, &["linux.resources.devices[1].type", "`x`"]),
            (
                |b| rule(b, json!({"allow": true, "type": "c", "access": ""})),
                Validation,
                &["linux.resources.devices[1].access: device access at 1 field cannot be empty"],
            ),
            (
                |b| rule(b, json!({"allow": true, "type": "c", "major": -5, "access": "r"})),
                Validation,
                &["linux.resources.devices[1].major: -5 is neither a device number"],
            ),
            (
                |b| {
                    rule(b, json!({"allow": true, "type": "c", "access": "rwm"}));
                    let hole = json!({"allow": false, "type": "c", "major": 1, "minor": 3, "access": "w"});
                    b.set("/linux/resources/devices/-", hole)
                },
                Validation,
                &["linux.resources.devices[2]: cannot punch a hole"],
            ),
        ],
    );
}

fn path<'a>(bundle: &'a mut Bundle, path: &str) -> &'a mut Bundle {
    bundle.set("/linux/cgroupsPath", json!(path))
}

#[test]
fn paths() {
    if test_slice().is_some() {
        let others = "systemd::bad_configs_are_refused_before_systemd_hears_of_them";
        return skip("bad paths of cgroupfs", &format!("systemd is the driver, whose own are in {others}"));
    }
    check_refusals(
        |b| b,
        &[
            (|b| path(b, "/"), Validation, &["linux.cgroupsPath: \"/\" is no cgroup of the container's own"]),
            (|b| path(b, "/a\0b"), Validation, &["linux.cgroupsPath", "is not the clean path of a cgroup"]),
            (|b| path(b, "/a\nb"), Validation, &["linux.cgroupsPath", "is not the clean path of a cgroup"]),
            (|b| path(b, &"/x".repeat(3000)), Validation, &["linux.cgroupsPath: 6000 bytes are too long"]),
            (|b| b.set("/linux/cgroupsPath", json!(5)), Validation, &["linux.cgroupsPath: invalid type"]),
        ],
    );
}

fn filter(bundle: &mut Bundle, value: Value) -> &mut Bundle {
    bundle.set("/linux/seccomp", value)
}

/// A rule about getcwd(2) of which these keys differ.
fn call(bundle: &mut Bundle, keys: Value) -> &mut Bundle {
    let mut rule = json!({"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"});
    rule.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    filter(bundle, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
}

#[test]
fn filters() {
    check_refusals(
        |b| b,
        &[
            (|b| filter(b, json!({"defaultAction": "X"})), Validation, &["linux.seccomp.defaultAction", "`X`"]),
            (
                |b| filter(b, json!({"syscalls": [{"names": ["x"], "action": "SCMP_ACT_KILL"}]})),
                Validation,
                &["linux.seccomp.defaultAction: missing field"],
            ),
            (
                |b| filter(b, json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X"]})),
                Validation,
                &["linux.seccomp.architectures[0]", "`X`"],
            ),
            (
                |b| filter(b, json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["X"]})),
                Validation,
                &["linux.seccomp.flags[0]", "`X`"],
            ),
            (
                |b| filter(b, json!({"defaultAction": "SCMP_ACT_NOTIFY"})),
                Validation,
                &["linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY"],
            ),
            (
                |b| call(b, json!({"names": ["write"], "action": "SCMP_ACT_NOTIFY"})),
                Validation,
                &["linux.seccomp", "SCMP_ACT_NOTIFY"],
            ),
            // Without anybody who listens.
            (|b| call(b, json!({"action": "SCMP_ACT_NOTIFY"})), Validation, &["linux.seccomp"]),
            (|b| call(b, json!({"action": "FOO"})), Validation, &["linux.seccomp.syscalls[0].action", "`FOO`"]),
            (|b| call(b, json!({"errnoRet": 4096})), Validation, &["linux.seccomp.syscalls[0].errnoRet: 4096 is too"]),
            (
                |b| call(b, json!({"args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]})),
                Validation,
                &["linux.seccomp.syscalls[0].args[0].index", "not 6"],
            ),
            (
                |b| call(b, json!({"args": [{"index": 0, "value": 1, "op": "X"}]})),
                Validation,
                &["linux.seccomp.syscalls[0].args[0].op", "`X`"],
            ),
            (
                |b| call(b, json!({"args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]})),
                Validation,
                &["linux.seccomp.syscalls[0].args[0].value: ", "expected u64"],
            ),
        ],
    );
}
