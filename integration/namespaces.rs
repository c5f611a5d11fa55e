//! `linux.namespaces`: all eight kinds, new, joined by path, and the host's; hostname, domainname, sysctl, time offsets.

use crate::harness::{Bundle, Report, is_rootless};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Config name and name in `/proc/PID/ns`.
const KINDS: [(&str, &str); 6] =
    [("cgroup", "cgroup"), ("ipc", "ipc"), ("mount", "mnt"), ("network", "net"), ("pid", "pid"), ("uts", "uts")];

fn own(proc_name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{proc_name}")).unwrap().to_string_lossy().into_owned()
}

fn seen<'a>(report: &'a Report, proc_name: &str) -> &'a str {
    report.json["namespaces"][proc_name].as_str().unwrap()
}

#[test]
fn listed_ones_are_new_and_others_the_hosts() {
    let mut bundle = Bundle::new();
    let report = bundle.report();
    for (kind, name) in KINDS {
        assert_ne!(seen(&report, name), own(name), "{kind} is new");
    }
    for name in if is_rootless() { &["time"][..] } else { &["user", "time"] } {
        assert_eq!(seen(&report, name), own(name), "{name} is not listed");
    }
}

#[test]
fn each_one_that_is_not_listed_is_the_hosts() {
    for (kind, name) in KINDS {
        let mut bundle = Bundle::new();
        bundle.without_namespace(kind);
        match kind {
            "uts" => drop(bundle.unset("/hostname")),
            "mount" => continue, // needs a config of its own, see below
            // A sysfs of the host's network namespace is as good.
            _ => {}
        }
        let report = bundle.report();
        assert_eq!(seen(&report, name), own(name), "{kind}");
    }
}

#[test]
fn time_namespace_with_offsets() {
    let mut bundle = Bundle::new();
    bundle.namespace("time", None);
    bundle.set("/linux/timeOffsets", json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5, "nanosecs": 7}}));
    let report = bundle.report();
    assert_ne!(seen(&report, "time"), own("time"));
    let offsets: Vec<&str> = report.json["timens_offsets"].as_str().unwrap().split_whitespace().collect();
    assert_eq!(offsets, ["monotonic", "5", "7", "boottime", "1000000", "0"]);
}

/// A container that sleeps in namespaces of its own, for others to join.
fn donor() -> (Bundle, i32) {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]).set("/hostname", json!("donor"));
    bundle.start_with("run", &["-d"]).run().ok();
    let pid = bundle.pid();
    (bundle, pid)
}

/// A user may join only what belongs to a user namespace that is joined, too.
fn join_owner(bundle: &mut Bundle, pid: i32) {
    if is_rootless() {
        bundle.namespace("user", Some(&namespace_file(pid, "user")));
    }
}

fn namespace_file(pid: i32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/{name}"))
}

#[test]
fn joined_by_path() {
    let (_donor, pid) = donor();
    let mut bundle = Bundle::new();
    bundle.unset("/hostname");
    for (kind, name) in [("ipc", "ipc"), ("network", "net"), ("pid", "pid"), ("uts", "uts")] {
        bundle.namespace(kind, Some(&namespace_file(pid, name)));
    }
    join_owner(&mut bundle, pid);
    let report = bundle.report();
    for name in ["ipc", "net", "pid", "uts"] {
        let donors = fs::read_link(namespace_file(pid, name)).unwrap().to_string_lossy().into_owned();
        assert_eq!(seen(&report, name), donors, "{name}");
    }
    assert_ne!(seen(&report, "mnt"), fs::read_link(namespace_file(pid, "mnt")).unwrap().to_str().unwrap());
    assert_eq!(report.json["uname"]["nodename"], "donor");
    assert_ne!(report.json["pid"], 1, "the donor's init is 1");
}

#[test]
fn joined_namespaces_survive_the_container() {
    let (donor, pid) = donor();
    let mut bundle = Bundle::new();
    bundle.unset("/hostname").namespace("uts", Some(&namespace_file(pid, "uts"))).args(&["/bin/true"]);
    bundle.namespace("pid", Some(&namespace_file(pid, "pid")));
    join_owner(&mut bundle, pid);
    bundle.run().ok();
    assert_eq!(donor.status(), "running", "the killing of a shared PID namespace stops at our cgroup");
}

#[test]
fn path_of_the_wrong_kind_or_missing_is_refused() {
    let (_donor, pid) = donor();
    let refused = |kind: &str, path: &Path| {
        let mut bundle = Bundle::new();
        bundle.unset("/hostname").namespace(kind, Some(path)).args(&["/bin/true"]);
        bundle.run().exits(1).fails().says("namespaces")
    };
    refused("network", &namespace_file(pid, "uts"));
    refused("network", Path::new("/no/such/namespace")).says("no such file or directory");
    refused("ipc", Path::new("/etc/passwd"));
}

#[test]
fn hostname_and_domainname() {
    let mut bundle = Bundle::new();
    bundle.set("/hostname", json!("inside")).set("/domainname", json!("example.org"));
    let report = bundle.report();
    assert_eq!(report.json["uname"]["nodename"], "inside");
    if report.json["uname"]["domainname"] == "(none)" && crate::harness::is_peer() {
        return; // runc before 1.2 does not know domainname.
    }
    assert_eq!(report.json["uname"]["domainname"], "example.org");
    assert_ne!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim(), "inside", "the host keeps its name");
}

#[test]
fn hostname_needs_a_uts_namespace() {
    let mut bundle = Bundle::new();
    bundle.without_namespace("uts").args(&["/bin/true"]);
    bundle.run().exits(1).says("unable to set hostname without a private UTS namespace");
}

#[test]
fn sysctls_are_set_in_their_namespaces() {
    let mut bundle = Bundle::new();
    bundle.set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_unprivileged_port_start": "7", "kernel.msgmax": "9000", "net/ipv4/ping_group_range": "0 5", "fs.mqueue.msg_max": "42"}),
    );
    let report = bundle.report_with(&[
        "--sysctl",
        "net.ipv4.ip_unprivileged_port_start",
        "--sysctl",
        "kernel.msgmax",
        "--sysctl",
        "net.ipv4.ping_group_range",
        "--sysctl",
        "fs.mqueue.msg_max",
    ]);
    let sysctl = &report.json["sysctl"];
    assert_eq!(sysctl["net.ipv4.ip_unprivileged_port_start"], "7");
    assert_eq!(sysctl["kernel.msgmax"], "9000");
    assert_eq!(sysctl["net.ipv4.ping_group_range"], "0\t5");
    assert_eq!(sysctl["fs.mqueue.msg_max"], "42");
    assert_ne!(fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap().trim(), "7");
}

/// CVE-2022-0811 and relatives: what belongs to the host stays unreachable.
#[test]
fn sysctls_of_the_host_are_refused() {
    let core_pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for key in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "kernel.hostname",
        "vm.swappiness",
        "net/../kernel/core_pattern",
        "net...kernel.core_pattern",
        "fs.mqueue/../../kernel/core_pattern",
        "user.max_user_namespaces",
        "",
    ] {
        let mut bundle = Bundle::new();
        bundle.set("/linux/sysctl", json!({ key: "|/bin/false" })).args(&["/bin/true"]);
        bundle.run().exits(1).says("sysctl");
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), core_pattern);
}

#[test]
fn sysctls_need_their_namespace() {
    for (key, kind) in [("kernel.msgmax", "ipc"), ("net.ipv4.ip_forward", "network")] {
        let mut bundle = Bundle::new();
        bundle.without_namespace(kind).set("/linux/sysctl", json!({ key: "1" })).args(&["/bin/true"]);
        bundle.run().exits(1).says(&format!("sysctl \"{key}\""));
    }
}

#[test]
fn sysctl_that_the_kernel_does_not_know_is_an_error() {
    let mut bundle = Bundle::new();
    bundle.set("/linux/sysctl", json!({"net.ipv4.no_such_thing": "1"})).args(&["/bin/true"]);
    bundle.run().exits(1).says("net.ipv4.no_such_thing");
}
