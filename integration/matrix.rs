//! Every operation in every state: exit status, message, what is on stdout, the state afterwards; and what is refused
//! changes nothing.

use crate::harness::{Bundle, Snapshot, is_peer, is_rootless, wait_until};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const STATES: [&str; 6] = ["unknown", "created", "running", "paused", "paused before start", "stopped"];

/// What comes of an operation.
#[derive(Debug, Clone, Copy)]
enum Cell {
    /// It succeeds without a word, and then the container is in this state.
    Ok(&'static str),
    /// It succeeds, prints something, and then the container is in this state.
    Prints(&'static str),
    /// It waits until the container is resumed, then prints something, and the container is in this state.
    Waits(&'static str),
    /// It lasts as long as the container.
    Lasts,
    /// It is refused with this status and text.
    No(i32, &'static str),
}

use Cell::{Lasts, No, Ok, Prints, Waits};

const UNKNOWN: Cell = No(1, "container does not exist");
const NOT_RUNNING: Cell = No(1, "container not running");
const NOT_PAUSED: Cell = No(1, "container not paused");
const EXISTS: Cell = No(1, "container with given ID already exists");
const PAUSED_START: Cell = No(1, "cannot start a container in the paused state");
const PAUSED_DELETE: Cell = No(1, "cannot delete container {id} that is not stopped: paused");
const PAUSED_EXEC: Cell = No(255, "cannot exec in a paused container (use --ignore-paused to override)");

/// One row for each operation, one column for each of `STATES`. The program is the first of a PID namespace and handles
/// no signal, so that it ignores SIGTERM.
#[rustfmt::skip]
const TABLE: [(&str, [Cell; 6]); 20] = [
    ("state ID", [UNKNOWN, Prints("created"), Prints("running"), Prints("paused"), Prints("paused"), Prints("stopped")]),
    ("start ID", [UNKNOWN, Ok("running"), No(1, "cannot start an already running container"), PAUSED_START, PAUSED_START,
        No(1, "cannot start a container that has stopped")]),
    ("kill ID TERM", [UNKNOWN, Ok("stopped"), Ok("running"), Ok("paused"), Ok("paused"), NOT_RUNNING]),
    ("kill ID 0", [UNKNOWN, Ok("created"), Ok("running"), Ok("paused"), Ok("paused"), NOT_RUNNING]),
    ("kill ID KILL", [UNKNOWN, Ok("stopped"), Ok("stopped"), Ok("stopped"), Ok("stopped"), NOT_RUNNING]),
    ("kill --all ID TERM", [UNKNOWN, Ok("stopped"), Ok("running"), Ok("paused"), Ok("paused"), Ok("stopped")]),
    ("kill --all ID KILL", [UNKNOWN, Ok("stopped"), Ok("stopped"), Ok("stopped"), Ok("stopped"), Ok("stopped")]),
    ("delete ID", [UNKNOWN, Ok("gone"), No(1, "cannot delete container {id} that is not stopped: running"), PAUSED_DELETE,
        PAUSED_DELETE, Ok("gone")]),
    ("delete --force ID", [Ok("gone"), Ok("gone"), Ok("gone"), Ok("gone"), Ok("gone"), Ok("gone")]),
    ("exec ID echo x", [No(255, "container does not exist"), Prints("created"), Prints("running"), PAUSED_EXEC,
        PAUSED_EXEC, No(255, "cannot exec in a stopped container")]),
    ("exec --ignore-paused ID echo x", [No(255, "container does not exist"), Prints("created"), Prints("running"),
        Waits("running"), Waits("created"), No(255, "cannot exec in a stopped container")]),
    ("pause ID", [UNKNOWN, Ok("paused"), Ok("paused"), NOT_RUNNING, NOT_RUNNING, NOT_RUNNING]),
    ("resume ID", [UNKNOWN, NOT_PAUSED, NOT_PAUSED, Ok("running"), Ok("created"), NOT_PAUSED]),
    ("ps ID", [UNKNOWN, Prints("created"), Prints("running"), Prints("paused"), Prints("paused"), Prints("stopped")]),
    ("ps --format json ID", [UNKNOWN, Prints("created"), Prints("running"), Prints("paused"), Prints("paused"),
        Prints("stopped")]),
    ("events --stats ID", [UNKNOWN, Prints("created"), Prints("running"), Prints("paused"), Prints("paused"),
        No(1, "container with id {id} is not running")]),
    ("events ID", [UNKNOWN, Lasts, Lasts, Lasts, Lasts,
        No(1, "container with id {id} is not running")]),
    ("update --resources FILE ID", [UNKNOWN, Ok("created"), Ok("running"), Ok("paused"), Ok("paused"), NOT_RUNNING]),
    ("create --bundle BUNDLE ID", [Ok("created"), EXISTS, EXISTS, EXISTS, EXISTS, EXISTS]),
    ("run --detach --bundle BUNDLE ID", [Ok("running"), EXISTS, EXISTS, EXISTS, EXISTS, EXISTS]),
];

/// A container in this state.
fn container(state: &str) -> Bundle {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]).save();
    fs::write(bundle.logs().join("resources.json"), "{}").unwrap();
    if state == "unknown" {
        fs::create_dir(bundle.state_root()).unwrap();
        return bundle;
    }
    bundle.create().ok();
    if ["running", "paused", "stopped"].contains(&state) {
        bundle.verb("start", &[]).ok();
        let comm = format!("/proc/{}/comm", bundle.pid());
        wait_until("the program runs", || fs::read_to_string(&comm).is_ok_and(|comm| comm == "sleep\n"));
    }
    if state.starts_with("paused") {
        bundle.verb("pause", &[]).ok();
    } else if state == "stopped" {
        let init = PathBuf::from(format!("/proc/{}", bundle.pid()));
        bundle.kill("KILL").ok();
        bundle.wait_stopped();
        wait_until("it is reaped", || !init.exists());
    }
    bundle
}

fn state(bundle: &Bundle) -> String {
    let done = bundle.verb("state", &[]);
    if done.status.success() { done.json()["status"].as_str().unwrap().to_owned() } else { "gone".to_owned() }
}

/// The whole state of the container as the runtime tells and keeps it.
fn remembered(bundle: &Bundle) -> (String, Option<String>) {
    let record = bundle.state_root().join(&bundle.id).join("state.json");
    (bundle.verb("state", &[]).stdout, fs::read_to_string(record).ok())
}

#[track_caller]
fn check(operation: &str, at: &str, expected: Cell) {
    let told = format!("`{operation}` in state {at}");
    let bundle = container(at);
    let file = bundle.logs().join("resources.json");
    let filled = |word: &str| {
        let words = [("ID", bundle.id.as_str()), ("BUNDLE", bundle.path().to_str().unwrap())];
        let file = ("FILE", file.to_str().unwrap());
        words.iter().chain([&file]).find(|(name, _)| *name == word).map_or(word, |(_, text)| text).to_owned()
    };
    let words: Vec<String> = operation.split(' ').map(filled).collect();
    let command = bundle.invoke(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let before = matches!(expected, No(..)).then(|| (Snapshot::of(&bundle), remembered(&bundle)));
    let mut running = command.spawn();
    if matches!(expected, Waits(_) | Lasts) {
        std::thread::sleep(Duration::from_millis(200));
        assert!(!running.has_ended(), "{told} should wait");
        let end: &[&str] = if matches!(expected, Lasts) { &["delete", "--force"] } else { &["resume"] };
        bundle.verb(end[0], &end[1..]).ok();
    }
    let done = running.wait();
    let status = done.status.code().unwrap();
    match expected {
        No(code, text) => {
            assert_eq!((status, done.stdout.as_str()), (code, ""), "{told}: {done}");
            done.says(&text.replace("{id}", &bundle.id));
            let (before, memory) = before.expect("it was to be refused");
            before.assert_unchanged(&bundle);
            assert_eq!(memory, remembered(&bundle), "{told} was refused and has changed something");
        }
        Lasts => assert_eq!(status, 0, "{told}: {done}"),
        Ok(then) | Prints(then) | Waits(then) => {
            assert_eq!(status, 0, "{told}: {done}");
            assert_eq!(done.stdout.is_empty(), matches!(expected, Ok(_)), "{told}: {done}");
            let done = done.quiet();
            if then == "stopped" {
                wait_until("it stops", || state(&bundle) == "stopped");
            }
            assert_eq!(state(&bundle), then, "{told}: {done}");
        }
    }
}

/// The init process is hidden from users until it has become the program, so that they cannot join it.
fn for_this_caller(operation: &str, at: &str, expected: Cell) -> Cell {
    let before_start = ["created", "paused before start"].contains(&at);
    match expected {
        Prints(_) | Waits(_) if is_rootless() && before_start && operation.starts_with("exec") => {
            No(255, "only root may join it before it starts")
        }
        expected => expected,
    }
}

#[test]
fn every_operation_in_every_state() {
    for (operation, row) in TABLE {
        for (at, expected) in STATES.into_iter().zip(row) {
            check(operation, at, for_this_caller(operation, at, expected));
        }
    }
}

/// What a stopped container has left to show.
#[test]
fn a_stopped_container_has_no_pid_and_no_processes() {
    let bundle = container("stopped");
    assert_eq!(bundle.state()["pid"], 0);
    assert_eq!(bundle.verb("ps", &["--format", "json"]).ok().stdout, "null\n");
    if !is_peer() {
        assert_eq!(bundle.verb("ps", &[]).ok().stdout.lines().count(), 1, "the header");
    }
}
