//! What state a container is in: derived from the kernel at every call, never stored.

use super::record::{Phase, Record};
use super::store::Entry;
use crate::error::{Context, Error, Result};
use crate::sys::fs::{self, Access};
use crate::sys::{Errno, pidfd};
use procfs::FromRead;
use procfs::process::Stat;
use serde::Serialize;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// The names of the states (runtime.md, State, and runc's `paused`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// The init process waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// The cgroup is frozen.
    Paused,
    /// The init process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// A container with a living init process.
#[derive(Debug)]
pub struct Live {
    /// What `create` wrote down.
    pub record: Record,
    /// The init process.
    pub init: OwnedFd,
}

/// A container as it is now. Commands match on it; it stays true only while the entry is locked, and as far as the
/// kernel goes not even then: a process may end at any time, which its pidfd then tells.
#[derive(Debug)]
pub enum Container {
    /// `create` is at work. The init process may not exist yet.
    Creating(Record, Option<OwnedFd>),
    /// The init process waits for `start`.
    Created(Live),
    /// The program runs.
    Running(Live),
    /// The cgroup is frozen, the init process perhaps killed in there.
    Paused(Record, Option<OwnedFd>),
    /// The init process has ended or is a zombie.
    Stopped(Record),
}

impl Container {
    /// Looks at the kernel. `frozen` tells whether the container's cgroup is frozen: the cgroup mechanism is not ours
    /// to name. Order as in runc: frozen comes first, so that a paused container that was never started is `paused`.
    pub fn observe(entry: &Entry, record: Record, frozen: impl FnOnce(&Record) -> Result<bool>) -> Result<Self> {
        let frozen = frozen(&record)?;
        let init = living_init(&record)?;
        if frozen {
            return Ok(Self::Paused(record, init));
        }
        Ok(match (record.phase, init) {
            (Phase::Creating, init) if init.is_some() || record.pid.is_none() => Self::Creating(record, init),
            (_, None) => Self::Stopped(record),
            (_, Some(init)) if entry.has_gate()? => Self::Created(Live { record, init }),
            (_, Some(init)) => Self::Running(Live { record, init }),
        })
    }

    /// The name of the state.
    pub fn status(&self) -> Status {
        match self {
            Self::Creating(..) => Status::Creating,
            Self::Created(_) => Status::Created,
            Self::Running(_) => Status::Running,
            Self::Paused(..) => Status::Paused,
            Self::Stopped(_) => Status::Stopped,
        }
    }

    /// What `create` wrote down, and the init process if it lives.
    pub fn into_parts(self) -> (Record, Option<OwnedFd>) {
        match self {
            Self::Creating(record, init) | Self::Paused(record, init) => (record, init),
            Self::Created(live) | Self::Running(live) => (live.record, Some(live.init)),
            Self::Stopped(record) => (record, None),
        }
    }
}

/// A pidfd of the container's init process, if it lives. A zombie does not: its reaper may be slow.
///
/// The pidfd is opened first and the start time compared after, so that it cannot be another process's.
pub fn living_init(record: &Record) -> Result<Option<OwnedFd>> {
    let (Some(pid), Some(start_time)) = (record.pid, record.start_time) else { return Ok(None) };
    let init = match pidfd::open(pid) {
        Ok(init) => init,
        // EINVAL, since 6.9 ENOENT: the number now belongs to a thread.
        Err(error) if [Errno::ESRCH, Errno::EINVAL, Errno::ENOENT].iter().any(|errno| error.is(*errno)) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let lives =
        stat(pid)?.is_some_and(|stat| !has_ended(&stat) && stat.starttime == start_time) && is_of_this_boot(record);
    Ok(lives.then_some(init))
}

/// Whether numbers that the kernel gave the container still mean the same.
pub fn is_of_this_boot(record: &Record) -> bool {
    record.boot_id.as_ref().is_none_or(|recorded| boot_id().is_none_or(|now| now == *recorded))
}

/// Whether the process `pid` still runs onggi's own code: it was cloned and has not executed a program. A container's
/// init process may not have left the host's root by then.
pub fn is_being_made(pid: i32) -> Result<bool> {
    /// `PF_FORKNOEXEC` of the kernel's `sched.h`.
    const FORKED_BUT_NOT_EXECUTED: u32 = 0x40;
    Ok(stat(pid)?.is_some_and(|stat| stat.flags & FORKED_BUT_NOT_EXECUTED != 0))
}

/// When the process `pid` started, in clock ticks since boot; `None` when there is no such process.
pub fn start_time(pid: i32) -> Result<Option<u64>> {
    Ok(stat(pid)?.map(|stat| stat.starttime))
}

/// The kernel's boot id, where procfs has one.
pub fn boot_id() -> Option<String> {
    static READ_ONCE: OnceLock<Option<String>> = OnceLock::new();
    READ_ONCE.get_or_init(read_boot_id).clone()
}

fn read_boot_id() -> Option<String> {
    let mut text = [0; 64];
    let file = fs::open("/proc/sys/kernel/random/boot_id", Access::Read).ok()?;
    let length = fs::read(&file, &mut text).ok()?;
    std::str::from_utf8(&text[..length]).ok().map(|id| id.trim_end().to_owned())
}

fn stat(pid: i32) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    let gone = |error: &Error| error.is(Errno::ENOENT) || error.is(Errno::ESRCH);
    // The kernel makes the line whole for one read: a name of at most 64 bytes and some fifty numbers.
    let mut text = [0; 4096];
    let length = match fs::open(&path, Access::Read).and_then(|file| fs::read(&file, &mut text)) {
        Err(error) if gone(&error) => return Ok(None),
        result => result.with_context(|| path.clone())?,
    };
    Stat::from_read(&text[..length]).map(Some).map_err(|_| Error::sys(format!("read {path}"), Errno::EPROTO))
}

/// Whether the process is a zombie or dead.
fn has_ended(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X' | 'x')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_says_nothing_about_its_state() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35";
        let check = |name_and_state: &[u8], ended: bool| {
            let line = [b"7 (", name_and_state, b" ", rest.as_bytes(), b"\n"].concat();
            let stat = Stat::from_read(line.as_slice()).unwrap();
            assert_eq!((has_ended(&stat), stat.starttime), (ended, 4711), "{name_and_state:?}");
        };
        check(b"sh) S", false);
        check(b"sh) Z", true);
        check(b"a) Z 1 (b) R", false);
        check(b"\xff\n) X", true);
    }

    #[test]
    fn this_process_and_none() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(pid).unwrap().is_some());
        assert_eq!(start_time(i32::MAX).unwrap(), None);
    }

    fn record(pid: Option<i32>, start_time: Option<u64>, boot_id: Option<String>) -> Record {
        let text = r#"{"version": 1, "id": "x", "bundle": "/", "rootfs": "/", "created": "", "phase": "created"}"#;
        Record { pid, start_time, boot_id, ..serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn identity_of_the_init_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = start_time(pid).unwrap();
        let lives = |start_time, boot_id| living_init(&record(Some(pid), start_time, boot_id)).unwrap().is_some();
        assert!(lives(started, None));
        assert!(lives(started, boot_id()));
        assert!(!lives(started.map(|time| time + 1), None));
        assert!(!lives(None, None));
        assert!(!lives(started, Some("another boot".to_owned())));
        assert!(living_init(&record(None, None, None)).unwrap().is_none());
        assert!(living_init(&record(Some(i32::MAX), Some(1), None)).unwrap().is_none());
    }
}
