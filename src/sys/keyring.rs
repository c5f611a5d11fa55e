//! keyctl(2): the session keyring.

#![allow(unsafe_code)]

use super::check;
use super::clone::InChild;
use crate::error::{Error, Result};
use crate::sys::Errno;
use std::ffi::CStr;

/// A key's serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(i32);

/// Makes the keyring `name` our session keyring, made new unless one of that name may be searched by us;
/// see `KEYCTL_JOIN_SESSION_KEYRING`.
///
/// # Errors
/// ENOSYS in a kernel without keys, EDQUOT at the user's quota of keys.
pub fn join_session(_: &InChild, name: &CStr) -> Result<Key> {
    // SAFETY: the name is a live string that ends in zero.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    let key = check(result, || format!("keyctl(join session {})", name.to_string_lossy()))?;
    Ok(Key(key as i32))
}

/// A key's permission mask: possessor, user, group, others from the highest byte down; see keyctl_setperm(3).
pub fn permissions(key: Key) -> Result<u32> {
    let mut description = vec![0_u8; 512];
    // SAFETY: the kernel writes at most the stated length into the live buffer.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_DESCRIBE, key.0, description.as_mut_ptr(), description.len())
    };
    check(result, || "keyctl(describe)".to_owned())?;
    parse_permissions(&description).ok_or_else(|| Error::sys("keyctl(describe)", Errno::EINVAL))
}

/// The fourth of `type;uid;gid;permissions;description`.
fn parse_permissions(description: &[u8]) -> Option<u32> {
    let field = description.split(|byte| *byte == b';').nth(3)?;
    u32::from_str_radix(str::from_utf8(field).ok()?, 16).ok()
}

/// Sets a key's permission mask.
pub fn set_permissions(_: &InChild, key: Key, mask: u32) -> Result<()> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, key.0, mask) };
    check(result, || format!("keyctl(setperm {mask:#x})")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::parse_permissions;

    #[test]
    fn permissions_are_the_fourth_field() {
        assert_eq!(parse_permissions(b"keyring;0;0;3f130000;_ses.a;b\0"), Some(0x3f13_0000));
        assert_eq!(parse_permissions(b"keyring;0;0"), None);
        assert_eq!(parse_permissions(b"keyring;0;0;x;y"), None);
    }
}
