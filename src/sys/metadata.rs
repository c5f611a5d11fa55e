//! What a file has besides its content: owner, mode, extended attributes, times.

#![allow(unsafe_code)]

use super::fs::{Stat, chown};
use super::{Errno, check};
use crate::error::{Error, Result};
use nix::sys::stat::{self, Mode};
use nix::sys::time::TimeSpec;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

/// The longest list of names, and the longest value, that the kernel has (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`), in bytes.
const XATTR_LIMIT: usize = 64 << 10;

/// Gives `to` what `from` has, whose [`Stat`] is `known`: owner, mode, the time of the last change, and those extended
/// attributes which its filesystem and our rights allow. Both must be open for more than a handle.
///
/// # Errors
/// The errno of fchown(2): EINVAL for an id that the user namespace does not map; of fchmod(2) and utimensat(2).
pub fn copy(from: impl AsFd, known: &Stat, to: impl AsFd) -> Result<()> {
    chown(&to, Some(known.uid), Some(known.gid))?;
    // After the owner, whose change takes capabilities and set-id bits away.
    copy_attributes(&from, &to)?;
    let mode = Mode::from_bits_truncate(known.mode & 0o7777);
    stat::fchmod(&to, mode).map_err(|errno| Error::sys("fchmod", errno))?;
    let times = stat::fstat(&from).map_err(|errno| Error::sys("fstat", errno))?;
    let (accessed, changed) =
        (TimeSpec::new(times.st_atime, times.st_atime_nsec), TimeSpec::new(times.st_mtime, times.st_mtime_nsec));
    stat::futimens(&to, &accessed, &changed).map_err(|errno| Error::sys("futimens", errno))
}

/// Gives the file SELinux's `label`; see selinux(8).
///
/// # Errors
/// EINVAL for a label that the policy does not know; EOPNOTSUPP without SELinux, where the filesystem has no place for it.
pub fn set_label(file: impl AsFd, label: &str) -> Result<()> {
    let (file, name) = (file.as_fd().as_raw_fd(), c"security.selinux");
    // SAFETY: the name is a C string, and the value is as long as is said.
    let set = unsafe { libc::fsetxattr(file, name.as_ptr(), label.as_ptr().cast(), label.len(), 0) };
    check(set.into(), || format!("fsetxattr(security.selinux, {label:?})")).map(drop)
}

fn copy_attributes(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    let mut names = vec![0_u8; XATTR_LIMIT];
    // SAFETY: the kernel writes at most the buffer's length.
    let length = unsafe { libc::flistxattr(from, names.as_mut_ptr().cast(), names.len()) };
    let length = match check(length as libc::c_long, || "flistxattr".to_owned()) {
        Err(error) if error.is(Errno::ENOTSUP) => return Ok(()),
        length => length?,
    };
    names.truncate(length as usize);
    if names.is_empty() {
        return Ok(());
    }
    let mut value = vec![0_u8; XATTR_LIMIT];
    for name in names.split_inclusive(|byte| *byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
        // SAFETY: the name is a C string, and the kernel writes at most the buffer's length.
        let length = unsafe { libc::fgetxattr(from, name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        let Ok(length) = usize::try_from(length) else { continue };
        // SAFETY: the name is a C string, and `length` bytes of the value were just written.
        let set = unsafe { libc::fsetxattr(to, name.as_ptr(), value.as_ptr().cast(), length, 0) };
        match check(set.into(), || format!("fsetxattr({})", name.to_string_lossy())) {
            // ACLs and user attributes need a kernel that has them for tmpfs, the trusted ones the host's root.
            Err(error) if [Errno::ENOTSUP, Errno::EPERM, Errno::EACCES].iter().any(|errno| error.is(*errno)) => {}
            result => drop(result?),
        }
    }
    Ok(())
}
