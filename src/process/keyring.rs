//! The session keyring, so that the container does not share the caller's keys.

use crate::error::{Context, Error, Result};
use crate::sys::clone::InChild;
use crate::sys::{Errno, keyring};
use std::ffi::CString;

/// Possessors and others may search: in a user namespace the owner is somebody else than the container's users.
const OTHERS_MAY_SEARCH: u32 = 0x8;

/// The owner may search (`KEY_USR_SEARCH`).
const OWNER_MAY_SEARCH: u32 = 0x8_0000;

/// The keyring of a container: joined by name, so that processes that join the container share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionKeyring {
    name: CString,
    widened: u32,
}

/// Plans the keyring of the container `id`, named as runc names it.
///
/// # Errors
/// None for an id that was checked.
pub fn plan(id: &str, user_namespace: bool) -> Result<SessionKeyring> {
    let refuse = |_| Error::config("id", "contains a NUL byte");
    Ok(SessionKeyring {
        name: CString::new(format!("_ses.{id}")).map_err(refuse)?,
        widened: if user_namespace { OTHERS_MAY_SEARCH } else { OWNER_MAY_SEARCH },
    })
}

impl SessionKeyring {
    /// Joins the keyring and lets its users search it. A kernel without keys has none to protect.
    ///
    /// # Errors
    /// EDQUOT when the user has too many keys.
    pub fn apply(&self, me: &InChild) -> Result<()> {
        let key = match keyring::join_session(me, &self.name) {
            Err(error) if error.is(Errno::ENOSYS) => return Ok(()),
            Err(error) if error.is(Errno::EDQUOT) => {
                return Err(error.context("unable to join session keyring").hint(
                    "the user has too many keys: remove containers, raise /proc/sys/kernel/keys/maxkeys or \
                     root_maxkeys, or use --no-new-keyring",
                ));
            }
            key => key.context("unable to join session keyring")?,
        };
        let mask = keyring::permissions(key).context("unable to mod keyring permissions")?;
        keyring::set_permissions(me, key, mask | self.widened).context("unable to mod keyring permissions")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_permissions() {
        let keyring = plan("web", false).unwrap();
        assert_eq!(keyring.name.as_c_str(), c"_ses.web");
        assert_eq!(keyring.widened, OWNER_MAY_SEARCH);
        assert_eq!(plan("web", true).unwrap().widened, OTHERS_MAY_SEARCH);
    }
}
