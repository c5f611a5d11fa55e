//! The guest of the integration tests: runs inside the container and prints what it sees there as JSON.
//!
//! `probe report` prints everything; the other verbs try one thing each and print what came of it. Nothing is
//! judged here: the tests outside compare the output with what the config asked for. Linked static, so that it
//! runs in an empty root filesystem.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod attempt;
mod report;
mod sys;

use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// What can be asked of the probe.
const USAGE: &str = "probe report [--sysctl NAME]... [--stat PATH]... | stat PATH... | open-write PATH... | open-read PATH... \
| devices | device-access KIND:MAJOR:MINOR... | watch-devices ALLOWED DENIED STOP | hunt SECONDS | spy SECONDS \
| syscalls NAME... | raw-calls WAY:NUMBER:ARGUMENT,... | sleep SECONDS \
| fork-many COUNT SECONDS | tty-inject | watch-mounts COMMAND... | notify MESSAGE... | adopt PIDFILE COMMAND...";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let rest: Vec<&str> = args.iter().skip(2).map(String::as_str).collect();
    let result = match args.get(1).map(String::as_str) {
        Some("report") => report::everything(&rest),
        Some("stat") => by_path(&rest, report::stat),
        Some("open-write") => by_path(&rest, attempt::open_write),
        Some("open-read") => by_path(&rest, attempt::open_read),
        Some("devices") => attempt::devices(),
        Some("device-access") => by_path(&rest, attempt::device_access),
        Some("watch-devices") => attempt::watch_devices(&rest),
        Some("hunt") => attempt::hunt_executables(seconds(&rest)),
        Some("spy") => attempt::spy(seconds(&rest)),
        Some("raw-calls") => attempt::raw_calls(&rest),
        Some("syscalls") => attempt::syscalls(&rest),
        Some("tty-inject") => attempt::tty_inject(),
        Some("notify") => attempt::notify(&rest),
        Some("watch-mounts") => attempt::watch_mounts(&rest),
        Some("adopt") => attempt::adopt(&rest),
        Some("fork-many") => attempt::fork_many(&rest),
        Some("sleep") => {
            std::thread::sleep(seconds(&rest));
            json!({})
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("{result}");
    ExitCode::SUCCESS
}

/// Looks at each path; the answers are keyed by it.
fn by_path(paths: &[&str], look: fn(&str) -> Value) -> Value {
    paths.iter().map(|path| ((*path).to_owned(), look(path))).collect::<serde_json::Map<_, _>>().into()
}

/// The first argument as a time; none without one.
fn seconds(rest: &[&str]) -> Duration {
    Duration::from_secs_f64(rest.first().and_then(|text| text.parse().ok()).unwrap_or(0.0))
}
