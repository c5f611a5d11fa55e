//! unshare(2), setns(2) and the ioctls of namespace files.

#![allow(unsafe_code)]

use super::check;
use super::clone::{CloneFlags, InChild};
use super::fs::{self, Access, magic};
use crate::error::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// `ioctl_ns(2)`: asks a namespace file for its clone flag.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// Moves the calling process into new namespaces.
pub fn unshare(_: &InChild, namespaces: CloneFlags) -> Result<()> {
    // SAFETY: unshare takes no pointer.
    let done = unsafe { libc::unshare(namespaces.as_int()) };
    check(done.into(), || format!("unshare({namespaces})")).map(drop)
}

/// Moves the calling process into the namespace behind `namespace`, which must be of the kind `kind`.
pub fn join(_: &InChild, namespace: impl AsFd, kind: CloneFlags) -> Result<()> {
    setns(namespace, kind)
}

/// Moves the calling process into those of the namespaces of the process behind `pidfd` that `kinds` names, all at once
/// or not at all (5.8); the PID namespace counts for future children only.
///
/// # Errors
/// ESRCH when the process has ended, EPERM without CAP_SYS_ADMIN in what owns a namespace, or when we may not trace it.
pub fn join_process(_: &InChild, pidfd: impl AsFd, kinds: CloneFlags) -> Result<()> {
    setns(pidfd, kinds)
}

/// Makes the PID namespace behind `namespace`, which may be the pidfd of a process, that of this process's future children; the process itself stays where
/// it is, which is why the parent may call it.
pub fn set_pid_namespace_for_children(namespace: impl AsFd) -> Result<()> {
    setns(namespace, CloneFlags::PID)
}

/// Moves the calling process into the network namespace behind `namespace`, which may be the pidfd of a process. The
/// parent goes there to open a socket, and comes back.
pub fn set_network_namespace(namespace: impl AsFd) -> Result<()> {
    setns(namespace, CloneFlags::NETWORK)
}

fn setns(namespace: impl AsFd, kind: CloneFlags) -> Result<()> {
    // SAFETY: setns takes no pointer, and the descriptor is open as long as it is borrowed.
    let done = unsafe { libc::setns(namespace.as_fd().as_raw_fd(), kind.as_int()) };
    check(done.into(), || format!("setns({kind})")).map(drop)
}

/// Opens the namespace file `path` and proves that it is one of the kind `kind`. A FIFO does not keep us waiting.
///
/// # Errors
/// The errno of open(2); `InvalidConfig` when it is no namespace file or one of another kind.
pub fn open(path: &Path, kind: CloneFlags) -> Result<OwnedFd> {
    let file = fs::open(path, Access::ReadUnsure)?;
    if fs::filesystem_magic(&file)? != magic::NSFS {
        return Err(Error::new(ErrorKind::InvalidConfig, format!("{} is not a namespace file", path.display())));
    }
    // SAFETY: NS_GET_NSTYPE takes no argument; the descriptor is open.
    let found = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    let found = check(found.into(), || "ioctl(NS_GET_NSTYPE)".to_owned())?;
    if found != libc::c_long::from(kind.as_int()) {
        let message = format!("{} is not a {kind} namespace", path.display());
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    Ok(file)
}
