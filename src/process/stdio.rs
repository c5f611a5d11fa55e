//! The standard descriptors of a process without terminal.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::clone::InChild;
use crate::sys::fs::{self, magic};
use crate::sys::this_process::{self, Stdio};
use crate::sys::{Errno, stdio};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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

/// Replaces by pipes what the program must not have itself, and gives their other ends to `serve`. A caller's terminal
/// could be read, and its modes changed, by what stays behind when we are gone; a file could be truncated, and would have
/// to be given to the program's user; a socket can't be opened by name. A pipe is what the program would get anyway, and
/// `/dev/null`, which `nulls` are, is nothing: both save the copying.
pub fn pipe(me: &InChild, nulls: [bool; 3], mut serve: impl FnMut(Stdio, OwnedFd) -> Result<()>) -> Result<()> {
    let mut nulls = nulls.into_iter();
    each(|which, fd| {
        if nulls.next() == Some(true) || fs::filesystem_magic(fd)? == magic::PIPEFS {
            return Ok(());
        }
        // Made here, they belong to the container's user namespace, and can be given away in it.
        let (reader, writer) = std::io::pipe().map_err(|error| Error::io("pipe", &error))?;
        let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
        let (inner, outer) = if which == Stdio::Stdin { (reader, writer) } else { (writer, reader) };
        this_process::dup2(me, inner, which)?;
        serve(which, outer)
    })
    .map(drop)
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
