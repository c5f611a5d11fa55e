//! `exec`: exit statuses, states, detaching, what a failure leaves: nothing.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{Bundle, ConsoleSocket, Snapshot, is_peer, is_rootless, needs_root, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

#[test]
fn the_status_is_the_programs() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let done = bundle.exec(&[], &["echo", "Hello from exec"]).ok().quiet();
    assert_eq!(done.stdout, "Hello from exec\n");
    bundle.exec(&[], &["false"]).exits(1).quiet();
    for (script, status) in [("exit 42", 42), ("kill -KILL $$", 137), ("kill -TERM $$", 143), ("exit 255", 255)] {
        bundle.exec_script(script).exits(status).quiet();
    }
}

#[test]
fn own_failures_are_255() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    fs::write(bundle.rootfs().join("data/plain"), "x").unwrap();
    fs::write(bundle.rootfs().join("data/script"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(bundle.rootfs().join("data/script"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let before = Snapshot::of(&bundle);
    let cases: [(&[&str], &[&str], &str); 17] = [
        (&[], &["nope"], "exec: \"nope\": executable file not found in $PATH"),
        (&["-e", "PATH=/no"], &["true"], "exec: \"true\": executable file not found in $PATH"),
        (&[], &["/no/such"], "exec: \"/no/such\": stat /no/such: no such file or directory"),
        (&[], &["/data/plain"], "exec: \"/data/plain\": permission denied"),
        (&[], &["/data"], "is a directory"),
        (&[], &["/data/script"], "exec /data/script: no such file or directory"),
        (&[], &[], "exec args cannot be empty"),
        (&["--pid-file", "/no/such/dir/pid"], &["true"], "no such file or directory"),
        (
            &["--cwd", "/no/such"],
            &["true"],
            "chdir to cwd (\"/no/such\") set in config.json failed: no such file or directory",
        ),
        (&["--cwd", "relative"], &["true"], "process.cwd: Cwd must be an absolute path"),
        (&["--user", "root"], &["true"], "bad uid: \"root\""),
        (&["--user", "0:x"], &["true"], "bad gid: \"x\""),
        (&["--user", "4294967295"], &["true"], "process.user.uid: 4294967295"),
        (&["-g", "-1"], &["true"], "additional-gids must be a positive number -1"),
        (&["--env", "NOVALUE"], &["true"], "--env NOVALUE"),
        (&["--preserve-fds", "300"], &["true"], "unable to stat preserved-fd"),
        (&["--process", "/no/such.json"], &[], "--process /no/such.json"),
    ];
    for (flags, command, text) in cases {
        let done = bundle.exec(flags, command).exits(255).says("exec failed: ").says(text);
        assert_eq!(done.stdout, "", "{done}");
        assert!(is_peer() || done.stderr.lines().count() == 1, "one line: {done}");
    }
    assert!(!bundle.rootfs().join("no").exists(), "exec makes no working directory");
    assert_eq!(bundle.status(), "running");
    before.assert_unchanged(&bundle);
    bundle.invoke(&["exec", "no-such-container", "true"]).run().exits(255).says("container does not exist");
    bundle.invoke(&["exec"]).run().exits(1).says("requires a minimum of 1 argument(s)");
    bundle.exec(&["--bogus"], &["true"]).exits(1).says("flag provided but not defined: -bogus");
}

#[track_caller]
fn hidden_from_users(created: &Bundle) {
    let before = Snapshot::of(created);
    let refused = created.exec(&[], &["true"]).exits(255).says("look at the container's namespaces");
    refused.says("permission denied").says("only root may join it before it starts");
    before.assert_unchanged(created);
}

#[test]
fn in_a_created_container() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]).create().ok();
    if is_rootless() {
        // Until it is the container's program, the init process is hidden from all users.
        hidden_from_users(&bundle);
    } else {
        assert_eq!(bundle.exec(&[], &["cat", "/etc/group"]).ok().stdout.lines().count(), 3);
        bundle.exec(&[], &["nope"]).exits(255);
    }
    assert_eq!(bundle.status(), "created");
    bundle.verb("start", &[]).ok();
    // Whether or not the init process has become its program by now.
    bundle.exec(&[], &["true"]).ok();
    assert_eq!(bundle.status(), "running");
}

/// There is nothing for the command line to change.
#[test]
fn without_a_process_in_the_config() {
    if is_peer() || !needs_root("exec before the start", "the init process is hidden from users until then") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.unset("/process").create().ok();
    bundle
        .exec(&[], &["true"])
        .exits(255)
        .says("config.json: process: is not set: give the whole process with --process");
    let file = bundle.process_file(&json!({"args": ["/bin/echo", "in"], "cwd": "/"}));
    assert_eq!(bundle.exec(&["--process", &file], &[]).ok().stdout, "in\n");
    assert_eq!(bundle.status(), "created");
}

#[test]
fn not_in_a_stopped_container() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]).start_with("run", &["-d"]).run().ok();
    bundle.wait_stopped();
    bundle.exec(&[], &["true"]).exits(255).says("cannot exec in a stopped container");
}

/// Seen by the start time: the pid in the state is that of a living process, of this test.
#[test]
fn not_in_a_process_that_has_taken_the_pid() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.asleep();
    let state = bundle.state_root().join(&bundle.id).join("state.json");
    let recorded = fs::read_to_string(&state).unwrap();
    let pid = bundle.pid();
    let own = std::process::id();
    fs::write(&state, recorded.replace(&format!("\"pid\":{pid},"), &format!("\"pid\":{own},"))).unwrap();
    assert_eq!(bundle.status(), "stopped");
    bundle.exec(&[], &["true"]).exits(255).says("cannot exec in a stopped container");
    fs::write(&state, recorded).unwrap();
}

/// A foreground `run` counts as running from the clone on, but its mount namespace shows the host's files at first.
#[test]
fn not_before_the_container_is_made() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    let (entered, leave) = (bundle.logs().join("entered"), bundle.logs().join("leave"));
    let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.05; done", entered.display(), leave.display());
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", wait], "env": ["PATH=/bin"]}]));
    bundle.args(&["/bin/sleep", "1000"]);
    let run = bundle.start_with("run", &[]).spawn();
    wait_until("the hook runs", || entered.exists());
    let exec = bundle.exec_with(&[], &["/bin/ls", "/"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(exec.stdout(), "", "it ran before the container was made");
    fs::write(&leave, "").unwrap();
    let seen = exec.wait().ok().stdout;
    assert!(seen.contains("probe") && !seen.contains("usr"), "{seen}");
    bundle.kill("KILL").ok();
    run.wait().exits(137);

    // `create` says so while it is at work.
    fs::remove_file(&entered).unwrap();
    fs::remove_file(&leave).unwrap();
    let create = bundle.start_with("create", &[]).spawn();
    wait_until("the hook runs", || entered.exists());
    bundle.exec(&[], &["true"]).exits(255).says("cannot exec in a container in the creating state");
    fs::write(&leave, "").unwrap();
    create.wait().ok();
    if is_rootless() {
        hidden_from_users(&bundle);
        bundle.verb("start", &[]).ok();
    }
    bundle.exec(&[], &["true"]).ok();
}

#[test]
fn in_a_paused_container_only_when_asked() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let group = directory(&cgroup_of(&bundle));
    let freezer = group.join("cgroup.freeze");
    fs::write(&freezer, "1").unwrap();
    wait_until("it is paused", || bundle.status() == "paused");
    bundle.exec(&[], &["true"]).exits(255).says("cannot exec in a paused container (use --ignore-paused to override)");
    let exec = bundle.exec_with(&["--ignore-paused"], &["echo", "ok"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(exec.stdout(), "", "it waits");
    fs::write(&freezer, "0").unwrap();
    assert_eq!(exec.wait().ok().stdout, "ok\n");
    assert_eq!(bundle.status(), "running");

    // A signal ends the waiting, and nothing is left in the frozen cgroup.
    fs::write(&freezer, "1").unwrap();
    let before = Snapshot::of(&bundle);
    let exec = bundle.exec_with(&["--ignore-paused"], &["echo", "ok"]).spawn();
    wait_until("it waits", || fs::read_to_string(group.join("cgroup.procs")).unwrap().lines().count() > 1);
    exec.signal(Signal::SIGTERM);
    exec.wait().exits(255).fails();
    before.assert_unchanged(&bundle);
    fs::write(&freezer, "0").unwrap();
}

#[test]
fn detached() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let here = bundle.path().join("here");
    fs::create_dir(&here).unwrap();
    let exec = bundle.exec_with(&["-d", "--pid-file", "pid"], &["sleep", "1000"]).current_dir(&here);
    exec.run().ok().quiet();
    let pid = fs::read_to_string(here.join("pid")).unwrap();
    assert!(pid.parse::<i32>().is_ok_and(|pid| pid != bundle.pid()), "digits alone: {pid:?}");
    let process = PathBuf::from(format!("/proc/{pid}"));
    assert_eq!(fs::read_to_string(process.join("comm")).unwrap(), "sleep\n");
    let group = fs::read_to_string(process.join("cgroup")).unwrap();
    assert!(group.contains(&cgroup_of(&bundle)), "{group}");
    // It is an orphan, for the caller's subreaper.
    let status = fs::read_to_string(process.join("status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
    assert_ne!(fs::read_to_string(format!("/proc/{parent}/comm")).unwrap(), "onggi\n");
    assert_ne!(parent.parse(), Ok(bundle.pid()));
    bundle.verb("delete", &["-f"]).ok();
    wait_until("it ends with the container", || !process.exists());
}

#[test]
fn the_pid_file_is_there_while_it_runs() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let file = bundle.logs().join("pid");
    let exec = bundle.exec_with(&["--pid-file", file.to_str().unwrap()], &["sleep", "1000"]).spawn();
    wait_until("the pid file", || file.exists());
    let pid = fs::read_to_string(&file).unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGINT).unwrap();
    exec.wait().exits(130);
}

#[test]
fn signals_are_relayed() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let script = "trap 'exit 7' USR1; trap 'echo term' TERM; echo up; while :; do sleep 0.05; done";
    let exec = bundle.exec_with(&[], &["/bin/sh", "-c", script]).spawn();
    wait_until("it is up", || exec.stdout().contains("up"));
    exec.signal(Signal::SIGTERM);
    wait_until("TERM arrives", || exec.stdout().contains("term"));
    exec.signal(Signal::SIGUSR1);
    exec.wait().exits(7);
}

/// Only the first process counts, not what it leaves behind in the container.
#[test]
fn it_ends_with_its_own_process() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    bundle.exec_script("sleep 1000 > /dev/null 2>&1 & exit 3").exits(3);
    assert_eq!(bundle.status(), "running");
}

/// The state is written by nobody but `create` and its like.
#[test]
fn no_state_is_written() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let stamps = || {
        let dir = bundle.state_root().join(&bundle.id);
        let entries = fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path());
        let mut stamps: Vec<_> =
            entries.chain([dir.clone()]).map(|path| (fs::metadata(&path).unwrap().modified().unwrap(), path)).collect();
        stamps.sort();
        stamps
    };
    let before = stamps();
    bundle.exec(&[], &["true"]).ok();
    bundle.exec(&["-d"], &["sleep", "1"]).ok();
    bundle.exec(&[], &["nope"]).exits(255);
    assert_eq!(before, stamps());
}

/// The init process ends while the other is at work.
#[test]
fn the_container_ends_meanwhile() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let exec = bundle.exec_with(&[], &["/bin/sh", "-c", "echo up; sleep 1000"]).spawn();
    wait_until("it is up", || exec.stdout().contains("up"));
    bundle.kill("KILL").ok();
    exec.wait().exits(137);
}

#[test]
fn a_pidfd_goes_to_the_socket() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let socket = ConsoleSocket::new(bundle.path());
    let file = bundle.logs().join("pid");
    let flags = ["-d", "--pid-file", file.to_str().unwrap(), "--pidfd-socket", socket.path.to_str().unwrap()];
    bundle.exec(&flags, &["sleep", "1000"]).ok();
    let (message, descriptors) = socket.receive();
    assert_eq!((message.as_str(), descriptors.len()), ("setns", 1));
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptors[0].as_raw_fd())).unwrap();
    let pid = fs::read_to_string(file).unwrap();
    assert!(info.contains(&format!("Pid:\t{pid}\n")), "{info}");
    bundle.exec(&["--pidfd-socket", "/no/such.sock"], &["true"]).exits(255).says("--pidfd-socket /no/such.sock");
}

/// What counts is the config.json that the container was made from.
#[test]
fn the_bundle_may_change_or_go() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/process/env/-", json!("KEPT=1")).asleep();
    bundle.set("/process/env/-", json!("KEPT=2")).set("/process/user/uid", json!(1000)).save();
    let seen = bundle.exec_report(&[]);
    assert!(seen.env().contains(&"KEPT=1"), "{:?}", seen.env());
    assert_eq!(seen.numbers("Uid"), [0; 4]);
    fs::remove_file(bundle.path().join("config.json")).unwrap();
    bundle.exec(&[], &["true"]).ok();
    let kept = bundle.state_root().join(&bundle.id).join("config.json");
    fs::remove_file(kept).unwrap();
    bundle.exec(&[], &["true"]).exits(255).says("copy of config.json");
}

/// Without a PID namespace of its own the container's processes end with its cgroup.
#[test]
fn without_a_pid_namespace() {
    let mut bundle = Bundle::new();
    bundle.without_namespace("pid").asleep();
    let file = bundle.logs().join("pid");
    bundle.exec(&["-d", "--pid-file", file.to_str().unwrap()], &["sleep", "1000"]).ok();
    let process = Path::new("/proc").join(fs::read_to_string(file).unwrap());
    assert!(process.exists());
    bundle.verb("delete", &["-f"]).ok();
    wait_until("it ends with the container", || !process.exists());
}

#[test]
fn help_and_order_of_arguments() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    // What stands after the id is the program's.
    assert_eq!(bundle.exec(&[], &["echo", "-t", "--cwd", "x"]).ok().stdout, "-t --cwd x\n");
    let help = bundle.invoke(&["exec", "--help"]).run().ok().stdout;
    assert!(help.contains("--ignore-paused") && !help.contains("no-subreaper"), "{help}");
    bundle.exec(&["-no-subreaper"], &["true"]).ok();
}

#[test]
fn debug_lines_tell_what_is_joined() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let done = bundle.invoke(&["--debug", "exec", &bundle.id, "true"]).run().ok().says("level=debug");
    if !is_peer() {
        done.says(&format!("exec in container {}: joining namespaces cgroup|", bundle.id)).says(&cgroup_of(&bundle));
    }
}
