//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`, `linux.personality`: each value of the
//! specification, as the kernel has it for the container's processes.

#![allow(unsafe_code)]

use crate::harness::{Bundle, is_rootless, skip};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// The first fields of `struct sched_attr`; sched_setattr(2).
#[repr(C)]
#[derive(Debug, Default, PartialEq, Eq)]
struct Scheduler {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// `SCHED_DEADLINE`.
const DEADLINE: u32 = 6;

impl Scheduler {
    fn of(pid: i32) -> Self {
        let mut found = Self::default();
        // SAFETY: the kernel writes no more than the size that it is told.
        let result = unsafe { libc::syscall(libc::SYS_sched_getattr, pid, &raw mut found, size_of::<Self>(), 0) };
        assert_eq!(result, 0, "sched_getattr: {}", std::io::Error::last_os_error());
        // Linux since 6.12 tells the slice of processes that share time here.
        let runtime = if found.policy == DEADLINE { found.runtime } else { 0 };
        Self { size: 0, runtime, ..found }
    }
}

/// Runs a container with this `scheduler` and compares what it has; skipped where the kernel says one of `may_lack`.
fn check(scheduler: &Value, expected: &Scheduler, may_lack: &[&str]) {
    let mut bundle = Bundle::new();
    bundle.set("/process/scheduler", scheduler.clone()).args(&["/bin/sleep", "1000"]);
    let done = bundle.start_with("run", &["-d"]).run();
    if let Some(lack) = may_lack.iter().find(|lack| done.stderr.contains(**lack)) {
        return skip(&format!("scheduling of {scheduler}"), &format!("the kernel says: {lack}"));
    }
    done.ok();
    assert_eq!(&Scheduler::of(bundle.pid()), expected, "{scheduler}");
}

#[test]
fn policies_that_share_time() {
    let expected = |policy, nice| Scheduler { policy, nice, ..Scheduler::default() };
    check(&json!({"policy": "SCHED_OTHER"}), &expected(0, 0), &[]);
    check(&json!({"policy": "SCHED_OTHER", "nice": 19}), &expected(0, 19), &[]);
    check(&json!({"policy": "SCHED_BATCH", "nice": 5}), &expected(3, 5), &[]);
    check(&json!({"policy": "SCHED_IDLE"}), &expected(5, 0), &[]);
    if !is_rootless() {
        check(&json!({"policy": "SCHED_OTHER", "nice": -20}), &expected(0, -20), &[]);
    }
}

/// A kernel with groups of realtime processes gives none to those of a new cgroup.
#[test]
fn realtime_policies() {
    if is_rootless() {
        return skip("realtime policies", "they need CAP_SYS_NICE on the host");
    }
    let lack = &["operation not permitted"];
    for (name, policy) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        for priority in [1, 99] {
            let expected = Scheduler { policy, priority, ..Scheduler::default() };
            check(&json!({"policy": name, "priority": priority}), &expected, lack);
        }
    }
    let deadline = |flags: &[&str]| {
        json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 10_000_000, "period": 20_000_000,
            "flags": flags})
    };
    // Only where all CPUs can be used, and as long as there is time left to promise.
    let lack = &["operation not permitted", "device or resource busy"];
    for (flags, bits) in [(&[][..], 0), (&["SCHED_FLAG_RECLAIM"], 2), (&["SCHED_FLAG_DL_OVERRUN"], 4)] {
        let (runtime, deadline_of, period) = (1_000_000, 10_000_000, 20_000_000);
        let times = Scheduler { runtime, deadline: deadline_of, period, ..Scheduler::default() };
        check(&deadline(flags), &Scheduler { policy: DEADLINE, flags: bits, ..times }, lack);
    }
}

#[test]
fn flags() {
    let with = |flag: &str| json!({"policy": "SCHED_BATCH", "nice": 5, "flags": [flag]});
    let expected = |policy, flags, nice| Scheduler { policy, flags, nice, ..Scheduler::default() };
    check(&with("SCHED_FLAG_RESET_ON_FORK"), &expected(3, 1, 5), &[]);
    check(&with("SCHED_FLAG_KEEP_POLICY"), &expected(0, 0, 5), &[]);
    // Without new parameters the kernel takes no new policy either.
    check(&with("SCHED_FLAG_KEEP_PARAMS"), &expected(0, 0, 0), &[]);
    // Needs CONFIG_UCLAMP_TASK. The specification has no field for the values, which are 0.
    check(&with("SCHED_FLAG_UTIL_CLAMP_MIN"), &expected(3, 0, 5), &["operation not supported"]);
    check(&with("SCHED_FLAG_UTIL_CLAMP_MAX"), &expected(3, 0, 5), &["operation not supported"]);
}

/// What ionice(1) tells of the process `pid`.
fn io_priority(pid: i32) -> String {
    let done = Command::new("ionice").args(["-p", &pid.to_string()]).output().unwrap();
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

#[test]
fn io_priorities() {
    let mut classes = vec![("IOPRIO_CLASS_BE", "best-effort: prio "), ("IOPRIO_CLASS_IDLE", "idle")];
    if !is_rootless() {
        classes.push(("IOPRIO_CLASS_RT", "realtime: prio "));
    }
    for (class, shown) in classes {
        for priority in [0, 7] {
            let mut bundle = Bundle::new();
            bundle.set("/process/ioPriority", json!({"class": class, "priority": priority})).asleep();
            let shown = if shown == "idle" { shown.to_owned() } else { format!("{shown}{priority}") };
            assert_eq!(io_priority(bundle.pid()), shown, "{class} {priority}");
        }
    }
}

#[test]
fn io_priority_of_a_process_that_joins() {
    let mut bundle = Bundle::new();
    bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6})).asleep();
    let file = bundle.logs().join("pid");
    let exec = |flags: &[&str], command: &[&str]| {
        let flags: Vec<&str> = ["-d", "--pid-file", file.to_str().unwrap()].iter().chain(flags).copied().collect();
        bundle.exec(&flags, command).ok();
        io_priority(fs::read_to_string(&file).unwrap().parse().unwrap())
    };
    let sleep = ["/bin/sleep", "1000"];
    assert_eq!(exec(&[], &sleep), "best-effort: prio 6");
    let mut process = json!({"args": sleep, "cwd": "/"});
    assert_eq!(exec(&["-p", &bundle.process_file(&process)], &[]), "best-effort: prio 6");
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 4});
    assert_eq!(exec(&["-p", &bundle.process_file(&process)], &[]), "idle");
}

/// Of config.json, for joining processes alone; `exec_process::cpus` has that of a process file.
#[test]
fn cpus_of_processes_that_join() {
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return skip("execCPUAffinity of config.json", "this machine has one CPU");
    }
    let cpus = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap().trim().to_owned()
    };
    let all = cpus(&fs::read_to_string("/proc/self/status").unwrap());
    for (affinity, expected) in [
        (json!({"final": "1"}), "1"),
        (json!({"final": "0,1"}), "0-1"),
        (json!({"final": "0-1", "initial": "0"}), "0-1"),
        (json!({"initial": "1"}), "1"),
        (json!({"initial": "1", "final": ""}), "1"),
        (json!({"initial": "", "final": ""}), &all),
        (json!({}), &all),
    ] {
        let mut bundle = Bundle::new();
        bundle.set("/process/execCPUAffinity", affinity.clone()).asleep();
        let init = fs::read_to_string(format!("/proc/{}/status", bundle.pid())).unwrap();
        assert_eq!(cpus(&init), all, "{affinity} is not the init process's");
        assert_eq!(cpus(&bundle.exec(&[], &["cat", "/proc/self/status"]).ok().stdout), expected, "{affinity}");
    }
}

#[test]
fn personalities() {
    for (domain, caller, shown) in [
        (Some("LINUX"), "linux32", "00000000"),
        (Some("LINUX32"), "linux64", "00000008"),
        // Nothing is asked for, nothing is changed.
        (None, "linux32", "00000008"),
    ] {
        let mut bundle = Bundle::new();
        bundle.args(&["cat", "/proc/self/personality"]);
        if let Some(domain) = domain {
            bundle.set("/linux/personality", json!({"domain": domain, "flags": []}));
        }
        let done = bundle.start_with("run", &[]).under(&["setarch", caller]).run().ok();
        assert_eq!(done.stdout.trim(), shown, "{domain:?}");
    }
}
