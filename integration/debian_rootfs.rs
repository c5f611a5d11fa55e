//! A full Debian root filesystem: packages, users, background processes, an init that ignores SIGTERM.

use crate::harness::{Bundle, debian_root, has_debian_root, is_rootless, needs_root, probe_path, wait_until};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What Docker grants to a container's root.
const DOCKER_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The pristine root, read-only, with what programs write to in memory.
fn read_only() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.set("/root/path", json!(debian_root()));
    for point in ["/tmp", "/run", "/var/tmp"] {
        bundle.mount(point, "tmpfs", "tmpfs", &["mode=1777"]);
    }
    for key in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{key}"), json!(DOCKER_CAPABILITIES));
    }
    bundle
}

/// A copy that the container may write to.
fn writable() -> Bundle {
    let mut bundle = read_only();
    let copy = bundle.path().join("debian");
    let done = Command::new("cp").args(["-a", "--reflink=auto"]).arg(debian_root()).arg(&copy).status().unwrap();
    assert!(done.success(), "cp -a");
    bundle.set("/root", json!({"path": "debian", "readonly": false})).set("/process/noNewPrivileges", json!(false));
    bundle
}

/// A package with a file and a maintainer script.
fn package(dir: &Path) {
    let tree = dir.join("hello-onggi");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    let control = "Package: hello-onggi\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: a test\n";
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    fs::write(tree.join("DEBIAN/postinst"), "#!/bin/sh\nset -e\nid -u > /var/lib/hello-onggi\n").unwrap();
    fs::write(tree.join("usr/bin/hello-onggi"), "#!/bin/sh\necho hello from a package\n").unwrap();
    for file in ["DEBIAN/postinst", "usr/bin/hello-onggi"] {
        fs::set_permissions(tree.join(file), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let built = Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .arg(&tree)
        .arg(dir.join("hello.deb"))
        .output()
        .unwrap();
    assert!(built.status.success(), "dpkg-deb: {}", String::from_utf8_lossy(&built.stderr));
}

#[test]
fn packages_users_and_background_processes() {
    if !has_debian_root("Debian: packages users and background processes") {
        return;
    }
    if !needs_root("packages in a Debian root", "its files can be copied by root alone") {
        return;
    }
    let mut bundle = writable();
    package(&bundle.logs());
    fs::copy(bundle.logs().join("hello.deb"), bundle.path().join("debian/root/hello.deb")).unwrap();
    bundle.args(&[
        "/bin/bash", "-ec",
        "dpkg -i /root/hello.deb > /dev/null 2>&1; hello-onggi; cat /var/lib/hello-onggi; dpkg -s hello-onggi | grep ^Status
         useradd --create-home --uid 1234 --shell /bin/bash someone; id someone; su someone -c 'whoami; cd; pwd'
         for n in 1 2 3 4 5; do sleep 60 & done; jobs -p | wc -l; echo $(ls /proc | grep -c '^[0-9]')
         (exit 3) & wait $! || echo waited $?; ls -ld /home/someone | cut -d' ' -f3; getent passwd 1234",
    ]);
    let done = bundle.run().ok();
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines[..3], ["hello from a package", "0", "Status: install ok installed"], "{done}");
    assert_eq!(
        lines[3..6],
        ["uid=1234(someone) gid=1234(someone) groups=1234(someone)", "someone", "/home/someone"],
        "{done}"
    );
    assert_eq!(lines[6], "5", "{done}");
    assert!(lines[7].parse::<u32>().unwrap() >= 6, "{done}");
    assert_eq!(lines[8..], ["waited 3", "someone", "someone:x:1234:1234::/home/someone:/bin/bash"], "{done}");
    assert!(!bundle.state_root().join(&bundle.id).exists());
}

#[test]
fn an_init_that_ignores_sigterm() {
    if !has_debian_root("Debian: an init that ignores sigterm") {
        return;
    }
    let mut bundle = read_only();
    bundle.args(&["/bin/bash", "-c", "trap '' TERM; echo ready; while true; do sleep 0.1; done"]);
    let started = bundle.start_with("run", &["-d"]).run().ok();
    wait_until("ready", || started.stdout_now().contains("ready"));
    bundle.kill("TERM").ok();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(bundle.status(), "running");
    bundle.verb("delete", &[]).exits(1).says("not stopped: running");
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok();
}

/// Dynamic programs of the image run as its users, and the runtime loads nothing of the image itself.
#[test]
fn as_a_user_of_the_image() {
    if !has_debian_root("Debian: as a user of the image") {
        return;
    }
    let mut bundle = read_only();
    let (more, shown) = if is_rootless() { (json!([]), "") } else { (json!([4]), ",4(adm)") };
    bundle.set("/process/user", json!({"uid": 33, "gid": 33, "additionalGids": more})).args(&["/usr/bin/id"]);
    let expected = format!("uid=33(www-data) gid=33(www-data) groups=33(www-data){shown}");
    assert_eq!(bundle.run().ok().stdout.trim(), expected);
    bundle.args(&["/usr/bin/env"]);
    assert!(bundle.run().ok().stdout.contains("HOME=/var/www"));
}

#[test]
fn the_pristine_root_stays_pristine() {
    if !has_debian_root("Debian: the pristine root stays pristine") {
        return;
    }
    let mut bundle = read_only();
    bundle.args(&["/bin/sh", "-c", "touch /probe-was-here 2>/dev/null || echo closed"]);
    assert_eq!(bundle.run().ok().stdout, "closed\n");
    assert!(!debian_root().join("probe-was-here").exists());
    assert!(probe_path().exists());
}
