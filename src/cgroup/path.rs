//! Where a container's cgroup lies in the hierarchy.

use crate::error::{Error, ErrorKind, Result};
use crate::host::CGROUP_MOUNT;
use crate::host::Host;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// The field of config.json that names the cgroup.
const FIELD: &str = "linux.cgroupsPath";

/// The longest path, in bytes: with the mount point and the name of a file below it must fit into PATH_MAX, or no tool
/// can look at the cgroup, and `/proc/PID/cgroup` does not tell it.
const LONGEST: usize = 4095 - CGROUP_MOUNT.len() - "/".len() - 255;

/// The path of a cgroup below the mount point: absolute, without empty, `.` or `..` components, never the root itself.
///
/// It lies in the state file, so reading one back checks it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CgroupPath(String);

impl CgroupPath {
    /// The cgroup that the cgroupfs driver takes: an absolute path as it is; a relative one below the parent of our
    /// own cgroup (which holds processes, so that it cannot give controllers to children of its own); without a path
    /// the container's id, likewise. `..` leads nowhere above the root, as in runc.
    ///
    /// # Errors
    /// `InvalidConfig` for the root cgroup and for bytes that no cgroup's name can have.
    pub(super) fn of_cgroupfs(path: Option<&Path>, id: &str, host: &Host) -> Result<Self> {
        let wanted = match path {
            Some(path) => path.to_str().ok_or_else(|| Error::config(FIELD, "is not UTF-8"))?,
            None => "",
        };
        let mut parts = Vec::new();
        if !wanted.starts_with('/') {
            clean(&mut parts, host.own_cgroup()?);
            parts.pop();
        }
        let parent = parts.len();
        // Cleaned on its own first: `..` in a relative path must not climb above its starting point.
        let mut inner = Vec::new();
        clean(&mut inner, if wanted.is_empty() { id } else { wanted });
        parts.append(&mut inner);
        if parts.len() == parent {
            return Err(Error::config(
                FIELD,
                format!("{wanted:?} is no cgroup of the container's own: give it a name"),
            ));
        }
        let path = format!("/{}", parts.join("/"));
        if path.len() > LONGEST {
            return Err(Error::config(
                FIELD,
                format!("{} bytes are too long, at most {LONGEST} are possible", path.len()),
            ));
        }
        Self::try_from(path).map_err(|error| Error::config(FIELD, error.to_string()))
    }

    /// The path as it is written in `/proc/PID/cgroup` and in the state file.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path relative to the root of the hierarchy.
    pub(super) fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// The components, outermost first; at least one.
    pub(super) fn components(&self) -> impl Iterator<Item = &str> {
        self.relative().split('/')
    }

    /// The last component.
    pub(super) fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The cgroup above, or `None` directly below the root.
    pub(super) fn parent(&self) -> Option<Self> {
        match self.0.rfind('/') {
            None | Some(0) => None,
            Some(end) => Some(Self(self.0[..end].to_owned())),
        }
    }
}

/// Shown as the directory on the host.
impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CGROUP_MOUNT}{}", self.0)
    }
}

impl TryFrom<String> for CgroupPath {
    type Error = Error;

    fn try_from(path: String) -> Result<Self> {
        // The kernel refuses a newline, because /proc/PID/cgroup has one path a line.
        let odd = |part: &str| matches!(part, "" | "." | "..") || part.contains(['\0', '\n']);
        match path.strip_prefix('/') {
            Some(relative) if !relative.split('/').any(odd) => Ok(Self(path)),
            _ => Err(Error::new(ErrorKind::InvalidConfig, format!("{path:?} is not the clean path of a cgroup"))),
        }
    }
}

impl From<CgroupPath> for String {
    fn from(path: CgroupPath) -> Self {
        path.0
    }
}

/// Appends the components of `path` to `parts`; `..` takes one off, `.` and repeated slashes count for nothing.
pub(super) fn clean<'a>(parts: &mut Vec<&'a str>, path: &'a str) {
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{CgroupPath, Host};
    use crate::process::tests::host;
    use std::path::Path;

    fn check(path: Option<&str>, own: &str, expected: Option<&str>) {
        let host = Host { own_cgroup: own.to_owned().into(), ..host() };
        let made = CgroupPath::of_cgroupfs(path.map(Path::new), "web", &host);
        assert_eq!(made.as_ref().ok().map(CgroupPath::as_str), expected, "{path:?} in {own}: {made:?}");
        assert!(made.is_ok() || made.unwrap_err().to_string().contains("linux.cgroupsPath"));
    }

    #[test]
    fn cgroupfs_paths() {
        check(Some("/a/b"), "/user/me", Some("/a/b"));
        check(Some("/a//./b/"), "/user/me", Some("/a/b"));
        check(Some("/../../a"), "/user/me", Some("/a"));
        check(Some("/a/../.."), "/", None);
        check(Some("/"), "/user/me", None);
        check(Some("a/b"), "/user/me", Some("/user/a/b"));
        check(Some("foo/../../bar"), "/user/me", Some("/user/bar"));
        check(Some(".."), "/user/me", None);
        check(Some("system.slice:docker:web"), "/", Some("/system.slice:docker:web"));
        check(None, "/user/me", Some("/user/web"));
        check(None, "/", Some("/web"));
        check(None, "/me", Some("/web"));
        check(Some(""), "/a/b/c", Some("/a/b/web"));
        check(None, "/../x", Some("/web"));
        check(Some("/a\nb"), "/", None);
        check(Some("/a\0b"), "/", None);
        let longest = format!("/{}", "a".repeat(super::LONGEST - 1));
        check(Some(&longest), "/", Some(&longest));
        check(Some(&longest), "/me", Some(&longest));
        check(Some(&longest[1..]), "/up/me", None);
    }

    #[test]
    fn read_back() {
        for good in ["/a", "/a/b.scope", "/..a/b:c"] {
            let path: CgroupPath = serde_json::from_value(good.into()).unwrap();
            assert_eq!(serde_json::to_value(&path).unwrap(), good);
        }
        for bad in ["", "/", "a", "/a/", "/a/../b", "/./a", "//a", "/a\n"] {
            assert!(serde_json::from_value::<CgroupPath>(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn parts() {
        let path = CgroupPath::try_from("/a/b/c".to_owned()).unwrap();
        assert_eq!(path.to_string(), "/sys/fs/cgroup/a/b/c");
        assert_eq!(path.name(), "c");
        assert_eq!(path.components().collect::<Vec<_>>(), ["a", "b", "c"]);
        let above = path.parent().and_then(|path| path.parent()).unwrap();
        assert_eq!((above.as_str(), above.parent()), ("/a", None));
    }
}
