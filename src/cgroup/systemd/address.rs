//! D-Bus addresses, as far as they name unix sockets (D-Bus Specification, Server Addresses). Pure.

use crate::error::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// In the file system.
    Path(PathBuf),
    /// In the abstract namespace.
    Abstract(Vec<u8>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

/// The unix sockets in a list such as `unix:path=/run/bus,guid=0;unix:abstract=x`, which the variable `source` gave.
///
/// # Errors
/// `InvalidArgument` when there is none.
pub(super) fn parse(list: &str, source: &str) -> Result<Vec<Address>> {
    let found: Vec<_> = list.split(';').filter_map(one).collect();
    if found.is_empty() {
        let message = format!("{source}={list}: no unix socket, such as unix:path=/run/dbus/system_bus_socket");
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(found)
}

fn one(address: &str) -> Option<Address> {
    address.strip_prefix("unix:")?.split(',').find_map(|pair| match pair.split_once('=')? {
        ("path", value) => Some(Address::Path(PathBuf::from(OsString::from_vec(unescaped(value)?)))),
        ("abstract", value) => unescaped(value).map(Address::Abstract),
        _ => None,
    })
}

/// `%2f` stands for a slash, and so on.
fn unescaped(value: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Address, parse};

    fn check(list: &str, expected: &[&str]) {
        let shown: Vec<_> = parse(list, "X").unwrap().iter().map(Address::to_string).collect();
        assert_eq!(shown, expected, "{list}");
    }

    #[test]
    fn addresses() {
        check("unix:path=/run/bus", &["/run/bus"]);
        check("unix:guid=1,path=/run/a%20b%2Fc;tcp:host=x;unix:abstract=/tmp/x", &["/run/a b/c", "@/tmp/x"]);
        for odd in ["", "tcp:host=x", "unix:", "unix:path=", "unix:path=%2", "unix:path=%zz", "unix:runtime=yes"] {
            let error = parse(odd, "DBUS_SYSTEM_BUS_ADDRESS").unwrap_err().to_string();
            assert!(error.starts_with("DBUS_SYSTEM_BUS_ADDRESS=") && error.contains("no unix socket"), "{error}");
        }
    }
}
