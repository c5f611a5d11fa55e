//! Waiting for what happens in a cgroup: processes killed for lack of memory, and its end.

use super::directory::{Directory, EVENTS, is_gone, is_populated, oom_kills};
use super::existing::Existing;
use crate::error::Result;
use crate::sys::Errno;
use crate::sys::poll::{Interest, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// At least this often we look without having been told. The kernel holds back the news of a change within 10 ms of
/// another one, and forgets them if the cgroup is removed meanwhile (cgroup_file_notify, since 5.2).
const LOOK: Duration = Duration::from_secs(1);

/// What [`Watch::next`] waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// The kernel has killed one process or several for lack of memory.
    OutOfMemory,
    /// No living process is left, or the cgroup is gone.
    Ended,
    /// Nobody reads the output any more.
    Unheard,
    /// It is time.
    Time,
}

/// Follows what happens in a cgroup from now on.
#[derive(Debug)]
pub struct Watch<'a> {
    directory: &'a Directory,
    oom_kills: u64,
}

impl Existing {
    /// Follows what happens in the cgroup from now on. Where memory is not accounted, nothing is heard of it.
    pub fn watch(&self) -> Watch<'_> {
        Watch { directory: &self.directory, oom_kills: self.directory.oom_kills() }
    }
}

impl Watch<'_> {
    /// Waits for the next thing to happen, at most until `time`. Nobody reading `output`, a pipe or socket, is one.
    pub fn next(&mut self, time: Instant, output: BorrowedFd<'_>) -> Result<Happening> {
        loop {
            // Memory first: the kill may have been the end of the last process.
            let memory = self.look("memory.events")?;
            let events = self.look(EVENTS)?;
            if let Some((text, _)) = &memory {
                let before = std::mem::replace(&mut self.oom_kills, oom_kills(text));
                if self.oom_kills > before {
                    return Ok(Happening::OutOfMemory);
                }
            }
            let Some((text, events)) = events else { return Ok(Happening::Ended) };
            if !is_populated(&text) {
                return Ok(Happening::Ended);
            }
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Happening::Time);
            }
            let files = [Some(&events), memory.as_ref().map(|(_, file)| file)];
            let files = files.into_iter().flatten().map(|file| (file.as_fd(), Interest::Change));
            let wanted: Vec<_> = std::iter::once((output, Interest::Hangup)).chain(files).collect();
            if poll(&wanted, Some(left.min(LOOK)))?.first() == Some(&true) {
                return Ok(Happening::Unheard);
            }
        }
    }

    /// One of the files and its text; `None` where it does not exist.
    fn look(&self, file: &str) -> Result<Option<(String, OwnedFd)>> {
        match self.directory.read_watched(file) {
            Ok(read) => Ok(Some(read)),
            Err(error) if is_gone(&error) || error.is(Errno::EOPNOTSUPP) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
