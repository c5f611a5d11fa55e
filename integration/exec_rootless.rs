//! `exec` by a caller without privileges: ids that the caller may map, the container's cgroup where it is delegated, and
//! what happens where it is not.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::caller::on_host;
use crate::harness::{Bundle, Outcome, Snapshot, entering, is_peer, needs_user, test_cgroup, wait_until};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// The ids in a line of `/proc/PID/status`, as the host sees them.
fn ids_of(pid: &str, field: &str) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:"))).unwrap();
    line.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// The v2 line of `/proc/PID/cgroup`, from outside.
fn cgroup_of_process(pid: &str) -> String {
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    membership.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

/// The pid that a detached `exec` has written.
fn pid_in(bundle: &Bundle) -> String {
    fs::read_to_string(bundle.logs().join("pid")).unwrap()
}

#[test]
fn another_of_the_containers_ids() {
    if !needs_user("exec as an id of the user's") {
        return;
    }
    let mut bundle = Bundle::new();
    fs::set_permissions(bundle.rootfs().join("data"), PermissionsExt::from_mode(0o777)).unwrap();
    bundle.set("/root/readonly", json!(false)).asleep();
    let before = Snapshot::of(&bundle);
    let file = bundle.logs().join("pid");
    let flags = ["-d", "-u", "1000:1001", "-g", "5", "--pid-file", file.to_str().unwrap()];
    bundle.exec(&flags, &["/bin/sh", "-c", "echo mine > /data/file; exec sleep 1000"]).ok().quiet();
    let pid = pid_in(&bundle);
    assert_eq!(ids_of(&pid, "Uid"), [on_host(1000); 4]);
    assert_eq!(ids_of(&pid, "Gid"), [on_host(1001); 4]);
    assert_eq!(ids_of(&pid, "Groups"), [on_host(5)]);
    assert_eq!(cgroup_of_process(&pid), cgroup_of(&bundle), "it is delegated");
    let written = bundle.rootfs().join("data/file");
    wait_until("it has written", || fs::read_to_string(&written).is_ok_and(|text| text == "mine\n"));
    let meta = fs::metadata(&written).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (on_host(1000), on_host(1001)));

    // The container's root is the caller, who rules over all of them.
    bundle.exec(&[], &["/bin/sh", "-ec", "rm /data/file; kill -9 -1"]).ok();
    wait_until("it is gone", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    before.assert_unchanged(&bundle);
}

#[test]
fn with_the_callers_id_alone() {
    if !needs_user("exec with one id") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.map_self().asleep();
    let before = Snapshot::of(&bundle);
    assert_eq!(bundle.exec(&["-u", "0:0"], &["id", "-u"]).ok().stdout, "0\n");
    for (flags, text) in [
        (["-u", "1000"], "process.user.uid: cannot setuid to unmapped uid 1000 in user namespace"),
        (["-u", "0:5"], "process.user.gid: cannot setgid to unmapped gid 5 in user namespace"),
        (["-g", "5"], "process.user.additionalGids[0]: cannot set additional group to unmapped gid 5"),
        // CVE-2014-8989: who could drop a group could get at what is closed to that group.
        (["-g", "0"], "a user namespace made without privilege denies them: leave them out"),
    ] {
        bundle.exec(&flags, &["true"]).exits(255).says(text);
    }
    before.assert_unchanged(&bundle);
}

/// The caller's own cgroup `top/caller` lies beside the container's, but nobody has delegated what is between the two.
#[test]
fn from_a_cgroup_outside_of_what_is_delegated() {
    if is_peer() || !needs_user("exec from another session") {
        return;
    }
    let mut bundle = Bundle::new();
    let top = format!("{}/{}-sessions", test_cgroup(), bundle.id);
    let inner = directory(&top).join("caller");
    fs::create_dir_all(&inner).unwrap();
    bundle.set("/linux/cgroupsPath", json!(format!("{top}/{}", bundle.id))).asleep();
    let close =
        |mode| fs::set_permissions(directory(&top).join("cgroup.procs"), PermissionsExt::from_mode(mode)).unwrap();
    let enter = entering(&inner);
    let file = bundle.logs().join("pid");
    let exec = |flags: &[&str]| -> Outcome {
        let flags = [&["-d", "--pid-file", file.to_str().unwrap()], flags].concat();
        bundle.exec_with(&flags, &["sleep", "1000"]).under(&["sh", "-c", &enter, "-"]).run()
    };
    exec(&[]).ok().quiet();
    assert_eq!(cgroup_of_process(&pid_in(&bundle)), cgroup_of(&bundle));
    close(0o444);
    exec(&[]).ok().says("level=warning").says("the process runs outside of the container's cgroup");
    assert_eq!(cgroup_of_process(&pid_in(&bundle)), format!("{top}/caller"));
    assert!(!ids_of(&pid_in(&bundle), "Uid").is_empty(), "it runs");
    close(0o644);
    bundle.verb("delete", &["--force"]).ok();
    wait_until("all processes are gone with the container", || fs::remove_dir(&inner).is_ok());
    fs::remove_dir(directory(&top)).unwrap();
}

/// A container that has no cgroup, since nothing is delegated to the caller.
#[test]
fn in_a_container_without_a_cgroup() {
    if !needs_user("exec without delegation") {
        return;
    }
    let mut bundle = Bundle::new();
    let closed = format!("{}/{}-closed", test_cgroup(), bundle.id);
    let inner = directory(&closed).join("caller");
    fs::create_dir_all(&inner).unwrap();
    let close = |mode| fs::set_permissions(directory(&closed), PermissionsExt::from_mode(mode)).unwrap();
    close(0o555);
    let enter = entering(&inner);
    let enter = ["sh", "-c", &enter, "-"];
    bundle.args(&["/bin/sleep", "1000"]).by_hand().start_with("run", &["-d"]).under(&enter).run().ok().quiet();
    let file = bundle.logs().join("pid");
    let flags = ["-d", "-u", "1000", "--pid-file", file.to_str().unwrap()];
    // From where the container was made, and from elsewhere.
    bundle.exec_with(&flags, &["sleep", "1000"]).under(&enter).run().ok().quiet();
    assert_eq!(cgroup_of_process(&pid_in(&bundle)), format!("{closed}/caller"));
    bundle.exec(&flags, &["sleep", "1000"]).ok().quiet();
    assert_eq!(cgroup_of_process(&pid_in(&bundle)), cgroup_of_process("self"));
    assert_eq!(ids_of(&pid_in(&bundle), "Uid"), [on_host(1000); 4]);
    bundle.exec(&["--cgroup", "x"], &["true"]).exits(255).says("the container has no cgroup of its own");
    bundle.verb("delete", &["--force"]).ok();
    close(0o755);
    wait_until("all processes are gone with the container", || fs::remove_dir(&inner).is_ok());
    fs::remove_dir(directory(&closed)).unwrap();
}
