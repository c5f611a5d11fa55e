//! pidfds: opening, signalling, waiting.

#![allow(unsafe_code)]

use super::check;
use super::poll::{Interest, poll};
use super::reap::waitid;
use crate::error::Result;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Code(u8),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// The status that a shell shows for it: its own, or 128 plus the signal's number.
    pub fn status(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128_u8.saturating_add(signal as u8),
        }
    }
}

/// A pidfd of the process `pid`, close-on-exec.
///
/// # Errors
/// ESRCH when there is no such process; EINVAL or ENOENT when `pid` is a thread that leads no process.
pub fn open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: two integers; the kernel touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = check(fd, || format!("pidfd_open({pid})"))?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends `signal` to the process; 0 only checks that it can be signalled. A process that has ended but is not reaped
/// yet takes any signal.
///
/// # Errors
/// ESRCH when it has been reaped, EINVAL for a number that is no signal, EPERM.
pub fn send_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: the null siginfo makes the kernel fill in what kill(2) would; nothing of ours is read.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<libc::siginfo_t>(), 0) };
    check(result, || format!("pidfd_send_signal({signal})")).map(drop)
}

/// A copy of the process's descriptor `number`, close-on-exec; see pidfd_getfd(2).
///
/// # Errors
/// EBADF when that number is not in use, ESRCH when the process has ended, EPERM without the right to trace it.
pub fn descriptor(pidfd: impl AsFd, number: i32) -> Result<OwnedFd> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: three integers; the kernel touches no memory of ours.
    let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, fd, number, 0) };
    let copy = check(copy, || format!("pidfd_getfd({number})"))?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy as RawFd) })
}

/// Waits until the process has ended (it may still be a zombie), at most for `timeout`, without end for `None`.
/// Tells whether it has ended.
pub fn wait_exit(pidfd: impl AsFd, timeout: Option<Duration>) -> Result<bool> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if poll(&[(pidfd.as_fd(), Interest::Read)], left)?[0] {
            return Ok(true);
        }
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
    }
}

/// Waits for the end of a child of ours and reaps it.
///
/// # Errors
/// ECHILD when it is not our child or has been reaped.
pub fn reap(pidfd: impl AsFd) -> Result<Exit> {
    wait(pidfd, 0)
}

/// As [`reap`], but leaves the child a zombie.
pub fn peek(pidfd: impl AsFd) -> Result<Exit> {
    wait(pidfd, libc::WNOWAIT)
}

fn wait(pidfd: impl AsFd, flags: libc::c_int) -> Result<Exit> {
    let info = waitid(libc::P_PIDFD, pidfd.as_fd().as_raw_fd() as libc::id_t, flags)?;
    // SAFETY: waitid(2) fills the SIGCHLD part of the union, which holds the status.
    let status = unsafe { info.si_status() };
    Ok(if info.si_code == libc::CLD_EXITED { Exit::Code(status as u8) } else { Exit::Signal(status) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::Errno;
    use std::process::Command;

    #[allow(clippy::zombie_processes, reason = "reaped through the pidfd")]
    fn shell(script: &str) -> OwnedFd {
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        open(child.id() as i32).unwrap()
    }

    #[test]
    fn exit_status() {
        let pidfd = shell("exit 7");
        assert!(wait_exit(&pidfd, Some(Duration::from_secs(10))).unwrap());
        assert_eq!(reap(&pidfd).unwrap(), Exit::Code(7));
        assert!(reap(&pidfd).unwrap_err().is(Errno::ECHILD));
        assert!(send_signal(&pidfd, 0).unwrap_err().is(Errno::ESRCH));
    }

    #[test]
    fn killed_by_a_real_time_signal() {
        let pidfd = shell("exec sleep 100");
        assert!(!wait_exit(&pidfd, Some(Duration::ZERO)).unwrap());
        assert!(send_signal(&pidfd, -9).unwrap_err().is(Errno::EINVAL));
        send_signal(&pidfd, 40).unwrap();
        assert_eq!(reap(&pidfd).unwrap(), Exit::Signal(40));
        assert_eq!(Exit::Signal(40).status(), 168);
    }

    #[test]
    fn no_such_process() {
        assert!(open(i32::MAX).unwrap_err().is(Errno::ESRCH));
        assert!(open(-1).unwrap_err().is(Errno::EINVAL));
    }
}
