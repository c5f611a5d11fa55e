//! `exec --tty` and its console socket.

use crate::harness::{Bundle, ConsoleSocket, Pty, Snapshot, is_peer, wait_until};
use serde_json::json;
use std::fs;
use std::process::Stdio;

/// Runs `exec --tty` in the foreground under a terminal of 24 by 80, and returns what was shown and how it ended.
fn interactive(bundle: &Bundle, flags: &[&str], script: &str) -> (String, Option<i32>) {
    let flags = [&["-t"], flags].concat();
    let (mut pty, exec) = Pty::control(bundle.exec_with(&flags, &["/bin/sh", "-c", script]));
    let shown = pty.rest();
    (shown, exec.wait().status.code())
}

#[test]
fn the_terminal_is_one_of_the_containers() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let script = "tty; for n in 0 1 2; do readlink /proc/self/fd/$n; done; echo via tty > /dev/tty; \
                  stat -c 'owner=%u:%g' $(tty); stty size; exit 7";
    let (shown, status) = interactive(&bundle, &[], script);
    assert_eq!(status, Some(7), "{shown}");
    assert_eq!(shown.matches("/dev/pts/0").count(), 4, "{shown}");
    for text in ["via tty", "owner=0:5", "24 80"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let (shown, _) = interactive(&bundle, &["-u", "1000:1000"], "stat -c 'owner=%u:%g' $(tty)");
    assert!(shown.contains("owner=1000:5"), "{shown}");
}

/// The console is the first process's, and that has none here.
#[test]
fn the_console_stays() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let before = Snapshot::of(&bundle);
    let (shown, _) = interactive(&bundle, &[], "grep -c ' /dev/console ' /proc/self/mountinfo");
    assert_eq!(shown.trim(), "0");
    before.assert_unchanged(&bundle);
}

#[test]
fn input_and_interrupts_arrive() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let script = "trap 'echo interrupted; exit 6' INT; read line; echo got=$line; while :; do sleep 0.05; done";
    let (mut pty, exec) = Pty::control(bundle.exec_with(&["--tty"], &["/bin/sh", "-c", script]));
    pty.send("a line\n");
    pty.expect("got=a line");
    pty.send("\u{3}");
    pty.expect("interrupted");
    pty.rest();
    exec.wait().exits(6);
}

#[test]
fn detached_the_master_goes_to_the_socket() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let socket = ConsoleSocket::new(bundle.path());
    let path = socket.path.to_str().unwrap();
    let script = "stty size; read line; echo got=$line";
    let process = json!({"terminal": true, "consoleSize": {"height": 10, "width": 110}, "cwd": "/",
        "args": ["/bin/sh", "-c", script], "env": ["PATH=/bin"]});
    let file = bundle.process_file(&process);
    let pid = bundle.logs().join("pid");
    let flags = ["-d", "--pid-file", pid.to_str().unwrap(), "--console-socket", path, "--process", &file];
    bundle.exec(&flags, &[]).ok().quiet();
    let (name, mut descriptors) = socket.receive();
    assert!(!name.is_empty() && descriptors.len() == 1, "{name}");
    let mut pty = Pty::of_master(descriptors.pop().unwrap());
    pty.expect("10 110");
    pty.send("x\n");
    pty.expect("got=x");
    let pid = fs::read_to_string(pid).unwrap();
    wait_until("it ends", || !fs::exists(format!("/proc/{pid}")).unwrap());
}

#[test]
fn terminal_and_socket_must_fit() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let socket = ConsoleSocket::new(bundle.path());
    let path = socket.path.to_str().unwrap().to_owned();
    bundle.exec(&["-t", "-d"], &["true"]).exits(255).says("will detach without setting console socket");
    let useless = "cannot use console socket if";
    bundle.exec(&["-t", "--console-socket", &path], &["true"]).exits(255).says(useless);
    bundle.exec(&["-d", "--console-socket", &path], &["true"]).exits(255).says(useless);
    assert!(socket.is_unused());
    let missing = bundle.path().join("missing.sock");
    let missing = missing.to_str().unwrap();
    bundle.exec(&["-t", "-d", "--console-socket", missing], &["true"]).exits(255).says("missing.sock");
    let none = bundle.exec_with(&["-t"], &["echo", "ran"]).under(&["setsid", "--wait"]).run().exits(255);
    assert_eq!(none.stdout, "");
}

/// config.json's `terminal` is about the first process.
#[test]
fn without_the_flag_there_is_none() {
    let mut bundle = Bundle::new();
    let socket = ConsoleSocket::new(bundle.path());
    bundle.set("/process/terminal", json!(true)).args(&["/bin/sleep", "1000"]);
    bundle.start_with("run", &["-d", "--console-socket", socket.path.to_str().unwrap()]).run().ok();
    let (_, _master) = socket.receive();
    bundle.exec(&[], &["tty"]).exits(1);
    // Its first process has the number 0.
    let (shown, _) = interactive(&bundle, &[], "tty");
    assert_eq!(shown.trim(), "/dev/pts/1");
}

#[test]
fn stdin_need_not_be_a_terminal() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let mut pty = Pty::new(30, 90);
    let exec = bundle.exec_with(&["-t"], &["stty", "size"]).under(&["setsid", "--wait"]);
    let exec = exec.stdio(Stdio::null(), pty.stdio(), pty.stdio()).spawn();
    pty.close_slave();
    assert!(pty.rest().contains("30 90"));
    exec.wait().ok();
}

/// A failure of execve comes when the terminal is raw already: one line, and the terminal as it was.
#[test]
fn a_failing_execve_is_one_line() {
    let mut bundle = Bundle::new();
    let script = bundle.rootfs().join("data/run.sh");
    fs::write(&script, "#!/mmnnttbb foo bar\nsh\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bundle.asleep();
    let (mut pty, exec) = Pty::control(bundle.exec_with(&["-t"], &["/data/run.sh"]));
    let shown = pty.rest();
    exec.wait().exits(255);
    assert!(shown.contains("exec /data/run.sh: no such file or directory"), "{shown}");
    assert!(shown.ends_with("\r\n") && shown.lines().count() == 1, "{shown:?}");
}

/// Without `--tty` the caller's terminal is neither controlling nor writable by ioctl (CVE-2016-10124).
#[test]
fn the_callers_terminal_is_out_of_reach() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let (mut pty, exec) = Pty::control(bundle.exec_with(&[], &["/probe", "tty-inject"]));
    let shown = pty.rest();
    exec.wait().ok();
    assert!(shown.contains("\"tiocsti\":\"E"), "{shown}");
}

/// The container's `/dev/pts/ptmx` is not trusted to be one (CVE-2025-52565).
#[test]
fn a_multiplexer_that_is_none_is_refused() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.without_mount("/dev/pts").asleep();
    bundle.exec_script("mkdir -p /dev/pts; echo fake > /dev/pts/ptmx").ok();
    let (shown, status) = interactive(&bundle, &[], "true");
    assert_eq!(status, Some(255));
    assert!(shown.contains("ptmx"), "{shown}");
}
