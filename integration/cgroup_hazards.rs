//! A cgroup tree that is not as it should be: mounts on its way, parts of it, frozen or vanishing parents.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{Bundle, Snapshot, needs_root, patience, test_cgroup, wait_until};
use serde_json::json;
use std::fs;
use std::time::Instant;

/// A bundle whose cgroup is `top/ID`, and that directory `top`, made by us.
fn below(name: &str) -> (Bundle, std::path::PathBuf) {
    let mut bundle = Bundle::new();
    let top = format!("{}/{name}-{}", test_cgroup(), bundle.id);
    let path = format!("{top}/{}", bundle.id);
    bundle.args(&["/bin/echo", "ran"]).set("/linux/cgroupsPath", json!(path));
    fs::create_dir(directory(&top)).unwrap();
    (bundle, directory(&top))
}

/// Runs the container after `mount` (a shell command) in a mount namespace of its own; it must be refused.
#[track_caller]
fn check_refused(bundle: &Bundle, mount: &str, says: &str) {
    let before = Snapshot::of(bundle);
    let wrapper = ["unshare", "--mount", "sh", "-ec", &format!("{mount}; exec \"$@\""), "-"];
    for verb in ["run", "create"] {
        let done = bundle.start_with(verb, &[]).under(&wrapper).run().exits(1).says(says);
        assert_eq!(done.stdout, "");
        before.assert_unchanged(bundle);
    }
}

/// cgroupfs has no links; a mount is how a component can lead elsewhere.
#[test]
fn a_component_that_something_is_mounted_on() {
    if !needs_root("mounts in the cgroup tree", "they have to be mounted first") {
        return;
    }
    let (bundle, top) = below("covered");
    let elsewhere = directory(&format!("{}/elsewhere-{}", test_cgroup(), bundle.id));
    fs::create_dir(&elsewhere).unwrap();
    let (at, from) = (top.display(), elsewhere.display());
    check_refused(&bundle, &format!("mount -t tmpfs tmpfs {at}"), "something else is mounted there");
    check_refused(&bundle, &format!("mount --bind {from} {at}"), "something else is mounted there");
    assert_eq!(bundle.run().ok().stdout, "ran\n");
    fs::remove_dir(elsewhere).unwrap();
    fs::remove_dir(top).unwrap();
}

#[test]
fn a_hierarchy_that_is_not_the_whole_or_none_at_all() {
    if !needs_root("mounts in the cgroup tree", "they have to be mounted first") {
        return;
    }
    let (bundle, top) = below("part");
    let at = top.display();
    check_refused(&bundle, &format!("mount --bind {at} /sys/fs/cgroup"), "shows only the cgroup");
    check_refused(&bundle, "mount -t tmpfs tmpfs /sys/fs/cgroup", "is not a cgroup v2 mount");
    // As systemd's hybrid mode has it.
    let hybrid = "mount --bind /sys/fs/cgroup /mnt; mount -t tmpfs tmpfs /sys/fs/cgroup; mkdir /sys/fs/cgroup/unified; \
                  mount --move /mnt /sys/fs/cgroup/unified";
    check_refused(&bundle, &format!("mount --make-private /; {hybrid}"), "is not a cgroup v2 mount");
    fs::remove_dir(top).unwrap();
}

/// What would start there would not move, and its caller would wait for it.
#[test]
fn a_frozen_cgroup_above() {
    let (bundle, top) = below("frozen");
    let before = Snapshot::of(&bundle);
    fs::write(top.join("cgroup.freeze"), "1").unwrap();
    for there_before in [false, true] {
        if there_before {
            fs::create_dir(top.join(&bundle.id)).unwrap();
        }
        bundle.create().exits(1).says("container's cgroup unexpectedly frozen").says("cgroup.freeze");
    }
    fs::remove_dir(top.join(&bundle.id)).unwrap();
    before.assert_unchanged(&bundle);
    fs::write(top.join("cgroup.freeze"), "0").unwrap();
    assert_eq!(bundle.run().ok().stdout, "ran\n");
    fs::remove_dir(top).unwrap();
}

/// Creates that fail remove the parents they made, under the hands of those that go on.
#[test]
fn parents_that_vanish() {
    let mut bundle = Bundle::new();
    let top = format!("{}/vanishing-{}", test_cgroup(), bundle.id);
    let directories: Vec<_> = (0..8).map(|lane| bundle.path().join(format!("lane{lane}"))).collect();
    for (lane, path) in directories.iter().enumerate() {
        let program = if lane % 2 == 0 { "/bin/true" } else { "/bin/missing" };
        let cgroup = format!("{top}/deep/er/{}.{lane}", bundle.id);
        bundle.args(&[program]).set("/linux/cgroupsPath", json!(cgroup));
        fs::create_dir(path).unwrap();
        bundle.set("/root/path", json!(bundle.rootfs()));
        fs::write(path.join("config.json"), bundle.config.to_string()).unwrap();
    }
    for round in 0..8 {
        let spawn = |lane: usize| {
            let id = format!("{}.{lane}", bundle.id);
            bundle.invoke(&["run", "--bundle", directories[lane].to_str().unwrap(), &id]).spawn()
        };
        let running: Vec<_> = (0..8).map(spawn).collect();
        for (lane, run) in running.into_iter().enumerate() {
            let done = run.wait();
            if lane % 2 == 0 {
                assert!(done.status.success(), "round {round}: {done}");
            } else {
                done.exits(1).says("/bin/missing");
            }
        }
    }
    let left: Vec<_> = fs::read_dir(directory(&format!("{top}/deep/er"))).into_iter().flatten().flatten().collect();
    assert!(left.iter().all(|entry| entry.file_type().unwrap().is_file()), "{left:?}");
    for path in [format!("{top}/deep/er"), format!("{top}/deep"), top] {
        fs::remove_dir(directory(&path)).ok();
    }
}

/// Nothing but a mount keeps a cgroup without processes from being removed. That is said at once, and delete can be
/// repeated.
#[test]
fn a_cgroup_that_cannot_be_removed() {
    if !needs_root("mounts in the cgroup tree", "they have to be mounted first") {
        return;
    }
    let mut bundle = Bundle::new();
    // systemd's is gone with its last process.
    bundle.by_hand().args(&["/bin/true"]);
    bundle.start_with("run", &["-d"]).run().ok();
    bundle.wait_stopped();
    let group = directory(&format!("{}/{}", test_cgroup(), bundle.id));
    fs::create_dir(group.join("below")).unwrap();
    let began = Instant::now();
    for busy in ["", "/below"] {
        let mount = format!("mount -t tmpfs tmpfs {}{busy}; exec \"$@\"", group.display());
        let done =
            bundle.invoke(&["delete", &bundle.id]).under(&["unshare", "--mount", "sh", "-ec", &mount, "-"]).run();
        done.exits(1).says(&bundle.id).says("mounted");
    }
    assert!(began.elapsed() < patience(5), "nobody waited for it");
    assert_eq!(bundle.status(), "stopped");
    bundle.verb("delete", &[]).ok().quiet();
    assert!(!group.exists());
}

#[test]
fn a_record_with_a_path_that_leads_out() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    let (file, own) = (bundle.state_root().join(&bundle.id).join("state.json"), cgroup_of(&bundle));
    let record = fs::read_to_string(&file).unwrap();
    for path in ["/../../x", "/", "", "/a/../../b"] {
        let mut odd: serde_json::Value = serde_json::from_str(&record).unwrap();
        odd["cgroup"] = json!(path);
        fs::write(&file, odd.to_string()).unwrap();
        bundle.verb("delete", &["--force"]).fails().says("is not the clean path of a cgroup");
        assert!(directory(&own).exists());
    }
    fs::write(&file, record).unwrap();
    bundle.verb("delete", &["--force"]).ok();
    wait_until("it is gone", || !directory(&own).exists());
}
