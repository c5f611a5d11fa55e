//! Writing the id maps of a new user namespace, from outside, before its first process goes on; user_namespaces(7).
//!
//! The kernel takes any map from who has CAP_SETUID and CAP_SETGID, and from anybody one line that maps the own id. For
//! all else there are newuidmap(1) and newgidmap(1), which have those capabilities and look into `/etc/subuid` and
//! `/etc/subgid`.

use super::subids;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::Host;
use crate::idmap::IdMap;
use crate::namespaces::Plan;
use crate::sys::fs::{self, Access, Resolve};
use crate::sys::signal::Signals;
use crate::sys::spawn::{self, Ending};
use crate::sys::{Errno, signal_name};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;

/// How much of what a helper says is kept for the error message, in bytes.
const KEPT_OUTPUT: usize = 4 * 1024;

/// What differs between users and groups.
struct Kind {
    /// The file in `/proc/PID`.
    file: &'static str,
    /// The field of config.json.
    field: &'static str,
    /// The program that writes the file for users without privileges.
    helper: &'static str,
    /// What it goes by.
    ranges: &'static str,
    /// The bit of the capability to do without it.
    capability: u64,
}

const USERS: Kind = Kind {
    file: "uid_map",
    field: "linux.uidMappings",
    helper: "newuidmap",
    ranges: "/etc/subuid",
    capability: 1 << 7,
};

const GROUPS: Kind = Kind {
    file: "gid_map",
    field: "linux.gidMappings",
    helper: "newgidmap",
    ranges: "/etc/subgid",
    capability: 1 << 6,
};

/// Who writes a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// We, as the kernel takes whatever we write.
    Privileged,
    /// We, as the map is of our own id alone.
    Owner,
    /// The helper.
    Helper,
}

/// Writes `uid_map` and `gid_map` of the process `pid` through the host's procfs, or has them written.
///
/// # Errors
/// `Denied` where the map is not allowed and `Unsupported` where a helper is missing, with what the administrator must
/// change.
pub fn write(proc: BorrowedFd<'_>, pid: i32, plan: &Plan, host: &Host, signals: &Signals) -> Result<()> {
    for (kind, maps, own) in [(USERS, &plan.uid_map, host.euid), (GROUPS, &plan.gid_map, host.egid)] {
        let written = match writer(maps, own, host.permitted & kind.capability != 0) {
            Writer::Privileged => put(proc, pid, kind.file, &IdMap::file(maps)),
            Writer::Owner => put_own(proc, pid, &kind, maps),
            Writer::Helper => help(pid, &kind, maps, signals),
        };
        written
            .map_err(|error| match error.errno() {
                Some(Errno::EPERM) => error.hint("onggi may not map these ids: they are not its own in this namespace"),
                _ => error,
            })
            .with_context(|| format!("config.json: {}", kind.field))?;
    }
    Ok(())
}

fn writer(maps: &[IdMap], own: u32, capable: bool) -> Writer {
    match maps {
        _ if capable => Writer::Privileged,
        [only] if only.host == own && only.size == 1 => Writer::Owner,
        _ => Writer::Helper,
    }
}

/// Without privileges the kernel takes group ids only after `setgroups` has been denied, for a group may be what keeps its
/// members from a file (CVE-2014-8989).
fn put_own(proc: BorrowedFd<'_>, pid: i32, kind: &Kind, maps: &[IdMap]) -> Result<()> {
    if kind.capability == GROUPS.capability {
        put(proc, pid, "setgroups", "deny")?;
    }
    put(proc, pid, kind.file, &IdMap::file(maps))
}

/// Runs the helper, found in our PATH, with our environment, as runc does.
fn help(pid: i32, kind: &Kind, maps: &[IdMap], signals: &Signals) -> Result<()> {
    let mut command = Command::new(kind.helper);
    command.arg(pid.to_string());
    for map in maps {
        command.args([map.container, map.host, map.size].map(|number| number.to_string()));
    }
    let ending = signals.ending()?;
    let outcome = spawn::run(&mut command, &[], KEPT_OUTPUT, None, Some(ending.as_fd())).map_err(missing(kind))?;
    let how = match outcome.ending {
        Ending::Exited(0) => return Ok(()),
        Ending::Exited(status) => format!("exit status {status}"),
        Ending::Killed(signal) => format!("killed by signal {signal} ({})", signal_name::describe(signal)),
        Ending::TimedOut | Ending::Interrupted => "interrupted by a signal".to_owned(),
    };
    let told = String::from_utf8_lossy(&outcome.stderr).trim_end().replace('\n', "; ");
    let refusal = Error::new(ErrorKind::Denied, format!("{}: {how}: {told}", kind.helper));
    Err(match subids::advice(kind.ranges, maps) {
        Some(advice) => refusal.hint(advice),
        None if told.contains("not permitted") => refusal.hint(format!(
            "{} must be setuid root, not on a nosuid mount, and not called with no_new_privs",
            kind.helper
        )),
        None => refusal,
    })
}

fn missing(kind: &Kind) -> impl Fn(Error) -> Error {
    move |error| match error.errno() {
        Some(Errno::ENOENT) => {
            let text = format!("{} is not in PATH, and only it may map more than the caller's own id", kind.helper);
            Error::new(ErrorKind::Unsupported, text).hint("install the package uidmap, or map one id only")
        }
        _ => error,
    }
}

/// Writes one file of the process `pid`, which is our child and not reaped yet, so that the number can't be another's.
pub fn put(proc: BorrowedFd<'_>, pid: i32, file: &str, content: &str) -> Result<()> {
    fs::open_at(proc, format!("{pid}/{file}"), Access::Write, Resolve::BeneathOneMount)
        .and_then(|opened| fs::write(opened, content.as_bytes()))
        .with_context(|| format!("write /proc/{pid}/{file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes() {
        let check = |maps: &[(u32, u32, u32)], capable, expected| {
            let maps: Vec<_> = maps.iter().map(|&(container, host, size)| IdMap { container, host, size }).collect();
            assert_eq!(writer(&maps, 1000, capable), expected, "{maps:?}");
        };
        check(&[(0, 1000, 1)], true, Writer::Privileged);
        check(&[(0, 1000, 1)], false, Writer::Owner);
        check(&[(7, 1000, 1)], false, Writer::Owner);
        check(&[(0, 1000, 2)], false, Writer::Helper);
        check(&[(0, 1001, 1)], false, Writer::Helper);
        check(&[(0, 1000, 1), (1, 100_000, 65536)], false, Writer::Helper);
    }
}
