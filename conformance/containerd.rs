//! containerd's shim for runc, driven by `ctr`, with onggi as the binary.

use crate::images;
use crate::machine::{Finally, repository, sh, try_sh, wait_until};
use std::sync::OnceLock;

/// Starts containerd, once, and imports the image.
fn start() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        sh("systemctl start containerd");
        sh(&format!("ctr image import {}", images::archive()));
    });
}

/// `ctr run OPTIONS small NAME COMMAND`, with onggi.
#[track_caller]
fn run(options: &str, name: &str, command: &str) -> String {
    start();
    sh(&format!("ctr run --runc-binary /usr/local/bin/onggi {options} docker.io/library/small:latest {name} {command}"))
}

fn removed(name: &str) -> Finally {
    Finally(format!("ctr task kill -s KILL {name}; ctr task delete --force {name}; ctr container delete {name}"))
}

#[test]
fn run_and_status() {
    assert_eq!(run("--rm", "hello", "echo hello"), "hello");
    start();
    let said =
        try_sh("ctr run --rm --runc-binary /usr/local/bin/onggi docker.io/library/small:latest seven sh -c 'exit 7'");
    assert_eq!(said.status, 7, "{said:?}");
    assert_eq!(
        run("--rm --cwd /srv --env WORD=spoken --user www", "context", "sh -c 'pwd; echo $WORD; id -u'"),
        "/srv\nspoken\n33"
    );
}

#[test]
fn tasks() {
    let _container = removed("task");
    run("-d", "task", "sleep 1000");
    assert!(sh("ctr task ls").lines().any(|line| line.starts_with("task ") && line.contains("RUNNING")));
    assert_eq!(sh("ctr task exec --exec-id one task cat /srv/index.html"), "hello");
    assert_eq!(try_sh("ctr task exec --exec-id two task sh -c 'exit 9'").status, 9);
    let pids = sh("ctr task ps task");
    assert_eq!(pids.lines().count(), 2, "{pids}");
    sh("ctr task pause task");
    assert!(sh("ctr task ls").contains("PAUSED"));
    sh("ctr task resume task");
    assert!(
        sh("ctr task metrics task").contains("memory.usage_in_bytes")
            || sh("ctr task metrics task").contains("memory.usage")
    );
    sh("ctr task kill -s KILL task");
    wait_until("it has stopped", || sh("ctr task ls").contains("STOPPED"));
    sh("ctr task delete task");
}

#[test]
fn limits_by_systemd() {
    let _container = removed("scoped");
    let options = "-d --runc-systemd-cgroup --cgroup system.slice:containerd:scoped --memory-limit 67108864";
    run(options, "scoped", "sleep 1000");
    assert_eq!(sh("systemctl show -p MemoryMax --value containerd-scoped.scope"), "67108864");
    assert_eq!(sh("cat /sys/fs/cgroup/system.slice/containerd-scoped.scope/memory.max"), "67108864");
}

/// The file of docs/engines.md, read by a daemon that knows CRI.
#[test]
fn the_configuration_is_understood() {
    let configuration = repository("docs/engines/containerd.toml");
    let dump = sh(&format!("containerd --config {} config dump", configuration.display()));
    assert!(
        dump.contains("default_runtime_name = \"onggi\"") && dump.contains("BinaryName = \"/usr/local/bin/onggi\"")
    );
}
