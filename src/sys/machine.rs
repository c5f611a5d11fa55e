//! What uname(2) and the process's credentials tell.

use super::fs::{self, Access};
use crate::error::{Error, Result};

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

/// Whether this process is in a user namespace other than the initial one: that one maps every id to itself. Without
/// procfs it is taken for one, which costs privileges only.
pub fn in_user_namespace() -> bool {
    // More than the one line of the initial map, so that a longer one shows.
    let mut map = [0; 128];
    let length = fs::open("/proc/self/uid_map", Access::Read).and_then(|file| fs::read(&file, &mut map));
    length.map_or(true, |length| !is_initial(&String::from_utf8_lossy(&map[..length])))
}

fn is_initial(uid_map: &str) -> bool {
    uid_map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_maps() {
        assert!(is_initial("         0          0 4294967295\n"));
        assert!(!is_initial("         0       1000          1\n"));
        assert!(!is_initial("         0          0 4294967295\n 1 1 1\n"));
        assert!(!is_initial(""));
    }
}
