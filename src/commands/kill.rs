//! `kill`: sends a signal to a container's init process, or to all of its processes.

use super::{Global, cgroup, wrong_state};
use crate::container::record::Record;
use crate::container::status::living_init;
use crate::error::{Error, ErrorKind, Result, phrase};
use crate::sys::signal::number;
use crate::sys::{Errno, pidfd, signal_name};
use std::os::fd::OwnedFd;

/// Sends `signal` to `id` and returns without waiting for an effect. Takes no lock: a signal must get through while
/// another command waits.
pub(super) fn kill(global: &Global, id: &str, signal: &str, all: bool) -> Result<u8> {
    let record = global.find(id)?.load()?;
    // After the lookup: engines ask for the container first.
    let signal = parse(signal)?;
    let init = living_init(&record)?;
    if all {
        kill_all(&record, init.as_ref(), signal)?;
    } else if signal == number::KILL {
        if !kill_container(&record, init.as_ref())? {
            return Err(wrong_state(phrase::NOT_RUNNING));
        }
    } else {
        let init = init.ok_or_else(|| wrong_state(phrase::NOT_RUNNING))?;
        send(&init, signal)?;
    }
    Ok(0)
}

fn parse(signal: &str) -> Result<i32> {
    if signal.is_empty() {
        return Ok(number::TERMINATE);
    }
    signal_name::number(signal)
        .ok_or_else(|| Error::new(ErrorKind::InvalidArgument, format!("unknown signal \"{signal}\"")))
}

/// Kills a container: its init process, whose end is that of all others in its PID namespace, or without a namespace of
/// its own everything in its cgroup. Tells whether there was anything to kill.
pub(super) fn kill_container(record: &Record, init: Option<&OwnedFd>) -> Result<bool> {
    let cgroup = cgroup(record)?;
    let by_cgroup = !record.private_pid_namespace;
    let killed = match (&cgroup, init) {
        (Some(cgroup), init) if by_cgroup => {
            let found = init.is_some() || !cgroup.pids()?.is_empty();
            cgroup.kill()?;
            found
        }
        (_, Some(init)) => {
            send(init, number::KILL)?;
            true
        }
        (_, None) => false,
    };
    if let Some(cgroup) = cgroup {
        // A frozen task dies of SIGKILL, but the empty cgroup would go on to make the container look paused.
        if killed && cgroup.frozen()? {
            cgroup.thaw()?;
        }
    }
    Ok(killed)
}

/// To every process of the cgroup, as older runc and crun did: Podman and CRI-O rely on it for containers without a PID
/// namespace. None left is a success.
fn kill_all(record: &Record, init: Option<&OwnedFd>, signal: i32) -> Result<()> {
    match (cgroup(record)?, init) {
        (Some(cgroup), _) if signal == number::KILL => {
            cgroup.kill()?;
            if cgroup.frozen()? {
                cgroup.thaw()?;
            }
            Ok(())
        }
        (Some(cgroup), _) => cgroup.signal(signal).map(drop),
        (None, Some(init)) => send(init, signal),
        (None, None) => Ok(()),
    }
}

/// To the init process. One that was reaped since we looked has stopped.
fn send(init: &OwnedFd, signal: i32) -> Result<()> {
    pidfd::send_signal(init, signal).map_err(|error| match error.errno() {
        Some(Errno::ESRCH) => wrong_state(phrase::NOT_RUNNING),
        _ => error.phrased("unable to signal init"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        assert_eq!(parse("").unwrap(), number::TERMINATE);
        assert_eq!(parse("KILL").unwrap(), number::KILL);
        assert_eq!(parse("-9").unwrap(), -9);
        assert_eq!(parse("BOGUS").unwrap_err().to_string(), "unknown signal \"BOGUS\"");
    }
}
