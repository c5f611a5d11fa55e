//! `process.rlimits`, `oomScoreAdj`, `scheduler`, affinity.

use crate::harness::{Bundle, Report, is_peer, is_rootless};
use serde_json::json;
use std::fs;

#[test]
fn rlimits() {
    let mut bundle = Bundle::new();
    bundle.set(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_CPU", "soft": 1000, "hard": 2000}, {"type": "RLIMIT_FSIZE", "soft": 1_000_000_000_000_u64, "hard": u64::MAX},
            {"type": "RLIMIT_STACK", "soft": 4_194_304, "hard": 4_194_304}, {"type": "RLIMIT_MEMLOCK", "soft": 4096, "hard": 65536},
            {"type": "RLIMIT_NPROC", "soft": 1000, "hard": 2000},
        ]),
    );
    let seen = bundle.report();
    let limits = &seen.json["limits"];
    assert_eq!(limits["Max open files"], json!(["100", "200"]));
    assert_eq!(limits["Max core file size"], json!(["0", "0"]));
    assert_eq!(limits["Max cpu time"], json!(["1000", "2000"]));
    assert_eq!(limits["Max file size"], json!(["1000000000000", "unlimited"]));
    assert_eq!(limits["Max stack size"], json!(["4194304", "4194304"]));
    assert_eq!(limits["Max locked memory"], json!(["4096", "65536"]));
    assert_eq!(limits["Max processes"], json!(["1000", "2000"]));
}

/// Applied late: setting up needs more descriptors than the container may have.
#[test]
fn a_very_low_nofile_works() {
    let mut bundle = Bundle::new();
    for number in 0..20 {
        bundle.mount(&format!("/tmp/m{number}"), "bind", "/etc", &["rbind", "ro"]);
    }
    bundle.mount("/tmp", "tmpfs", "tmpfs", &[]);
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    let tmp = mounts.pop().unwrap();
    mounts.insert(1, tmp);
    bundle.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 20}]));
    assert_eq!(bundle.report().json["limits"]["Max open files"], json!(["20", "20"]));
}

#[test]
fn unlisted_limits_are_the_callers() {
    let mut bundle = Bundle::new();
    bundle.set("/process/rlimits", json!([])).args(&["/probe", "report"]);
    let wrapper = ["prlimit", "--nofile=1234:5678", "--core=77:88"];
    let seen = Report::parse(&bundle.start_with("run", &[]).under(&wrapper).run().ok());
    assert_eq!(seen.json["limits"]["Max open files"], json!(["1234", "5678"]));
    assert_eq!(seen.json["limits"]["Max core file size"], json!(["77", "88"]));
}

#[test]
fn bad_rlimits_are_refused() {
    let mut cases = vec![
        (json!([{"type": "RLIMIT_FOO", "soft": 1, "hard": 1}]), "RLIMIT_FOO"),
        (json!([{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 8}]), "RLIMIT_NOFILE"),
    ];
    if !is_peer() {
        cases.push((
            json!([{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 9}, {"type": "RLIMIT_NOFILE", "soft": 8, "hard": 8}]),
            "RLIMIT_NOFILE",
        ));
    }
    for (limits, says) in cases {
        let mut bundle = Bundle::new();
        bundle.set("/process/rlimits", limits).args(&["/bin/true"]);
        bundle.run().exits(1).says(says);
    }
}

#[test]
fn a_caller_with_few_descriptors_is_enough() {
    let mut bundle = Bundle::new();
    let masked: Vec<String> = (0..100).map(|number| format!("/masked/{number}")).collect();
    masked.iter().for_each(|path| fs::create_dir_all(bundle.rootfs().join(&path[1..])).unwrap());
    bundle.set("/linux/maskedPaths", json!(masked)).unset("/process/rlimits").script("ls /masked/* | wc -l");
    bundle.start_with("run", &[]).under(&["prlimit", "--nofile=40:"]).run().ok();
}

#[test]
fn a_limit_above_the_callers_without_the_capability_names_the_field() {
    let mut bundle = Bundle::new();
    bundle
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 10_000}]))
        .args(&["/bin/true"]);
    // Lower our own hard limit and give up the capability to raise it, which a user has not.
    let wrapper =
        ["prlimit", "--nofile=500:500", "setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource"];
    let wrapper = if is_rootless() { &wrapper[..2] } else { &wrapper };
    bundle.start_with("run", &[]).under(wrapper).run().exits(1).says("RLIMIT_NOFILE").says("operation not permitted");
}

#[test]
fn oom_score_adj() {
    let mut bundle = Bundle::new();
    bundle.set("/process/oomScoreAdj", json!(321));
    assert_eq!(bundle.report().json["oom_score_adj"], "321");
    bundle.unset("/process/oomScoreAdj").args(&["/probe", "report"]);
    let wrapper = ["sh", "-c", "echo 111 > /proc/self/oom_score_adj; exec \"$@\"", "-"];
    let seen = Report::parse(&bundle.start_with("run", &[]).under(&wrapper).run().ok());
    assert_eq!(seen.json["oom_score_adj"], "111", "absent: the caller's");
    bundle.set("/process/oomScoreAdj", json!(2000)).args(&["/bin/true"]);
    bundle.run().exits(1).says("oomScoreAdj");
}

#[test]
fn affinity_of_the_caller_does_not_leak() {
    if is_peer() {
        return; // Since runc 1.3.
    }
    let all = fs::read_to_string("/proc/self/status").unwrap();
    let all = all.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned();
    let mut bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let seen = Report::parse(&bundle.start_with("run", &[]).under(&["taskset", "-c", "0"]).run().ok());
    assert_eq!(seen.status("Cpus_allowed_list"), all);
}

#[test]
fn the_process_leads_a_session_of_its_own() {
    let mut bundle = Bundle::new();
    let seen = bundle.report();
    assert_eq!((&seen.json["process"]["session"], &seen.json["process"]["pgrp"]), (&json!(1), &json!(1)));
    assert_eq!(seen.json["process"]["tty"], 0);
    assert_eq!(seen.json["securebits"], 0);
}

/// As the kernel sees it; a nice that does not count for the policy is no reason to refuse the container.
#[test]
fn schedulers() {
    let mut bundle = Bundle::new();
    // Fields nice, rt_priority and policy of proc_pid_stat(5).
    bundle.script("cut -d ' ' -f 19,40,41 /proc/self/stat");
    let mut check = |scheduler: serde_json::Value, expected: &str| {
        bundle.set("/process/scheduler", scheduler);
        assert_eq!(bundle.run().ok().stdout.trim(), expected);
    };
    check(json!({"policy": "SCHED_BATCH", "nice": 5}), "5 0 3");
    check(json!({"policy": "SCHED_IDLE"}), "0 0 5");
    check(json!({"policy": "SCHED_IDLE", "nice": 19}), "0 0 5");
}
