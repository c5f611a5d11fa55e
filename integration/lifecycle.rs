//! `create`, `start` and `run`: the states a container goes through, and what each verb leaves (behaviour: runc).

use crate::harness::{Bundle, Snapshot, caller, is_peer, needs_root, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;

#[test]
fn run_in_the_foreground_returns_the_status_and_leaves_nothing() {
    let mut bundle = Bundle::new();
    bundle.script("echo out; echo err >&2; exit 37");
    let done = bundle.run().exits(37);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
    assert!(!bundle.state_root().join(&bundle.id).exists(), "the state directory is gone");
    bundle.verb("state", &[]).exits(1).says("container does not exist");
}

#[test]
fn run_leaves_the_host_as_it_was() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.run().ok().quiet();
    let before = Snapshot::of(&bundle);
    bundle.run().ok().quiet();
    before.assert_unchanged(&bundle);
}

#[test]
fn run_of_a_killed_process_returns_128_plus_the_signal() {
    let mut bundle = Bundle::new();
    // Init of a PID namespace has no default actions; its own SIGKILL does not reach it either: a child tells.
    bundle.without_namespace("pid").script("kill -9 $$");
    bundle.run().exits(137);
    bundle.script("kill -11 $$");
    bundle.run().exits(139);
}

#[test]
fn stdin_reaches_the_container() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/cat"]);
    let done = bundle.start_with("run", &[]).stdin_text("line one\nline two\n").run().ok();
    assert_eq!(done.stdout, "line one\nline two\n");
}

#[test]
fn create_start_delete() {
    let mut bundle = Bundle::new();
    bundle.script("echo started > /tmp/started; exec sleep 100").set("/root/readonly", json!(false));
    let created = bundle.create().ok().quiet();
    assert_eq!(created.stdout, "", "create prints nothing");
    assert_eq!(bundle.status(), "created");
    assert!(!bundle.rootfs().join("tmp/started").exists(), "the program has not run before start");

    bundle.verb("start", &[]).ok().quiet();
    assert_eq!(bundle.status(), "running");
    wait_until("the program runs", || bundle.rootfs().join("tmp/started").exists());
    bundle.verb("start", &[]).exits(1).says("cannot start an already running container");
    bundle.verb("delete", &[]).exits(1).says("not stopped: running");
    assert_eq!(bundle.status(), "running", "failed verbs have no effect");

    bundle.kill("KILL").ok().quiet();
    bundle.wait_stopped();
    assert_eq!(bundle.state()["pid"], 0);
    bundle.verb("start", &[]).exits(1).says("cannot start a container that has stopped");
    bundle.verb("delete", &[]).ok().quiet();
    bundle.verb("state", &[]).exits(1).says("container does not exist");
    bundle.verb("start", &[]).exits(1).says("container does not exist");
}

#[test]
fn editing_the_config_after_create_has_no_effect() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "first"]);
    let created = bundle.create().ok();
    bundle.args(&["/bin/echo", "second"]).save();
    bundle.verb("start", &[]).ok();
    bundle.wait_stopped();
    assert_eq!(created.stdout_now(), "first\n");
}

#[test]
fn an_id_can_be_used_again_after_failure_and_after_delete() {
    let mut bundle = Bundle::new();
    bundle.args(&["/no/such/program"]);
    bundle.create().exits(1);
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    bundle.create().exits(1).says("container with given ID already exists");
    assert_eq!(bundle.status(), "created", "the container in use is unharmed");
    bundle.verb("delete", &["--force"]).ok();
    bundle.create().ok();
}

#[test]
fn run_detached_returns_while_the_program_runs() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    let pid_file = bundle.path().join("logs/pid");
    bundle.start_with("run", &["--detach", "--pid-file", pid_file.to_str().unwrap()]).run().ok().quiet();
    assert_eq!(bundle.status(), "running");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), bundle.pid().to_string(), "decimal, no newline");
    let comm = fs::read_to_string(format!("/proc/{}/cmdline", bundle.pid())).unwrap();
    assert_eq!(comm, "/bin/sleep\x00100\x00");
}

#[test]
fn run_keep_leaves_a_stopped_container() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/false"]);
    bundle.save();
    let done = bundle.start_with("run", &["--keep"]).run();
    assert_eq!(done.status.code(), Some(1), "{done}");
    assert_eq!(bundle.status(), "stopped");
    bundle.verb("delete", &[]).ok();
}

#[test]
fn pid_file_is_relative_to_the_callers_directory() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.start_with("create", &["--pid-file", "here.pid"]).current_dir(&bundle.logs()).run().ok();
    let written = fs::read_to_string(bundle.logs().join("here.pid")).expect("in the caller's directory");
    assert_eq!(written, bundle.pid().to_string());
    assert!(!bundle.path().join("here.pid").exists());
}

#[test]
fn bundle_defaults_to_the_current_directory() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "here"]);
    bundle.save();
    let done = bundle.invoke(&["run", &bundle.id]).current_dir(bundle.path()).run().ok();
    assert_eq!(done.stdout, "here\n");
}

#[test]
fn no_pivot_runs_in_the_rootfs() {
    if !needs_root("--no-pivot", "a user namespace rules it out") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.script("test -x /probe && test ! -e /usr && echo inside");
    let done = bundle.start_with("run", &["--no-pivot"]).run().ok();
    assert_eq!(done.stdout, "inside\n", "{done}");
}

#[test]
fn preserved_descriptors_keep_their_numbers() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sh", "-c", "cat <&3; cat <&4; ls /proc/self/fd"]);
    fs::write(bundle.path().join("logs/a"), "three\n").unwrap();
    fs::write(bundle.path().join("logs/b"), "four\n").unwrap();
    let script = format!("exec 3<{0}/a 4<{0}/b 5<{0}/a; exec \"$@\"", bundle.logs().display());
    let done = bundle.start_with("run", &["--preserve-fds", "2"]).under(&["sh", "-c", &script, "-"]).run().ok();
    // The last number is the directory that ls itself has open.
    assert_eq!(done.stdout, "three\nfour\n0\n1\n2\n3\n4\n5\n", "{done}");
    let done = bundle.start_with("run", &["--preserve-fds", "100"]).under(&["sh", "-c", &script, "-"]).run().exits(1);
    done.says("unable to stat preserved-fd");
}

#[test]
fn foreground_run_forwards_signals() {
    let mut bundle = Bundle::new();
    bundle.script(
        "trap 'echo got term; exit 3' TERM; trap 'echo got usr1' USR1; echo ready; while :; do sleep 0.05; done",
    );
    let running = bundle.start_with("run", &[]).spawn();
    wait_until("the trap is set", || running.stdout().contains("ready"));
    running.signal(Signal::SIGUSR1);
    wait_until("SIGUSR1 arrives", || running.stdout().contains("got usr1"));
    running.signal(Signal::SIGTERM);
    let done = running.wait().exits(3);
    assert!(done.stdout.contains("got term"), "{done}");
}

#[test]
fn foreground_run_returns_when_init_ends_even_with_background_children() {
    let mut bundle = Bundle::new();
    // Without a PID namespace of its own the background child survives init, and the cgroup must be emptied.
    bundle.without_namespace("pid").script("sleep 300 & echo done");
    bundle.run().ok();
    let before = Snapshot::of(&bundle);
    let done = bundle.run().ok();
    assert_eq!(done.stdout, "done\n");
    before.assert_unchanged(&bundle);
}

/// What the program leaves behind is the runtime's to reap, and not the caller's; with `--no-subreaper` it is not.
#[test]
fn orphans_come_to_the_runtime() {
    for (flags, comes) in [(&[][..], true), (&["--no-subreaper"][..], false)] {
        let mut bundle = Bundle::new();
        bundle.without_namespace("pid");
        let orphan = "trap 'exit 3' TERM; echo pid=$(sh -c 'sleep 300 >/dev/null & echo $!').";
        bundle.script(&format!("{orphan}; while :; do sleep 0.05; done"));
        let run = bundle.start_with("run", flags).spawn();
        wait_until("the orphan is there", || run.stdout().contains('.'));
        let pid = run.stdout().trim().trim_start_matches("pid=").trim_end_matches('.').to_owned();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
        assert_eq!(parent.parse().ok() == Some(run.pid()), comes, "{flags:?}");
        run.signal(Signal::SIGTERM);
        run.wait().exits(3);
    }
}

#[test]
fn start_does_not_hang_when_init_died() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    bundle.verb("start", &[]).exits(1).fails();
    bundle.verb("delete", &[]).ok();
}

/// Made like any other, it can't be started: that is an error, and its end.
#[test]
fn without_a_process() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/root/readonly", json!(false)).args(&["/bin/true"]).warm_up();
    let logs = bundle.logs();
    let touching = |path: &str| json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo > {path}")]}]);
    for kind in ["createRuntime", "poststart", "poststop"] {
        bundle.set(&format!("/hooks/{kind}"), touching(logs.join(kind).to_str().unwrap()));
    }
    bundle.set("/hooks/startContainer", touching("/tmp/started"));
    let ran = |kind| fs::remove_file(logs.join(kind)).is_ok();
    let before = Snapshot::of(&bundle);
    let refusal = "config.json: process: is not set, and start needs it: add it";
    let edits: [fn(&mut Bundle) -> &mut Bundle; 2] = [|b| b.unset("/process"), |b| b.set("/process", json!(null))];
    for edit in edits {
        edit(&mut bundle);
        bundle.run().exits(1).says(refusal);
        bundle.start_with("run", &["--detach"]).run().exits(1).says(refusal);
        assert!(!ran("createRuntime") && !ran("poststop"), "run refuses before anything is made");
        before.assert_unchanged(&bundle);

        bundle.create().ok().quiet();
        assert_eq!(bundle.status(), "created");
        assert!(ran("createRuntime"));
        let status = fs::read_to_string(format!("/proc/{}/status", bundle.pid())).unwrap();
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
        assert_eq!(line("Uid:").split('\t').next(), Some(caller::on_host(0).to_string().as_str()));
        assert_eq!((line("CapEff:"), line("CapBnd:")), ("0".repeat(16), "0".repeat(16)));

        bundle.verb("start", &[]).exits(1).says(refusal);
        assert_eq!(bundle.status(), "stopped");
        bundle.verb("start", &[]).exits(1).says("cannot start a container that has stopped");
        assert!(!ran("poststart") && !ran("poststop"), "nothing was started, and nothing is gone");
        bundle.verb("delete", &[]).ok().quiet();
        assert!(ran("poststop"));
        before.assert_unchanged(&bundle);
    }
}

#[test]
fn two_concurrent_starts_one_wins() {
    let mut bundle = Bundle::new();
    bundle.script("echo once; exec sleep 100");
    let created = bundle.create().ok();
    let first = bundle.invoke(&["start", &bundle.id]).spawn();
    let second = bundle.invoke(&["start", &bundle.id]).spawn();
    let won = [first.wait(), second.wait()].iter().filter(|done| done.status.success()).count();
    assert_eq!(won, 1);
    wait_until("the program runs", || created.stdout_now() == "once\n");
}

/// A caller that ignores SIGCHLD has the kernel reap its children; that must not be ours, too.
#[test]
fn a_caller_that_ignores_sigchld() {
    let mut bundle = Bundle::new();
    bundle.script("exit 5").set("/hooks/createRuntime", json!([{"path": "/bin/true"}]));
    let before = Snapshot::of(&bundle);
    let ignoring = ["env", "--ignore-signal=CHLD"];
    bundle.start_with("run", &[]).under(&ignoring).run().exits(5).quiet();
    before.assert_unchanged(&bundle);
}

/// What is left of a command that was killed while it wrote the file is in nobody's way.
#[test]
fn pid_file_after_a_killed_command() {
    let mut bundle = Bundle::new();
    let (left, file) = (bundle.logs().join(".pid"), bundle.logs().join("pid"));
    fs::write(&left, "1").unwrap();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.start_with("create", &["--pid-file", file.to_str().unwrap()]).run().ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), bundle.pid().to_string());
    assert!(!left.exists() || is_peer());
}

/// A file that the caller lets the container read stays the caller's: its owner could write to it.
#[test]
fn a_file_on_stdin_keeps_its_owner() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    let file = bundle.logs().join("input");
    fs::write(&file, "text\n").unwrap();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).args(&["/bin/cat"]);
    let run = bundle.start_with("run", &[]).stdin_file(&file).run().ok();
    assert_eq!(run.stdout, "text\n");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&file).unwrap()), caller::uid());
}

/// Before anything is made nobody need be patient: signals do what they always do.
#[test]
fn a_bundle_that_cannot_be_read_can_be_interrupted() {
    let bundle = Bundle::new();
    let waiting = bundle.start_with("run", &[]);
    fs::remove_file(bundle.path().join("config.json")).unwrap();
    nix::unistd::mkfifo(&bundle.path().join("config.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let waiting = waiting.spawn();
    std::thread::sleep(std::time::Duration::from_millis(200));
    waiting.signal(Signal::SIGTERM);
    assert!(!waiting.wait().status.success());
}

/// An argument longer than a message of the child's may be; the error still arrives.
#[test]
fn a_very_long_program_name() {
    let mut bundle = Bundle::new();
    bundle.args(&[&format!("/{}", "x".repeat(100_000))]);
    bundle.run().exits(1).says("find the program").says("xxx");
}
