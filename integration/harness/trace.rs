//! A run under strace(1): every system call of the runtime and of the container's first process, in order.

use super::{Invocation, Outcome, wait_until};
use std::path::Path;

/// The lines that strace wrote, each starting with the pid.
pub struct Trace {
    /// In the order of the calls' ends.
    pub lines: Vec<String>,
    /// What came of the traced command.
    pub outcome: Outcome,
}

impl Trace {
    /// Runs `invocation` under strace, looking at `calls` (an argument of `-e trace=`).
    pub fn of(invocation: Invocation, logs: &Path, calls: &str) -> Self {
        Self::with(invocation, logs, calls, &[], || ())
    }

    /// Runs `invocation`, which leaves a process behind, and looks at all calls until `finish` has ended that one.
    pub fn detached(invocation: Invocation, logs: &Path, finish: impl FnOnce()) -> Self {
        // strace is a grandchild, and waits for what stays; we wait for the command alone.
        Self::with(invocation, logs, "all", &["-D"], finish)
    }

    fn with(invocation: Invocation, logs: &Path, calls: &str, more: &[&str], finish: impl FnOnce()) -> Self {
        let file = logs.join("strace");
        let file_text = file.to_str().expect("utf-8").to_owned();
        let trace = format!("trace={calls}");
        let mut options = vec!["strace", "-f", "-q", "-s", "4096", "-o", &file_text, "-e", &trace, "-e", "signal=none"];
        options.extend(more);
        let outcome = invocation.under(&options).run();
        finish();
        if !more.is_empty() {
            let mut size = 0;
            wait_until("strace has written everything", || {
                std::thread::sleep(std::time::Duration::from_millis(100));
                let now = std::fs::metadata(&file).map_or(0, |meta| meta.len());
                std::mem::replace(&mut size, now) == now && now > 0
            });
        }
        let raw =
            std::fs::read(&file).unwrap_or_else(|_| panic!("strace did not run (integration/install): {outcome}"));
        let lines = String::from_utf8_lossy(&raw).lines().map(str::to_owned).collect();
        Self { lines: joined(lines), outcome }
    }

    /// The system call's name in a line.
    pub fn call(line: &str) -> &str {
        let after_pid = line.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
        after_pid.split_once('(').map_or("", |(name, _)| name)
    }

    /// The string arguments in a line, without what came back through `readlink` and the like.
    pub fn strings(line: &str) -> Vec<&str> {
        line.split('"').skip(1).step_by(2).collect()
    }
}

/// Puts `<unfinished ...>` and `<... resumed>` of a call back into one line, at the place of its end.
fn joined(lines: Vec<String>) -> Vec<String> {
    let mut open = std::collections::HashMap::new();
    let mut whole = Vec::new();
    for line in lines {
        let pid = line.split(' ').next().unwrap_or_default().to_owned();
        if let Some(start) = line.strip_suffix(" <unfinished ...>") {
            open.insert(pid, start.to_owned());
        } else if let Some((_, end)) = line.split_once(" resumed>") {
            whole.push(open.remove(&pid).unwrap_or_default() + end);
        } else {
            whole.push(line);
        }
    }
    whole.extend(open.into_values());
    whole
}
