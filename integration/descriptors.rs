//! Descriptors beyond the standard ones: socket activation, `--preserve-fds`, `--pidfd-socket`.

use crate::harness::{Bundle, ConsoleSocket, Outcome, Report, Snapshot, is_peer, wait_until};
use serde_json::json;
use std::fs;
use std::os::fd::AsRawFd;

/// Opens `count` descriptors from 3 on, the one called N for reading a file with N in it, and tells the runtime that the
/// first `listen` are its sockets.
fn activated(bundle: &Bundle, count: u32, listen: u32) -> String {
    for number in 3..3 + count {
        fs::write(bundle.logs().join(format!("fd{number}")), format!("{number}\n")).unwrap();
    }
    let logs = bundle.logs();
    let logs = logs.display();
    let open = format!("for n in $(seq 3 {}); do eval \"exec $n<{logs}/fd$n\"; done", 2 + count);
    let tell = match listen {
        0 => String::new(),
        _ => format!("export LISTEN_FDS={listen} LISTEN_FDNAMES=web:admin LISTEN_PID=$$;"),
    };
    format!("{open}; {tell} exec \"$@\"")
}

fn run(bundle: &Bundle, verb: &str, preserve: u32, caller: &str) -> Outcome {
    let flags = ["--preserve-fds", &preserve.to_string()];
    bundle.start_with(verb, &flags).under(&["bash", "-c", caller, "-"]).run()
}

#[test]
fn sockets_of_activation_come_first() {
    for private in [true, false] {
        let mut bundle = Bundle::new();
        if !private {
            bundle.without_namespace("pid");
        }
        // What config.json says of it is about somebody else.
        bundle.set("/process/env", json!(["PATH=/bin", "LISTEN_FDS=9", "LISTEN_PID=8", "LISTEN_FDNAMES=a"]));
        bundle.script("echo $LISTEN_FDS $LISTEN_FDNAMES; test $LISTEN_PID = $$ && echo me; cat <&3 <&4; cat <&5; ls /proc/self/fd");
        let done = run(&bundle, "run", 1, &activated(&bundle, 6, 2)).ok();
        let seen = done.stdout.strip_prefix(if is_peer() { "2 a\nme\n" } else { "2 web:admin\nme\n" });
        // The last number is the directory that ls has open.
        assert_eq!(seen, Some("4\n5\n0\n1\n2\n3\n4\n5\n6\n"), "{done}");
    }
}

#[test]
fn a_created_container_keeps_them() {
    let mut bundle = Bundle::new();
    bundle.script("echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4");
    let created = run(&bundle, "create", 1, &activated(&bundle, 3, 1)).ok();
    bundle.verb("start", &[]).ok();
    bundle.wait_stopped();
    assert_eq!(created.stdout_now(), "1 1\n3\n4\n");
}

#[test]
fn exec_takes_no_sockets_of_activation() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let caller = activated(&bundle, 2, 2);
    let done = bundle.exec_with(&[], &["/probe", "report"]).under(&["bash", "-c", &caller, "-"]).run().ok();
    let seen = Report::parse(&done);
    assert_eq!(seen.descriptors(), ["0", "1", "2"]);
    assert!(!seen.env().iter().any(|entry| entry.starts_with("LISTEN_")), "{:?}", seen.env());
}

/// As many as that could be where descriptors of our own would lie.
#[test]
fn a_hundred() {
    for listen in [0, 40] {
        let mut bundle = Bundle::new();
        bundle.script("n=3; while [ $n -lt 103 ]; do read x <&$n; test $x = $n || echo $n is $x; n=$((n+1)); done; ls /proc/self/fd | wc -l");
        let done = run(&bundle, "run", 100 - listen, &activated(&bundle, 120, listen)).ok();
        assert_eq!(done.stdout, "104\n", "all of them, the standard ones, and one of ls: {done}");
    }
}

#[test]
fn closed_ones_are_refused() {
    for (open, listen, preserve, says) in [
        (2, 0, 3, "unable to stat preserved-fd 2 (of 3): bad file descriptor"),
        (5, 2, 4, "unable to stat preserved-fd 3 (of 4): bad file descriptor"),
        (2, 3, 0, "unable to stat LISTEN_FDS fd 2 (of 3): bad file descriptor"),
    ] {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/true"]).save();
        let before = Snapshot::of(&bundle);
        let done = run(&bundle, "create", preserve, &activated(&bundle, open, listen)).exits(1);
        done.says(says);
        before.assert_unchanged(&bundle);
    }
}

#[test]
fn the_pidfd_goes_to_the_socket() {
    for (verb, flags) in [("create", &[][..]), ("run", &["-d"])] {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/sleep", "1000"]);
        let socket = ConsoleSocket::new(&bundle.logs());
        let flags = [&["--pidfd-socket", socket.path.to_str().unwrap()][..], flags].concat();
        bundle.start_with(verb, &flags).run().ok().quiet();
        let (message, descriptors) = socket.receive();
        assert_eq!((message.as_str(), descriptors.len()), ("standard", 1), "{verb}");
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptors[0].as_raw_fd())).unwrap();
        assert!(info.contains(&format!("Pid:\t{}\n", bundle.pid())), "{verb}: {info}");
        assert!(socket.is_unused(), "one connection");
    }
}

/// Nobody there, and somebody who goes away: a caller that asked for the pidfd has no container without it.
#[test]
fn a_pidfd_that_nobody_takes() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.warm_up();
    let before = Snapshot::of(&bundle);
    let missing = bundle.logs().join("missing.sock");
    let missing = missing.to_str().unwrap();
    let done = bundle.start_with("create", &["--pidfd-socket", missing]).run().exits(1);
    done.says("--pidfd-socket").says("missing.sock: no such file or directory");
    before.assert_unchanged(&bundle);

    let poststop = bundle.logs().join("poststop");
    let note = format!("touch {}", poststop.display());
    bundle.set("/hooks/poststop", json!([{"path": "/bin/sh", "args": ["sh", "-c", note]}]));
    let (entered, leave) = (bundle.logs().join("entered"), bundle.logs().join("leave"));
    let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.05; done", entered.display(), leave.display());
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", wait], "env": ["PATH=/bin"]}]));
    let socket = ConsoleSocket::new(&bundle.logs());
    let creating = bundle.start_with("create", &["--pidfd-socket", socket.path.to_str().unwrap()]).spawn();
    wait_until("the hook runs", || entered.exists());
    drop(socket);
    fs::write(leave, "").unwrap();
    let done = creating.wait().exits(1);
    done.says("--pidfd-socket");
    before.assert_unchanged(&bundle);
    assert!(poststop.exists());
}
