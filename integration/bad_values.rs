//! Bad values in config.json, one at a time: `process`, namespaces, names, kernel parameters, hooks. The error names the
//! field, comes at the right moment, and nothing is left behind. For other keys see `bad_mounts.rs` and `bad_limits.rs`.

use crate::harness::Moment::{AfterHooks, Creation, Validation};
use crate::harness::{Bundle, check_refusals, has_apparmor, is_peer, is_rootless, skip};
use serde_json::{Value, json};

#[test]
fn oci_version() {
    check_refusals(
        |b| b,
        &[
            (|b| b.set("/ociVersion", json!("2.0.0")), Validation, &["ociVersion", "2.0.0", "version 1"]),
            (|b| b.set("/ociVersion", json!("99.1")), Validation, &["ociVersion"]),
            (|b| b.set("/ociVersion", json!(2)), Validation, &["config.json: ociVersion: invalid type"]),
        ],
    );
    // Whatever else is there does not matter.
    for version in [json!("1.9.7-dev"), json!("abc"), json!("1.0")] {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/true"]).set("/ociVersion", version);
        bundle.run().ok();
    }
}

#[test]
fn process() {
    check_refusals(
        |b| b,
        &[
            (|b| b.unset("/process/args"), Validation, &["process.args: args must not be empty"]),
            (|b| b.set("/process/args", json!([])), Validation, &["process.args: args must not be empty"]),
            (|b| b.args(&["true", "a\0b"]), Validation, &["process.args[1]: contains a NUL byte"]),
            (|b| b.args(&[""]), AfterHooks, &["exec: \"\": executable file not found in $PATH"]),
            (|b| b.unset("/process/cwd"), Validation, &["config.json: process.cwd: missing field"]),
            (|b| b.set("/process/cwd", json!("")), Validation, &["process.cwd: Cwd property must not be empty"]),
            (|b| b.set("/process/cwd", json!("here")), Validation, &["process.cwd: Cwd must be an absolute path"]),
            (|b| b.set("/process/cwd", json!("/a\0")), Validation, &["process.cwd: contains a NUL byte"]),
            (|b| b.set("/process/cwd", json!("/etc/passwd")), AfterHooks, &["process.cwd", "/etc/passwd: not a dir"]),
            (|b| b.set("/process/terminal", json!("no")), Validation, &["process.terminal: invalid type"]),
            (|b| b.set("/process/env", json!(["A"])), Validation, &["process.env[0]", "missing '='"]),
            (|b| b.set("/process/env", json!(["=x"])), Validation, &["process.env[0]", "name cannot be empty"]),
            (|b| b.set("/process/env", json!(["A=\0"])), Validation, &["process.env[0]", "NUL byte"]),
            (|b| b.set("/process/noNewPrivileges", json!("yes")), Validation, &["process.noNewPrivileges: invalid"]),
        ],
    );
}

/// Out of range, negative, with a fraction: as JSON allows numbers.
#[test]
fn user_and_groups() {
    check_refusals(
        |b| b,
        &[
            (|b| b.unset("/process/user"), Validation, &["process.user: missing field"]),
            (|b| b.set("/process/user/uid", json!(u32::MAX)), Validation, &["process.user.uid: 4294967295 is no id"]),
            (|b| b.set("/process/user/uid", json!(1_u64 << 32)), Validation, &["process.user.uid: ", "expected u32"]),
            (|b| b.set("/process/user/uid", json!(-1)), Validation, &["process.user.uid: ", "`-1`, expected u32"]),
            (|b| b.set("/process/user/uid", json!(0.0)), Validation, &["process.user.uid: ", "floating point"]),
            (|b| b.set("/process/user/uid", json!("0")), Validation, &["process.user.uid: invalid type"]),
            (|b| b.set("/process/user/gid", json!(u32::MAX)), Validation, &["process.user.gid: 4294967295 is no id"]),
            (
                |b| b.set("/process/user/additionalGids", json!([5, u32::MAX])),
                Validation,
                &["process.user.additionalGids"],
            ),
            (|b| b.set("/process/user/umask", json!(0o1000)), Validation, &["process.user.umask", "beyond 0777"]),
        ],
    );
    check_refusals(
        |bundle| with_user_namespace(bundle).map_self(),
        &[
            (
                |b| b.set("/process/user/uid", json!(99999)),
                Validation,
                &["process.user.uid: cannot setuid to unmapped uid 99999 in user namespace"],
            ),
            (|b| b.set("/process/user/gid", json!(99999)), Validation, &["process.user.gid", "unmapped gid 99999"]),
        ],
    );
}

#[test]
fn capabilities_and_limits() {
    check_refusals(
        |b| b,
        &[
            (
                |b| b.set("/process/capabilities/effective/-", json!("CAP_SYS_ADMIN")),
                Validation,
                &["process.capabilities.effective: CAP_SYS_ADMIN must be in permitted, too"],
            ),
            (
                |b| b.set("/process/capabilities/bounding", json!("CAP_KILL")),
                Validation,
                &["process.capabilities.bounding: invalid type"],
            ),
            (|b| rlimit(b, "RLIMIT_FOO", 1, 1), Validation, &["process.rlimits[0].type", "RLIMIT_FOO"]),
            (|b| rlimit(b, "RLIMIT_CORE", 2, 1), Validation, &["process.rlimits[0]", "soft limit 2 is above"]),
            (
                |b| rlimit(b, "RLIMIT_CORE", 1, 1).set("/process/rlimits/1", json!({"type": "RLIMIT_CORE"})),
                Validation,
                &["process.rlimits[1]: RLIMIT_CORE is listed twice"],
            ),
            (
                |b| rlimit(b, "RLIMIT_CORE", 1, 1).set("/process/rlimits/0/soft", json!(-2)),
                Validation,
                &["process.rlimits[0].soft: ", "expected u64"],
            ),
            // More than the kernel gives to anybody (fs.nr_open).
            (|b| rlimit(b, "RLIMIT_NOFILE", 1, 1 << 40), Validation, &["process.rlimits[0]: raise RLIMIT_NOFILE"]),
        ],
    );
}

fn rlimit<'a>(bundle: &'a mut Bundle, kind: &str, soft: u64, hard: u64) -> &'a mut Bundle {
    bundle.set("/process/rlimits", json!([{"type": kind, "soft": soft, "hard": hard}]))
}

fn scheduler(bundle: &mut Bundle, value: Value) -> &mut Bundle {
    bundle.set("/process/scheduler", value)
}

#[test]
fn scheduling() {
    check_refusals(
        |b| b,
        &[
            (|b| scheduler(b, json!({})), Validation, &["process.scheduler.policy: missing field"]),
            (|b| scheduler(b, json!({"policy": "X"})), Validation, &["process.scheduler.policy", "SCHED_OTHER"]),
            (|b| scheduler(b, json!({"policy": "SCHED_ISO"})), Validation, &["invalid scheduler policy: SCHED_ISO"]),
            (
                |b| scheduler(b, json!({"policy": "SCHED_OTHER", "nice": 20})),
                Validation,
                &["process.scheduler.nice: 20 is not within -20 to 19"],
            ),
            (
                |b| scheduler(b, json!({"policy": "SCHED_OTHER", "priority": 1})),
                Validation,
                &["process.scheduler.priority: counts for SCHED_FIFO and SCHED_RR only"],
            ),
            (|b| scheduler(b, json!({"policy": "SCHED_RR", "priority": 100})), Validation, &["priority", "1 to 99"]),
            (
                |b| scheduler(b, json!({"policy": "SCHED_OTHER", "period": 1})),
                Validation,
                &["process.scheduler.period"],
            ),
            (
                |b| scheduler(b, json!({"policy": "SCHED_OTHER", "flags": ["X"]})),
                Validation,
                &["process.scheduler.flags[0]", "`X`"],
            ),
            (
                |b| b.set("/process/ioPriority", json!({"class": "X", "priority": 0})),
                Validation,
                &["process.ioPriority.class", "IOPRIO_CLASS_BE"],
            ),
            (
                |b| b.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8})),
                Validation,
                &["process.ioPriority.priority: invalid ioPriority.Priority: 8"],
            ),
            (|b| b.set("/process/oomScoreAdj", json!(1001)), Validation, &["process.oomScoreAdj", "-1000 to 1000"]),
            (|b| b.set("/process/oomScoreAdj", json!(-1001)), Validation, &["process.oomScoreAdj"]),
            (|b| b.set("/process/oomScoreAdj", json!(1_u64 << 40)), Validation, &["process.oomScoreAdj", "i32"]),
            (
                |b| b.set("/process/execCPUAffinity", json!({"final": "5-1"})),
                Validation,
                &["process.execCPUAffinity.final: 5-1: the range ends before it begins"],
            ),
            (|b| b.set("/linux/personality", json!({})), Validation, &["linux.personality.domain: missing field"]),
            (|b| b.set("/linux/personality", json!({"domain": "X"})), Validation, &["linux.personality.domain", "`X`"]),
        ],
    );
}

/// A policy whose parameters the kernel alone can judge.
#[test]
fn a_scheduler_that_the_kernel_refuses() {
    check_refusals(
        |b| b,
        &[(
            |b| scheduler(b, json!({"policy": "SCHED_DEADLINE", "runtime": 5, "deadline": 1, "period": 1})),
            AfterHooks,
            &["process.scheduler", "sched_setattr"],
        )],
    );
}

#[test]
fn labels_without_a_security_module() {
    if has_apparmor() {
        skip("an AppArmor profile without AppArmor", "this kernel has it");
    } else {
        let profile = &["process.apparmorProfile: \"nope\"", "AppArmor is not enabled"];
        check_refusals(|b| b, &[(|b| b.set("/process/apparmorProfile", json!("nope")), Validation, profile)]);
    }
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        skip("an SELinux label without SELinux", "this kernel has it");
    } else {
        check_refusals(
            |b| b,
            &[
                (
                    |b| b.set("/process/selinuxLabel", json!("a:b:c")),
                    Validation,
                    &["process.selinuxLabel: selinux label is specified in config, but selinux is disabled"],
                ),
                (
                    |b| b.set("/linux/mountLabel", json!("a:b:c")),
                    Validation,
                    &["linux.mountLabel: a label is asked for"],
                ),
            ],
        );
    }
}

/// A namespace of this kind by path, in place of the new one.
fn joined<'a>(bundle: &'a mut Bundle, kind: &str, path: &str) -> &'a mut Bundle {
    bundle.namespace(kind, Some(std::path::Path::new(path)))
}

#[test]
fn namespaces() {
    check_refusals(
        |bundle| {
            let fifo = bundle.path().join("fifo");
            nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
            bundle
        },
        &[
            (
                |b| b.set("/linux/namespaces/-", json!({"type": "pid"})),
                Validation,
                &["linux.namespaces[", "malformed spec file: duplicated pid namespace"],
            ),
            (
                |b| b.set("/linux/namespaces/-", json!({"type": "nosuch"})),
                Validation,
                &["config.json: linux.namespaces[", "].type", "nosuch", "line"],
            ),
            (|b| b.set("/linux/namespaces/-", json!({})), Validation, &["].type: missing field"]),
            (
                |b| joined(b, "network", "/no/such"),
                Validation,
                &["].path: namespace path: open /no/such: no such file"],
            ),
            (|b| joined(b, "network", "no/such"), Validation, &["].path: must be an absolute path"]),
            (|b| joined(b, "network", "/proc/self/ns/uts"), Validation, &["].path", "is not a network namespace"]),
            (|b| joined(b, "ipc", "/etc/passwd"), Validation, &["].path", "/etc/passwd is not a namespace file"]),
            (
                |b| joined(b, "ipc", b.path().join("fifo").to_str().unwrap()),
                Validation,
                &["].path", "fifo is not a namespace file"],
            ),
            (|b| joined(b, "ipc", "/a\0"), Validation, &["].path: contains a NUL byte"]),
        ],
    );
}

fn with_user_namespace(bundle: &mut Bundle) -> &mut Bundle {
    if !is_rootless() {
        bundle.namespace("user", None);
        for ids in ["uidMappings", "gidMappings"] {
            map(bundle, ids, json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]));
        }
    }
    bundle
}

fn map<'a>(bundle: &'a mut Bundle, ids: &str, maps: Value) -> &'a mut Bundle {
    bundle.set(&format!("/linux/{ids}"), maps)
}

#[test]
fn maps_of_ids() {
    check_refusals(
        |bundle| with_user_namespace(bundle),
        &[
            (
                |b| b.unset("/linux/uidMappings"),
                Validation,
                &["linux.uidMappings: user namespaces enabled, but no uid"],
            ),
            (
                |b| b.unset("/linux/gidMappings"),
                Validation,
                &["linux.gidMappings: user namespaces enabled, but no gid"],
            ),
            (
                |b| map(b, "uidMappings", json!([{"containerID": 0, "hostID": 1, "size": 0}])),
                Validation,
                &["linux.uidMappings[0]: size must be at least 1"],
            ),
            (
                |b| map(b, "gidMappings", json!([{"containerID": 0, "hostID": u32::MAX, "size": 2}])),
                Validation,
                &["linux.gidMappings[0]: ", "the range must end below 4294967295"],
            ),
            (
                |b| map(b, "uidMappings", json!([{"containerID": -1, "hostID": 0, "size": 1}])),
                Validation,
                &["linux.uidMappings[0].containerID: ", "expected u32"],
            ),
            (
                |b| {
                    let first = json!({"containerID": 0, "hostID": 100_000, "size": 10});
                    map(b, "uidMappings", json!([first, {"containerID": 5, "hostID": 200_000, "size": 10}]))
                },
                Validation,
                &["linux.uidMappings[1]: overlaps entry 0"],
            ),
            (
                |b| map(b, "uidMappings", json!([{"containerID": 1, "hostID": 1, "size": 1}])),
                Validation,
                &["linux.uidMappings: must map uid 0 of the container"],
            ),
            (
                |b| {
                    let line = |id: u32| json!({"containerID": id, "hostID": 100_000 + id, "size": 1});
                    map(b, "gidMappings", (0..341).map(line).collect())
                },
                Validation,
                &["linux.gidMappings: has 341 entries; the kernel takes 340"],
            ),
            (
                |b| {
                    let (uids, own) = (b.get("/linux/uidMappings").clone(), "/proc/self/ns/user");
                    map(joined(b, "user", own), "uidMappings", uids)
                },
                Validation,
                &["linux.uidMappings: a user namespace that is joined by path has its maps already"],
            ),
        ],
    );
}

#[test]
fn clocks() {
    check_refusals(
        |b| b.namespace("time", None).set("/linux/timeOffsets/boottime/secs", json!(1)),
        &[
            (
                |b| b.without_namespace("time"),
                Validation,
                &["linux.timeOffsets: time namespace offsets specified, but time namespace isn't enabled"],
            ),
            (|b| joined(b, "time", "/proc/self/ns/time"), Validation, &["linux.timeOffsets", "that is joined"]),
            (
                |b| b.set("/linux/timeOffsets/realtime", json!({"secs": 1})),
                Validation,
                &["linux.timeOffsets: unknown clock \"realtime\": use monotonic or boottime"],
            ),
            (
                |b| b.set("/linux/timeOffsets/boottime/nanosecs", json!(1_000_000_000)),
                Validation,
                &["linux.timeOffsets.boottime.nanosecs: must be below 1000000000"],
            ),
            // Far beyond what a clock can show.
            (|b| b.set("/linux/timeOffsets/boottime/secs", json!(i64::MAX)), Creation, &["linux.timeOffsets", "range"]),
        ],
    );
}

#[test]
fn names() {
    check_refusals(
        |bundle| bundle.set("/domainname", json!("d")),
        &[
            (
                |b| b.without_namespace("uts"),
                Validation,
                &["hostname: unable to set hostname without a private UTS namespace"],
            ),
            (
                |b| b.without_namespace("uts").unset("/hostname"),
                Validation,
                &["domainname: unable to set domainname without a private UTS namespace"],
            ),
            (|b| b.set("/hostname", json!("x".repeat(65))), Validation, &["hostname: must have at most 64 bytes"]),
            (
                |b| b.set("/domainname", json!("a\0")),
                Validation,
                &["domainname: must have at most 64 bytes and no NUL"],
            ),
        ],
    );
}

fn sysctl<'a>(bundle: &'a mut Bundle, key: &str, value: Value) -> &'a mut Bundle {
    bundle.set("/linux/sysctl", json!({ key: value }))
}

#[test]
fn kernel_parameters() {
    check_refusals(
        |b| b,
        &[
            (
                |b| sysctl(b, "kernel.core_pattern", json!("x")),
                Validation,
                &["linux.sysctl.kernel.core_pattern: sysctl"],
            ),
            (|b| sysctl(b, "kernel.hostname", json!("x")), Validation, &["conflicts with the OCI \"hostname\" field"]),
            (|b| sysctl(b, "net/../kernel/core_pattern", json!("x")), Validation, &["not the name of a kernel param"]),
            (|b| sysctl(b, "", json!("1")), Validation, &["linux.sysctl.: is not the name of a kernel parameter"]),
            (|b| sysctl(b, "net.a\0", json!("1")), Validation, &["is not the name of a kernel parameter"]),
            (|b| sysctl(b, "net.ipv4.ip_forward", json!("1\0")), Validation, &["ip_forward: its value contains a NUL"]),
            (
                |b| sysctl(b, "net.ipv4.ip_forward", json!(1)),
                Validation,
                &["linux.sysctl.net.ipv4.ip_forward: invalid"],
            ),
            (
                |b| sysctl(b, "net.ipv4.no_such", json!("1")),
                AfterHooks,
                &["linux.sysctl.net.ipv4.no_such", "no such file"],
            ),
            (
                |b| sysctl(b, "net.ipv4.ip_forward", json!("no")),
                AfterHooks,
                &["net.ipv4.ip_forward", "invalid argument"],
            ),
        ],
    );
}

fn hook(bundle: &mut Bundle, hook: Value) -> &mut Bundle {
    bundle.set("/hooks/poststart", json!([hook]))
}

#[test]
fn hooks() {
    check_refusals(
        |b| b,
        &[
            (|b| hook(b, json!({})), Validation, &["hooks.poststart[0].path: missing field"]),
            (|b| hook(b, json!({"path": "bin/true"})), Validation, &["hooks.poststart[0].path", "absolute path"]),
            (|b| hook(b, json!({"path": "/x\0"})), Validation, &["hooks.poststart[0]: contains a NUL byte"]),
            (|b| hook(b, json!({"path": "/x", "args": ["\0"]})), Validation, &["hooks.poststart[0]: contains a NUL"]),
            (
                |b| hook(b, json!({"path": "/x", "env": ["A"]})),
                Validation,
                &["hooks.poststart[0].env[0]", "NAME=value"],
            ),
            (|b| hook(b, json!({"path": "/x", "timeout": 0})), Validation, &["hooks.poststart[0].timeout", "zero"]),
            (|b| hook(b, json!({"path": "/x", "timeout": -1})), Validation, &["hooks.poststart[0].timeout", "zero"]),
            (|b| hook(b, json!({"path": "/x", "timeout": "5"})), Validation, &["hooks.poststart[0].timeout: invalid"]),
            (
                |b| b.set("/hooks/createRuntime/-", json!({"path": "/bin/false"})),
                AfterHooks,
                &["error running createRuntime hook #1: exit status 1"],
            ),
            (
                |b| b.set("/hooks/createContainer", json!([{"path": "/no/such"}])),
                AfterHooks,
                &["error running createContainer hook #0: exec /no/such: no such file or directory"],
            ),
        ],
    );
}

#[test]
fn annotations() {
    check_refusals(
        |b| b,
        &[
            (|b| b.set("/annotations", json!(["a"])), Validation, &["config.json: annotations", "invalid type"]),
            (|b| b.set("/annotations", json!({"a": 1})), Validation, &["config.json: annotations", "invalid type"]),
            (|b| b.set("/annotations", json!({"": "b"})), Validation, &["config.json: annotations: a key is empty"]),
        ],
    );
}

/// The spec: unknown properties anywhere and unknown annotations are ignored.
#[test]
fn unknown_properties_are_no_error() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    for pointer in [
        "/unknown",
        "/process/unknown",
        "/process/user/unknown",
        "/root/unknown",
        "/linux/unknown",
        "/linux/resources/unknown",
        "/mounts/0/unknown",
    ] {
        bundle.set(pointer, json!({"nested": [1, "two", null]}));
    }
    bundle
        .set("/annotations/run.oci.systemd.force_cgroup_v1", json!("/sys/fs/cgroup"))
        .set("/annotations/x", json!(""));
    // Blocks of other platforms.
    bundle.set("/vm", json!({"kernel": {"path": "/kernel"}})).set("/windows", json!({"layerFolders": ["x"]}));
    bundle.set("/solaris", json!({})).set("/zos", json!({})).set("/freebsd", json!({}));
    bundle.run().ok();
}

/// What other versions of the specification or of cgroups had is passed over, with a warning where it asked for much.
#[test]
fn what_no_longer_means_anything_is_passed_over() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "ran"]);
    bundle.set("/linux/personality", json!({"domain": "LINUX", "flags": ["X"]}));
    bundle.set("/linux/resources/memory", json!({"kernel": 1, "kernelTCP": 1, "swappiness": 5}));
    bundle.set("/linux/resources/cpu", json!({"realtimeRuntime": 5, "realtimePeriod": 10}));
    bundle.set("/linux/resources/network", json!({"classID": 5}));
    bundle.set("/process/capabilities/bounding/-", json!("CAP_OF_TOMORROW"));
    let mut done = bundle.run().ok();
    assert_eq!(done.stdout, "ran\n");
    if !is_peer() {
        for warned in ["personality.flags", "memory.kernel", "network.classID", "CAP_OF_TOMORROW"] {
            done = done.says(warned);
        }
    }
}
