//! `ps`: the processes of a container, as the host sees them.

use super::{Global, needed_cgroup, print};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::Errno;
use crate::sys::spawn::{self, Ending};
use std::process::Command;

/// The arguments of `ps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsArgs {
    /// The container's name.
    pub id: String,
    /// `table` or `json`, not checked yet.
    pub format: String,
    /// What the host's ps(1) gets for a table; `-ef` when empty.
    pub options: Vec<String>,
}

/// Lists the processes in the container's cgroup and in all below it.
pub(super) fn ps(global: &Global, args: &PsArgs) -> Result<u8> {
    let record = global.find(&args.id)?.load()?;
    let pids = match needed_cgroup(&record, "ps")? {
        Some(cgroup) => cgroup.pids()?,
        None => Vec::new(),
    };
    let text = match args.format.as_str() {
        "table" => table(&host_ps(&args.options)?, &pids)?,
        "json" => json(&pids),
        _ => return Err(Error::new(ErrorKind::InvalidArgument, "invalid format option")),
    };
    print(&text)?;
    Ok(0)
}

/// runc prints null for none.
fn json(pids: &[i32]) -> String {
    if pids.is_empty() {
        return "null\n".to_owned();
    }
    let pids: Vec<_> = pids.iter().map(i32::to_string).collect();
    format!("[{}]\n", pids.join(","))
}

/// What the host's ps(1) prints.
fn host_ps(options: &[String]) -> Result<String> {
    /// Far more than millions of processes take.
    const LARGEST: usize = 1 << 30;
    let mut command = Command::new("ps");
    if options.is_empty() {
        command.arg("-ef");
    } else {
        command.args(options);
    }
    let outcome = spawn::run(&mut command, &[], LARGEST, None, None).map_err(|error| match error.errno() {
        Some(Errno::ENOENT) => error.hint("install it (procps), or use --format json"),
        _ => error,
    })?;
    let failed = |how: String| {
        let told = String::from_utf8_lossy(&outcome.stderr).trim().replace('\n', " ");
        Err(Error::new(ErrorKind::InvalidArgument, format!("{how}: {told}"))
            .context(format!("ps {}", options.join(" "))))
    };
    match outcome.ending {
        Ending::Exited(0) => Ok(String::from_utf8_lossy(&outcome.stdout).into_owned()),
        Ending::Exited(status) => failed(format!("exit status {status}")),
        Ending::Killed(signal) => failed(format!("signal {signal}")),
        Ending::TimedOut | Ending::Interrupted => failed("ended early".to_owned()),
    }
}

/// The header of `listed` and the lines of `pids`.
fn table(listed: &str, pids: &[i32]) -> Result<String> {
    let refuse = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
    let mut lines = listed.lines();
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|title| title == "PID") else {
        return refuse("couldn't find PID field in ps output".to_owned());
    };
    let mut text = format!("{header}\n");
    let mut is_ours = false;
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let cell = line.split_whitespace().nth(column).unwrap_or_default();
        match cell.parse() {
            Ok(pid) => is_ours = pids.contains(&pid),
            // With `-m` the threads of a process follow below it.
            Err(_) if cell == "-" => {}
            Err(_) => return refuse(format!("unable to parse pid in ps output {line:?}: ask for the PID first")),
        }
        if is_ours {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(listed: &str, expected: &str) {
        let shown = table(listed, &[7, 12]).unwrap_or_else(|error| error.to_string());
        assert_eq!(shown, expected, "{listed}");
    }

    #[test]
    fn tables() {
        check(
            "UID     PID   PPID CMD\nroot      7      1 sh -c 12\nroot    120      7 sleep\nann      12      7 top\n",
            "UID     PID   PPID CMD\nroot      7      1 sh -c 12\nann      12      7 top\n",
        );
        check("  PID TTY\n", "  PID TTY\n");
        check("PID LWP\n7 -\n- 7\n- 8\n9 -\n- 9\n", "PID LWP\n7 -\n- 7\n- 8\n");
        check("CMD\nsh\n", "couldn't find PID field in ps output");
        check("", "couldn't find PID field in ps output");
        check("CMD PID\nsh -c 7\n", "unable to parse pid in ps output \"sh -c 7\": ask for the PID first");
    }

    #[test]
    fn documents() {
        assert_eq!(json(&[]), "null\n");
        assert_eq!(json(&[7, 12]), "[7,12]\n");
    }
}
