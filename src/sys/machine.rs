//! What uname(2) and the process's credentials tell.

use super::fs;
use crate::error::{Error, Result};
use std::path::Path;

/// The kernel's release, such as `6.1.0-18-amd64`.
pub fn kernel_release() -> Result<String> {
    let names = nix::sys::utsname::uname().map_err(|errno| Error::sys("uname", errno))?;
    Ok(names.release().to_string_lossy().into_owned())
}

/// The effective user id of this process.
pub fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The effective group id of this process.
pub fn effective_gid() -> u32 {
    nix::unistd::getegid().as_raw()
}

/// Whether this process is in a user namespace other than the initial one, whose inode number the kernel fixes
/// (`PROC_USER_INIT_INO` of `linux/proc_ns.h`, since 3.8). Without procfs it is taken for one, which costs privileges only.
pub fn in_user_namespace() -> bool {
    const INITIAL: u64 = 0xEFFF_FFFD;
    fs::stat_followed(Path::new("/proc/self/ns/user")).map_or(true, |namespace| namespace.inode != INITIAL)
}
