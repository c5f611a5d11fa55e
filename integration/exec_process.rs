//! What the process of `exec` is: from flags, from `--process FILE`, and what of the container's config applies to both.

use crate::harness::{Bundle, Report, caller, capability_mask, is_peer, is_rootless, needs_root, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const KINDS: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// The namespaces of the container's first process, from outside.
fn assert_same_namespaces(bundle: &Bundle, seen: &Report) {
    for kind in KINDS {
        let of_init = fs::read_link(format!("/proc/{}/ns/{kind}", bundle.pid())).unwrap();
        assert_eq!(seen.json["namespaces"][kind], of_init.to_str().unwrap(), "{kind}");
    }
}

/// Container ids 0 to 65535 are host ids 100000 and up; those that a user may map, for a user.
fn mapped() -> Bundle {
    let mut bundle = Bundle::new();
    if is_rootless() {
        return bundle;
    }
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    bundle
}

#[test]
fn every_namespace_is_the_containers() {
    let mut bundle = Bundle::new();
    bundle.namespace("time", None).set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000}}));
    bundle.asleep();
    let seen = bundle.exec_report(&[]);
    assert_same_namespaces(&bundle, &seen);
    assert_ne!(seen.json["pid"], 1);
    assert_eq!(seen.descriptors(), ["0", "1", "2"], "{}", seen.json["fds"]);
    assert_eq!(seen.json["cwd"], "/");
    let names: Vec<&str> = seen.json["root"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"probe") && !names.contains(&"usr"), "{names:?}");
}

#[test]
fn of_a_user_namespace() {
    let mut bundle = mapped();
    bundle.asleep();
    let seen = bundle.exec_report(&[]);
    assert_same_namespaces(&bundle, &seen);
    assert_eq!((seen.numbers("Uid"), seen.numbers("Gid")), (vec![0; 4], vec![0; 4]));
    let effective = capability_mask(bundle.get("/process/capabilities/effective"));
    assert_eq!(seen.capabilities("CapEff"), effective);
    let bounding = capability_mask(bundle.get("/process/capabilities/bounding"));
    assert_eq!(seen.capabilities("CapBnd"), bounding, "joining gives all of them");
    let seen = bundle.exec_report(&["-u", "1000:1001", "-g", "5"]);
    assert_eq!((seen.numbers("Uid"), seen.numbers("Gid")), (vec![1000; 4], vec![1001; 4]));
    assert_eq!(seen.numbers("Groups"), [5]);
    bundle.exec(&["-u", "70000"], &["true"]).exits(255).says("cannot setuid to unmapped uid 70000 in user namespace");
    bundle.exec(&["-g", "70000"], &["true"]).exits(255).says("unmapped gid 70000");
}

#[test]
fn of_namespaces_that_the_container_has_joined() {
    let mut donor = Bundle::new();
    donor.set("/hostname", json!("donor")).asleep();
    let mut bundle = Bundle::new();
    bundle.unset("/hostname");
    if is_rootless() {
        // Which owns the others.
        bundle.namespace("user", Some(format!("/proc/{}/ns/user", donor.pid()).as_ref()));
    }
    for (kind, name) in [("ipc", "ipc"), ("network", "net"), ("pid", "pid"), ("uts", "uts")] {
        bundle.namespace(kind, Some(format!("/proc/{}/ns/{name}", donor.pid()).as_ref()));
    }
    bundle.asleep();
    let seen = bundle.exec_report(&[]);
    assert_same_namespaces(&bundle, &seen);
    assert_eq!(seen.json["uname"]["nodename"], "donor");
    bundle.verb("delete", &["-f"]).ok();
    assert_eq!(donor.status(), "running");
}

#[test]
fn of_a_user_namespace_that_the_container_has_joined() {
    let mut donor = mapped();
    donor.asleep();
    let mut bundle = Bundle::new();
    bundle.namespace("user", Some(format!("/proc/{}/ns/user", donor.pid()).as_ref())).asleep();
    let seen = bundle.exec_report(&[]);
    assert_same_namespaces(&bundle, &seen);
    assert_eq!(seen.numbers("Uid"), [0; 4]);
}

/// Two containers in one mount namespace have a root each.
#[test]
fn the_root_is_the_containers_in_a_shared_mount_namespace() {
    if is_peer() || !needs_root("mount namespaces to join", "a user can't take the root filesystem along") {
        return;
    }
    let mut keeper = std::process::Command::new("unshare");
    if is_rootless() {
        keeper.args(["--user", "--map-root-user", "--map-auto"]);
    }
    let mut keeper = keeper.args(["--mount", "--propagation", "private", "sleep", "1000"]).spawn().unwrap();
    let holder = keeper.id();
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    let theirs = || fs::read_link(format!("/proc/{holder}/ns/mnt"));
    wait_until("the mount namespace is there", || theirs().is_ok_and(|link| link != own));
    let joining = |name: &str| {
        let mut bundle = Bundle::new();
        fs::write(bundle.rootfs().join("data/name"), name).unwrap();
        bundle.namespace("mount", Some(format!("/proc/{holder}/ns/mnt").as_ref()));
        if is_rootless() {
            bundle.namespace("user", Some(format!("/proc/{holder}/ns/user").as_ref()));
        }
        bundle.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
        bundle.asleep();
        bundle
    };
    let (first, second) = (joining("first"), joining("second"));
    for (bundle, name) in [(&first, "first"), (&second, "second")] {
        assert_eq!(bundle.exec(&[], &["cat", "/data/name"]).ok().stdout, name);
        let seen = bundle.exec_script("ls -d /../usr /proc/self/root/usr 2>&1; pwd").ok().stdout;
        assert!(seen.ends_with("/\n") && !seen.starts_with("/../usr"), "{seen}");
    }
    keeper.kill().unwrap();
    keeper.wait().unwrap();
}

#[test]
fn the_root_is_the_containers_without_pivot() {
    if !needs_root("--no-pivot", "a user namespace rules it out") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]).start_with("run", &["-d", "--no-pivot"]).run().ok();
    let seen = bundle.exec(&[], &["ls", "/"]).ok().stdout;
    assert!(seen.contains("probe") && !seen.contains("usr"), "{seen}");
}

#[test]
fn flags() {
    let mut bundle = Bundle::new();
    bundle.set("/process/noNewPrivileges", json!(false)).asleep();
    let seen = bundle.exec_report(&["--cwd", "/data"]);
    assert_eq!(seen.json["cwd"], "/data");
    assert_eq!(seen.status("NoNewPrivs"), "0");
    assert_eq!(bundle.exec_report(&["--no-new-privs"]).status("NoNewPrivs"), "1");

    let seen = bundle.exec_report(&["-e", "A=1,B=2", "--env", "TERM=dumb", "-env=EMPTY=", "-e", "A=x"]);
    let env = seen.env();
    assert!(env.contains(&"A=x") && env.contains(&"TERM=dumb") && env.contains(&"EMPTY="), "{env:?}");
    assert!(env.contains(&"HOME=/root") && env.iter().any(|it| it.starts_with("PATH=")), "{env:?}");
    assert_eq!(env.iter().filter(|it| it.starts_with("A=") || it.starts_with("TERM=")).count(), 2, "{env:?}");

    for (user, uid, gid, home) in [("1000:1001", 1000, 1001, "/home/user"), ("1", 1, 0, "/"), ("60000", 60_000, 0, "/")]
    {
        let seen = bundle.exec_report(&["-u", user]);
        assert_eq!((seen.numbers("Uid"), seen.numbers("Gid")), (vec![uid; 4], vec![gid; 4]), "{user}");
        assert!(seen.env().contains(&format!("HOME={home}").as_str()), "{:?}", seen.env());
        assert_eq!(seen.capabilities("CapEff"), 0, "{user}");
    }
    let flags = ["--user", "1000:1000", "--additional-gids", "100", "--additional-gids", "65534"];
    assert_eq!(bundle.exec(&flags, &["id", "-G"]).ok().stdout, "1000 100 65534\n");
}

#[test]
fn false_switches_off_what_config_json_switches_on() {
    let mut bundle = Bundle::new();
    bundle.set("/process/noNewPrivileges", json!(true)).asleep();
    assert_eq!(bundle.exec_report(&[]).status("NoNewPrivs"), "1");
    assert_eq!(bundle.exec_report(&["--no-new-privs=false"]).status("NoNewPrivs"), "0");
}

/// CVE-2022-29162: never the inheritable set.
#[test]
fn capabilities_are_added() {
    const SYS_TIME: u64 = 1 << 25;
    let mut bundle = Bundle::new();
    bundle.set("/process/noNewPrivileges", json!(false)).asleep();
    let own = capability_mask(bundle.get("/process/capabilities/effective"));
    let seen = bundle.exec_report(&["--cap", "CAP_SYS_TIME", "-c", "CAP_SYSLOG"]);
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(seen.capabilities(set), own | SYS_TIME | 1 << 34, "{set}");
    }
    assert_eq!((seen.capabilities("CapInh"), seen.capabilities("CapAmb")), (0, 0));
    bundle
        .exec(&["--cap", "CAP_NONSENSE"], &["true"])
        .ok()
        .says("ignoring unknown or unavailable capabilities: [CAP_NONSENSE]");

    // The ambient set takes what is inheritable as well.
    let mut bundle = Bundle::new();
    for key in ["inheritable", "bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{key}"), json!(["CAP_SYS_TIME"]));
    }
    bundle.set("/process/capabilities/ambient", json!([])).asleep();
    let seen = bundle.exec_report(&["--cap", "CAP_SYS_TIME", "--user", "1000"]);
    assert_eq!(seen.capabilities("CapAmb"), SYS_TIME);
    assert_eq!(seen.capabilities("CapInh"), SYS_TIME);
    assert_eq!(bundle.exec_report(&["--user", "1000"]).capabilities("CapAmb"), 0);
}

#[test]
fn descriptors_that_are_preserved() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let open = ["bash", "-c", "for n in 3 4 5 6; do eval \"exec $n</etc/passwd\"; done; exec \"$@\"", "-"];
    let seen = |flags: &[&str]| {
        let exec = bundle.exec_with(flags, &["/probe", "report"]).env("LISTEN_FDS", "3").env("LISTEN_PID", "1");
        Report::parse(&exec.under(&open).run().ok())
    };
    assert_eq!(seen(&[]).descriptors(), ["0", "1", "2"]);
    let preserved = seen(&["--preserve-fds", "2"]);
    assert_eq!(preserved.descriptors(), ["0", "1", "2", "3", "4"]);
    assert!(!preserved.env().iter().any(|variable| variable.starts_with("LISTEN_")));
}

/// What counts for the container counts for all of its processes, whatever their block says.
#[test]
fn filter_keyring_and_personality_are_the_containers() {
    let mut bundle = Bundle::new();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}]});
    bundle.set("/linux/seccomp", profile).set("/linux/personality", json!({"domain": "LINUX32"})).asleep();
    let file = bundle.process_file(&json!({"args": ["/probe", "report"], "cwd": "/", "user": {"uid": 0, "gid": 0}}));
    for seen in [bundle.exec_report(&[]), Report::parse(&bundle.exec(&["--process", &file], &[]).ok())] {
        assert_eq!(seen.status("Seccomp"), "2");
        assert_eq!(seen.json["personality"].as_str().unwrap().trim(), "00000008");
        let keyring = seen.json["keyring"].to_string();
        assert!(keyring.contains(&format!("_ses.{}", bundle.id)), "{keyring}");
    }
}

#[test]
fn no_new_keyring_is_remembered() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.start_with("run", &["-d", "--no-new-keyring"]).run().ok();
    let keyring = bundle.exec_report(&[]).json["keyring"].to_string();
    assert!(!keyring.contains(&format!("_ses.{}", bundle.id)), "{keyring}");
}

#[test]
fn what_the_block_leaves_out_is_the_containers() {
    let mut bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": 0, "gid": 0, "umask": 0o027}));
    if !is_rootless() {
        bundle.set("/process/user/additionalGids", json!([9]));
    }
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]));
    bundle.set("/process/oomScoreAdj", json!(77)).set("/process/noNewPrivileges", json!(true));
    bundle.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 3})).asleep();
    let report = |block: Value| {
        let mut process = json!({"args": ["/probe", "report"], "cwd": "/"});
        process.as_object_mut().unwrap().extend(block.as_object().unwrap().clone());
        let file = bundle.process_file(&process);
        // Flags mean nothing beside a file.
        Report::parse(&bundle.exec(&["-u", "5", "--cwd", "/x", "-e", "A=1", "-p", &file], &[]).ok())
    };
    let seen = report(json!({}));
    assert_eq!(seen.status("Umask"), "0027");
    assert_eq!(seen.json["oom_score_adj"].as_str().unwrap().trim(), "77");
    assert_eq!(seen.json["process"]["nice"], 3);
    assert_eq!(seen.json["limits"]["Max open files"], json!(["100", "200"]));
    assert_eq!(seen.capabilities("CapEff"), capability_mask(bundle.get("/process/capabilities/effective")));
    assert_eq!((seen.numbers("Uid"), seen.numbers("Groups")), (vec![0; 4], Vec::new()));
    // These are the block's own affair.
    assert_eq!(seen.status("NoNewPrivs"), "0");
    assert_eq!(seen.env(), ["HOME=/root"]);

    let seen = report(json!({
        "user": {"uid": 1000, "gid": 1000, "umask": 0o077, "additionalGids": [5]}, "noNewPrivileges": true,
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}], "oomScoreAdj": 99, "env": ["X=1"],
        "capabilities": {}, "scheduler": {"policy": "SCHED_OTHER", "nice": 5},
    }));
    assert_eq!((seen.status("Umask"), seen.status("NoNewPrivs")), ("0077", "1"));
    assert_eq!(seen.json["oom_score_adj"].as_str().unwrap().trim(), "99");
    assert_eq!(seen.json["process"]["nice"], 5);
    assert_eq!((seen.numbers("Uid"), seen.numbers("Groups")), (vec![1000; 4], vec![5]));
    assert_eq!((seen.capabilities("CapBnd"), seen.capabilities("CapEff")), (0, 0));
    assert_eq!(seen.env(), ["X=1", "HOME=/home/user"]);
}

#[test]
fn files_that_are_no_process() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let user = json!({"uid": 0, "gid": 0});
    for (process, text) in [
        (json!([]), "a process is a JSON object"),
        (json!({"args": ["true"]}), "process.cwd: missing field"),
        (json!({"args": ["true"], "cwd": "x"}), "process.cwd: Cwd must be an absolute path"),
        (json!({"cwd": "/"}), "process.args: args must not be empty"),
        (json!({"args": ["true"], "cwd": "/", "user": 5}), "process.user: invalid type"),
        (json!({"args": ["true"], "cwd": "/", "env": ["A"]}), "process.env[0]"),
        (json!({"args": ["true"], "cwd": "/", "user": user, "terminal": true, "x": 1}), ""),
        (json!({"args": ["true"], "cwd": "/", "execCPUAffinity": {"final": "9000"}}), "process.execCPUAffinity.final"),
        (json!({"args": ["true"], "cwd": "/", "execCPUAffinity": {"initial": "x"}}), "execCPUAffinity"),
    ] {
        let file = bundle.process_file(&process);
        let exec = bundle.exec_with(&["--process", &file], &[]).under(&["setsid", "--wait"]);
        exec.run().exits(255).says(text).says(if text.is_empty() { "" } else { &file });
    }
    let broken = bundle.logs().join("broken");
    fs::write(&broken, "{\"args\": ").unwrap();
    bundle.exec(&["-p", broken.to_str().unwrap()], &[]).exits(255).says("EOF while parsing");
    bundle.exec(&["-p", "/proc/self"], &[]).exits(255).says("--process /proc/self").says("is a directory");
}

#[test]
fn a_file_may_be_a_pipe_and_know_newer_things() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let process = json!({"args": ["echo", "ran"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "novelty": {"a": 1},
        "capabilities": {"bounding": ["CAP_KILL", "CAP_FROM_THE_FUTURE"]}, "env": ["PATH=/bin"]});
    let done = bundle.exec_with(&["--process", "/dev/stdin"], &[]).stdin_text(&process.to_string()).run().ok();
    assert_eq!(done.stdout, "ran\n");
    done.says("ignoring unknown or unavailable capabilities: [CAP_FROM_THE_FUTURE]");
}

#[test]
fn cpus() {
    let online = std::thread::available_parallelism().unwrap().get();
    let mut bundle = Bundle::new();
    bundle.asleep();
    let allowed = |affinity: Value| {
        let args = ["/bin/grep", "Cpus_allowed_list", "/proc/self/status"];
        let file = bundle.process_file(&json!({"args": args, "cwd": "/", "execCPUAffinity": affinity}));
        let exec = bundle.exec_with(&["--process", &file], &[]).under(&["taskset", "-c", "0"]);
        exec.run().ok().stdout.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(allowed(json!({"final": "0"})), "0");
    if online < 2 {
        crate::harness::skip("exec_process::cpus", "this machine has one CPU");
        return;
    }
    assert_ne!(allowed(json!({})), "0", "the affinity of the caller is not inherited");
    assert_eq!(allowed(json!({"initial": "1"})), "1");
    assert_eq!(allowed(json!({"initial": "0", "final": "1"})), "1");
    let file = bundle.process_file(&json!({"args": ["true"], "cwd": "/", "execCPUAffinity": {"final": "8000"}}));
    bundle.exec(&["--process", &file], &[]).exits(255).says("process.execCPUAffinity.final");
}

/// runc issue 3674, and CVE-2016-3697: a name that looks like a number is none.
#[test]
fn numbers_are_numbers() {
    let mut bundle = Bundle::new();
    fs::write(bundle.rootfs().join("etc/passwd"), "1000:x:0:0::/evil:/bin/sh\nuser:x:1000:1000::/home/user:\n")
        .unwrap();
    bundle.asleep();
    let seen = bundle.exec_report(&["-u", "1000"]);
    assert_eq!(seen.numbers("Uid"), [1000; 4]);
    assert!(seen.env().contains(&"HOME=/home/user"), "{:?}", seen.env());
    // As it is now, not as it was.
    fs::write(bundle.rootfs().join("etc/passwd"), "user:x:1000:1000::/new/home:\n").unwrap();
    assert!(bundle.exec_report(&["-u", "1000"]).env().contains(&"HOME=/new/home"));
}

#[test]
fn directories_that_only_root_or_only_the_user_may_enter() {
    let mut bundle = Bundle::new();
    for (name, uid) in [("roots", 0), ("users", 1000)] {
        let dir = bundle.rootfs().join("data").join(name);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).unwrap();
        caller::chown_inside(&dir, uid);
    }
    bundle.asleep();
    for dir in ["/data/roots", "/data/users"] {
        assert_eq!(
            bundle.exec(&["--cwd", dir, "-u", "1000"], &["readlink", "/proc/self/cwd"]).ok().stdout,
            format!("{dir}\n")
        );
    }
}
