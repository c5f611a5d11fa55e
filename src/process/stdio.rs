//! The standard descriptors of a process without terminal.

use crate::error::{Error, Result};
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Stat, magic};
use crate::sys::this_process::{self, Stdio};
use crate::sys::{Errno, stdio};
use std::os::fd::{BorrowedFd, OwnedFd};

/// What each of them is.
pub type Found = [(Stdio, Stat); 3];

fn descriptor(which: Stdio) -> BorrowedFd<'static> {
    match which {
        Stdio::Stdin => stdio::stdin(),
        Stdio::Stdout => stdio::stdout(),
        Stdio::Stderr => stdio::stderr(),
    }
}

/// Looks at them.
pub fn look() -> Result<Found> {
    let look = |which| Ok((which, fs::stat(descriptor(which))?));
    Ok([look(Stdio::Stdin)?, look(Stdio::Stdout)?, look(Stdio::Stderr)?])
}

/// Whether it is `/dev/null`, for which [`replace_nulls`] wants the container's.
pub fn is_null((_, stat): &(Stdio, Stat)) -> bool {
    stat.is_char(1, 3)
}

/// Puts the container's `/dev/null`, proven to be one and open for reading and writing, in place of the host's: the user
/// must own what it reopens, and a label must fit.
pub fn replace_nulls(me: &InChild, found: &Found, null: OwnedFd) -> Result<()> {
    found.iter().filter(|it| is_null(it)).try_for_each(|(which, _)| this_process::dup2(me, &null, *which))?;
    this_process::leave_open(me, null);
    Ok(())
}

/// Replaces by pipes what the program must not have itself, and gives their other ends to `serve`. A caller's terminal
/// could be read, and its modes changed, by what stays behind when we are gone; a file could be truncated, and would have
/// to be given to the program's user; a socket can't be opened by name. A pipe is what the program would get anyway, and
/// `/dev/null` is nothing: both save the copying.
pub fn pipe(me: &InChild, found: &mut Found, mut serve: impl FnMut(Stdio, OwnedFd) -> Result<()>) -> Result<()> {
    for (which, stat) in found.iter_mut().filter(|it| !is_null(it)) {
        // A named one is not on the filesystem of pipes.
        if stat.is_fifo() && fs::filesystem_magic(descriptor(*which))? == magic::PIPEFS {
            continue;
        }
        // Made here, they belong to the container's user namespace, and can be given away in it.
        let (reader, writer) = std::io::pipe().map_err(|error| Error::io("pipe", &error))?;
        let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
        let (inner, outer) = if *which == Stdio::Stdin { (reader, writer) } else { (writer, reader) };
        *stat = fs::stat(&inner)?;
        this_process::dup2(me, inner, *which)?;
        serve(*which, outer)?;
    }
    Ok(())
}

/// Gives the standard descriptors to the user `uid`, so that it can reopen `/proc/self/fd/1`. The group stays.
/// Devices are the host's and stay as they are (runc issue 3674), and what cannot be given is left.
pub fn give_to(_: &InChild, found: &Found, uid: u32) -> Result<()> {
    for (which, stat) in found {
        if stat.is_device() || stat.uid == uid {
            continue;
        }
        let fd = descriptor(*which);
        // Nor is a file given away that the caller lets the container only read: its owner could write to it.
        if stat.is_file() && !fs::is_writable(fd)? {
            continue;
        }
        match fs::chown(fd, Some(uid), None) {
            Err(error) if [Errno::EPERM, Errno::EINVAL, Errno::EROFS, Errno::ENOSYS].iter().any(|it| error.is(*it)) => {
            }
            result => result?,
        }
    }
    Ok(())
}
