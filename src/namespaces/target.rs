//! The namespaces of a running process, as procfs shows them: what `exec` joins.

use crate::error::{Context, Error, Result};
use crate::idmap::IdMap;
use crate::sys::Errno;
use crate::sys::clone::CloneFlags;
use crate::sys::fs::{self, Access, Resolve};
use std::os::fd::{AsFd, BorrowedFd};

/// Every kind with its name in `/proc/PID/ns`.
const KINDS: [(CloneFlags, &str); 8] = [
    (CloneFlags::CGROUP, "cgroup"),
    (CloneFlags::IPC, "ipc"),
    (CloneFlags::MOUNT, "mnt"),
    (CloneFlags::NETWORK, "net"),
    (CloneFlags::PID, "pid"),
    (CloneFlags::TIME, "time"),
    (CloneFlags::USER, "user"),
    (CloneFlags::UTS, "uts"),
];

/// The kernel takes 340 lines of at most three ten-digit numbers each.
const MAP_LIMIT: usize = 1 << 14;

/// Where a process is that another wants to join.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// The namespaces that are not ours.
    pub kinds: CloneFlags,
    /// The user ids of its user namespace, when that is not ours.
    pub uid_map: Vec<IdMap>,
    /// Likewise the group ids.
    pub gid_map: Vec<IdMap>,
}

impl Target {
    /// Looks at the process `pid` through `proc`, a procfs that we trust. That it is the process meant the caller must
    /// make sure of afterwards: as long as a pidfd of it can be signalled, its number is nobody else's. Namespaces in `made`
    /// were made with it, so that they are not ours, or can be joined all the same.
    ///
    /// # Errors
    /// ENOENT or ESRCH when it has ended, EACCES when we may not trace it.
    pub fn read(proc: BorrowedFd<'_>, pid: i32, made: CloneFlags) -> Result<Self> {
        // The one that nobody can join who is in it.
        let made = made.without(CloneFlags::USER);
        let mut target = Self { kinds: made, ..Self::default() };
        for (kind, name) in KINDS.into_iter().filter(|(kind, _)| !made.has(*kind)) {
            let link = |process: &str| fs::readlink_at(proc, format!("{process}/ns/{name}"));
            let own = match link("self") {
                // A kind that this kernel does not have.
                Err(error) if error.is(Errno::ENOENT) => continue,
                own => own?,
            };
            let theirs = link(&pid.to_string()).map_err(|error| match error.errno() {
                Some(Errno::EACCES) => {
                    error.hint("it belongs to another user, or only root may join it before it starts")
                }
                _ => error,
            });
            if theirs.context("look at the container's namespaces")? != own {
                target.kinds = target.kinds.with(kind);
            }
        }
        if target.kinds.has(CloneFlags::USER) {
            target.uid_map = id_map(proc, pid, "uid_map")?;
            target.gid_map = id_map(proc, pid, "gid_map")?;
        }
        Ok(target)
    }
}

fn id_map(proc: BorrowedFd<'_>, pid: i32, name: &str) -> Result<Vec<IdMap>> {
    let path = format!("{pid}/{name}");
    let file = fs::open_at(proc.as_fd(), &path, Access::Read, Resolve::BeneathOneMount);
    let text = file.and_then(|file| fs::read_all(file, MAP_LIMIT)).with_context(|| format!("read /proc/{path}"))?;
    parse(&String::from_utf8_lossy(&text)).ok_or_else(|| Error::sys(format!("read /proc/{path}"), Errno::EPROTO))
}

fn parse(map: &str) -> Option<Vec<IdMap>> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
        Some(IdMap { container: numbers.next()??, host: numbers.next()??, size: numbers.next()?? })
    };
    map.lines().map(line).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        let map = "         0     100000      65536\n     70000          5          1\n";
        let map = parse(map).unwrap();
        assert_eq!(map[1], IdMap { container: 70_000, host: 5, size: 1 });
        assert_eq!(map.len(), 2);
        assert_eq!(parse("1 2\n"), None);
        assert_eq!(parse("1 2 x\n"), None);
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn our_own_are_not_others() {
        let proc = fs::open("/proc", Access::Dir).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let read = |pid, made| Target::read(proc.as_fd(), pid, made);
        assert_eq!(read(pid, CloneFlags::NONE).unwrap(), Target::default());
        assert_eq!(read(pid, CloneFlags::USER.with(CloneFlags::PID)).unwrap().kinds, CloneFlags::PID);
        assert!(read(i32::MAX, CloneFlags::NONE).is_err());
    }
}
