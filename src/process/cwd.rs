//! The working directory. Spec: config.md, Process, cwd.

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access, Resolve};
use crate::sys::{Errno, this_process};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

/// The working directory of the process, an absolute path in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingDirectory(PathBuf);

/// Plans `process.cwd`.
///
/// # Errors
/// An empty or relative path.
pub fn plan(cwd: &Path) -> Result<WorkingDirectory> {
    if cwd.as_os_str().is_empty() {
        return Err(Error::config("process.cwd", "Cwd property must not be empty"));
    }
    if !cwd.is_absolute() {
        return Err(Error::config("process.cwd", "Cwd must be an absolute path"));
    }
    if cwd.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(Error::config("process.cwd", "contains a NUL byte"));
    }
    Ok(WorkingDirectory(cwd.to_owned()))
}

/// Whether the first attempt at entering the directory worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Entered {
    /// It is the working directory.
    Yes,
    /// Only the user may enter it.
    NotAsRoot,
}

impl WorkingDirectory {
    /// Makes the directory with mode 0755 if it is missing, its parents likewise. After pivot, while umask is 0 and
    /// before the root becomes read-only.
    ///
    /// # Errors
    /// ENOTDIR when something else is there, EROFS on a read-only root.
    pub fn create(&self, root: impl AsFd) -> Result<()> {
        if self.is_root() {
            return Ok(());
        }
        let open = |path: &Path| fs::open_at(&root, path, Access::Dir, Resolve::InRoot);
        let told = || format!("mkdir {}", self.0.display());
        match open(&self.0) {
            Ok(_) => return Ok(()),
            Err(error) if error.is(Errno::ENOENT) => {}
            // Root may be shut out (NFS with root_squash, FUSE): entering it as the user will tell.
            Err(error) if error.is(Errno::EACCES) || error.is(Errno::EPERM) => return Ok(()),
            Err(error) => return Err(error.phrased(told())),
        }
        let mut path = PathBuf::from("/");
        let mut parent = open(&path).with_context(told)?;
        for component in self.0.components() {
            path.push(component);
            let found = match (open(&path), component) {
                (Err(error), Component::Normal(name)) if error.is(Errno::ENOENT) => {
                    fs::mkdir_at(&parent, Path::new(name), 0o755).map_err(|error| error.phrased(told()))?;
                    open(&path)
                }
                (found, _) => found,
            };
            parent = found.map_err(|error| error.phrased(told()))?;
        }
        Ok(())
    }

    /// Enters the directory before the change of ids, as a directory may be closed to the user.
    ///
    /// # Errors
    /// Anything but a lack of permission.
    pub fn enter(&self, me: &InChild) -> Result<Entered> {
        match this_process::chdir(me, &self.0) {
            Ok(()) => Ok(Entered::Yes),
            Err(error) if error.is(Errno::EACCES) || error.is(Errno::EPERM) => Ok(Entered::NotAsRoot),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// After the change of ids: enters the directory if that is still to be done, then makes sure that it lies inside
    /// the container, whatever the path led through (CVE-2024-21626).
    pub fn settle(&self, me: &InChild, entered: Entered) -> Result<()> {
        if entered == Entered::NotAsRoot {
            this_process::chdir(me, &self.0).map_err(|error| self.failed(error))?;
        }
        if self.is_root() {
            return Ok(());
        }
        let actual = this_process::getcwd().map_err(|error| self.failed(error))?;
        // The kernel says "(unreachable)/..." for a directory that the root does not lead to.
        if actual.is_absolute() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Denied,
            format!(
                "chdir to cwd (\"{}\") set in config.json failed: it is outside of the container (\"{}\")",
                self.0.display(),
                actual.display()
            ),
        ))
    }

    /// Whether it is the root: there, and inside the container, whatever else is.
    fn is_root(&self) -> bool {
        self.0 == Path::new("/")
    }

    fn failed(&self, error: Error) -> Error {
        error.phrased(format!("chdir to cwd (\"{}\") set in config.json failed", self.0.display()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn check(cwd: &str, expected: &str) {
        let error = plan(Path::new(cwd)).unwrap_err();
        assert_eq!(error.to_string(), format!("config.json: process.cwd: {expected}"));
    }

    #[test]
    fn paths() {
        check("", "Cwd property must not be empty");
        check("a/b", "Cwd must be an absolute path");
        check("/a\0b", "contains a NUL byte");
        assert_eq!(plan(Path::new("/a/../b")).unwrap().0, Path::new("/a/../b"));
    }

    #[test]
    fn missing_directories_are_made_inside_the_root() {
        let root = std::env::temp_dir().join(format!("onggi-cwd-{}", std::process::id()));
        std::fs::create_dir_all(root.join("real")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        symlink("/real", root.join("link")).unwrap();
        symlink("../../../../..", root.join("up")).unwrap();
        let dir = fs::open(&root, Access::Dir).unwrap();
        let create = |cwd: &str| plan(Path::new(cwd)).unwrap().create(&dir).map_err(|error| error.to_string());
        assert_eq!(create("/a/b/c"), Ok(()));
        assert_eq!(std::fs::metadata(root.join("a/b/c")).unwrap().mode() & 0o700, 0o700);
        assert_eq!(create("/link/x/../y"), Ok(()));
        assert!(root.join("real/y").is_dir());
        assert_eq!(create("/up/inside"), Ok(()));
        assert!(root.join("inside").is_dir());
        assert_eq!(create("/"), Ok(()));
        assert_eq!(create("/file"), Err("mkdir /file: not a directory".into()));
        assert_eq!(create("/file/x"), Err("mkdir /file/x: not a directory".into()));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
