//! A cgroup that exists already: what later commands do with it, and how it goes.

use super::directory::{Directory, is_gone};
use super::path::CgroupPath;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::Errno;
use std::collections::VecDeque;
use std::ffi::OsString;
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

    /// As [`Directory::kill`].
    pub fn kill(&self) -> Result<()> {
        self.directory.kill()
    }

    /// As [`Directory::signal`].
    pub fn signal(&self, signal: i32) -> Result<usize> {
        self.directory.signal(signal)
    }

    /// As [`Directory::pids`].
    pub fn pids(&self) -> Result<Vec<i32>> {
        self.directory.pids()
    }

    /// Removes the cgroup and those that the payload made below it, waiting at most `patience` for dying processes to
    /// end. It kills nobody. That it is gone already is success.
    ///
    /// # Errors
    /// `WrongState`, with the path, when processes are left.
    pub fn remove(self, patience: Duration) -> Result<()> {
        // rmdir goes by the count that `populated` shows and by the children that are left (cgroup_destroy_locked in
        // kernel/cgroup/cgroup.c); a child that was removed no longer counts, though its controllers may take long to
        // let go of it. So there is nothing to wait for but the event, and no reason to try again, except that somebody
        // who is not in the cgroup may make one below it meanwhile.
        const FRUITLESS: usize = 3;
        let deadline = Instant::now() + patience;
        let mut fruitless = 0;
        loop {
            match self.remove_if_empty() {
                Err(error) if error.is(Errno::EBUSY) || error.is(Errno::ENOTEMPTY) => {}
                result => return result,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let emptied = self.directory.wait_empty(left)?;
            fruitless = if remove_below(&self.directory)? == 0 { fruitless + 1 } else { 0 };
            if !emptied || fruitless == FRUITLESS {
                let message = format!("unable to remove cgroup {}: {}", self.path, self.why_not());
                return Err(Error::new(ErrorKind::WrongState, message));
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
            _ => "no process is left in it, but it is in use: is something mounted on it or below?".to_owned(),
        }
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
