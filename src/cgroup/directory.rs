//! One open cgroup directory and its files.

use super::path::CgroupPath;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::CGROUP_MOUNT;
use crate::sys::fs::{self, Access, Resolve, magic};
use crate::sys::poll::{Interest, poll};
use crate::sys::{Errno, mount, mount_table};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// More than any file of a cgroup has: `cgroup.procs` of four million processes.
const READ_LIMIT: usize = 32 << 20;

/// Whether there are living processes, and whether all are frozen.
pub(super) const EVENTS: &str = "cgroup.events";

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// With what was waited for.
    Came,
    /// The cgroup was removed.
    Gone,
    /// The time was over.
    TimedOut,
    /// Something else came up.
    Interrupted,
}

/// An open cgroup directory: a handle that is good for clone3(2) and for opening what lies in it.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    /// Its path on the host, for messages.
    shown: String,
}

impl Directory {
    /// The root of the hierarchy, as far as this host or our own cgroup namespace shows it.
    ///
    /// # Errors
    /// `Unsupported` on hosts with cgroup v1 or with both.
    pub(super) fn root() -> Result<Self> {
        let fd = fs::open(CGROUP_MOUNT, Access::Dir).context("cgroup hierarchy")?;
        if fs::filesystem_magic(&fd)? != magic::CGROUP2 {
            let message = format!(
                "{CGROUP_MOUNT} is not a cgroup v2 mount, and onggi knows no other: \
                 boot the host with systemd.unified_cgroup_hierarchy=1, or mount cgroup2 there"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(Self { fd, shown: CGROUP_MOUNT.to_owned() })
    }

    /// Refuses a root that is a part of the hierarchy only, bound where the whole should be: paths of cgroups, our own
    /// among them, start at the root of the cgroup namespace, and what we made would lie elsewhere.
    pub(super) fn check_whole(&self) -> Result<()> {
        /// The inode number of the root of the whole hierarchy.
        const WHOLE: u64 = 1;
        if fs::stat(&self.fd)?.inode == WHOLE {
            return Ok(());
        }
        // In a cgroup namespace; there only the mount table tells, in places counted from the namespace's root.
        let id = mount::mount_id(&self.fd)?;
        let root = mount_table::find(&mount_table::read()?, id).map(|mount| mount.root);
        match root.filter(|root| root != Path::new("/")) {
            None => Ok(()),
            Some(part) => {
                let message = format!(
                    "{CGROUP_MOUNT} shows only the cgroup {} of this cgroup namespace: mount cgroup2 there anew",
                    part.display()
                );
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    /// The cgroup at `path`, opened in one go: no link and no other mount on the way.
    pub(super) fn open(path: &CgroupPath) -> Result<Self> {
        let root = Self::root()?;
        let fd = fs::open_at(&root.fd, path.relative(), Access::Dir, Resolve::BeneathOneMount)
            .map_err(|error| not_opened(error, &path.to_string()))?;
        Ok(Self { fd, shown: path.to_string() })
    }

    /// The cgroup `name` right below this one.
    pub(super) fn child(&self, name: impl AsRef<OsStr>) -> Result<Self> {
        let name = name.as_ref();
        let shown = format!("{}/{}", self.shown, name.display());
        let fd = fs::open_at(&self.fd, name, Access::Dir, Resolve::BeneathOneMount)
            .map_err(|error| not_opened(error, &shown))?;
        Ok(Self { fd, shown })
    }

    /// Makes the cgroup `name` below this one. Returns whether it is new: `false` when there was one.
    pub(super) fn make(&self, name: &str) -> Result<bool> {
        match fs::mkdir_at(&self.fd, name, 0o755) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::EEXIST) => Ok(false),
            Err(error) => Err(error.phrased(format!("mkdir {}/{name}", self.shown))),
        }
    }

    /// Removes the cgroup `name` below this one. EBUSY when it has processes or children; ENOENT is success.
    pub(super) fn remove(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        match fs::rmdir_at(&self.fd, name) {
            Err(error) if !is_gone(&error) => Err(error.phrased(format!("rmdir {}/{}", self.shown, name.display()))),
            _ => Ok(()),
        }
    }

    /// The whole of one of its files, which is not one of the lists.
    pub(super) fn read(&self, file: &str) -> Result<String> {
        self.read_watched(file).map(|(text, _)| text)
    }

    /// The whole of one of its files, and the file itself: from this reading on every change makes it ready for
    /// [`Interest::Change`], so that none is lost between looking and waiting.
    pub(super) fn read_watched(&self, file: &str) -> Result<(String, OwnedFd)> {
        self.read_by(file, |fd, limit| fs::read_whole(fd, limit))
    }

    /// The whole of `cgroup.procs` or `cgroup.threads`, which the kernel tells in as many pieces as it likes.
    fn read_list(&self, file: &str) -> Result<String> {
        self.read_by(file, |fd, limit| fs::read_all(fd, limit)).map(|(text, _)| text)
    }

    fn read_by(&self, file: &str, read: fn(&OwnedFd, usize) -> Result<Vec<u8>>) -> Result<(String, OwnedFd)> {
        let (data, fd) = fs::open_at(&self.fd, file, Access::Read, Resolve::BeneathOneMount)
            .and_then(|fd| Ok((read(&fd, READ_LIMIT)?, fd)))
            .map_err(|error| error.phrased(format!("read {}/{file}", self.shown)))?;
        Ok((String::from_utf8_lossy(&data).into_owned(), fd))
    }

    /// Writes `value` to one of its files, in one write(2).
    pub(super) fn write(&self, file: &str, value: &str) -> Result<()> {
        fs::open_at(&self.fd, file, Access::Write, Resolve::BeneathOneMount)
            .and_then(|file| fs::write(file, value.as_bytes()))
            .map_err(|error| error.phrased(format!("write {value:?} to {}/{file}", self.shown)))
    }

    /// Gives one of its files, or with `None` the directory itself, to the user `uid`; the group stays.
    pub(super) fn give(&self, file: Option<&str>, uid: u32) -> Result<()> {
        let given = match file {
            Some(file) => fs::open_at(&self.fd, file, Access::Path, Resolve::BeneathOneMount)
                .and_then(|file| fs::chown(file, Some(uid), None)),
            None => fs::chown(&self.fd, Some(uid), None),
        };
        given.map_err(|error| error.phrased(format!("chown {}/{} to {uid}", self.shown, file.unwrap_or_default())))
    }

    /// The controllers that one of its files lists.
    pub(super) fn controllers(&self, file: &str) -> Result<Vec<String>> {
        Ok(self.read(file)?.split_ascii_whitespace().map(str::to_owned).collect())
    }

    /// Names of the cgroups right below.
    pub(super) fn children(&self) -> Result<Vec<OsString>> {
        fs::directory_names(&self.fd).with_context(|| format!("list {}", self.shown))
    }

    /// Names of everything in it: files and cgroups.
    pub(super) fn names(&self) -> Result<Vec<OsString>> {
        fs::names(&self.fd).with_context(|| format!("list {}", self.shown))
    }

    /// Adds the processes of this cgroup and of all below it to `pids`.
    pub(super) fn collect_pids(&self, pids: &mut Vec<i32>) -> Result<()> {
        let listed = match self.read_list("cgroup.procs") {
            // A threaded cgroup lists only its threads; the kernel takes any of them for the process.
            Err(error) if error.is(Errno::EOPNOTSUPP) => self.read_list("cgroup.threads"),
            listed => listed,
        };
        match listed {
            // A process of another PID namespace shows as 0: there is, but nobody here can name it.
            Ok(listed) => pids.extend(listed.lines().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        for name in self.children()? {
            match self.child(name) {
                Ok(child) => child.collect_pids(pids)?,
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How many processes the kernel has killed in it for lack of memory; 0 where memory is not accounted.
    pub(super) fn oom_kills(&self) -> u64 {
        oom_kills(&self.read("memory.events").unwrap_or_default())
    }

    /// Whether this cgroup or one below has living processes.
    pub(super) fn is_populated(&self) -> Result<bool> {
        match self.read(EVENTS) {
            Ok(events) => Ok(is_populated(&events)),
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits, without looking again and again, until no living process is left in this cgroup and below it. Returns
    /// whether that came before `timeout`.
    pub(super) fn wait_empty(&self, timeout: Duration) -> Result<bool> {
        let waited = self.wait_events(|events| !is_populated(events), timeout, None)?;
        Ok(matches!(waited, Waited::Came | Waited::Gone))
    }

    /// Waits until the text of `cgroup.events` is as `wanted`, at most `timeout` and until `interrupt` can be read.
    pub(super) fn wait_events(
        &self,
        wanted: impl Fn(&str) -> bool,
        timeout: Duration,
        interrupt: Option<BorrowedFd<'_>>,
    ) -> Result<Waited> {
        let deadline = Instant::now() + timeout;
        loop {
            let (events, file) = match self.read_watched(EVENTS) {
                Err(error) if is_gone(&error) => return Ok(Waited::Gone),
                opened => opened?,
            };
            if wanted(&events) {
                return Ok(Waited::Came);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::TimedOut);
            }
            let mut fds = vec![(file.as_fd(), Interest::Change)];
            fds.extend(interrupt.map(|fd| (fd, Interest::Read)));
            if poll(&fds, Some(left))?.get(1) == Some(&true) {
                return Ok(Waited::Interrupted);
            }
        }
    }

    /// Its path on the host, for messages.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the cgroup is not there: never was, or was removed while open (which its files answer with ENODEV).
pub(super) fn is_gone(error: &Error) -> bool {
    error.is(Errno::ENOENT) || error.is(Errno::ENODEV)
}

/// That the cgroup has gone meanwhile is fine.
pub(super) fn ignore_gone(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if is_gone(&error) => Ok(()),
        result => result,
    }
}

/// Whether the text of `cgroup.events` says that there are living processes; rmdir(2) goes by the same count.
pub(super) fn is_populated(events: &str) -> bool {
    events.lines().any(|line| line == "populated 1")
}

/// The count in the text of `memory.events`, which is empty where memory is not accounted.
pub(super) fn oom_kills(events: &str) -> u64 {
    let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn not_opened(error: Error, shown: &str) -> Error {
    let foreign = error.is(Errno::EXDEV);
    let error = error.phrased(format!("open cgroup {shown}"));
    if foreign { error.hint("something else is mounted there: unmount it or choose another cgroup") } else { error }
}
