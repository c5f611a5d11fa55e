//! `SCMP_ACT_NOTIFY`: the agent gets the listener and the state of the container, and answers in the kernel's place.

use crate::bad_input::refused;
use crate::harness::{Agent, Bundle, Snapshot, is_peer, needs_root};
use crate::seccomp::tiny;
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;

/// A container whose `mkdir` the agent decides on.
fn notified(agent: &Agent) -> Bundle {
    notified_by(agent.path.to_str().unwrap())
}

fn notified_by(path: &str) -> Bundle {
    let mut bundle = Bundle::new();
    bundle.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "some data",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        }),
    );
    bundle
}

/// A directory for the agent's socket.
fn place() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn refuse(_: i64) -> Option<i32> {
    Some(libc::EOWNERDEAD)
}

fn let_go_on(_: i64) -> Option<i32> {
    None
}

/// The document of the specification, for a process `pid` of a container whose first process is `init`.
fn check_document(bundle: &Bundle, agent: &Agent, at: usize, status: &str, pid: Option<i32>, init: Option<i32>) {
    let (message, files) = agent.message(at);
    assert_eq!(files, 1, "{message}");
    assert_eq!(message["fds"], json!(["seccompFd"]));
    assert_eq!(message["metadata"], "some data");
    assert!(message["ociVersion"].as_str().is_some_and(|version| version.starts_with("1.")), "{message}");
    let state = &message["state"];
    assert_eq!((&state["id"], &state["status"]), (&json!(bundle.id), &json!(status)));
    assert_eq!(state["bundle"], json!(bundle.path()));
    assert_eq!(state["ociVersion"], message["ociVersion"]);
    for (told, known) in [(&message["pid"], pid), (&state["pid"], init)] {
        assert!(told.as_i64().is_some_and(|told| told > 1), "{message}");
        assert!(known.is_none_or(|known| told == &json!(known)), "{message}");
    }
}

#[test]
fn run() {
    let place = place();
    let agent = Agent::listen(place.path(), 1, refuse);
    let mut bundle = notified(&agent);
    assert_eq!(bundle.probe(&["syscalls", "mkdir", "getpid"]), json!({"mkdir": "EOWNERDEAD", "getpid": "ok"}));
    assert_eq!(agent.calls(), [libc::SYS_mkdir]);
    check_document(&bundle, &agent, 0, "creating", None, None);
    let (message, _) = agent.message(0);
    assert_eq!(message["pid"], message["state"]["pid"]);
}

/// Whoever has seen `create` return can count on the agent having the listener.
#[test]
fn create_and_start() {
    let place = place();
    let agent = Agent::listen(place.path(), 1, refuse);
    let mut bundle = notified(&agent);
    bundle.args(&["/probe", "syscalls", "mkdir"]);
    let created = bundle.create().ok();
    let pid = bundle.pid();
    check_document(&bundle, &agent, 0, "creating", Some(pid), Some(pid));
    assert_eq!(bundle.status(), "created");
    assert_eq!(agent.calls(), [0; 0]);
    bundle.verb("start", &[]).ok();
    bundle.wait_stopped();
    assert_eq!(agent.calls(), [libc::SYS_mkdir]);
    assert_eq!(created.stdout_now(), "{\"mkdir\":\"EOWNERDEAD\"}\n");
}

/// Each process has a filter, a listener and a connection of its own.
#[test]
fn exec() {
    let place = place();
    let agent = Agent::listen(place.path(), 3, refuse);
    let mut bundle = notified(&agent);
    bundle.asleep();
    let init = bundle.pid();
    check_document(&bundle, &agent, 0, "creating", Some(init), Some(init));
    let done = bundle.exec(&[], &["/probe", "syscalls", "mkdir"]).ok();
    assert_eq!(done.json(), json!({"mkdir": "EOWNERDEAD"}));
    check_document(&bundle, &agent, 1, "running", None, Some(init));
    let file = place.path().join("pid");
    bundle.exec(&["-d", "--pid-file", file.to_str().unwrap()], &["/bin/sleep", "100"]).ok();
    let pid = std::fs::read_to_string(file).unwrap().parse().unwrap();
    check_document(&bundle, &agent, 2, "running", Some(pid), Some(init));
}

/// The names that engines' profiles know, but for write, which can't be notified.
fn all_but_write() -> Vec<Value> {
    let texts = [include_str!("profiles/docker.json"), include_str!("profiles/podman.json")];
    let profiles = texts.map(|text| serde_json::from_str::<Value>(text).unwrap());
    let rules = profiles.iter().flat_map(|profile| profile["syscalls"].as_array().unwrap());
    rules.flat_map(|rule| rule["names"].as_array().unwrap().clone()).filter(|name| name != "write").collect()
}

/// onggi's own calls under the filter: read, by which it waits, and execve; before them capset where new privileges are
/// allowed. A profile that notifies everything can be served by an agent that thinks of nothing else.
#[test]
fn every_call_notified() {
    if is_peer() {
        return;
    }
    for (forbidden, own) in [
        (true, &[libc::SYS_read, libc::SYS_execve][..]),
        (false, &[libc::SYS_capset, libc::SYS_read, libc::SYS_execve]),
    ] {
        let place = place();
        let agent = Agent::listen(place.path(), 3, let_go_on);
        let mut bundle = notified(&agent);
        bundle.set("/linux/seccomp/syscalls/0/names", json!(all_but_write()));
        tiny(&bundle);
        bundle.args(&["/tiny"]).set("/process/noNewPrivileges", json!(forbidden));
        let expected = [own, &[libc::SYS_exit_group]].concat();
        bundle.run().exits(42).quiet();
        assert_eq!(agent.calls(), expected, "run, noNewPrivileges {forbidden}");
        bundle.create().ok();
        bundle.verb("start", &[]).ok();
        bundle.wait_stopped();
        assert_eq!(agent.calls(), expected, "create, noNewPrivileges {forbidden}");
    }
}

/// The same for exec, in a container of which only exec's process is notified.
#[test]
fn every_call_of_exec_notified() {
    if is_peer() {
        return;
    }
    let place = place();
    let agent = Agent::listen(place.path(), 2, let_go_on);
    let mut bundle = notified(&agent);
    bundle.set("/linux/seccomp/syscalls/0/names", json!(all_but_write()));
    tiny(&bundle);
    bundle.asleep();
    // Until the first process sleeps.
    crate::harness::wait_until("the container sleeps", || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        agent.calls().is_empty()
    });
    bundle.exec(&[], &["/tiny"]).exits(42).quiet();
    assert_eq!(agent.calls(), [libc::SYS_read, libc::SYS_execve, libc::SYS_exit_group]);
}

#[test]
fn everything_else_denied() {
    if is_peer() {
        return;
    }
    let place = place();
    let agent = Agent::listen(place.path(), 2, let_go_on);
    let mut bundle = notified(&agent);
    bundle.set("/linux/seccomp/defaultAction", json!("SCMP_ACT_KILL_PROCESS"));
    bundle.set(
        "/linux/seccomp/syscalls",
        json!([
            {"names": ["read", "execve"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["exit_group"], "action": "SCMP_ACT_NOTIFY"},
        ]),
    );
    tiny(&bundle);
    bundle.args(&["/tiny"]).set("/process/noNewPrivileges", json!(true));
    bundle.run().exits(42).quiet();
    bundle.create().ok();
    bundle.verb("start", &[]).ok();
    bundle.wait_stopped();
    assert_eq!(agent.calls(), [libc::SYS_exit_group; 2]);
}

/// A created container ends on kill although its filter is there already.
#[test]
fn created_containers_can_be_killed() {
    let place = place();
    let agent = Agent::listen(place.path(), 1, refuse);
    let mut bundle = notified(&agent);
    bundle.args(&["/bin/true"]);
    bundle.create().ok();
    bundle.kill("TERM").ok();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok();
}

/// startContainer hooks run under the filter, whose agent answers by then, and get no descriptor of ours.
#[test]
fn start_container_hooks_are_notified() {
    if is_peer() {
        return;
    }
    let place = place();
    let agent = Agent::listen(place.path(), 1, refuse);
    let mut bundle = notified(&agent);
    let script = "ls /proc/self/fd >&2; mkdir /data/made";
    bundle.set("/root/readonly", json!(false)).args(&["/bin/true"]);
    bundle.set("/hooks/startContainer", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    bundle.run().exits(255).says("startContainer hook #0").says("0\\n1\\n2\\n3\\nmkdir");
    assert!([libc::SYS_mkdir, libc::SYS_mkdirat].contains(&agent.calls()[0]));
}

#[test]
fn an_absent_agent_is_an_error() {
    let place = place();
    let missing = place.path().join("missing");
    let mut bundle = notified_by(missing.to_str().unwrap());
    bundle.args(&["/bin/true"]);
    let says = ["linux.seccomp.listenerPath", "failed to connect with seccomp agent", "missing"];
    refused(&bundle, &says, || bundle.create());
    refused(&bundle, &says, || bundle.run());
    // Nobody listens any more.
    drop(UnixListener::bind(&missing).unwrap());
    refused(&bundle, &["failed to connect with seccomp agent", "connection refused"], || bundle.create());
}

/// A root without CAP_SYS_PTRACE may not look into the processes of others, where the listener is.
#[test]
fn a_root_that_may_not_look_into_processes() {
    if !needs_root("a listener in a process of another user", "a user's processes are its own") {
        return;
    }
    let place = place();
    let wrapper = ["setpriv", "--inh-caps=-sys_ptrace", "--bounding-set=-sys_ptrace"];
    let agent = Agent::listen(place.path(), 1, refuse);
    let mut bundle = notified(&agent);
    bundle.args(&["/bin/mkdir", "/tmp/new"]);
    let run = |bundle: &Bundle| bundle.start_with("run", &[]).under(&wrapper).run();
    run(&bundle).fails().says("mkdir: ");
    // It gets nothing to read.
    let path = place.path().join("another");
    let _agent = UnixListener::bind(&path).unwrap();
    let mut bundle = notified_by(path.to_str().unwrap());
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).save();
    let before = Snapshot::of(&bundle);
    run(&bundle).exits(1).says("take the listener of the system call filter").says("takes CAP_SYS_PTRACE");
    before.assert_unchanged(&bundle);
}

/// One that accepts no connections in time does not keep the runtime waiting.
#[test]
fn a_busy_agent_is_an_error() {
    let place = place();
    let path = place.path().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(1).unwrap()).unwrap();
    let connect = || {
        let flags = nix::sys::socket::SockFlag::SOCK_NONBLOCK;
        let kind = nix::sys::socket::SockType::Stream;
        let socket = nix::sys::socket::socket(nix::sys::socket::AddressFamily::Unix, kind, flags, None).unwrap();
        let address = nix::sys::socket::UnixAddr::new(&path).unwrap();
        let done = nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &address);
        done.is_ok().then_some(socket)
    };
    let waiting: Vec<_> = std::iter::from_fn(connect).take(100).collect();
    assert!(waiting.len() < 100, "the queue is full");
    let mut bundle = notified_by(path.to_str().unwrap());
    bundle.args(&["/bin/true"]);
    refused(&bundle, &["failed to connect with seccomp agent"], || bundle.create());
    drop(waiting);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "not the runtime")]
fn an_agent_that_closes_early_is_an_error() {
    let place = place();
    let path = place.path().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let mut bundle = notified_by(path.to_str().unwrap());
    // Time for the agent to close.
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/sleep", "args": ["sleep", "0.5"]}]));
    bundle.args(&["/bin/true"]);
    refused(&bundle, &["failed to connect with seccomp agent", "broken pipe"], || bundle.create());
    refused(&bundle, &["failed to connect with seccomp agent", "broken pipe"], || bundle.run());
}

/// Its message waits for it; what the container then waits for ends with the container.
#[test]
fn an_agent_that_does_not_read() {
    let place = place();
    let path = place.path().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    let mut bundle = notified_by(path.to_str().unwrap());
    bundle.args(&["/bin/mkdir", "/data/made"]);
    let before = Snapshot::of(&bundle);
    bundle.create().ok();
    bundle.verb("start", &[]).ok();
    assert_eq!(bundle.status(), "running");
    bundle.verb("delete", &["--force"]).ok();
    drop(listener);
    before.assert_unchanged(&bundle);
}

#[test]
fn too_much_for_one_message() {
    if is_peer() {
        return;
    }
    let place = place();
    let agent = Agent::listen(place.path(), 1, refuse);
    let mut bundle = notified(&agent);
    bundle.args(&["/bin/true"]).set("/linux/seccomp/listenerMetadata", json!("x".repeat(1 << 16)));
    refused(&bundle, &["linux.seccomp.listenerMetadata", "65536"], || bundle.create());
}

#[test]
fn bad_profiles() {
    let place = place();
    let agent = Agent::listen(place.path(), 1, refuse);
    let check = |pointer: &str, value: Value, says: &[&str]| {
        let mut bundle = notified(&agent);
        bundle.args(&["/bin/true"]);
        if value.is_null() {
            bundle.unset(pointer);
        } else {
            bundle.set(pointer, value);
        }
        refused(&bundle, says, || bundle.create());
        refused(&bundle, says, || bundle.run());
    };
    check("/linux/seccomp/listenerPath", Value::Null, &["listenerPath"]);
    check(
        "/linux/seccomp/syscalls/0/names",
        json!(["write"]),
        &["SCMP_ACT_NOTIFY cannot be used for the write syscall"],
    );
    check(
        "/linux/seccomp/defaultAction",
        json!("SCMP_ACT_NOTIFY"),
        &["SCMP_ACT_NOTIFY cannot be used as default action"],
    );
    if !is_peer() {
        check("/linux/seccomp/listenerPath", json!("console.sock"), &["listenerPath", "not absolute"]);
        // Nobody could let the container start.
        check("/linux/seccomp/defaultAction", json!("SCMP_ACT_ERRNO"), &["linux.seccomp.syscalls", "read"]);
    }
}
