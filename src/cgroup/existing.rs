//! A cgroup that exists already: what later commands do with it, and how it goes.

use super::directory::{Directory, is_gone};
use super::freezer;
use super::path::CgroupPath;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::signal::number::KILL as SIGKILL;
use crate::sys::{Errno, pidfd};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The cgroup of a container made earlier, held open.
#[derive(Debug)]
pub struct Existing {
    pub(super) path: CgroupPath,
    parent: Directory,
    pub(super) directory: Directory,
}

impl Existing {
    /// Opens the cgroup, or tells that it is not there (any more).
    pub fn open(path: &CgroupPath) -> Result<Option<Self>> {
        let opened = match path.parent() {
            Some(parent) => Directory::open(&parent),
            None => Directory::root(),
        };
        let opened = opened.and_then(|parent| Ok((parent.child(path.name())?, parent)));
        match opened {
            Ok((directory, parent)) => Ok(Some(Self { path: path.clone(), parent, directory })),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends SIGKILL to every process in the cgroup and below it, at once and even if they fork (`cgroup.kill`, 5.14).
    pub fn kill(&self) -> Result<()> {
        match self.directory.write("cgroup.kill", "1") {
            Err(error) if error.is(Errno::EOPNOTSUPP) => self.kill_threaded(),
            result => ignore_gone(result),
        }
    }

    /// A threaded cgroup holds threads, and the kernel kills only whole processes by `cgroup.kill`.
    fn kill_threaded(&self) -> Result<()> {
        /// Each round finds what had been forked during the one before, which is little once all are frozen.
        const ROUNDS: usize = 100;
        ignore_gone(freezer::set(&self.directory, true))?;
        for _ in 0..ROUNDS {
            // SIGKILL reaches the frozen as well.
            if self.signal(SIGKILL)? == 0 {
                break;
            }
        }
        self.thaw()
    }

    /// Sends `signal` to every process in the cgroup and below it, one by one. Returns to how many.
    ///
    /// A pid read from the cgroup may belong to another process by the time its pidfd is open, but not if the cgroup
    /// lists it once more after that.
    pub fn signal(&self, signal: i32) -> Result<usize> {
        let opened = self.pids()?.into_iter().filter_map(|pid| Some((pid, pidfd::open(pid).ok()?)));
        let opened: Vec<(i32, OwnedFd)> = opened.collect();
        let still_there = self.pids()?;
        let mut count = 0;
        for (_, process) in opened.iter().filter(|(pid, _)| still_there.contains(pid)) {
            match pidfd::send_signal(process, signal) {
                Err(error) if error.is(Errno::ESRCH) => {}
                result => {
                    result.context("signal the container's processes")?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// The processes in the cgroup and in all below it, sorted, as our PID namespace numbers them; those that it does
    /// not see are left out.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        self.directory.collect_pids(&mut pids)?;
        // To kill(2), 0 would be our own process group.
        pids.retain(|pid| *pid > 0);
        // The root of a threaded subtree lists the processes of those below, too.
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Removes the cgroup and those that the payload made below it, waiting at most `patience` for dying processes to
    /// end. It kills nobody. That it is gone already is success.
    ///
    /// # Errors
    /// `WrongState`, with the path, when processes are left.
    pub fn remove(self, patience: Duration) -> Result<()> {
        /// Between attempts that fail although nobody is left: a kernel that counts the dead a moment longer.
        const PAUSE: Duration = Duration::from_millis(5);
        let deadline = Instant::now() + patience;
        loop {
            match self.remove_if_empty() {
                Err(error) if error.is(Errno::EBUSY) || error.is(Errno::ENOTEMPTY) => {}
                result => return result,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !self.directory.wait_empty(left)? || left.is_zero() {
                let message = format!("unable to remove cgroup {}: {}", self.path, self.why_not());
                return Err(Error::new(ErrorKind::WrongState, message));
            }
            if remove_below(&self.directory)? == 0 {
                std::thread::sleep(PAUSE.min(left));
            }
        }
    }

    /// Removes the cgroup if nothing is in it: EBUSY otherwise.
    pub(super) fn remove_if_empty(&self) -> Result<()> {
        self.parent.remove(self.path.name())
    }

    fn why_not(&self) -> String {
        match self.pids() {
            Ok(pids) if !pids.is_empty() => format!("{} process(es) are left in it", pids.len()),
            _ => "it is still in use".to_owned(),
        }
    }
}

/// That the cgroup has gone meanwhile is fine.
pub(super) fn ignore_gone(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if is_gone(&error) => Ok(()),
        result => result,
    }
}

/// How many levels are held open at once. The payload may have nested its cgroups as deep as it liked.
const HELD: usize = 128;

/// One level on the way down: an open cgroup, its name in the level above, and its children that could not be removed
/// at once because they have children themselves.
struct Level {
    directory: Directory,
    name: OsString,
    busy: Vec<OsString>,
}

impl Level {
    /// Removes the children that have none, and remembers the others.
    fn enter(directory: Directory, name: OsString, removed: &mut usize) -> Result<Self> {
        let busy = remove_children(&directory, removed)?;
        Ok(Self { directory, name, busy })
    }
}

/// Removes all cgroups below `top`, deepest first, as far as they are without processes. Returns how many went: with
/// more than [`HELD`] levels it takes several calls.
fn remove_below(top: &Directory) -> Result<usize> {
    let mut removed = 0;
    for name in remove_children(top, &mut removed)? {
        let mut levels = VecDeque::new();
        push(&mut levels, top, name.clone(), &mut removed)?;
        while let Some(level) = levels.back_mut() {
            match level.busy.pop() {
                Some(child) => {
                    let directory = match level.directory.child(&child) {
                        Err(error) if is_gone(&error) => continue,
                        opened => opened?,
                    };
                    levels.push_back(Level::enter(directory, child, &mut removed)?);
                    if levels.len() > HELD {
                        levels.pop_front();
                    }
                }
                None => {
                    let Some(done) = levels.pop_back() else { break };
                    if let Some(above) = levels.back() {
                        removed += usize::from(remove_one(&above.directory, &done.name)?);
                    }
                }
            }
        }
        removed += usize::from(remove_one(top, &name)?);
    }
    Ok(removed)
}

fn push(levels: &mut VecDeque<Level>, above: &Directory, name: OsString, removed: &mut usize) -> Result<()> {
    match above.child(&name) {
        Err(error) if is_gone(&error) => Ok(()),
        opened => {
            levels.push_back(Level::enter(opened?, name, removed)?);
            Ok(())
        }
    }
}

/// Removes the children of `directory` that are empty and returns the others.
fn remove_children(directory: &Directory, removed: &mut usize) -> Result<Vec<OsString>> {
    let names = match directory.children() {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        names => names?,
    };
    let mut busy = Vec::new();
    for name in names {
        if remove_one(directory, &name)? {
            *removed += 1;
        } else {
            busy.push(name);
        }
    }
    Ok(busy)
}

/// Removes one child; `false` when something is in it.
fn remove_one(directory: &Directory, name: &OsString) -> Result<bool> {
    match directory.remove(name) {
        Ok(()) => Ok(true),
        Err(error) if error.is(Errno::EBUSY) || error.is(Errno::ENOTEMPTY) => Ok(false),
        Err(error) => Err(error),
    }
}
