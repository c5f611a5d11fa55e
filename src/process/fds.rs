//! The descriptors that the process gets beyond its standard ones: `--preserve-fds` and socket activation.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::clone::InChild;
use crate::sys::this_process;
use std::os::fd::BorrowedFd;

/// The first number after the standard descriptors, as in `SD_LISTEN_FDS_START`.
const FIRST: u32 = 3;

/// How many descriptors from 3 on go to the container, with the numbers they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inherited {
    /// Those of socket activation, first; see sd_listen_fds(3).
    pub listen: u32,
    /// Those of `--preserve-fds`, after them.
    pub preserved: u32,
}

/// Plans the descriptors to pass on: `preserved` as asked for on the command line, and those that the variables
/// LISTEN_FDS and LISTEN_PID tell of, if they mean us, `own_pid`, and not some ancestor of ours.
///
/// # Errors
/// More than there are numbers.
pub fn plan(preserved: u32, listen_fds: Option<&str>, listen_pid: Option<&str>, own_pid: u32) -> Result<Inherited> {
    let for_us = listen_pid.is_some_and(|pid| pid.parse() == Ok(own_pid));
    let listen = listen_fds.filter(|_| for_us).and_then(|count| count.parse().ok()).unwrap_or(0);
    // The highest number that a descriptor can have, and the last that F_SETFD takes.
    let fits =
        FIRST.checked_add(listen).and_then(|count| count.checked_add(preserved)).is_some_and(|end| end < 1 << 30);
    if !fits {
        let text = format!("cannot preserve {preserved} descriptors after {listen} of LISTEN_FDS");
        return Err(Error::new(ErrorKind::InvalidArgument, text));
    }
    Ok(Inherited { listen, preserved })
}

impl Inherited {
    /// The number after the last one passed on.
    fn end(self) -> u32 {
        FIRST + self.listen + self.preserved
    }

    /// In the parent, first thing: all of them must be open. No descriptor of ours can have one of their numbers then.
    pub fn check_open(self) -> Result<()> {
        for index in 0..self.listen + self.preserved {
            if this_process::is_open(FIRST + index) {
                continue;
            }
            let text = match index.checked_sub(self.listen) {
                Some(index) => format!("unable to stat preserved-fd {index} (of {})", self.preserved),
                None => format!("unable to stat LISTEN_FDS fd {index} (of {})", self.listen),
            };
            return Err(Error::new(ErrorKind::InvalidArgument, format!("{text}: bad file descriptor")));
        }
        Ok(())
    }

    /// Closes every other descriptor but `ours`, really and not just at execve: neither the program's path nor a hook
    /// shall lead through one (CVE-2024-21626). Before the seccomp filter, which may refuse it.
    ///
    /// What this process still owns must be dropped before or be in `ours`: dropping an owner afterwards would close
    /// a number that may be another file's by then, and aborts in a debug build.
    pub fn close_others(self, me: &InChild, ours: &[BorrowedFd<'_>]) -> Result<()> {
        let mut numbers: Vec<u32> = ours.iter().map(this_process::number_of).collect();
        numbers.sort_unstable();
        for (first, last) in gaps(self.end(), &numbers) {
            this_process::close_range(me, first, last)?;
        }
        Ok(())
    }

    /// Leaves those to pass on open over execve. After the hooks in the container, which get none.
    pub fn hand_over(self, me: &InChild) -> Result<()> {
        if self.end() == FIRST { Ok(()) } else { this_process::keep_over_exec(me, FIRST, self.end() - 1) }
    }
}

/// The ranges from `start` on between sorted `numbers`.
fn gaps(start: u32, numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut gaps = Vec::with_capacity(numbers.len() + 1);
    let mut next = start;
    for number in numbers.iter().copied().filter(|number| *number >= start) {
        if number > next {
            gaps.push((next, number - 1));
        }
        next = number + 1;
    }
    gaps.push((next, u32::MAX));
    gaps
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(preserved: u32, fds: Option<&str>, pid: Option<&str>, expected: Option<(u32, u32)>) {
        let planned = plan(preserved, fds, pid, 42).ok().map(|it| (it.listen, it.preserved));
        assert_eq!(planned, expected, "{fds:?} {pid:?}");
    }

    #[test]
    fn activation_counts_only_when_it_means_us() {
        check(0, None, None, Some((0, 0)));
        check(2, Some("50"), None, Some((0, 2)));
        check(2, Some("50"), Some("41"), Some((0, 2)));
        check(2, Some("3"), Some("42"), Some((3, 2)));
        check(2, Some("x"), Some("42"), Some((0, 2)));
        check(2, Some("-1"), Some("42"), Some((0, 2)));
        check(u32::MAX, None, None, None);
        check(u32::MAX - 5, Some("4"), Some("42"), None);
    }

    #[test]
    fn what_is_between_ours_is_closed() {
        assert_eq!(gaps(3, &[]), [(3, u32::MAX)]);
        assert_eq!(gaps(3, &[3, 4, 9]), [(5, 8), (10, u32::MAX)]);
        assert_eq!(gaps(5, &[2, 4, 7]), [(5, 6), (8, u32::MAX)]);
    }

    #[test]
    fn descriptors_must_be_open() {
        let error = Inherited { listen: 0, preserved: 1 << 20 }.check_open().unwrap_err().to_string();
        assert!(error.starts_with("unable to stat preserved-fd "), "{error}");
        assert!(error.ends_with(" (of 1048576): bad file descriptor"), "{error}");
    }
}
