//! `pause` and `resume`: what stands still, what goes on, in which states they are allowed.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{Bundle, Outcome, is_peer, needs_root, skip, test_cgroup, test_slice, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TICKING: &str = "trap 'echo got TERM' TERM; while :; do echo tick; sleep 0.02; done";

/// A container that says something all the time.
fn ticking() -> (Bundle, Outcome) {
    let mut bundle = Bundle::new();
    bundle.script(TICKING);
    let started = bundle.start_with("run", &["-d"]).run().ok();
    assert_runs(&started);
    (bundle, started)
}

#[track_caller]
fn assert_runs(started: &Outcome) {
    let before = started.stdout_now().len();
    wait_until("the container goes on", || started.stdout_now().len() > before);
}

#[track_caller]
fn assert_stands_still(started: &Outcome) {
    let before = started.stdout_now().len();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(started.stdout_now().len(), before, "the container goes on");
}

#[test]
fn stops_everything_and_resume_lets_it_go_on() {
    let (bundle, started) = ticking();
    for _ in 0..3 {
        assert_eq!(bundle.verb("pause", &[]).ok().quiet().stdout, "");
        assert_stands_still(&started);
        assert_eq!(bundle.status(), "paused");
        assert_eq!(bundle.verb("resume", &[]).ok().quiet().stdout, "");
        assert_eq!(bundle.status(), "running");
        assert_runs(&started);
    }
}

#[test]
fn each_only_in_its_own_state() {
    let (bundle, _) = ticking();
    bundle.verb("resume", &[]).exits(1).says("container not paused");
    bundle.verb("pause", &[]).ok();
    bundle.verb("pause", &[]).exits(1).says("container not running (it is paused already)");
    bundle.onggi(&["pause", "nonexistent"]).exits(1).says("container does not exist");
    bundle.onggi(&["resume", "nonexistent"]).exits(1).says("container does not exist");
    assert_eq!(bundle.status(), "paused");
    bundle.verb("resume", &[]).ok();
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    bundle.verb("pause", &[]).exits(1).says("container not running");
    bundle.verb("resume", &[]).exits(1).says("container not paused");
    bundle.verb("delete", &[]).ok();
}

#[test]
fn a_created_container_can_be_paused() {
    let mut bundle = Bundle::new();
    bundle.script(TICKING);
    bundle.create().ok();
    bundle.verb("pause", &[]).ok();
    assert_eq!(bundle.status(), "paused");
    bundle.verb("start", &[]).exits(1).says("cannot start a container in the paused state");
    bundle.verb("resume", &[]).ok();
    assert_eq!(bundle.status(), "created");
    bundle.verb("start", &[]).ok();
    assert_eq!(bundle.status(), "running");
}

#[test]
fn one_of_many_at_once_does_it() {
    let (bundle, started) = ticking();
    for (verb, state) in [("pause", "paused"), ("resume", "running")] {
        let running: Vec<_> = (0..4).map(|_| bundle.invoke(&[verb, &bundle.id]).spawn()).collect();
        let done: Vec<_> = running.into_iter().map(|running| running.wait().status.code()).collect();
        let mut sorted = done.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [Some(0), Some(1), Some(1), Some(1)], "{verb}");
        assert_eq!(bundle.status(), state);
    }
    assert_runs(&started);
}

#[test]
fn signals_wait_for_resume_except_sigkill() {
    let (bundle, started) = ticking();
    bundle.verb("pause", &[]).ok();
    bundle.kill("TERM").ok();
    assert_stands_still(&started);
    assert!(!started.stdout_now().contains("got TERM"));
    bundle.verb("resume", &[]).ok();
    wait_until("SIGTERM arrives", || started.stdout_now().contains("got TERM"));
    bundle.verb("pause", &[]).ok();
    bundle.verb("delete", &[]).exits(1).says("that is not stopped: paused");
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok();
}

#[test]
fn a_paused_container_can_be_deleted_by_force() {
    let (bundle, _) = ticking();
    let group = directory(&cgroup_of(&bundle));
    bundle.verb("pause", &[]).ok();
    bundle.verb("delete", &["--force"]).ok().quiet();
    assert!(!group.exists());
    bundle.verb("state", &[]).exits(1).says("container does not exist");
}

#[test]
fn below_a_frozen_cgroup() {
    let mut bundle = Bundle::new();
    let path = match test_slice() {
        Some(slice) => {
            let above = bundle.id.replace('-', "_");
            format!("{}-{above}.slice:onggi:{}", slice.trim_end_matches(".slice"), bundle.id)
        }
        None => format!("{}/{}-above/inner", test_cgroup(), bundle.id),
    };
    bundle.script(TICKING).set("/linux/cgroupsPath", json!(path));
    let started = bundle.start_with("run", &["-d"]).run().ok();
    let above = directory(&cgroup_of(&bundle)).parent().unwrap().to_owned();
    assert_runs(&started);
    freeze(&above, true);
    wait_until("it is frozen", || fs::read_to_string(above.join("cgroup.events")).unwrap().contains("frozen 1"));
    assert_eq!(bundle.status(), "running", "it is not the container that is paused");
    bundle.verb("resume", &[]).exits(1).says("container not paused");
    bundle.verb("pause", &[]).ok();
    assert_eq!(bundle.status(), "paused");
    let shown = above.display();
    bundle.verb("resume", &[]).ok().says(&format!("the container stays frozen with cgroup {shown}: write 0"));
    assert_eq!(bundle.status(), "running");
    assert_stands_still(&started);
    // It outlives the thawing of what is above.
    bundle.verb("pause", &[]).ok();
    freeze(&above, false);
    assert_stands_still(&started);
    assert_eq!(bundle.status(), "paused");
    bundle.verb("resume", &[]).ok().quiet();
    assert_runs(&started);
    bundle.verb("delete", &["-f"]).ok();
    if test_slice().is_none() {
        // systemd keeps its slice, as long as the one around it is there.
        fs::remove_dir(above).unwrap();
    }
}

fn freeze(group: &Path, frozen: bool) {
    fs::write(group.join("cgroup.freeze"), if frozen { "1" } else { "0" }).unwrap();
}

#[test]
fn without_a_cgroup_there_is_nothing_to_pause() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.save();
    let path = bundle.path().to_str().unwrap().to_owned();
    bundle.onggi(&["--cgroup-manager", "disabled", "run", "-d", "--bundle", &path, &bundle.id]).ok();
    for verb in ["pause", "resume", "ps", "events"] {
        let done = bundle.verb(verb, &[]).exits(1).says(&format!("{verb} works by the container's cgroup"));
        assert_eq!(done.says("must be delegated to you").stdout, "");
    }
    assert_eq!(bundle.status(), "running");
}

/// A file system that never answers: whoever looks into it can't be frozen, only killed. Nothing of it outlives us.
struct DeadFileSystem {
    at: PathBuf,
    device: Option<fs::File>,
}

impl DeadFileSystem {
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let device = fs::File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let mut mount = Command::new("mount");
        mount.args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "dead"]).arg(&at);
        assert!(mount.stdin(device.try_clone().unwrap()).status().unwrap().success());
        Some(Self { at, device: Some(device) })
    }

    /// A process that is stuck in it.
    fn victim(&self) -> Child {
        let mut command = Command::new("stat");
        command.arg(self.at.join("x")).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }
}

impl Drop for DeadFileSystem {
    fn drop(&mut self) {
        // Those who wait get an error.
        drop(self.device.take());
        assert!(Command::new("umount").arg("--lazy").arg(&self.at).status().unwrap().success());
    }
}

#[test]
fn what_can_not_be_frozen_runs_on() {
    let what = "pausing of a process that waits for a dead file system";
    if !needs_root(what, "it has to be mounted first") {
        return;
    }
    let (bundle, started) = ticking();
    let Some(dead) = DeadFileSystem::mount(bundle.path().join("dead")) else {
        return skip(what, "there is no /dev/fuse here");
    };
    let group = directory(&cgroup_of(&bundle));
    let mut victim = dead.victim();
    fs::write(group.join("cgroup.procs"), victim.id().to_string()).unwrap();
    let stat = format!("/proc/{}/stat", victim.id());
    wait_until("it is stuck", || fs::read_to_string(&stat).unwrap().contains(") D "));

    let pausing = bundle.invoke(&["pause", &bundle.id]).spawn();
    wait_until("pause is at work", || fs::read_to_string(group.join("cgroup.freeze")).unwrap() == "1\n");
    pausing.signal(Signal::SIGINT);
    pausing.wait().exits(1).says("interrupted by a signal");
    assert_eq!(bundle.status(), "running");
    assert_runs(&started);

    let begun = Instant::now();
    let done = bundle.verb("pause", &[]).exits(1).says("unable to freeze cgroup").says("state D");
    assert!(begun.elapsed() >= Duration::from_secs(10), "{done}");
    assert_eq!(bundle.status(), "running");
    assert_runs(&started);

    drop(dead);
    victim.wait().unwrap();
    bundle.verb("pause", &[]).ok();
    assert_stands_still(&started);
}

/// Frozen is what is empty, too: a container that has ended must not look paused.
#[test]
fn of_a_container_that_ends_meanwhile() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    for _ in 0..10 {
        bundle.create().ok();
        let starting = bundle.invoke(&["start", &bundle.id]).spawn();
        let pause = bundle.verb("pause", &[]);
        starting.wait();
        if pause.status.code() == Some(0) {
            // It was in time: before the start, between, or while the program ran.
            bundle.verb("resume", &[]).ok();
        } else {
            pause.exits(1).says("container not running");
        }
        if bundle.status() == "created" {
            bundle.verb("start", &[]).ok();
        }
        bundle.wait_stopped();
        bundle.verb("delete", &[]).ok();
    }
}
