//! Descriptors and working directories that lead to the host (CVE-2024-21626), closed stdio (CVE-2015-3627),
//! descriptors that callers leak.

use crate::harness::{Bundle, Snapshot, is_peer, needs_root};
use serde_json::json;
use std::fs;

/// Opens fifty descriptors of the host without close-on-exec, then runs the rest.
const LEAKY: &str = "n=3; while [ $n -lt 10 ]; do eval \"exec $n</\"; n=$((n+1)); done; exec \"$@\"";

#[test]
fn descriptors_of_the_caller_do_not_reach_the_container() {
    let mut bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let many = "for n in $(seq 3 60); do eval \"exec $n</etc\"; done; exec \"$@\"";
    let seen =
        crate::harness::Report::parse(&bundle.start_with("run", &[]).under(&["bash", "-c", many, "-"]).run().ok());
    assert_eq!(seen.descriptors(), ["0", "1", "2"], "{}", seen.json["fds"]);
}

/// A created container waits with nothing of the host open but what it needs.
#[test]
fn a_created_container_holds_nothing_of_the_host() {
    if !needs_root("descriptors of a created container", "the init process is hidden from users") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle
        .start_with("create", &[])
        .under(&["bash", "-c", "for n in $(seq 3 30); do eval \"exec $n</etc\"; done; exec \"$@\"", "-"])
        .run()
        .ok();
    for entry in fs::read_dir(format!("/proc/{}/fd", bundle.pid())).unwrap().flatten() {
        let number = entry.file_name().to_string_lossy().into_owned();
        let link = fs::read_link(entry.path()).unwrap().to_string_lossy().into_owned();
        if ["0", "1", "2"].contains(&number.as_str()) {
            continue;
        }
        let harmless = ["pipe:", "socket:", "anon_inode:", "/memfd:"].iter().any(|kind| link.starts_with(kind));
        let ours = link.ends_with("exec.fifo")
            || link.contains(&bundle.id)
            || link.starts_with("/proc")
            || link.contains("onggi");
        assert!(harmless || ours, "descriptor {number} is {link}");
        assert!(
            !fs::metadata(entry.path()).is_ok_and(|meta| meta.is_dir()) || is_peer(),
            "descriptor {number} is the directory {link}"
        );
    }
}

/// CVE-2024-21626: a working directory by a descriptor that leaked.
#[test]
fn cwd_by_descriptor_never_runs_outside() {
    for number in 3..30 {
        for suffix in ["", "/..", "/../../../../.."] {
            let mut bundle = Bundle::new();
            bundle.set("/process/cwd", json!(format!("/proc/self/fd/{number}{suffix}")));
            // On the host this file exists, inside it does not.
            bundle.script("pwd; ls -d ./usr/bin /proc/1/cwd/usr/bin 2>/dev/null && echo escaped");
            let done = bundle.start_with("run", &[]).under(&["sh", "-c", LEAKY, "-"]).run();
            assert!(!done.stdout.contains("escaped"), "{done}");
            assert!(!done.status.success(), "a directory by descriptor must be refused: {done}");
        }
        if is_peer() && number > 8 {
            break;
        }
    }
}

#[test]
fn program_by_descriptor_is_not_the_hosts() {
    for number in 3..12 {
        let mut bundle = Bundle::new();
        bundle.args(&[&format!("/proc/self/fd/{number}/usr/bin/touch"), "/tmp/x"]);
        let done = bundle.start_with("run", &[]).under(&["sh", "-c", LEAKY, "-"]).run();
        assert!(!done.status.success(), "{done}");
    }
}

/// CVE-2015-3627: no descriptor of our own may land on 0 to 2.
#[test]
fn closed_stdio_in_all_combinations() {
    for closed in ["0<&-", "1>&-", "2>&-", "0<&- 1>&-", "0<&- 2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"] {
        let mut bundle = Bundle::new();
        bundle.set("/root/readonly", json!(false));
        bundle.script(
            "for n in 0 1 2; do readlink /proc/1/fd/$n || echo closed; done > /data/fds; ls /proc/1/fd > /data/all",
        );
        let before = Snapshot::of(&bundle);
        let script = format!("exec {closed}; exec \"$@\"");
        let done = bundle.start_with("run", &[]).under(&["sh", "-c", &script, "-"]).run();
        assert!(done.status.success(), "{closed}: {done}");
        let seen = fs::read_to_string(bundle.rootfs().join("data/fds")).unwrap();
        for link in seen.lines() {
            let sane = link == "closed"
                || link == "/dev/null"
                || link.starts_with("pipe:")
                || link.contains("/logs/")
                || link == "/data/fds";
            assert!(sane, "{closed}: {seen}");
        }
        before.ignoring_bundle(&bundle).assert_unchanged(&bundle);
    }
}

/// LISTEN_FDS counts only when LISTEN_PID is the runtime's own.
#[test]
fn listen_fds_of_somebody_else() {
    for pid in [None, Some("1"), Some("junk")] {
        let mut bundle = Bundle::new();
        bundle.args(&["/probe", "report"]);
        let mut run = bundle.start_with("run", &[]).env("LISTEN_FDS", "5");
        if let Some(pid) = pid {
            run = run.env("LISTEN_PID", pid);
        }
        let seen = crate::harness::Report::parse(&run.under(&["sh", "-c", LEAKY, "-"]).run().ok());
        assert_eq!(seen.descriptors(), ["0", "1", "2"], "{pid:?}");
        assert!(!seen.env().iter().any(|entry| entry.starts_with("LISTEN_")), "{pid:?}");
    }
}

/// Init is not to be traced or read while it runs our code: its `/proc` entries are root's and not dumpable.
#[test]
fn a_created_container_is_not_dumpable() {
    if !needs_root("environment of a created container", "the init process is hidden from users") {
        return;
    }
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.create().ok();
    // Of a dumpable process of uid 1000 the files in /proc belong to uid 1000.
    use std::os::unix::fs::MetadataExt;
    let owner = fs::metadata(format!("/proc/{}/environ", bundle.pid())).unwrap().uid();
    assert_eq!(owner, 0, "init is dumpable");
    let environment = fs::read(format!("/proc/{}/environ", bundle.pid())).unwrap();
    assert!(!environment.is_empty());
}

/// Abstract sockets are reachable from every container that shares the network namespace (CVE-2020-15257).
#[test]
fn there_is_no_abstract_socket() {
    let mut bundle = Bundle::new();
    bundle.without_namespace("network").args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    let pid = bundle.pid().to_string();
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    for line in sockets.lines().filter(|line| line.contains('@')) {
        assert!(!line.contains("onggi") && !line.contains(&bundle.id) && !line.contains(&pid), "{line}");
    }
}
