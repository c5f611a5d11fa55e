//! The standard descriptors of a process without terminal.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::clone::InChild;
use crate::sys::this_process::{self, Stdio};
use crate::sys::{Errno, fs, stdio};
use std::os::fd::{AsFd, BorrowedFd};

fn each<T>(mut visit: impl FnMut(Stdio, BorrowedFd<'_>) -> Result<T>) -> Result<[T; 3]> {
    Ok([
        visit(Stdio::Stdin, stdio::stdin())?,
        visit(Stdio::Stdout, stdio::stdout())?,
        visit(Stdio::Stderr, stdio::stderr())?,
    ])
}

fn is_null(fd: impl AsFd) -> Result<bool> {
    Ok(fs::stat(fd)?.is_char(1, 3))
}

/// Which of them are `/dev/null`, for which [`replace_nulls`] wants the container's.
pub fn nulls() -> Result<[bool; 3]> {
    each(|_, fd| is_null(fd))
}

/// Puts the container's `/dev/null`, open for reading and writing, in place of the host's, which `nulls` are: the user
/// must own what it reopens, and a label must fit.
///
/// # Errors
/// When `null` is something else: a container must not choose where its output goes (CVE-2025-31133).
pub fn replace_nulls(me: &InChild, nulls: [bool; 3], null: impl AsFd) -> Result<()> {
    if !is_null(&null)? {
        return Err(Error::new(
            ErrorKind::Denied,
            "container's /dev/null is invalid: it is not the character device 1:3",
        ));
    }
    let mut nulls = nulls.into_iter();
    each(|which, _| if nulls.next() == Some(true) { this_process::dup2(me, &null, which) } else { Ok(()) }).map(drop)
}

/// Gives the standard descriptors to the user `uid`, so that it can reopen `/proc/self/fd/1`. The group stays.
/// Devices are the host's and stay as they are (runc issue 3674), and what cannot be given is left.
pub fn give_to(_: &InChild, uid: u32) -> Result<()> {
    each(|_, fd| {
        let found = fs::stat(fd)?;
        // Nor is a file given away that the caller lets the container only read: its owner could write to it.
        let read_only = found.is_file() && !fs::is_writable(fd)?;
        if found.is_device() || found.uid == uid || read_only {
            return Ok(());
        }
        match fs::chown(fd, Some(uid), None) {
            Err(error) if [Errno::EPERM, Errno::EINVAL, Errno::EROFS, Errno::ENOSYS].iter().any(|it| error.is(*it)) => {
                Ok(())
            }
            result => result,
        }
    })
    .map(drop)
}
