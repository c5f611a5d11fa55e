//! The callers of a runtime, each with the command lines, environment and descriptors that it really uses, and the way
//! in which it makes sense of what comes out.

mod builders;
mod containerd;
mod crio;
mod podman;
mod understood;

use crate::harness::{Bundle, Invocation};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// What of our environment is passed on by callers that pass on nothing else.
fn runtime_dir() -> Vec<(&'static str, String)> {
    std::env::var("XDG_RUNTIME_DIR").map(|dir| ("XDG_RUNTIME_DIR", dir)).into_iter().collect()
}

/// Runs the command with no variables but that of the runtime directory: no PATH, no HOME.
fn bare(command: Invocation) -> Invocation {
    let variables = runtime_dir();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(key, value)| (*key, value.as_str())).collect();
    command.only_env(&variables)
}

/// A pid file is read whole, by a parser that takes digits alone.
#[track_caller]
fn pid_in(file: &PathBuf) -> i32 {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
    text.parse().unwrap()
}

/// The message of the last error in a log, which go-runc reads as a stream of objects with exactly these types.
fn last_error(log: &str) -> Option<String> {
    let mut last = None;
    for entry in serde_json::Deserializer::from_str(log).into_iter::<Value>() {
        let entry = entry.expect("a stream of JSON objects");
        let time = entry["time"].as_str().expect("a time");
        let shape: String = time.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00Z", "RFC 3339");
        if entry["level"] == "error" {
            last = Some(entry["msg"].as_str().expect("a message").to_owned());
        }
    }
    last
}

/// A bundle whose program says that it is ready, reads a line, says so, and ends with 7 on SIGTERM.
fn talkative() -> Bundle {
    let mut bundle = Bundle::new();
    let script =
        "trap 'exit 7' TERM; echo ready; read line; echo got=$line; echo err >&2; while :; do sleep 0.05; done";
    bundle.script(script).save();
    bundle
}
