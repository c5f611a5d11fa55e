//! `tmpcopyup`: a tmpfs that begins with a copy of what it is about to cover.
//!
//! The copy is made into the detached mount, name by name below descriptors and without following a link, so that nothing
//! in the image leads out, and nobody sees half of it.

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs::{self, Access, NodeKind, Resolve, Stat};
use crate::sys::{Errno, metadata};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;

/// More levels of directories than anybody makes: each takes two descriptors and a part of the stack.
const DEPTH_LIMIT: usize = 256;

/// How much of a file is copied at a time, in bytes.
const CHUNK: usize = 64 << 10;

/// Copies what is in the directory `from` into the empty directory `to`: content, owners, modes, times, links and what else
/// [`metadata::copy`] can.
///
/// # Errors
/// The path below `from` with what failed: ENOSPC when it does not fit, EPERM for a device in a user namespace, EINVAL
/// for an owner that it does not map.
pub(super) fn copy_up(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let (from, to) = (reopen(from)?, reopen(to)?);
    Copier { buffer: vec![0; CHUNK] }.directory(&from, &to, DEPTH_LIMIT)?;
    metadata::copy(&from, &fs::stat(&from)?, &to)
}

/// A directory that is a handle only, opened for more.
fn reopen(directory: &OwnedFd) -> Result<OwnedFd> {
    fs::open_at(directory, ".", Access::ReadDir, Resolve::Beneath)
}

struct Copier {
    buffer: Vec<u8>,
}

impl Copier {
    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, levels: usize) -> Result<()> {
        let Some(levels) = levels.checked_sub(1) else {
            return Err(Error::sys(format!("more than {DEPTH_LIMIT} levels of directories"), Errno::ELOOP));
        };
        for name in fs::names(from)? {
            self.entry(from, to, &name, levels).with_context(|| name.display().to_string())?;
        }
        Ok(())
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr, levels: usize) -> Result<()> {
        let found = fs::stat_at(from, name)?;
        if found.is_dir() {
            let source = fs::open_at(from, name, Access::ReadDir, Resolve::Beneath)?;
            fs::mkdir_at(to, name, 0o700)?;
            let copy = fs::open_at(to, name, Access::ReadDir, Resolve::Beneath)?;
            self.directory(&source, &copy, levels)?;
            return metadata::copy(&source, &fs::stat(&source)?, &copy);
        }
        if found.is_file() {
            return self.file(from, to, name);
        }
        if found.is_symlink() {
            fs::symlink_at(fs::readlink_at(from, name)?, to, name)?;
        } else if let Some(kind) = kind(&found) {
            fs::mknod_at(to, name, kind, found.mode & 0o7777, found.special)?;
        } else {
            // A socket, where nobody listens.
            return Ok(());
        }
        let copy = fs::open_at(to, name, Access::PathNoFollow, Resolve::InRootNoFollow)?;
        fs::chown(copy, Some(found.uid), Some(found.gid))
    }

    fn file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> Result<()> {
        // Not waited for, as it may be another kind of file by now.
        let source = fs::open_at(from, name, Access::ReadUnsure, Resolve::Beneath)?;
        let found = fs::stat(&source)?;
        if !found.is_file() {
            return Err(Error::new(ErrorKind::Denied, "it is another kind of file now"));
        }
        let copy = fs::create_at(to, name, 0o600)?;
        loop {
            match fs::read(&source, &mut self.buffer)? {
                0 => return metadata::copy(&source, &found, &copy),
                count => fs::write_all(&copy, &self.buffer[..count])?,
            }
        }
    }
}

/// What [`fs::mknod_at`] makes of it, if it makes such things.
fn kind(found: &Stat) -> Option<NodeKind> {
    if found.is_fifo() {
        Some(NodeKind::Fifo)
    } else if found.is_char(found.special.major, found.special.minor) {
        Some(NodeKind::Char)
    } else {
        found.is_device().then_some(NodeKind::Block)
    }
}
