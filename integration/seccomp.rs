//! `linux.seccomp`: what the filter does to system calls, seen from inside.

use crate::harness::{Bundle, Snapshot, is_peer};
use serde_json::{Value, json};

fn with_filter(filter: Value) -> Bundle {
    let mut bundle = Bundle::new();
    bundle.set("/linux/seccomp", filter);
    bundle
}

fn allow_but(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules})
}

#[test]
fn errno_for_named_calls_and_nothing_else() {
    let mut bundle = with_filter(allow_but(json!([
        {"names": ["mkdir", "chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
        {"names": ["settimeofday"], "action": "SCMP_ACT_ERRNO"},
    ])));
    let seen = bundle.probe(&["syscalls", "mkdir", "chroot", "settimeofday", "getpid", "getcwd"]);
    assert_eq!((&seen["mkdir"], &seen["chroot"]), (&json!("EBADFD"), &json!("EBADFD")), "errno 77");
    assert_eq!(seen["settimeofday"], "EPERM", "the default");
    assert_eq!(seen["getpid"], "ok");
    assert_ne!(seen["getcwd"], "EPERM");
}

#[test]
fn mode_and_one_filter() {
    let mut bundle = with_filter(allow_but(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}])));
    let seen = bundle.report();
    assert_eq!((seen.status("Seccomp"), seen.status("Seccomp_filters")), ("2", "1"));
}

#[test]
fn an_empty_block_is_no_filter() {
    let mut bundle = with_filter(json!({}));
    if is_peer() {
        return;
    }
    assert_eq!(bundle.report().status("Seccomp"), "0");
}

#[test]
fn conditions_on_arguments() {
    let mut bundle = with_filter(allow_but(json!([
        {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
         "args": [{"index": 0, "value": 0x0200_0000, "op": "SCMP_CMP_EQ"}]},
        {"names": ["unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
         "args": [{"index": 0, "value": 0x1000_0000, "valueTwo": 0x1000_0000, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
         "args": [{"index": 0, "value": 39, "op": "SCMP_CMP_GT"}, {"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}]},
    ])));
    let seen = bundle.probe(&[
        "syscalls",
        "personality-query",
        "personality-odd",
        "unshare-none",
        "unshare-user",
        "socket-unix",
        "socket-vsock",
    ]);
    assert_eq!((&seen["personality-query"], &seen["personality-odd"]), (&json!("ok"), &json!("EACCES")));
    assert_eq!((&seen["unshare-none"], &seen["unshare-user"]), (&json!("ok"), &json!("EACCES")));
    assert_eq!((&seen["socket-unix"], &seen["socket-vsock"]), (&json!("ok"), &json!("EACCES")));
}

/// Docker's profiles depend on it: the same index twice means either.
#[test]
fn the_same_index_twice_means_or() {
    let mut bundle = with_filter(allow_but(json!([
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
         "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
    ])));
    let seen = bundle.probe(&["syscalls", "socket-unix", "socket-vsock"]);
    assert_eq!(seen, json!({"socket-unix": "EACCES", "socket-vsock": "EACCES"}));
}

#[test]
fn a_rule_without_conditions_wins() {
    for conditional_first in [true, false] {
        let conditional = json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
            "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]});
        let plain = json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95});
        let rules = if conditional_first { json!([conditional, plain]) } else { json!([plain, conditional]) };
        let seen = with_filter(allow_but(rules)).probe(&["syscalls", "socket-unix", "socket-vsock"]);
        assert_eq!(
            seen,
            json!({"socket-unix": "EOPNOTSUPP", "socket-vsock": "EOPNOTSUPP"}),
            "conditional first: {conditional_first}"
        );
    }
}

#[test]
fn kill_ends_the_process() {
    for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL"] {
        let mut bundle = with_filter(allow_but(json!([{"names": ["mkdir"], "action": action}])));
        bundle.args(&["/probe", "syscalls", "mkdir"]);
        bundle.run().exits(128 + 31);
    }
    let mut bundle = with_filter(allow_but(json!([{"names": ["mkdir"], "action": "SCMP_ACT_TRAP"}])));
    // As a child of the shell: init of a PID namespace is spared signals that it has no handler for.
    bundle.script("/probe syscalls mkdir; echo $?");
    assert_eq!(bundle.run().ok().stdout, "159\n");
}

/// Calls newer than the profile look absent rather than forbidden, so that C libraries fall back.
#[test]
fn numbers_above_the_profile_are_enosys() {
    let filter = json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
        {"names": docker_allows(), "action": "SCMP_ACT_ALLOW"}]});
    let mut bundle = with_filter(filter);
    let seen = bundle.probe(&["syscalls", "number-9999", "kexec_load", "getpid"]);
    assert_eq!(seen, json!({"number-9999": "ENOSYS", "kexec_load": "EPERM", "getpid": "ok"}));
}

/// The names that Docker's captured profile allows without conditions.
fn docker_allows() -> Vec<String> {
    let text = include_str!("configs/docker-run.json");
    let config: Value = serde_json::from_str(text).unwrap();
    let groups = config["linux"]["seccomp"]["syscalls"].as_array().unwrap().clone();
    let plain = groups.iter().filter(|group| group["args"].as_array().is_none_or(Vec::is_empty));
    plain
        .flat_map(|group| group["names"].as_array().unwrap().clone())
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn unknown_names_are_skipped() {
    let mut bundle = with_filter(allow_but(json!([{"names": ["no_such_call", "mkdir"], "action": "SCMP_ACT_ERRNO"}])));
    assert_eq!(bundle.probe(&["syscalls", "mkdir"]), json!({"mkdir": "EPERM"}));
    bundle.set("/annotations", json!({"run.oci.seccomp_fail_unknown_syscall": "0"}));
    assert_eq!(bundle.probe(&["syscalls", "mkdir"]), json!({"mkdir": "EPERM"}));
    if !is_peer() {
        bundle.set("/annotations", json!({"run.oci.seccomp_fail_unknown_syscall": "1"}));
        let before = Snapshot::of(&bundle);
        bundle.run().fails().says("linux.seccomp.syscalls: ").says(": no_such_call");
        before.assert_unchanged(&bundle);
    }
}

#[test]
fn bad_filters_are_refused() {
    for (filter, says) in [
        (json!({"defaultAction": "SCMP_ACT_FOO"}), "SCMP_ACT_FOO"),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "cannot be used as default action"),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_FOO"], "syscalls": []}),
            "SCMP_ARCH_FOO",
        ),
        (
            allow_but(
                json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]),
            ),
            "index",
        ),
        (
            allow_but(
                json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_FOO"}]}]),
            ),
            "SCMP_CMP_FOO",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_FOO"], "syscalls": []}),
            "SECCOMP_FILTER_FLAG_FOO",
        ),
    ] {
        let mut bundle = with_filter(filter);
        bundle.args(&["/bin/echo", "ran"]);
        let done = bundle.run().exits(1).says(says).says("config.json");
        assert_eq!(done.stdout, "");
    }
}

/// A static program of twelve bytes: exit_group(42) and nothing else.
pub fn tiny(bundle: &Bundle) {
    let code: [u8; 12] = [0xb8, 0xe7, 0, 0, 0, 0xbf, 0x2a, 0, 0, 0, 0x0f, 0x05];
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let size = 120 + code.len() as u64;
    for (value, width) in [(2, 2), (62, 2), (1, 4), (0x40_0078, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (1, 2)] {
        elf.extend_from_slice(&u64::to_le_bytes(value)[..width]);
    }
    elf.extend_from_slice(&[0; 6]);
    for (value, width) in [(1, 4), (5, 4), (0, 8), (0x40_0000, 8), (0x40_0000, 8), (size, 8), (size, 8), (0x1000, 8)] {
        elf.extend_from_slice(&u64::to_le_bytes(value)[..width]);
    }
    elf.extend_from_slice(&code);
    let path = bundle.rootfs().join("tiny");
    std::fs::write(&path, elf).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// The filter is the last thing but execve, and one capset where new privileges are allowed: a profile that kills for
/// everything else does not kill onggi, however much there is to pass on.
#[test]
fn nothing_but_execve_comes_after_the_filter() {
    if is_peer() {
        return;
    }
    for (forbidden, user, administrator) in
        [(true, 0, false), (true, 1000, false), (false, 0, false), (false, 1000, false), (false, 0, true)]
    {
        let mut calls = vec!["execve", "exit_group"];
        if !forbidden && !administrator {
            calls.push("capset");
        }
        let mut bundle = with_filter(json!({
            "defaultAction": "SCMP_ACT_KILL_PROCESS", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": calls, "action": "SCMP_ACT_ALLOW"}],
        }));
        tiny(&bundle);
        bundle.args(&["/tiny"]).set("/process/noNewPrivileges", json!(forbidden));
        bundle.set("/process/user/uid", json!(user));
        for number in 0..2000 {
            bundle.set("/process/env/-", json!(format!("V{number}={}", "x".repeat(60))));
        }
        if administrator {
            for key in ["bounding", "effective", "permitted"] {
                bundle.set(&format!("/process/capabilities/{key}/-"), json!("CAP_SYS_ADMIN"));
            }
        }
        let descriptors = ["sh", "-c", "exec 3</dev/null 4</dev/null; exec \"$@\"", "-"];
        bundle.start_with("run", &["--preserve-fds", "2"]).under(&descriptors).run().exits(42).quiet();
    }
}

/// startContainer hooks are code of the container's: they run under its filter.
#[test]
fn start_container_hooks_are_filtered() {
    if is_peer() {
        return;
    }
    let mut bundle = with_filter(allow_but(json!([
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
    ])));
    bundle.set("/root/readonly", json!(false)).args(&["/bin/true"]);
    bundle.set("/hooks/startContainer", json!([{"path": "/bin/mkdir", "args": ["mkdir", "/data/made"]}]));
    bundle.run().exits(255).says("startContainer hook #0");
    assert!(!bundle.rootfs().join("data/made").exists());
}
