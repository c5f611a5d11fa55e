//! Paths as the container sees them: text that proves nothing until a `Root` resolves it.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A path inside the container, absolute and without `.`, `..` and doubled slashes. Links in it are unknown: only
/// [`Root`](super::Root) can say what it names, and no code joins it onto a path of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerPath {
    /// The components, without the leading slash; empty for the root.
    below_root: PathBuf,
}

impl ContainerPath {
    /// Reads a path of the configuration; a relative one counts from `/`, and `..` is taken as text, as runc does. `None`
    /// for a path with a NUL byte.
    pub fn new(path: &Path) -> Option<Self> {
        if path.as_os_str().as_bytes().contains(&0) {
            return None;
        }
        let mut below_root = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => below_root.push(name),
                Component::ParentDir => drop(below_root.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Some(Self { below_root })
    }

    /// The path relative to the container's root, for openat2; empty for the root itself.
    pub(super) fn below_root(&self) -> &Path {
        &self.below_root
    }

    /// Whether this is the root.
    pub(super) fn is_root(&self) -> bool {
        self.below_root.as_os_str().is_empty()
    }

    /// Whether this is the path `text`, given without the leading slash.
    pub(super) fn is(&self, text: &str) -> bool {
        self.below_root == Path::new(text)
    }

    /// The directory that this is in, and its name there; `None` for the root.
    pub(super) fn split(&self) -> Option<(Self, &std::ffi::OsStr)> {
        let name = self.below_root.file_name()?;
        Some((Self { below_root: self.below_root.parent()?.to_owned() }, name))
    }
}

impl fmt::Display for ContainerPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "/{}", self.below_root.display())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) {
        assert_eq!(ContainerPath::new(Path::new(text)).unwrap().to_string(), shown, "{text:?}");
    }

    #[test]
    fn paths_are_cleaned_as_text() {
        check("/", "/");
        check("", "/");
        check("/a/b/", "/a/b");
        check("a//b/./c", "/a/b/c");
        check("/../../etc", "/etc");
        check("/a/../b", "/b");
        check("/a/..", "/");
    }

    #[test]
    fn nul_bytes_are_refused() {
        assert_eq!(ContainerPath::new(Path::new("/a\0b")), None);
    }

    #[test]
    fn split_gives_directory_and_name() {
        let path = ContainerPath::new(Path::new("/dev/net/tun")).unwrap();
        let (parent, name) = path.split().unwrap();
        assert_eq!((parent.to_string().as_str(), name.to_str().unwrap()), ("/dev/net", "tun"));
        assert!(ContainerPath::new(Path::new("/")).unwrap().split().is_none());
    }
}
