//! `linux.maskedPaths` and `linux.readonlyPaths`: what cannot be read, what cannot be written.

use crate::harness::{Bundle, is_rootless};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn masked_files_are_empty_and_masked_directories_too() {
    let mut bundle = Bundle::new();
    let root = bundle.rootfs();
    fs::write(root.join("etc/secret"), "secret").unwrap();
    fs::create_dir(root.join("secrets")).unwrap();
    fs::write(root.join("secrets/inner"), "secret").unwrap();
    bundle.set(
        "/linux/maskedPaths",
        json!(["/etc/secret", "/secrets", "/proc/timer_list", "/proc/no/such/thing", "/etc/secret"]),
    );
    bundle.script(
        "wc -c < /etc/secret; ls -A /secrets; ! touch /secrets/x 2>/dev/null && echo closed; wc -c < /proc/timer_list",
    );
    assert_eq!(bundle.run().ok().stdout, "0\nclosed\n0\n");
    let seen = bundle.report_with(&["--stat", "/etc/secret"]);
    assert_eq!(seen.json["stat"]["/etc/secret"]["rdev"], "1:3", "the null device");
    seen.assert_mount("/secrets", "tmpfs", &["ro"]);
}

#[test]
fn read_only_paths() {
    let mut bundle = Bundle::new();
    bundle
        .set("/root/readonly", json!(false))
        .set("/linux/readonlyPaths", json!(["/etc", "/probe", "/proc/sys", "/no/such/path"]));
    let tried = bundle.probe(&[
        "open-write",
        "/etc/passwd",
        "/etc",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/swappiness",
        "/tmp",
    ]);
    // To a user namespace the kernel's own files are out of reach anyway.
    let kernels = if is_rootless() { "EACCES" } else { "EROFS" };
    assert_eq!(
        tried,
        json!({"/etc/passwd": "EROFS", "/etc": "EROFS", "/proc/sys/kernel/hostname": kernels, "/proc/sys/vm/swappiness": kernels, "/tmp": "ok"})
    );
}

#[test]
fn read_only_keeps_the_flags_of_the_mount_below() {
    let mut bundle = Bundle::new();
    bundle.mount("/data", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
    bundle.mount("/data/inner", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"]);
    bundle.set("/linux/readonlyPaths", json!(["/data"]));
    bundle.report().assert_mount("/data", "tmpfs", &["ro", "nosuid", "nodev", "noexec"]);
}

/// Every path of the template, read back: the write must fail for all that exist.
#[test]
fn every_path_of_the_template_holds() {
    let mut bundle = Bundle::new();
    let paths = |key: &str| -> Vec<String> {
        let list = bundle.get(&format!("/linux/{key}")).as_array().unwrap();
        list.iter().map(|path| path.as_str().unwrap().to_owned()).collect()
    };
    let (masked, readonly) = (paths("maskedPaths"), paths("readonlyPaths"));
    let mut args = vec!["open-write"];
    args.extend(readonly.iter().map(String::as_str));
    let tried = bundle.probe(&args);
    let seen = bundle.report();
    for (path, outcome) in tried.as_object().unwrap() {
        match outcome.as_str().unwrap() {
            "ENOENT" => continue,
            "EROFS" => {}
            // To a user namespace the kernel's own files are out of reach anyway.
            "EACCES" if is_rootless() => {}
            other => panic!("{path}: {other}"),
        }
        // No file can be made in /proc/sys anyway: the mount table tells.
        seen.assert_mount(path, "proc", &["ro"]);
    }
    for path in &masked {
        bundle.script(&format!("test ! -e {path} || test -z \"$(head -c 1 {path} 2>/dev/null; ls -A {path} 2>/dev/null | grep -v ^{path}$)\""));
        let done = bundle.run();
        assert!(done.status.success(), "{path} shows something: {done}");
    }
}

#[test]
fn symlinks_are_resolved_inside() {
    let mut bundle = Bundle::new();
    fs::write(bundle.rootfs().join("etc/secret"), "secret").unwrap();
    symlink("/etc/secret", bundle.rootfs().join("link")).unwrap();
    bundle.set("/linux/maskedPaths", json!(["/link"])).script("wc -c < /etc/secret");
    assert_eq!(bundle.run().ok().stdout, "0\n");
}

#[test]
fn need_a_mount_namespace() {
    let mut bundle = Bundle::new();
    bundle.without_namespace("mount").args(&["/bin/true"]);
    bundle.run().exits(1).fails();
}

#[test]
fn container_root_cannot_take_them_off() {
    let mut bundle = Bundle::new();
    bundle.script(
        "umount /proc/timer_list; umount -l /proc/sys; wc -c < /proc/timer_list; echo x > /proc/sys/vm/swappiness || echo closed",
    );
    let done = bundle.run().ok();
    assert_eq!(done.stdout, "0\nclosed\n", "{done}");
}
