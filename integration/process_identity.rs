//! `process.user`, `capabilities`, `noNewPrivileges`, `env`, `cwd`, the session keyring, signals.

use crate::harness::{Bundle, caller, capability_mask, is_peer, is_rootless, needs_root};
use serde_json::{Value, json};
use std::fs;

const SETS: [(&str, &str); 5] = [
    ("bounding", "CapBnd"),
    ("effective", "CapEff"),
    ("permitted", "CapPrm"),
    ("inheritable", "CapInh"),
    ("ambient", "CapAmb"),
];

#[test]
fn user_groups_and_umask() {
    let mut bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1001, "umask": 0o27}));
    // Users may not have any: see rootless.rs.
    let wanted: &[u32] = if is_rootless() { &[] } else { &[5, 7, 1001] };
    bundle.set("/process/user/additionalGids", json!(wanted));
    let seen = bundle.report();
    assert_eq!(seen.numbers("Uid"), [1000; 4]);
    assert_eq!(seen.numbers("Gid"), [1001; 4]);
    let mut groups = seen.numbers("Groups");
    groups.sort_unstable();
    assert_eq!(groups, wanted);
    assert_eq!(seen.status("Umask"), "0027");
}

/// Supplementary groups of the caller do not leak in; the umask neither.
#[test]
fn nothing_is_inherited_from_the_caller() {
    let mut bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    // Users have groups, but may not set them.
    let (mask, groups) = if is_rootless() { ("077", "") } else { ("0777", "setpriv --groups 4,20,24") };
    let wrapper = ["sh", "-c", &format!("umask {mask}; exec {groups} nice -n 5 \"$@\""), "-"];
    let seen = crate::harness::Report::parse(&bundle.start_with("run", &[]).under(&wrapper).run().ok());
    assert!(seen.numbers("Groups").is_empty(), "{:?}", seen.numbers("Groups"));
    assert_eq!(seen.status("Umask"), "0022");
}

/// CVE-2016-3697: a number is a number, whatever the image's passwd calls it.
#[test]
fn numeric_uid_is_not_a_name() {
    let mut bundle = Bundle::new();
    fs::write(bundle.rootfs().join("etc/passwd"), "1000:x:0:0:root:/evil:/bin/sh\nroot:x:0:0::/root:/bin/sh\n")
        .unwrap();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let seen = bundle.report();
    assert_eq!(seen.numbers("Uid"), [1000; 4]);
    assert!(!seen.env().contains(&"HOME=/evil"), "the line is of uid 0");
}

/// -1 is "no change" to setresuid(2): accepted, it would leave root. Out of range is no other number.
#[test]
fn ids_out_of_range_are_refused() {
    for field in ["uid", "gid"] {
        for value in
            [json!(4_294_967_295_u64), json!(-1), json!(4_294_967_296_u64), json!(1e30), json!("0"), json!(0.5)]
        {
            let mut bundle = Bundle::new();
            bundle.set(&format!("/process/user/{field}"), value.clone()).args(&["/bin/echo", "ran"]);
            let done = bundle.run().exits(1).fails();
            assert_eq!(done.stdout, "", "{field} {value}");
        }
    }
    let mut bundle = Bundle::new();
    bundle.set("/process/user/additionalGids", json!([4_294_967_295_u64])).args(&["/bin/echo", "ran"]);
    bundle.run().exits(1).says("additionalGids");
}

#[test]
fn capability_sets_are_exactly_what_is_asked() {
    let some = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"]);
    let one = json!(["CAP_KILL"]);
    let cases = [
        // bounding, effective, permitted, inheritable, ambient
        [some.clone(), some.clone(), some.clone(), json!([]), json!([])],
        [some.clone(), one.clone(), some.clone(), json!([]), json!([])],
        [some.clone(), some.clone(), some.clone(), one.clone(), one.clone()],
        [some.clone(), some.clone(), some.clone(), some.clone(), json!([])],
        [json!([]), json!([]), json!([]), json!([]), json!([])],
    ];
    for (index, case) in cases.iter().enumerate() {
        let mut bundle = Bundle::new();
        for ((key, _), value) in SETS.iter().zip(case) {
            bundle.set(&format!("/process/capabilities/{key}"), value.clone());
        }
        let seen = bundle.report();
        let mask = |key: &str| capability_mask(bundle.get(&format!("/process/capabilities/{key}")));
        assert_eq!(seen.capabilities("CapBnd"), mask("bounding"), "case {index}");
        assert_eq!(seen.capabilities("CapInh"), mask("inheritable"), "case {index}");
        assert_eq!(seen.capabilities("CapAmb"), mask("ambient"), "case {index}");
        // Root's execve: permitted and effective become what inheritable and bounding allow.
        let after_exec = mask("inheritable") | mask("bounding");
        assert_eq!(seen.capabilities("CapPrm"), after_exec, "case {index}");
        assert_eq!(seen.capabilities("CapEff"), after_exec, "case {index}");
    }
}

#[test]
fn unprivileged_users_keep_ambient_capabilities_alone() {
    let mut bundle = Bundle::new();
    let two = json!(["CAP_KILL", "CAP_NET_RAW"]);
    for key in ["bounding", "effective", "permitted", "inheritable"] {
        bundle.set(&format!("/process/capabilities/{key}"), two.clone());
    }
    bundle.set("/process/capabilities/ambient", json!(["CAP_NET_RAW"])).set("/process/user/uid", json!(1000));
    let seen = bundle.report();
    let net_raw = capability_mask(&json!(["CAP_NET_RAW"]));
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(seen.capabilities(set), net_raw, "{set}");
    }
    assert_eq!(seen.capabilities("CapInh"), capability_mask(&two));
    assert_eq!(seen.capabilities("CapBnd"), capability_mask(&two));
}

/// CVE-2022-29162 and relatives: what the caller can pass on does not come through.
#[test]
fn inheritable_capabilities_of_the_caller_do_not_leak() {
    if !needs_root("capabilities of the caller", "a user has none") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let wrapper = ["setpriv", "--inh-caps", "+net_admin,+sys_time", "--ambient-caps", "+net_admin"];
    let seen = crate::harness::Report::parse(&bundle.start_with("run", &[]).under(&wrapper).run().ok());
    assert_eq!(seen.capabilities("CapInh"), 0);
    assert_eq!(seen.capabilities("CapAmb"), 0);
}

#[test]
fn without_a_block_there_are_none() {
    if is_peer() {
        return; // runc leaves every capability of the caller.
    }
    let mut bundle = Bundle::new();
    bundle.unset("/process/capabilities");
    let seen = bundle.report();
    for (_, set) in SETS {
        assert_eq!(seen.capabilities(set), 0, "{set}");
    }
}

#[test]
fn unknown_capability_is_a_warning_that_names_it() {
    let mut bundle = Bundle::new();
    bundle.set("/process/capabilities/bounding/-", json!("CAP_NO_SUCH")).args(&["/bin/echo", "ran"]);
    let done = bundle.run().ok().says("CAP_NO_SUCH").says("level=warning");
    assert_eq!(done.stdout, "ran\n");
}

#[test]
fn ungrantable_capability_is_a_warning_that_names_it() {
    if !needs_root("capabilities that can not be had", "a user namespace has all") {
        return;
    }
    // Out of our own bounding set: the kernel would refuse to raise it.
    let mut bundle = Bundle::new();
    for key in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{key}"), json!(["CAP_KILL", "CAP_SYS_TIME"]));
    }
    bundle.args(&["/probe", "report"]);
    let wrapper = ["setpriv", "--bounding-set", "-sys_time"];
    let done = bundle.start_with("run", &[]).under(&wrapper).run().ok().says("CAP_SYS_TIME");
    assert_eq!(crate::harness::Report::parse(&done).capabilities("CapEff"), capability_mask(&json!(["CAP_KILL"])));
}

#[test]
fn no_new_privileges_in_all_combinations() {
    for (value, expected) in [(json!(true), "1"), (json!(false), "0"), (Value::Null, "0")] {
        for seccomp in [false, true] {
            for uid in [0, 1000] {
                let mut bundle = Bundle::new();
                bundle.set("/process/noNewPrivileges", value.clone()).set("/process/user/uid", json!(uid));
                if value.is_null() {
                    bundle.unset("/process/noNewPrivileges");
                }
                if seccomp {
                    let rule = json!([{"names": ["kexec_load"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]);
                    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule}));
                }
                let seen = bundle.report();
                let case = format!("noNewPrivileges {value}, seccomp {seccomp}, uid {uid}");
                assert_eq!(seen.status("NoNewPrivs"), expected, "{case}");
                assert_eq!(seen.status("Seccomp"), if seccomp { "2" } else { "0" }, "{case}");
                assert_eq!(seen.numbers("Uid"), [uid; 4], "{case}");
                let bounding = capability_mask(bundle.get("/process/capabilities/bounding"));
                assert_eq!(seen.capabilities("CapEff"), if uid == 0 { bounding } else { 0 }, "{case}");
            }
        }
    }
}

#[test]
fn environment_is_the_configs_alone() {
    let mut bundle = Bundle::new();
    bundle.set("/process/env", json!(["A=1", "B=x=y", "PATH=/bin", "A=2", "C=two\nlines", "D="]));
    bundle.args(&["/probe", "report"]);
    let run = bundle.start_with("run", &[]).env("LEAK", "1").env("RUST_BACKTRACE", "1").env("LD_LIBRARY_PATH", "/x");
    let seen = crate::harness::Report::parse(&run.env("NOTIFY_SOCKET", "").env("LISTEN_FDS", "3").run().ok());
    let mut env: Vec<&str> = seen.env();
    env.sort_unstable();
    assert_eq!(env, ["A=2", "B=x=y", "C=two\nlines", "D=", "HOME=/root", "PATH=/bin"]);
}

#[test]
fn home_comes_from_the_containers_passwd() {
    for (uid, home) in [(0, "HOME=/root"), (1000, "HOME=/home/user"), (4242, "HOME=/")] {
        let mut bundle = Bundle::new();
        bundle.set("/process/user/uid", json!(uid));
        assert!(bundle.report().env().contains(&home), "uid {uid}");
    }
    let mut bundle = Bundle::new();
    bundle.set("/process/env", json!(["HOME=/mine"]));
    assert!(bundle.report().env().contains(&"HOME=/mine"));
}

#[test]
fn malformed_environment_is_refused() {
    for (entry, says) in [("NOEQUALS", "missing '='"), ("=value", "name cannot be empty"), ("A=\u{0}b", "process.env")]
    {
        let mut bundle = Bundle::new();
        bundle.set("/process/env", json!(["PATH=/bin", entry])).args(&["/bin/echo", "ran"]);
        if is_peer() {
            continue; // runc before 1.3 lets the first two through.
        }
        bundle.run().exits(1).says(says).says("process.env[1]");
    }
}

#[test]
fn cwd_is_made_and_entered() {
    let mut bundle = Bundle::new();
    bundle.set("/root/readonly", json!(false)).set("/process/cwd", json!("/new/working/dir"));
    assert_eq!(bundle.report().json["cwd"], "/new/working/dir");
    bundle.set("/process/cwd", json!("/etc/passwd")).args(&["/bin/true"]);
    bundle.run().exits(1).says("not a directory");
    bundle.set("/process/cwd", json!("relative"));
    bundle.run().exits(1).says("process.cwd");
}

#[test]
fn cwd_may_be_readable_by_the_user_alone_or_by_root_alone() {
    use std::os::unix::fs::PermissionsExt;
    for (owner, mode) in [(1000, 0o700), (0, 0o700)] {
        let mut bundle = Bundle::new();
        let dir = bundle.rootfs().join("data");
        fs::set_permissions(&dir, PermissionsExt::from_mode(mode)).unwrap();
        caller::chown_inside(&dir, owner);
        bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).set("/process/cwd", json!("/data"));
        assert_eq!(bundle.report().json["cwd"], "/data", "owned by {owner}");
    }
}

#[test]
fn args_are_looked_up_in_the_containers_path() {
    let mut bundle = Bundle::new();
    fs::create_dir(bundle.rootfs().join("data/bin")).unwrap();
    fs::write(bundle.rootfs().join("data/bin/tool"), "#!/bin/sh\necho \"$0 $1\"\n").unwrap();
    fs::set_permissions(bundle.rootfs().join("data/bin/tool"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    bundle.set("/process/env", json!(["PATH=/nowhere:/data/bin:/bin"])).args(&["tool", "arg"]);
    assert_eq!(bundle.run().ok().stdout, "/data/bin/tool arg\n");
    bundle.set("/process/cwd", json!("/data")).args(&["bin/tool", "relative"]);
    assert_eq!(bundle.run().ok().stdout, "bin/tool relative\n");
}

#[test]
fn session_keyring_is_a_new_one() {
    let first = Bundle::new().report().json["keyring"].clone();
    let mut bundle = Bundle::new();
    let second = bundle.report().json["keyring"].clone();
    if first.get("errno").is_some() {
        crate::harness::skip("session keyring", &format!("keyctl says {}", first["errno"]));
        return;
    }
    assert_ne!(first["id"], second["id"]);
    bundle.args(&["/probe", "report"]);
    let kept = crate::harness::Report::parse(&bundle.start_with("run", &["--no-new-keyring"]).run().ok());
    assert_ne!(kept.json["keyring"]["description"], second["description"], "the caller's with --no-new-keyring");
}

/// SIGPIPE that Rust ignores, signals that the caller ignores or blocks: all as after boot (by a program of C).
#[test]
fn signals_are_reset() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"]);
    let wrapper = ["sh", "-c", "trap '' PIPE USR1 TERM; exec \"$@\"", "-"];
    let done = bundle.start_with("run", &[]).under(&wrapper).run().ok();
    if !is_peer() {
        assert_eq!(done.stdout, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    }
}
