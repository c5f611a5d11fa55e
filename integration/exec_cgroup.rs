//! Where the process of `exec` goes: the container's cgroup, one below it, or wherever the init process has moved.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{Bundle, Snapshot, is_peer, needs, remove_cgroup, test_cgroup, wait_until};
use serde_json::json;
use std::fs;

/// A container that may write to its own part of the cgroup hierarchy, as one with an engine of its own inside.
fn nesting() -> Bundle {
    let mut bundle = Bundle::new();
    let mount = bundle.mount_index("/sys/fs/cgroup");
    bundle.set(&format!("/mounts/{mount}/options"), json!(["nosuid", "noexec", "nodev", "rw"]));
    bundle.asleep();
    bundle
}

/// The v2 line of `/proc/self/cgroup` of a process started with `flags`.
fn seen(bundle: &Bundle, flags: &[&str]) -> String {
    bundle.exec(flags, &["grep", "^0::", "/proc/self/cgroup"]).ok().stdout.trim_end().to_owned()
}

#[test]
fn in_the_containers_own() {
    let bundle = nesting();
    for flags in [&[][..], &["--cgroup", "/"], &["--cgroup", ""], &["--cgroup", "."]] {
        assert_eq!(seen(&bundle, flags), "0::/", "{flags:?}");
    }
    let file = bundle.logs().join("pid");
    bundle.exec(&["-d", "--pid-file", file.to_str().unwrap()], &["sleep", "1000"]).ok();
    let membership = fs::read_to_string(format!("/proc/{}/cgroup", fs::read_to_string(file).unwrap())).unwrap();
    assert!(membership.contains(&format!("0::{}\n", cgroup_of(&bundle))), "{membership}");
}

#[test]
fn in_one_below() {
    let bundle = nesting();
    bundle.exec_script("mkdir -p /sys/fs/cgroup/sub/deep").ok();
    assert_eq!(seen(&bundle, &["--cgroup", "sub"]), "0::/sub");
    assert_eq!(seen(&bundle, &["--cgroup", "/sub/./deep/"]), "0::/sub/deep");
    assert_eq!(seen(&bundle, &["--cgroup", "sub/../sub"]), "0::/sub");
}

/// By component, so that a neighbour whose name begins like ours is not taken for a child.
#[test]
fn never_outside() {
    let bundle = nesting();
    let own = cgroup_of(&bundle);
    let sibling = directory(&format!("{own}-sibling"));
    fs::create_dir(&sibling).unwrap();
    let name = sibling.file_name().unwrap().to_str().unwrap().to_owned();
    let before = Snapshot::of(&bundle);
    for path in ["..", &format!("../{name}"), "sub/../../..", "/../.."] {
        bundle.exec(&["--cgroup", path], &["true"]).exits(255).says("bad sub cgroup path: ");
    }
    bundle.exec(&["--cgroup", "none"], &["true"]).exits(255).says(" cgroup").says("no such file or directory");
    bundle.exec(&["--cgroup", "cpu:sub"], &["true"]).exits(255).says("invalid --cgroup argument: cpu:sub");
    bundle.exec(&["--cgroup", "a", "--cgroup", "b"], &["true"]).exits(255).says("invalid --cgroup argument: b");
    before.assert_unchanged(&bundle);
    fs::remove_dir(sibling).unwrap();
}

/// Docker in docker: the init process has moved all processes down and shares out controllers, so that the kernel takes
/// none into the container's first cgroup any more.
#[test]
fn where_the_init_process_is_when_the_first_is_closed() {
    if !needs("hugetlb", "exec into a nested cgroup") {
        return;
    }
    let bundle = nesting();
    bundle.exec_script("mkdir /sys/fs/cgroup/init && echo 1 > /sys/fs/cgroup/init/cgroup.procs").ok();
    assert_eq!(seen(&bundle, &[]), "0::/", "open as long as no controller is shared out");
    let share = "echo $$ > /sys/fs/cgroup/init/cgroup.procs; echo +hugetlb > /sys/fs/cgroup/cgroup.subtree_control";
    bundle.exec(&[], &["/bin/sh", "-euc", share]).ok();
    assert_eq!(seen(&bundle, &[]), "0::/init");
    assert_eq!(seen(&bundle, &["--cgroup", "init"]), "0::/init");
    // What is named is meant.
    let refused = bundle.exec(&["--cgroup", "/"], &["true"]).exits(255);
    refused.says(" adding pid ").says(" to cgroups").says("device or resource busy");
    bundle.exec(&["--cgroup", "init"], &["mkdir", "/sys/fs/cgroup/second"]).ok();
    assert_eq!(seen(&bundle, &["--cgroup", "second"]), "0::/second");
    // Deeper still.
    let deeper = "mkdir /sys/fs/cgroup/init/deep; echo 1 > /sys/fs/cgroup/init/deep/cgroup.procs";
    bundle.exec(&[], &["/bin/sh", "-euc", deeper]).ok();
    assert_eq!(seen(&bundle, &[]), "0::/init/deep");
    bundle.verb("delete", &["-f"]).ok();
}

/// runc issue 5089: without a cgroup namespace the init process can leave its cgroup altogether, which then goes.
#[test]
fn where_the_init_process_is_when_the_first_is_gone() {
    let mut bundle = Bundle::new();
    let other = directory(&format!("{}/other-{}", test_cgroup(), bundle.id));
    fs::create_dir(&other).unwrap();
    bundle.without_namespace("cgroup").asleep();
    let own = directory(&cgroup_of(&bundle));
    fs::write(other.join("cgroup.procs"), bundle.pid().to_string()).unwrap();
    remove_cgroup(&own);
    assert_eq!(seen(&bundle, &[]), format!("0::{}", cgroup_of(&bundle)));
    assert!(cgroup_of(&bundle).contains("/other-"));
    bundle.exec(&["--cgroup", "/"], &["true"]).exits(255).says("no such file or directory");
    bundle.verb("delete", &["-f"]).ok();
    wait_until("the other cgroup can be removed", || fs::remove_dir(&other).is_ok());
}

/// Since 6.14 the kernel kills what starts in a cgroup in which `cgroup.kill` was written before.
#[test]
fn in_one_that_was_killed_before() {
    let bundle = nesting();
    bundle.exec_script("mkdir /sys/fs/cgroup/killed; echo 1 > /sys/fs/cgroup/killed/cgroup.kill").ok();
    assert_eq!(seen(&bundle, &["--cgroup", "killed"]), "0::/killed");
    assert_eq!(seen(&bundle, &[]), "0::/");
}

#[test]
fn in_a_frozen_one_below() {
    let bundle = nesting();
    bundle.exec_script("mkdir /sys/fs/cgroup/ice; echo 1 > /sys/fs/cgroup/ice/cgroup.freeze").ok();
    let exec = bundle.exec_with(&["--cgroup", "ice"], &["echo", "thawed"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(exec.stdout(), "");
    bundle.exec_script("echo 0 > /sys/fs/cgroup/ice/cgroup.freeze").ok();
    assert_eq!(exec.wait().ok().stdout, "thawed\n");
}

#[test]
fn in_a_threaded_one() {
    let bundle = nesting();
    let script = "mkdir /sys/fs/cgroup/threads; echo threaded > /sys/fs/cgroup/threads/cgroup.type";
    bundle.exec_script(script).ok();
    assert_eq!(seen(&bundle, &[]), "0::/");
}

#[test]
fn without_any() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]).save();
    let path = bundle.path().to_str().unwrap().to_owned();
    bundle.invoke(&["--cgroup-manager", "disabled", "run", "-d", "-b", &path, &bundle.id]).run().ok();
    bundle.exec(&[], &["true"]).ok();
    bundle.exec(&["--cgroup", "x"], &["true"]).exits(255).says("the container has no cgroup of its own");
}

/// Limits of the container bind what joins it, from the first instruction on.
#[test]
fn its_limits_count() {
    if !needs("pids", "pids.limit for exec") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/linux/resources/pids", json!({"limit": 1})).asleep();
    bundle.exec(&[], &["true"]).exits(255).says("resource temporarily unavailable");
    assert_eq!(bundle.status(), "running");
}

#[test]
fn no_cgroup_is_made() {
    let bundle = nesting();
    let before = Snapshot::of(&bundle);
    bundle.exec(&[], &["true"]).ok();
    before.assert_unchanged(&bundle);
}
