//! `process.terminal`, `--console-socket`, `/dev/console`, and whose terminal the container has.

use crate::harness::{Bundle, ConsoleSocket, Pty, Snapshot, is_peer, needs_root};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Runs in the foreground under a terminal of 24 by 80, and returns what was shown and how it ended.
fn interactive(bundle: &mut Bundle, script: &str, input: &str) -> (String, Option<i32>) {
    bundle.set("/process/terminal", json!(true)).script(script);
    let (mut pty, run) = Pty::control(bundle.start_with("run", &[]));
    pty.send(input);
    let shown = pty.rest();
    (shown, run.wait().status.code())
}

#[test]
fn all_three_descriptors_are_the_containers_own_terminal() {
    let mut bundle = Bundle::new();
    let script = "tty; for n in 0 1 2; do readlink /proc/self/fd/$n; done; stat -c '%t:%T %u:%g' /dev/pts/0; exit 7";
    let (shown, status) = interactive(&mut bundle, script, "");
    assert_eq!(status, Some(7), "{shown}");
    assert_eq!(shown.matches("/dev/pts/0").count(), 4, "{shown}");
    assert!(shown.contains("88:0 0:5"), "character device 136:0 of group tty: {shown}");
}

#[test]
fn console_is_the_terminal() {
    let mut bundle = Bundle::new();
    let (shown, _) = interactive(
        &mut bundle,
        "stat -c '%t:%T' /dev/console; echo spoken > /dev/console; grep -c ' /dev/console ' /proc/self/mountinfo",
        "",
    );
    assert!(shown.contains("88:0") && shown.contains("spoken"), "{shown}");
    assert!(shown.trim_end().ends_with('1'), "{shown}");
}

#[test]
fn it_is_the_controlling_terminal() {
    let mut bundle = Bundle::new();
    let (shown, status) = interactive(&mut bundle, "echo via tty > /dev/tty; exit 3", "");
    assert!(shown.contains("via tty"), "{shown}");
    assert_eq!(status, Some(3));
}

#[test]
fn input_and_interrupts_arrive() {
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", json!(true));
    bundle.script("trap 'echo interrupted; exit 6' INT; read line; echo got=$line; while :; do sleep 0.05; done");
    let (mut pty, run) = Pty::control(bundle.start_with("run", &[]));
    pty.send("a line\n");
    pty.expect("got=a line");
    pty.send("\u{3}");
    pty.expect("interrupted");
    pty.rest();
    run.wait().exits(6);
}

/// The outer terminal turns newlines into new lines, once; what is no terminal gets them as they were written. From the
/// first character on: the container's terminal was set up before its program could print.
#[test]
fn newlines_end_lines_once() {
    let mut bundle = Bundle::new();
    let (shown, _) = interactive(&mut bundle, "echo one; echo two", "");
    assert_eq!(shown, "one\r\ntwo\r\n");
    bundle.args(&["/bin/echo", "plain"]);
    let output = bundle.path().join("output");
    for _ in 0..5 {
        let mut pty = Pty::new(24, 80);
        let stdout = fs::File::create(&output).unwrap();
        let run = bundle.start_with("run", &[]).stdio(pty.stdio(), stdout.into(), pty.stdio()).spawn();
        pty.close_slave();
        run.wait().ok();
        assert_eq!(fs::read_to_string(&output).unwrap(), "plain\n");
    }
}

#[test]
fn size_is_copied_or_configured() {
    let mut bundle = Bundle::new();
    let (shown, _) = interactive(&mut bundle, "stty size", "");
    assert!(shown.contains("24 80"), "{shown}");
    let socket = ConsoleSocket::new(bundle.path());
    bundle.set("/process/consoleSize", json!({"height": 30, "width": 90})).script("stty size; sleep 100");
    bundle.start_with("run", &["-d", "--console-socket", socket.path.to_str().unwrap()]).run().ok();
    let (_, mut descriptors) = socket.receive();
    Pty::of_master(descriptors.pop().unwrap()).expect("30 90");
}

#[test]
fn console_socket_gets_one_master() {
    let mut bundle = Bundle::new();
    let socket = ConsoleSocket::new(bundle.path());
    bundle.set("/process/terminal", json!(true)).script("echo hello; read line; echo got=$line; tty; exec sleep 100");
    bundle.start_with("create", &["--console-socket", socket.path.to_str().unwrap()]).run().ok().quiet();
    let (payload, mut descriptors) = socket.receive();
    assert!(!payload.is_empty() && payload.len() < 4096, "a name: {payload:?}");
    assert_eq!(descriptors.len(), 1, "exactly one descriptor");
    assert_eq!(bundle.status(), "created");
    bundle.verb("start", &[]).ok();
    let mut pty = Pty::of_master(descriptors.pop().unwrap());
    pty.expect("hello");
    pty.send("input\n");
    pty.expect("got=input");
    pty.expect("/dev/pts/0");
    assert!(socket.is_unused(), "one connection");
}

/// What cannot be a console socket is refused before anything is made; nobody who takes the terminal is one as well.
#[test]
fn console_sockets_that_are_none() {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
    use std::os::fd::AsRawFd;
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", json!(true)).args(&["/bin/true"]);
    let dir = bundle.path().to_owned();
    fs::write(dir.join("file"), "").unwrap();
    drop(UnixListener::bind(dir.join("left")).unwrap());
    let typed = |name: &str, kind| {
        let made = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(made.as_raw_fd(), &UnixAddr::new(&dir.join(name)).unwrap()).unwrap();
        made
    };
    let packets = typed("packets", SockType::SeqPacket);
    listen(&packets, Backlog::new(1).unwrap()).unwrap();
    let _datagrams = typed("datagrams", SockType::Datagram);
    fs::create_dir_all(bundle.state_root()).unwrap();
    let path = dir.join("closing");
    let listener = UnixListener::bind(&path).unwrap();
    let before = Snapshot::of(&bundle);
    for name in ["file", "left", "packets", "datagrams", "missing"] {
        let path = dir.join(name);
        let done = bundle.start_with("create", &["--console-socket", path.to_str().unwrap()]).run();
        done.exits(1).says(name);
    }
    // Somebody who hangs up at once gets no terminal, and there is no container.
    let create = bundle.start_with("create", &["--console-socket", path.to_str().unwrap()]).spawn();
    drop(listener.accept().unwrap());
    create.wait().exits(1).says("--console-socket");
    before.assert_unchanged(&bundle);
}

/// A path may be longer than an address holds, and is relative to where the caller stands. Whether the receiver ever
/// looks is its own affair.
#[test]
fn console_sockets_of_any_path() {
    let long = Bundle::new();
    let deep = long.path().join("d".repeat(100));
    fs::create_dir(&deep).unwrap();
    for relative in [false, true] {
        let mut bundle = Bundle::new();
        bundle.set("/process/terminal", json!(true)).script("echo spoken; sleep 1000");
        let home = if relative { bundle.path().to_owned() } else { deep.clone() };
        // Made by a relative path too: the address has no room for the other.
        let link = bundle.logs().join("s");
        std::os::unix::fs::symlink(&home, &link).unwrap();
        let socket = ConsoleSocket::new(&link);
        let path = if relative { Path::new("console.sock").to_owned() } else { home.join("console.sock") };
        let run = bundle.start_with("run", &["-d", "--console-socket", path.to_str().unwrap()]);
        run.current_dir(bundle.path()).run().ok().quiet();
        assert_eq!(bundle.status(), "running");
        let (_, mut descriptors) = socket.receive();
        Pty::of_master(descriptors.pop().unwrap()).expect("spoken");
    }
}

#[test]
fn console_sizes() {
    for (height, width, expected) in
        [(0, 0, (0, 0)), (0, 80, (0, 0)), (25, 0, (0, 0)), (1, 1, (1, 1)), (65535, 65535, (65535, 65535))]
    {
        let mut bundle = Bundle::new();
        bundle.set("/process/terminal", json!(true));
        bundle.set("/process/consoleSize", json!({"height": height, "width": width})).args(&["/bin/sleep", "1000"]);
        let socket = ConsoleSocket::new(bundle.path());
        bundle.start_with("run", &["-d", "--console-socket", socket.path.to_str().unwrap()]).run().ok();
        let (_, mut descriptors) = socket.receive();
        assert_eq!(Pty::of_master(descriptors.pop().unwrap()).size(), expected);
    }
}

#[test]
fn a_size_without_a_terminal_is_ignored() {
    let mut bundle = Bundle::new();
    bundle.set("/process/consoleSize", json!({"height": 10, "width": 20})).args(&["/bin/true"]);
    for terminal in [json!(false), json!(null)] {
        bundle.set("/process/terminal", terminal);
        bundle.run().ok();
    }
}

#[test]
fn the_multiplexer_is_the_containers() {
    let mut bundle = Bundle::new();
    let (shown, _) = interactive(&mut bundle, "readlink /dev/ptmx; stat -c %t:%T /dev/pts/ptmx; ls /dev/pts", "");
    assert!(shown.contains("pts/ptmx") && shown.contains("5:2"), "{shown}");
    assert!(shown.contains('0') && !shown.contains("1 "), "{shown}");
}

/// A terminal that goes to a socket is as the kernel makes it: its receiver sets it up.
#[test]
fn modes_of_a_terminal_for_a_socket_are_the_kernels() {
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", json!(true)).script("echo one; sleep 1000");
    let socket = ConsoleSocket::new(bundle.path());
    bundle.start_with("run", &["-d", "--console-socket", socket.path.to_str().unwrap()]).run().ok();
    let (_, mut descriptors) = socket.receive();
    let shown = Pty::of_master(descriptors.pop().unwrap()).expect("\n");
    assert_eq!(shown, "one\r\n");
}

#[test]
fn slave_belongs_to_the_user_and_its_group_stays() {
    let mut bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let (shown, _) = interactive(&mut bundle, "stat -c 'owner=%u:%g' /dev/pts/0", "");
    assert!(shown.contains("owner=1000:5"), "{shown}");
}

#[test]
fn terminal_and_socket_must_fit() {
    let mut bundle = Bundle::new();
    let socket = ConsoleSocket::new(bundle.path());
    let path = socket.path.to_str().unwrap().to_owned();
    bundle.args(&["/bin/true"]).set("/process/terminal", json!(true));
    let detached = "will detach without setting console socket";
    bundle.create().exits(1).says("cannot allocate tty if").says(detached);
    bundle.start_with("run", &["-d"]).run().exits(1).says(detached);
    let useless = "cannot use console socket if";
    bundle.start_with("run", &["--console-socket", &path]).run().exits(1).says(useless);
    bundle.set("/process/terminal", json!(false));
    bundle.start_with("create", &["--console-socket", &path]).run().exits(1).says(useless);
    bundle.set("/process/terminal", json!(true));
    let missing = bundle.path().join("missing.sock");
    bundle.start_with("create", &["--console-socket", missing.to_str().unwrap()]).run().exits(1).says("missing.sock");
}

#[test]
fn foreground_terminal_without_any_terminal_fails() {
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", json!(true)).args(&["/bin/echo", "ran"]);
    let done = bundle.start_with("run", &[]).under(&["setsid", "--wait"]).run().exits(1).fails();
    assert_eq!(done.stdout, "");
}

/// CVE-2016-10124, CVE-2017-5226: without `terminal` the caller's terminal is neither controlling nor writable by ioctl.
#[test]
fn the_callers_terminal_is_out_of_reach() {
    let mut bundle = Bundle::new();
    bundle.args(&["/probe", "tty-inject"]);
    let (mut pty, run) = Pty::control(bundle.start_with("run", &[]));
    let shown = pty.rest();
    run.wait().ok();
    assert!(shown.contains("\"tiocsti\":\"E"), "{shown}");
    // Nor is it by name.
    bundle.script("echo x > /dev/tty && echo reached");
    let (mut pty, run) = Pty::control(bundle.start_with("run", &[]));
    let shown = pty.rest();
    run.wait();
    assert!(!shown.contains("reached"), "{shown}");
}

/// runc issues 3674 and 3731: handing `/dev/null` to a container must not give the host's device away.
#[test]
fn owner_of_the_hosts_null_stays() {
    let before = fs::metadata("/dev/null").unwrap();
    let mut bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).args(&["/bin/true"]);
    let null = || std::process::Stdio::from(fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap());
    bundle.start_with("run", &[]).stdio(null(), null(), null()).run().ok();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.start_with("run", &["-d"]).stdio(null(), null(), null()).run().ok();
    let after = fs::metadata("/dev/null").unwrap();
    assert_eq!((before.uid(), before.gid(), before.mode()), (after.uid(), after.gid(), after.mode()));
    if !needs_root("descriptors of a process of another user", "it is not the caller's to look at") {
        return;
    }
    let link = fs::read_link(format!("/proc/{}/fd/0", bundle.pid())).unwrap();
    assert_eq!(link.to_str(), Some("/dev/null"));
    if !is_peer() {
        let host = fs::metadata("/dev/null").unwrap();
        let seen = fs::metadata(format!("/proc/{}/fd/0", bundle.pid())).unwrap();
        assert_ne!((host.dev(), host.ino()), (seen.dev(), seen.ino()), "the container's own null device");
    }
}

/// Without a terminal the program may reopen its stdio by name, whatever its user.
#[test]
fn stdio_can_be_reopened() {
    let mut bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.script("echo one > /dev/stdout && echo two > /proc/self/fd/2");
    let done = bundle.run().ok();
    assert!(done.stdout.contains("one") && done.stderr.contains("two"), "{done}");
}

/// A flood of output stops neither keys nor signals, nor the end.
#[test]
fn a_flood_of_output_can_be_interrupted() {
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", json!(true)).script("trap 'exit 7' INT; echo flood; busybox yes");
    let (mut pty, run) = Pty::control(bundle.start_with("run", &[]));
    pty.expect("flood");
    pty.expect("y");
    pty.send("\u{3}");
    pty.rest();
    run.wait().exits(7);
}

/// Output that nobody takes hangs up the container's terminal, as closing the window would; the container decides.
#[test]
fn stdout_that_breaks_is_a_hangup() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", json!(true)).set("/root/readonly", json!(false));
    bundle.script("trap 'exit 8' HUP; while :; do echo x; sleep 0.05; done");
    let pty = Pty::new(24, 80);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let before = Snapshot::of(&bundle);
    let run = bundle.start_with("run", &[]).stdio(pty.stdio(), writer.into(), std::process::Stdio::null()).spawn();
    assert_eq!(run.wait().status.code(), Some(8));
    before.assert_unchanged(&bundle);
}
