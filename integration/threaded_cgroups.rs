//! Cgroups below one that has processes of its own: the kernel gives them threads only, no domains (cgroups(7)).

use crate::cgroup::directory;
use crate::harness::{Bundle, Snapshot, needs, test_cgroup, wait_until};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};

/// A cgroup with a process in it, or threaded by decree, and a bundle whose container goes below.
struct Parent {
    path: String,
    process: Option<Child>,
}

impl Parent {
    fn directory(&self) -> PathBuf {
        directory(&self.path)
    }

    fn new(bundle: &mut Bundle) -> Self {
        let path = format!("{}/above-{}", test_cgroup(), bundle.id);
        bundle.set("/linux/cgroupsPath", json!(format!("{path}/{}", bundle.id)));
        let parent = Self { path, process: None };
        fs::create_dir(parent.directory()).unwrap();
        parent
    }

    /// One that has a process.
    fn busy(bundle: &mut Bundle) -> Self {
        let mut parent = Self::new(bundle);
        let process = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(parent.directory().join("cgroup.procs"), process.id().to_string()).unwrap();
        parent.process = Some(process);
        parent
    }

    /// One below which the container's cgroup is there already, and threaded.
    fn threaded(bundle: &mut Bundle) -> Self {
        let parent = Self::new(bundle);
        parent.make_threaded_child(bundle);
        parent
    }

    fn empty(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    fn make_threaded_child(&self, bundle: &Bundle) {
        let child = self.directory().join(&bundle.id);
        fs::create_dir(&child).unwrap();
        fs::write(child.join("cgroup.type"), "threaded").unwrap();
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.empty();
        let directory = self.directory();
        if !std::thread::panicking() {
            wait_until("the parent cgroup can be removed", || fs::remove_dir(&directory).is_ok());
        }
    }
}

#[test]
fn a_threaded_cgroup_is_taken_and_removed() {
    let mut bundle = Bundle::new();
    let parent = Parent::threaded(&mut bundle);
    bundle.script("cat /sys/fs/cgroup/cgroup.type; (sleep 100 &); echo ran");
    assert_eq!(bundle.run().ok().stdout, "threaded\nran\n");
    assert!(!parent.directory().join(&bundle.id).exists());
}

/// `cgroup.kill` does not work on threaded cgroups.
#[test]
fn a_container_in_a_threaded_cgroup_can_be_killed_and_deleted() {
    for private_pids in [true, false] {
        for forced in [true, false] {
            let mut bundle = Bundle::new();
            let parent = Parent::threaded(&mut bundle);
            if !private_pids {
                bundle.without_namespace("pid");
            }
            let before = Snapshot::of(&bundle);
            bundle.script("sleep 300 & sleep 301 & echo ready; wait");
            let started = bundle.start_with("run", &["-d"]).run().ok();
            wait_until("ready", || started.stdout_now().contains("ready"));
            assert_eq!(bundle.status(), "running");
            if forced {
                bundle.verb("delete", &["--force"]).ok().quiet();
            } else {
                bundle.kill("KILL").ok().quiet();
                bundle.wait_stopped();
                bundle.verb("delete", &[]).ok().quiet();
            }
            // What was there before, so that only this is missing from the picture.
            parent.make_threaded_child(&bundle);
            before.assert_unchanged(&bundle);
            fs::remove_dir(parent.directory().join(&bundle.id)).unwrap();
        }
    }
}

#[test]
fn a_frozen_container_in_a_threaded_cgroup_can_be_deleted() {
    let mut bundle = Bundle::new();
    let parent = Parent::threaded(&mut bundle);
    bundle.without_namespace("pid").args(&["/bin/sleep", "100"]);
    bundle.start_with("run", &["-d"]).run().ok();
    let group = parent.directory().join(&bundle.id);
    fs::write(group.join("cgroup.freeze"), "1").unwrap();
    wait_until("it is frozen", || fs::read_to_string(group.join("cgroup.events")).unwrap().contains("frozen 1"));
    assert_eq!(bundle.status(), "paused");
    bundle.verb("delete", &["--force"]).ok().quiet();
    assert!(!group.exists());
}

#[test]
fn kill_all_reaches_every_process_of_a_threaded_cgroup() {
    for signal in ["KILL", "TERM"] {
        let mut bundle = Bundle::new();
        let _parent = Parent::threaded(&mut bundle);
        bundle.without_namespace("pid").script("sleep 300 & sleep 301 & echo ready; wait");
        let started = bundle.start_with("run", &["-d"]).run().ok();
        wait_until("ready", || started.stdout_now().contains("ready"));
        bundle.onggi(&["kill", "--all", &bundle.id, signal]).ok().quiet();
        bundle.wait_stopped();
        bundle.verb("delete", &[]).ok();
    }
}

/// Below a cgroup with processes only the controllers that divide threads can be had.
#[test]
fn below_a_busy_cgroup() {
    if !["pids", "memory"].into_iter().all(|controller| needs(controller, "limits below a busy cgroup")) {
        return;
    }
    let mut bundle = Bundle::new();
    let mut parent = Parent::busy(&mut bundle);
    bundle.args(&["/bin/cat", "/sys/fs/cgroup/cgroup.type"]);
    assert_eq!(bundle.run().ok().stdout, "threaded\n");
    bundle.args(&["/bin/cat", "/sys/fs/cgroup/pids.max"]).set("/linux/resources/pids", json!({"limit": 30}));
    assert_eq!(bundle.run().ok().stdout, "30\n");
    bundle.args(&["/bin/echo", "ran"]).set("/linux/resources/memory", json!({"limit": 67_108_864}));
    let before = Snapshot::of(&bundle);
    let done = bundle.run().exits(1).says("cannot enter cgroupv2").says("with domain controllers");
    assert_eq!(done.stdout, "");
    before.assert_unchanged(&bundle);
    // Nothing of this stays once the parent is empty.
    parent.empty();
    assert_eq!(bundle.run().ok().stdout, "ran\n");
}
