//! System calls, forks and executions, by strace(1).

use crate::Done;
use crate::process::{Command, wait};
use std::path::Path;

/// What all processes of a command did, the program in the container included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All system calls.
    pub system_calls: u32,
    /// New processes and threads.
    pub forks: u32,
    /// Executions that succeeded, the runtime's own and that of the program in the container included.
    pub execs: u32,
}

/// The least of three runs: what disturbs the machine makes only more.
pub fn count(command: &Command, scratch: &Path) -> Done<Counts> {
    let mut least: Option<Counts> = None;
    for _ in 0..3 {
        let counts = once(command, scratch)?;
        if least.is_none_or(|it| counts.system_calls < it.system_calls) {
            least = Some(counts);
        }
    }
    least.ok_or_else(|| "nothing was counted".into())
}

/// One run.
pub fn once(command: &Command, scratch: &Path) -> Done<Counts> {
    let table = scratch.join("strace");
    let options = ["/usr/bin/strace", "--follow-forks", "--summary-only", "--quiet=all", "--output"];
    let words = options.into_iter().map(str::to_owned).chain([table.to_string_lossy().into_owned()]);
    let traced = Command {
        words: words.chain(command.words.iter().cloned()).collect(),
        environment: command.environment.clone(),
    };
    let (_, status, _) = wait(traced.spawn()?)?.ok_or("strace is gone")?;
    traced.succeeded(status)?;
    parse(&std::fs::read_to_string(&table)?)
}

/// Reads lines of "% time, seconds, usecs/call, calls, [errors,] name".
fn parse(text: &str) -> Done<Counts> {
    let mut counts = Counts::default();
    let mut complete = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(Ok(calls)), Some(name)) = (words.get(3).map(|it| it.parse::<u32>()), words.last()) else {
            continue;
        };
        let failed = if words.len() == 6 { words[4].parse()? } else { 0 };
        match *name {
            "total" => (counts.system_calls, complete) = (calls, true),
            "clone" | "clone3" | "fork" | "vfork" => counts.forks += calls - failed,
            "execve" | "execveat" => counts.execs += calls - failed,
            _ => {}
        }
    }
    if complete { Ok(counts) } else { Err("strace printed no total".into()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n \
                    52.93    0.000406          50         8         1 execve\n \
                    10.00    0.000006           6         1           clone3\n \
                    10.00    0.000006           6         2           vfork\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.000767           3       203         7 total\n";
        assert_eq!(parse(text).unwrap(), Counts { system_calls: 203, forks: 3, execs: 7 });
        assert!(parse("").is_err());
    }
}
