//! The name of a container, checked once.

use crate::error::{Error, ErrorKind, Result, phrase};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest file name that Linux filesystems take (`NAME_MAX`), in bytes.
const LONGEST: usize = 255;

/// A container's id: the only thing that may become a directory name below `--root`. Letters, digits and `_+-.` as in
/// runc, but no leading dot, as in crun: nothing may look like `..` or a hidden file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// Checks `text`.
    ///
    /// # Errors
    /// `InvalidArgument` for an empty id, one with other characters, or one too long for a file name.
    pub fn parse(text: &str) -> Result<Self> {
        let refused = |why: String| Err(Error::new(ErrorKind::InvalidArgument, why));
        if text.is_empty() {
            return refused(phrase::EMPTY_ID.to_owned());
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        if !text.bytes().all(allowed) || text.starts_with('.') {
            return refused(phrase::BAD_ID.to_owned());
        }
        if text.len() > LONGEST {
            let length = text.len();
            return refused(format!("{}: {length} characters, at most {LONGEST} are allowed", phrase::BAD_ID));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ContainerId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: std::result::Result<(), &str>) {
        let found = ContainerId::parse(text).map(drop).map_err(|error| error.to_string());
        assert_eq!(found.as_ref().map_err(String::as_str).copied(), expected, "{text:?}");
    }

    #[test]
    fn good() {
        for text in ["a", "web_1.x+y-z", "0", "a.", "-x"] {
            check(text, Ok(()));
        }
        check(&"a".repeat(255), Ok(()));
    }

    #[test]
    fn bad() {
        check("", Err("container id cannot be empty"));
        for text in [".", "..", ".a", "...", "a/b", "a b", "ä", "a\0", "a\n", "a:b"] {
            check(text, Err("invalid container ID format"));
        }
        check(&"a".repeat(2000), Err("invalid container ID format: 2000 characters, at most 255 are allowed"));
    }
}
