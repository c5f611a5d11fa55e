//! Makes room below a memory limit before it is set.
//!
//! The kernel enforces a limit below what is in use by reclaiming and then by killing (cgroup-v2.rst, memory.max). An
//! update must not kill, so it reclaims first and sets only a limit that holds already.

use super::directory::Directory;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::Errno;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Brings what is in use down to `limit` bytes.
///
/// # Errors
/// `WrongState` with the bytes in use when they can't be reclaimed.
pub(super) fn make_room(directory: &Directory, limit: u64) -> Result<()> {
    /// The container may allocate meanwhile; against one that does so faster than we reclaim there is no winning.
    const ROUNDS: usize = 5;
    // The kernel counts in pages and rounds limits down.
    let whole = limit - limit % PAGE;
    let mut used = in_use(directory)?;
    for _ in 0..ROUNDS {
        if used <= whole {
            return Ok(());
        }
        reclaim(directory, used, whole)?;
        used = in_use(directory)?;
    }
    if used <= whole {
        return Ok(());
    }
    let message = format!(
        "memory in use is {used} bytes and can't be reclaimed down to a limit of {limit}: \
         stop something in the container or choose at least {used}"
    );
    Err(Error::new(ErrorKind::WrongState, message))
}

fn in_use(directory: &Directory) -> Result<u64> {
    let text = directory.read("memory.current")?;
    text.trim().parse().map_err(|_| Error::new(ErrorKind::System, format!("memory.current is {text:?}")))
}

/// Asks the kernel once. That it finds too little is no error here.
fn reclaim(directory: &Directory, used: u64, limit: u64) -> Result<()> {
    match directory.write("memory.reclaim", &(used - limit).to_string()) {
        // Less was found than asked for.
        Err(error) if error.is(Errno::EAGAIN) => Ok(()),
        // Before 5.19.
        Err(error) if error.is(Errno::ENOENT) => reclaim_by_throttling(directory, limit),
        result => result,
    }
    .context("reclaim memory")
}

/// Crossing `memory.high` makes the kernel reclaim and never kill; meanwhile the container is slowed down.
fn reclaim_by_throttling(directory: &Directory, limit: u64) -> Result<()> {
    let before = directory.read("memory.high")?;
    let reclaimed = directory.write("memory.high", &limit.to_string());
    directory.write("memory.high", before.trim())?;
    reclaimed
}
