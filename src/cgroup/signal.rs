//! Killing and signalling the processes of a cgroup.

use super::directory::{Directory, ignore_gone};
use super::freezer;
use crate::error::{Context, Result};
use crate::sys::signal::number::KILL as SIGKILL;
use crate::sys::{Errno, pidfd};
use std::os::fd::OwnedFd;

impl Directory {
    /// Sends SIGKILL to every process in the cgroup and below it, at once and even if they fork (`cgroup.kill`, 5.14).
    pub(super) fn kill(&self) -> Result<()> {
        match self.write("cgroup.kill", "1") {
            Err(error) if error.is(Errno::EOPNOTSUPP) => self.kill_threaded(),
            result => ignore_gone(result),
        }
    }

    /// A threaded cgroup holds threads, and the kernel kills only whole processes by `cgroup.kill`.
    fn kill_threaded(&self) -> Result<()> {
        /// Each round finds what had been forked during the one before, which is little once all are frozen.
        const ROUNDS: usize = 100;
        ignore_gone(freezer::set(self, true))?;
        for _ in 0..ROUNDS {
            // SIGKILL reaches the frozen as well.
            if self.signal(SIGKILL)? == 0 {
                break;
            }
        }
        ignore_gone(freezer::set(self, false))
    }

    /// Sends `signal` to every process in the cgroup and below it, one by one. Returns to how many.
    ///
    /// A pid read from the cgroup may belong to another process by the time its pidfd is open, but not if the cgroup
    /// lists it once more after that.
    pub(super) fn signal(&self, signal: i32) -> Result<usize> {
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
    pub(super) fn pids(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        self.collect_pids(&mut pids)?;
        // To kill(2), 0 would be our own process group.
        pids.retain(|pid| *pid > 0);
        // The root of a threaded subtree lists the processes of those below, too.
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }
}
