//! A structural test of path safety: once the root filesystem is open, no path below it reaches the kernel as text
//! until the container's process stands in it. It catches the next bug of the family, not only the last.

use crate::harness::{Bundle, MountNamespace, Trace, is_peer, is_rootless, needs_root};
use crate::no_mount_namespace;
use serde_json::json;

/// A question mark: this strace may not know the call.
const FILE_AND_MOUNT_CALLS: &str = "%file,mount,umount2,pivot_root,move_mount,open_tree,fsopen,fsconfig,fsmount,fspick,\
?mount_setattr,?openat2,execveat,?fchmodat2,statx,name_to_handle_at,?statmount";

/// A config that makes the runtime touch much of the rootfs.
fn busy() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]).set("/root/readonly", json!(false)).set("/process/cwd", json!("/made/for/cwd"));
    bundle.mount("/missing/dir", "tmpfs", "tmpfs", &["ro"]).mount(
        "/missing/file",
        "bind",
        "/etc/hostname",
        &["bind", "ro"],
    );
    // strace keeps newuidmap from its rights; and a user gets only devices of the host's.
    bundle.map_self();
    if !is_rootless() {
        bundle.set("/linux/devices", json!([{"path": "/dev/deep/fuse", "type": "c", "major": 10, "minor": 229}]));
    }
    bundle.set("/linux/maskedPaths/-", json!("/etc/group")).set("/linux/readonlyPaths/-", json!("/etc"));
    bundle
}

fn violations(bundle: &Bundle, trace: &Trace) -> Vec<String> {
    let root = bundle.rootfs().to_str().unwrap().to_owned();
    let names_root = |text: &str| {
        text == root || text == "rootfs" || text.starts_with(&format!("{root}/")) || text.starts_with("rootfs/")
    };
    let opens = ["open", "openat", "openat2", "open_tree"];
    let inputs = |line: &str| -> Vec<String> {
        let strings = Trace::strings(line);
        // What readlink and getcwd give back is no argument.
        let count = match Trace::call(line) {
            "readlink" | "readlinkat" => 1,
            "getcwd" => 0,
            _ => strings.len(),
        };
        strings.into_iter().take(count).map(str::to_owned).collect()
    };
    let opened = trace.lines.iter().position(|line| {
        opens.contains(&Trace::call(line)) && !line.contains("= -1") && inputs(line).iter().any(|text| names_root(text))
    });
    let opened = opened.expect("the rootfs is opened by its path once");
    let changes = |line: &String| ["pivot_root", "chroot"].contains(&Trace::call(line));
    let pivot = trace.lines.iter().position(changes).expect("the root changes");
    assert!(pivot > opened, "the root changes after the rootfs is open");
    let between = &trace.lines[opened + 1..pivot];
    // With a user namespace it is opened once more, below the root of the container's mount namespace (rootfs/named.rs).
    let again = |line: &&String| is_rootless() && line.contains("RESOLVE_IN_ROOT") && inputs(line) == [root.as_str()];
    between
        .iter()
        .filter(|line| !again(line))
        .filter(|line| inputs(line).iter().any(|text| names_root(text)))
        .cloned()
        .collect()
}

#[test]
fn between_opening_the_rootfs_and_pivot_root() {
    if is_peer() {
        return; // No peer holds to this.
    }
    let bundle = busy();
    let trace = Trace::of(bundle.start_with("run", &[]), &bundle.logs(), FILE_AND_MOUNT_CALLS);
    assert!(trace.outcome.status.success(), "{}", trace.outcome);
    let found = violations(&bundle, &trace);
    assert!(found.is_empty(), "paths below the rootfs reached the kernel:\n{}", found.join("\n"));
}

#[test]
fn with_no_pivot_as_well() {
    if !needs_root("paths with --no-pivot", "a user namespace rules it out") {
        return;
    }
    if is_peer() {
        return;
    }
    let bundle = busy();
    let trace = Trace::of(bundle.start_with("run", &["--no-pivot"]), &bundle.logs(), FILE_AND_MOUNT_CALLS);
    assert!(trace.outcome.status.success(), "{}", trace.outcome);
    let found = violations(&bundle, &trace);
    assert!(found.is_empty(), "paths below the rootfs reached the kernel:\n{}", found.join("\n"));
}

#[test]
fn without_a_mount_namespace_as_well() {
    if !needs_root("a container without a mount namespace", "users need a user namespace, and that one") || is_peer() {
        return;
    }
    let host = MountNamespace::new();
    let mut bundle = busy();
    no_mount_namespace::adapt(&mut bundle, &host);
    let trace = Trace::of(bundle.start_with("run", &[]), &bundle.logs(), FILE_AND_MOUNT_CALLS);
    assert!(trace.outcome.status.success(), "{}", trace.outcome);
    let found = violations(&bundle, &trace);
    assert!(found.is_empty(), "paths below the rootfs reached the kernel:\n{}", found.join("\n"));
}

/// CVE-2019-14271, 2022-1227: nothing of the image is loaded or read by our own code but passwd.
#[test]
fn nothing_of_the_image_is_loaded() {
    if is_peer() {
        return;
    }
    let bundle = busy();
    let trace =
        Trace::of(bundle.start_with("run", &[]), &bundle.logs(), "open,openat,openat2,pivot_root,execve,execveat");
    let pivot = trace.lines.iter().position(|line| Trace::call(line) == "pivot_root").expect("pivot_root");
    let after: Vec<&String> =
        trace.lines[pivot..].iter().take_while(|line| !Trace::call(line).starts_with("execve")).collect();
    let banned = [
        "ld.so",
        "ld-linux",
        "libc.so",
        "nsswitch",
        "libnss",
        "locale",
        "/usr/share/zoneinfo",
        "/etc/localtime",
        "gconv",
    ];
    for line in after {
        assert!(!banned.iter().any(|name| line.contains(name)), "{line}");
    }
}

/// A regular file is never written by us in the rootfs: empty mount points are all that is made.
#[test]
fn no_content_is_written_into_the_rootfs() {
    let bundle = busy();
    let before = files(&bundle.rootfs());
    bundle.run().ok();
    for (path, size) in files(&bundle.rootfs()) {
        let was = before.iter().find(|(name, _)| *name == path).map(|(_, size)| *size);
        assert_eq!(was.unwrap_or(0), size, "{path}");
    }
}

fn files(dir: &std::path::Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            found.extend(files(&entry.path()));
        } else if meta.is_file() {
            found.push((entry.path().to_string_lossy().into_owned(), meta.len()));
        }
    }
    found
}
