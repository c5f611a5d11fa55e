//! The test machine: commands of its shell, with a deadline, and what they are to say.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a command said, without white space around it, and its exit status.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// A file or directory of the repository, which is at the same path in the machine.
pub fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// So many seconds of a real machine: an emulated one is about ten times slower (`ONGGI_TEST_PATIENCE`).
pub fn patience(seconds: u64) -> Duration {
    let factor = std::env::var("ONGGI_TEST_PATIENCE").map_or(1, |text| text.parse().expect("a whole number"));
    Duration::from_secs(seconds * factor)
}

/// Runs a script of bash, which may fail. What lasts longer than half a minute is killed.
#[track_caller]
pub fn try_sh(script: &str) -> Said {
    let limit = patience(30).as_secs().to_string();
    let command = ["--kill-after=5", &limit, "bash", "-o", "pipefail", "-ec", script];
    let output = Command::new("timeout").args(command).stdin(Stdio::null()).output().expect("bash");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    let said = Said { status: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
    assert!(said.status != 124, "no end in {limit} s: {script}\n{}\n{}", said.out, said.err);
    said
}

/// Runs a script that is to succeed, and returns what it printed.
#[track_caller]
pub fn sh(script: &str) -> String {
    let said = try_sh(script);
    assert!(said.status == 0, "status {} of: {script}\n{}\n{}", said.status, said.out, said.err);
    said.out
}

/// Runs a script that is to fail with `status`, and returns all that it printed.
#[track_caller]
pub fn fails(status: i32, script: &str) -> String {
    let said = try_sh(script);
    let all = format!("{}\n{}", said.out, said.err);
    assert!(said.status == status, "status {}, not {status}, of: {script}\n{all}", said.status);
    all
}

/// Waits until `ready` says so, at most ten seconds.
#[track_caller]
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + patience(10);
    while !ready() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A script that runs when this is dropped, whatever has become of the test.
#[derive(Debug)]
pub struct Finally(pub String);

impl Drop for Finally {
    fn drop(&mut self) {
        let _ = Command::new("bash").args(["-c", &self.0]).stdin(Stdio::null()).stdout(Stdio::null()).output();
    }
}
