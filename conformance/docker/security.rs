//! What a container may do: privileges, capabilities, seccomp, file systems.

use super::{docker, run, start};
use crate::machine::{fails, sh, try_sh};

/// A line of /proc/self/status in a container that is started with `options`.
#[track_caller]
fn status(options: &str, key: &str) -> String {
    start();
    docker(&format!("run --rm {options} small sh -c 'grep ^{key}: /proc/self/status | cut -f 2'"))
}

#[test]
fn capabilities() {
    assert_eq!(status("", "CapEff"), "00000000a80425fb");
    assert_eq!(status("--cap-drop ALL", "CapBnd"), "0000000000000000");
    assert_eq!(status("--cap-drop ALL --cap-add NET_ADMIN", "CapEff"), "0000000000001000");
    assert_eq!(status("--user www", "CapEff"), "0000000000000000");
}

#[test]
fn privileged() {
    assert_eq!(status("--privileged", "CapEff"), sh("grep ^CapBnd: /proc/self/status | cut -f 2"));
    assert_eq!(status("--privileged", "Seccomp"), "0");
    assert_eq!(docker("run --rm --privileged small sh -c 'mount -t tmpfs none /tmp && echo mounted'"), "mounted");
    assert!(docker("run --rm --privileged small ls /dev").contains("kmsg"));
}

#[test]
fn seccomp() {
    assert_eq!(status("", "Seccomp"), "2");
    assert_eq!(status("--security-opt seccomp=unconfined", "Seccomp"), "0");
    let said = fails(
        1,
        "docker run --rm --cap-add SYS_ADMIN --security-opt apparmor=unconfined small unshare -m true 2>&1; exit 1",
    );
    assert!(!said.contains("denied"), "{said}");
    assert!(fails(1, "docker run --rm small unshare -m true").contains("Operation not permitted"));
    sh(
        "echo '{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"mkdir\", \"mkdirat\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 28}]}' > /tmp/no-mkdir.json",
    );
    assert!(
        fails(1, "docker run --rm --security-opt seccomp=/tmp/no-mkdir.json small mkdir /tmp/x")
            .contains("No space left")
    );
}

#[test]
fn no_new_privileges() {
    assert_eq!(status("--security-opt no-new-privileges", "NoNewPrivs"), "1");
    assert_eq!(status("", "NoNewPrivs"), "0");
}

#[test]
fn apparmor() {
    start();
    let profile = docker("run --rm small cat /proc/self/attr/current");
    assert_eq!(profile, "docker-default (enforce)");
    assert_eq!(docker("run --rm --security-opt apparmor=unconfined small cat /proc/self/attr/current"), "unconfined");
}

#[test]
fn a_read_only_root() {
    start();
    assert!(fails(1, "docker run --rm --read-only small touch /srv/x").contains("Read-only file system"));
    let options = "--read-only --tmpfs /tmp:size=1m,mode=1777 --tmpfs /run";
    assert_eq!(
        docker(&format!("run --rm {options} small sh -c 'touch /tmp/x /run/x && stat -c %a /tmp && echo fine'")),
        "1777\nfine"
    );
}

#[test]
fn kernel_files_are_masked() {
    let container = run("masked", "small sleep 1000");
    assert_eq!(container.exec("cat /proc/kcore | wc -c; ls /sys/firmware | wc -l"), "0\n0");
    assert_ne!(try_sh("docker exec masked sh -c 'echo 1 > /proc/sys/kernel/panic'").status, 0);
    assert_eq!(docker("run --rm --sysctl net.ipv4.ip_forward=1 small cat /proc/sys/net/ipv4/ip_forward"), "1");
}
