//! `delete`: in which states, with and without force, and what is gone afterwards.

use crate::harness::{Bundle, Snapshot, is_peer, remove_cgroup, wait_until};
use std::fs;
use std::path::Path;

/// A bundle that has run once, so that the state root and mount points are there, and the snapshot after that.
fn seasoned() -> (Bundle, Snapshot) {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.run().ok();
    bundle.args(&["/bin/sleep", "100"]);
    let before = Snapshot::of(&bundle);
    (bundle, before)
}

#[test]
fn of_an_unknown_id() {
    let bundle = Bundle::new();
    bundle.verb("delete", &[]).exits(1).says("container does not exist");
    bundle.verb("delete", &["--force"]).ok().quiet();
    bundle.verb("delete", &["-f"]).ok().quiet();
}

#[test]
fn of_a_stopped_container() {
    let (mut bundle, before) = seasoned();
    bundle.args(&["/bin/true"]);
    bundle.start_with("run", &["-d"]).run().ok();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok().quiet();
    before.assert_unchanged(&bundle);
}

#[test]
fn of_a_created_container_kills_it() {
    let (bundle, before) = seasoned();
    bundle.create().ok();
    bundle.verb("delete", &[]).ok();
    before.assert_unchanged(&bundle);
}

#[test]
fn of_a_running_container_needs_force() {
    let (bundle, before) = seasoned();
    bundle.start_with("run", &["-d"]).run().ok();
    bundle.verb("delete", &[]).exits(1).says("that is not stopped: running");
    assert_eq!(bundle.status(), "running");
    // The flag may come after the id, as `runc delete ID -f`.
    bundle.onggi(&["delete", &bundle.id, "-f"]).ok().quiet();
    before.assert_unchanged(&bundle);
}

#[test]
fn forced_without_a_pid_namespace_leaves_no_process() {
    let (mut bundle, before) = seasoned();
    bundle.without_namespace("pid").script("sleep 300 & sleep 301 & echo ready; wait");
    let started = bundle.start_with("run", &["-d"]).run().ok();
    wait_until("ready", || started.stdout_now().contains("ready"));
    bundle.verb("delete", &["--force"]).ok();
    before.assert_unchanged(&bundle);
}

#[test]
fn works_after_the_cgroup_is_gone() {
    let (mut bundle, before) = seasoned();
    bundle.args(&["/bin/true"]);
    bundle.start_with("run", &["-d"]).run().ok();
    bundle.wait_stopped();
    remove_cgroups(Path::new("/sys/fs/cgroup"), &bundle.id);
    bundle.verb("delete", &[]).ok();
    before.assert_unchanged(&bundle);
}

#[test]
fn removes_cgroups_that_the_container_made() {
    let (mut bundle, before) = seasoned();
    bundle.writable_cgroup().script("mkdir -p /sys/fs/cgroup/a/b /sys/fs/cgroup/c && echo made");
    let done = bundle.run().ok();
    assert_eq!(done.stdout, "made\n");
    before.assert_unchanged(&bundle);
}

#[test]
fn works_when_the_bundle_is_gone() {
    let (mut bundle, _) = seasoned();
    bundle.args(&["/bin/true"]);
    bundle.start_with("run", &["-d"]).run().ok();
    bundle.wait_stopped();
    fs::remove_file(bundle.path().join("config.json")).unwrap();
    fs::remove_dir_all(bundle.rootfs()).unwrap();
    bundle.verb("delete", &[]).ok();
    assert!(!bundle.state_root().join(&bundle.id).exists());
}

#[test]
fn removes_a_directory_that_lost_its_record() {
    let (bundle, before) = seasoned();
    fs::create_dir_all(bundle.state_root().join(&bundle.id)).unwrap();
    fs::write(bundle.state_root().join(&bundle.id).join("state.json"), "{ cut sho").unwrap();
    if !is_peer() {
        bundle.verb("state", &[]).exits(1);
    }
    bundle.verb("delete", &["--force"]).ok();
    before.assert_unchanged(&bundle);
}

fn remove_cgroups(dir: &Path, id: &str) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path(), id);
            if entry.file_name().to_string_lossy().contains(id) {
                remove_cgroup(&entry.path());
            }
        }
    }
}
