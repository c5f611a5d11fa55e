//! The `onggi` program.

#![no_main]

use onggi::Heap;
use onggi::cli::{self, Action, Globals, Refusal, Rest};
use onggi::commands::{self, Command, Global};
use onggi::container::store::Root;
use onggi::error::{Error, ErrorKind, Result};
use onggi::log::Log;
use onggi::seal;
use onggi::start::{self, Start};
use std::ffi::OsString;
use std::io::Write;

/// The exit status of what fails before there is a command, except for usage errors that have their own.
const FAILURE: u8 = 1;

/// The exit status of `run` whose program the kernel would not execute, or whose startContainer hook failed: what the
/// container's own status would have been.
const NOT_EXECUTED: u8 = 255;

/// musl gives memory back to the kernel and asks for it anew, again and again; see docs/decisions/0017-start.md.
#[global_allocator]
static HEAP: Heap = Heap::new();

onggi::program!(begin);

/// The result is the exit status.
fn begin(start: &Start) -> u8 {
    // First thing, even before the arguments are understood: this process is about to be replaced, and all it did
    // would be done twice.
    let sealed = if commands::may_enter_container(start.arguments()) { seal::ensure(start) } else { Ok(()) };
    start::prepare();
    let argv: Vec<OsString> = start.arguments().map(OsString::from).collect();
    match cli::read_globals(&argv) {
        Ok((globals, rest)) => with_globals(globals, rest, sealed),
        Err(refusal) => refuse(&Log::default(), &refusal),
    }
}

/// Opens the log that the global flags ask for, so that whatever follows can be complained about there.
fn with_globals(globals: Globals, rest: Rest, sealed: Result<()>) -> u8 {
    let log = match Log::open(globals.log.as_deref(), globals.log_format, globals.log_level) {
        Ok(log) => log,
        Err(error) => return fail(&Log::default(), &error, FAILURE),
    };
    match rest.read() {
        Ok(Action::Help(text)) => {
            show(&text);
            0
        }
        Ok(Action::Run(command)) => run(globals, log, command, sealed),
        Err(refusal) => refuse(&log, &refusal),
    }
}

/// Runs a command that was understood.
fn run(globals: Globals, log: Log, command: Command, sealed: Result<()>) -> u8 {
    let status = command.failure_status();
    if command.enters_container()
        && let Err(error) = sealed
    {
        return fail(&log, &error, status);
    }
    let root = match Root::choose(globals.root.as_deref()) {
        Ok(root) => root,
        Err(error) => return fail(&log, &error, status),
    };
    let Globals { cgroup, systemd_cgroup, rootless, .. } = globals;
    let global = Global { root, log, cgroup, systemd_cgroup, rootless };
    match commands::dispatch(&global, command) {
        Ok(status) => {
            global.log.settle();
            status
        }
        Err(error) => fail(&global.log, &error, status),
    }
}

/// Every error that a user sees passes here, once.
fn fail(log: &Log, error: &Error, status: u8) -> u8 {
    log.fail(&error.to_string());
    if error.kind() == ErrorKind::Exec { NOT_EXECUTED } else { status }
}

/// Says why a command line was not understood, where runc says it.
fn refuse(log: &Log, refusal: &Refusal) -> u8 {
    let _ = std::io::stderr().write_all(refusal.stderr.as_bytes());
    show(&refusal.stdout);
    log.fail(&refusal.error.to_string());
    refusal.status
}

/// Help is for people: a reader who has gone away is no failure.
fn show(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
