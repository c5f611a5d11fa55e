//! `NOTIFY_SOCKET`: a service manager that starts containers hears when they are ready (behaviour: runc).

use crate::harness::{
    Bundle, Invocation, Report, Running, Snapshot, is_peer, is_rootless, patience, received, wait_until,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What listens where a service manager would.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(bundle: &Bundle) -> Self {
        let path = bundle.logs().join("manager.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, path }
    }

    /// The command with the manager's address in its environment.
    fn calls(&self, command: Invocation) -> Invocation {
        command.env("NOTIFY_SOCKET", &self.path)
    }

    fn is_silent(&self) -> bool {
        self.socket.recv(&mut [0; 10]).is_err()
    }

    /// The next message, with what came along.
    fn hears(&self) -> (String, Vec<OwnedFd>) {
        let message = || poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO);
        wait_until("a message comes", || message() == Ok(1));
        received(&self.socket)
    }

    /// Takes the messages that tell of readiness, and gives what is to be closed when they have been read.
    #[track_caller]
    fn hears_of(&self, main_pid: impl std::fmt::Display) -> Vec<OwnedFd> {
        assert_eq!(self.hears().0, "READY=1\n");
        assert_eq!(self.hears().0, format!("MAINPID={main_pid}\n"));
        let (text, files) = self.hears();
        assert_eq!((text.as_str(), files.len()), ("BARRIER=1", 1));
        files
    }
}

/// A container that tells when it is ready, as soon as there is `data/go`.
fn service() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.set("/root/readonly", json!(false));
    bundle.script("while [ ! -e /data/go ]; do sleep 0.05; done; /probe notify STATUS=up READY=1; exec sleep 100");
    bundle
}

fn go(bundle: &Bundle) {
    fs::write(bundle.rootfs().join("data/go"), "").unwrap();
}

/// Asserts that the command goes on for a while.
fn waits(command: &mut Running) {
    std::thread::sleep(patience(1) / 3);
    assert!(!command.has_ended());
}

#[test]
fn detached_commands_end_when_the_manager_has_heard() {
    for verb in ["start", "run"] {
        let bundle = service();
        let manager = Manager::new(&bundle);
        let pid_file = bundle.logs().join("pid");
        let flags = ["--pid-file", pid_file.to_str().unwrap()];
        let mut command = if verb == "start" {
            manager.calls(bundle.start_with("create", &flags)).run().ok().quiet();
            manager.calls(bundle.invoke(&["start", &bundle.id])).spawn()
        } else {
            manager.calls(bundle.start_with("run", &[&["-d"][..], &flags].concat())).spawn()
        };
        wait_until("it runs", || bundle.verb("state", &[]).stdout.contains("\"running\""));
        waits(&mut command);
        assert!(manager.is_silent(), "{verb}");
        assert_eq!(pid_file.exists(), verb == "start", "the pid file comes last");

        go(&bundle);
        let unread = manager.hears_of(bundle.pid());
        if !is_peer() {
            // Before 1.5 runc did not wait for this.
            waits(&mut command);
        }
        drop(unread);
        command.wait().ok().quiet();
        assert_eq!(fs::read_to_string(&pid_file).unwrap(), bundle.pid().to_string());
        assert!(manager.is_silent(), "no word but of readiness");
    }
}

/// In the foreground the service is `run` itself, and signals go on to the container all the while.
#[test]
fn in_the_foreground() {
    let mut bundle = service();
    bundle.script(
        "trap 'echo usr1' USR1; echo up; while [ ! -e /data/go ]; do sleep 0.05; done; /probe notify READY=1; \
         while [ ! -e /data/end ]; do sleep 0.05; done; exit 7",
    );
    let manager = Manager::new(&bundle);
    let command = manager.calls(bundle.start_with("run", &[])).spawn();
    wait_until("it is up", || command.stdout().contains("up"));
    let signal = |count: usize| {
        command.signal(Signal::SIGUSR1);
        wait_until("the signal arrives", || command.stdout().matches("usr1").count() == count);
    };
    if !is_peer() {
        signal(1);
    }
    go(&bundle);
    let unread = manager.hears_of(command.pid());
    if !is_peer() {
        signal(2);
    }
    drop(unread);
    fs::write(bundle.rootfs().join("data/end"), "").unwrap();
    command.wait().exits(7).quiet();
}

/// The last word of a program that ends with it is heard.
#[test]
fn ready_and_gone() {
    for flags in [&["-d"][..], &[]] {
        let mut bundle = Bundle::new();
        let manager = Manager::new(&bundle);
        bundle.args(&["/probe", "notify", "READY=1"]);
        let command = manager.calls(bundle.start_with("run", flags)).spawn();
        assert_eq!(manager.hears().0, "READY=1\n", "{flags:?}");
        assert!(manager.hears().0.starts_with("MAINPID="));
        drop(manager.hears());
        command.wait().ok().quiet();
    }
}

#[test]
fn without_a_word_the_end_ends_the_waiting() {
    for flags in [&["-d"][..], &[]] {
        let mut bundle = Bundle::new();
        bundle.script("/probe notify STATUS=nothing; exit 0");
        let manager = Manager::new(&bundle);
        bundle.warm_up();
        let before = Snapshot::of(&bundle);
        manager.calls(bundle.start_with("run", flags)).run().ok().quiet();
        bundle.verb("delete", &["-f"]).ok();
        before.ignoring_bundle(&bundle).assert_unchanged(&bundle);
        assert!(manager.is_silent());
    }
}

/// What the container finds: the socket on a mount of its own that it can't change, whoever it is and whatever our
/// umask, and its address.
#[test]
fn what_the_container_sees() {
    for (user, mapped, readonly) in [(0, false, true), (1000, false, false), (1000, true, true)] {
        let mut bundle = Bundle::new();
        bundle.set("/root/readonly", json!(readonly)).set("/process/user", json!({"uid": user, "gid": user}));
        bundle.set("/process/env/-", json!("NOTIFY_SOCKET=/wrong"));
        if mapped && !is_rootless() {
            bundle.namespace("user", None);
            let map = json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]);
            bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
            std::os::unix::fs::chown(bundle.rootfs(), Some(200_000), Some(200_000)).unwrap();
            std::os::unix::fs::chown(bundle.rootfs().join("run"), Some(200_000), Some(200_000)).unwrap();
        }
        bundle.script(
            "echo $NOTIFY_SOCKET; grep ' /run/notify ' /proc/self/mountinfo | cut -d' ' -f6; ls -la /run/notify; \
             touch /run/notify/x 2>/dev/null; rm -f $NOTIFY_SOCKET 2>/dev/null; /probe notify READY=1",
        );
        let manager = Manager::new(&bundle);
        let command = manager.calls(bundle.start_with("run", &[]));
        let command = command.under(&["sh", "-c", "umask 077; exec \"$@\"", "-"]).spawn();
        assert_eq!(manager.hears().0, "READY=1\n", "{user} {mapped}");
        assert!(manager.hears().0.starts_with("MAINPID="));
        drop(manager.hears());
        let done = command.wait().ok();
        let lines: Vec<&str> = done.stdout.lines().collect();
        assert_eq!(lines[0], "/run/notify/notify.sock");
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(lines[1].split(',').any(|set| set == option), "{option}: {done}");
        }
        assert_eq!(lines.iter().filter(|line| line.contains("srwxrwxrwx")).count(), 1, "{done}");
        assert_eq!(lines[6..], ["\"ok\""], "nothing beside the socket: {done}");
    }
}

#[test]
fn nobody_wants_to_know() {
    let mut bundle = Bundle::new();
    for address in [None, Some("")] {
        bundle.args(&["/probe", "report"]);
        let run = bundle.start_with("run", &[]);
        let run = address.into_iter().fold(run, |run, address| run.env("NOTIFY_SOCKET", address));
        let seen = Report::parse(&run.run().ok());
        assert!(!seen.env().iter().any(|entry| entry.starts_with("NOTIFY_SOCKET")), "{address:?}");
        assert!(!bundle.rootfs().join("run/notify").exists());
    }
    // Whoever starts it may be another than who made it.
    let manager = Manager::new(&bundle);
    bundle.asleep();
    assert!(!bundle.state_root().join(&bundle.id).join("notify").exists());
    bundle.verb("delete", &["-f"]).ok();
    manager.calls(bundle.start_with("create", &[])).run().ok();
    bundle.verb("start", &[]).ok().quiet();
    bundle.verb("delete", &["-f"]).ok();
    if !is_peer() {
        bundle.create().ok();
        manager.calls(bundle.invoke(&["start", &bundle.id])).run().ok().quiet();
    }
    assert!(manager.is_silent());
}

/// What a container sends is nobody's but its own harm.
#[test]
fn hostile_messages() {
    let mut bundle = service();
    bundle.set("/process/args", json!(["/bin/sh", "-c", ""]));
    let attack = "/probe notify long; /probe notify files files X*300 MAINPID=1 STATUS=READY=1; echo sent";
    bundle.script(&format!(
        "{attack}; while [ ! -e /data/go ]; do sleep 0.05; done; /probe notify 'MAINPID=1\nREADY=1\nMAINPID=1'; \
         /probe notify flood; echo refused; exec sleep 100"
    ));
    let manager = Manager::new(&bundle);
    let created = manager.calls(bundle.start_with("create", &[])).run().ok();
    let command = manager.calls(bundle.invoke(&["start", &bundle.id])).spawn();
    wait_until("all is sent", || created.stdout_now().contains("sent"));
    let fds = fs::read_dir(format!("/proc/{}/fd", command.pid())).unwrap().count();
    assert!(fds < 20, "{fds} descriptors are open");
    assert!(manager.is_silent());
    go(&bundle);
    drop(manager.hears_of(bundle.pid()));
    command.wait().ok().quiet();
    wait_until("nobody takes more", || created.stdout_now().contains("refused"));
    bundle.verb("delete", &["-f"]).ok();
}

/// A container that sends without end keeps nobody from seeing its own.
#[test]
fn a_flood_does_not_hide_the_end() {
    for flags in [&["-d"][..], &[]] {
        let mut bundle = Bundle::new();
        bundle.script("echo up; exec /probe notify flood");
        let manager = Manager::new(&bundle);
        let command = manager.calls(bundle.start_with("run", flags)).spawn();
        // Said by the program, and known to the state file.
        let runs = || command.stdout().contains("up") && bundle.verb("state", &[]).stdout.contains("\"running\"");
        wait_until("it floods", runs);
        bundle.kill("KILL").ok();
        let status = command.wait().quiet().status.code();
        assert_eq!(status, Some(if flags.is_empty() { 137 } else { 0 }));
        assert!(manager.is_silent());
    }
}

/// Whatever is wrong with the manager, the container runs.
#[test]
fn managers_that_can_not_be_told() {
    let mut bundle = Bundle::new();
    bundle.args(&["/probe", "notify", "READY=1"]);
    fs::write(bundle.logs().join("file"), "").unwrap();
    let stream = bundle.logs().join("stream");
    let _listener = std::os::unix::net::UnixListener::bind(&stream).unwrap();
    let text = |name: &str| bundle.logs().join(name).to_str().unwrap().to_owned();
    let addresses =
        [text("missing"), text("file"), text("stream"), "relative".into(), "@onggi-nobody".into(), "x".repeat(500)];
    let before = Snapshot::of(&bundle);
    for address in addresses {
        for flags in [&["-d"][..], &[]] {
            let log = bundle.logs().join("log");
            let log_flag = ["--log", log.to_str().unwrap()];
            bundle.save();
            let dir = bundle.path().to_str().unwrap();
            let args = [&log_flag[..], &["run", "--bundle", dir], flags, &[&bundle.id]].concat();
            bundle.invoke(&args).env("NOTIFY_SOCKET", &address).run().ok();
            let told = fs::read_to_string(&log).unwrap_or_default();
            assert!(is_peer() || told.contains("level=warning msg=\"NOTIFY_SOCKET: "), "{address} {flags:?}: {told}");
            if !flags.is_empty() {
                bundle.wait_stopped();
                bundle.verb("delete", &[]).ok();
            }
            let _ = fs::remove_file(&log);
        }
    }
    let _ = fs::remove_dir(bundle.rootfs().join("run/notify"));
    before.assert_unchanged(&bundle);
}

/// Half a minute, and not longer.
#[test]
fn a_manager_that_does_not_read() {
    let bundle = service();
    let manager = Manager::new(&bundle);
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(&manager.path).unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send(b"STATUS=x").is_ok() {}
    go(&bundle);
    let begin = Instant::now();
    let done = manager.calls(bundle.start_with("run", &["-d"])).run().ok();
    let took = begin.elapsed();
    if !is_peer() {
        done.says("it has not read that within 30 seconds");
        assert!(took > Duration::from_secs(29) && took < patience(45), "{took:?}");
    }
    assert_eq!(bundle.status(), "running");
}

#[test]
fn a_signal_ends_the_waiting() {
    if is_peer() {
        return;
    }
    let mut bundle = service();
    bundle.script("echo up; exec sleep 1000");
    let manager = Manager::new(&bundle);
    fs::create_dir(bundle.rootfs().join("run/notify")).unwrap();
    let pid_file = bundle.logs().join("pid");
    bundle.warm_up();
    let before = Snapshot::of(&bundle);
    let command = manager.calls(bundle.start_with("run", &["-d", "--pid-file", pid_file.to_str().unwrap()])).spawn();
    wait_until("it runs", || command.stdout().contains("up"));
    // What comes before the program is known to run ends it as well, by other words.
    std::thread::sleep(patience(1) / 3);
    command.signal(Signal::SIGTERM);
    command.wait().exits(1).says("interrupted by a signal before the container was ready");
    before.assert_unchanged(&bundle);
    assert!(!pid_file.exists() && manager.is_silent());
}

#[test]
fn an_abstract_address() {
    let bundle = service();
    let name = format!("onggi-{}", bundle.id);
    let address = <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&name).unwrap();
    let manager = Manager { socket: UnixDatagram::bind_addr(&address).unwrap(), path: format!("@{name}").into() };
    manager.socket.set_nonblocking(true).unwrap();
    go(&bundle);
    let command = manager.calls(bundle.start_with("run", &["-d"])).spawn();
    drop(manager.hears());
    assert_eq!(manager.hears().0, format!("MAINPID={}\n", bundle.pid()));
    drop(manager.hears());
    command.wait().ok().quiet();
}
