//! Where a process goes that joins a container: into the container's cgroup or one below it. A container that has moved
//! its init process further down and shares out controllers there (docker in docker), or has lost its first cgroup, gets
//! it where the init process is.

use super::fs::Cgroup;
use super::path::{CgroupPath, clean};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::Errno;
use crate::sys::fs::{self, Access, Resolve};
use std::os::fd::BorrowedFd;

/// More than `/proc/PID/cgroup` has: a line for each hierarchy, of a path of 4096 bytes at most.
const MEMBERSHIP_LIMIT: usize = 1 << 17;

/// A cgroup of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    path: CgroupPath,
    /// Whether `--cgroup` names it, so that no other will do.
    named: bool,
}

impl Place {
    /// Plans where to go in a container whose own cgroup is `container`: there, or where the values of `--cgroup` say.
    ///
    /// # Errors
    /// `InvalidArgument` for more than one value, a controller in front, and a path that leads out of the container's cgroup.
    pub fn plan(container: Option<&str>, wanted: &[String]) -> Result<Option<Self>> {
        let refuse = |why: String| Err(Error::new(ErrorKind::InvalidArgument, why));
        let wanted = match wanted {
            [] => {
                let own = container.map(|path| CgroupPath::try_from(path.to_owned())).transpose()?;
                return Ok(own.map(|path| Self { path, named: false }));
            }
            [one] => one,
            [_, second, ..] => {
                return refuse(format!("invalid --cgroup argument: {second} (cgroup v2 takes one path, and one only)"));
            }
        };
        if wanted.contains(':') {
            return refuse(format!(
                "invalid --cgroup argument: {wanted} (cgroup v2 has no controllers to name: use PATH)"
            ));
        }
        let Some(container) = container else {
            return refuse(format!("--cgroup {wanted}: the container has no cgroup of its own"));
        };
        let mut parts: Vec<&str> = container.split('/').skip(1).collect();
        let own = parts.clone();
        clean(&mut parts, wanted);
        // By component: a neighbour whose name begins with ours is no child.
        if !parts.starts_with(&own) {
            return refuse(format!("bad sub cgroup path: {wanted}"));
        }
        let path = CgroupPath::try_from(format!("/{}", parts.join("/")))?;
        Ok(Some(Self { path, named: true }))
    }

    /// Opens the cgroup; where it is gone, that of the init process `init`, as `proc`, a procfs that we trust, shows it.
    ///
    /// # Errors
    /// `NotFound` for one that `--cgroup` names.
    pub fn open(&self, proc: BorrowedFd<'_>, init: i32) -> Result<Cgroup> {
        match Cgroup::existing(&self.path) {
            Err(error) if is_closed(&error) && !self.named => of_process(proc, init),
            Err(error) if self.named => Err(refused(error)),
            opened => opened,
        }
    }

    /// After `error`, by which no process could start in the cgroup: that of the init process, if another will do.
    ///
    /// # Errors
    /// The same error, where it has other reasons or `--cgroup` names the cgroup.
    pub fn instead(&self, error: Error, proc: BorrowedFd<'_>, init: i32) -> Result<Cgroup> {
        match error {
            error if self.named => Err(refused(error)),
            error if is_closed(&error) => of_process(proc, init),
            error => Err(error),
        }
    }
}

/// Whether the cgroup takes no process: it is gone (also while open), has children with controllers, or belongs to a
/// threaded tree that is incomplete.
fn is_closed(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ENOENT | Errno::ENODEV | Errno::EBUSY | Errno::EOPNOTSUPP))
}

/// runc's words.
fn refused(error: Error) -> Error {
    error.context("error adding pid of the new process to cgroups")
}

/// The cgroup that the process `pid` is in, wherever it has moved: a container that can move its processes out of its
/// cgroup has been given the host's hierarchy to write to.
fn of_process(proc: BorrowedFd<'_>, pid: i32) -> Result<Cgroup> {
    let membership = fs::open_at(proc, format!("{pid}/cgroup"), Access::Read, Resolve::BeneathOneMount)
        .and_then(|file| fs::read_all(file, MEMBERSHIP_LIMIT))
        .with_context(|| format!("read /proc/{pid}/cgroup"))?;
    let membership = String::from_utf8_lossy(&membership);
    let path = membership.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    CgroupPath::try_from(path.to_owned())
        .and_then(|path| Cgroup::existing(&path))
        .context("enter the cgroup of the container's init process")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(wanted: &[&str], expected: std::result::Result<&str, &str>) {
        let wanted: Vec<String> = wanted.iter().map(|path| (*path).to_owned()).collect();
        let planned = Place::plan(Some("/a/web"), &wanted).map_err(|error| error.to_string());
        let planned = planned.map(|place| place.unwrap().path.as_str().to_owned());
        assert_eq!(planned.as_deref().map_err(String::as_str), expected, "{wanted:?}");
    }

    #[test]
    fn places() {
        check(&[], Ok("/a/web"));
        check(&["/"], Ok("/a/web"));
        check(&[""], Ok("/a/web"));
        check(&["sub"], Ok("/a/web/sub"));
        check(&["/sub/./deep/"], Ok("/a/web/sub/deep"));
        check(&["sub/../other"], Ok("/a/web/other"));
        check(&["../web/sub"], Ok("/a/web/sub"));
        check(&[".."], Err("bad sub cgroup path: .."));
        check(&["../web-sibling"], Err("bad sub cgroup path: ../web-sibling"));
        check(&["sub/../../../.."], Err("bad sub cgroup path: sub/../../../.."));
        let text = "invalid --cgroup argument: cpu:x (cgroup v2 has no controllers to name: use PATH)";
        check(&["cpu:x"], Err(text));
        check(&["x", "y"], Err("invalid --cgroup argument: y (cgroup v2 takes one path, and one only)"));
    }

    #[test]
    fn without_a_cgroup() {
        assert_eq!(Place::plan(None, &[]).unwrap(), None);
        let text = Place::plan(None, &["x".to_owned()]).unwrap_err().to_string();
        assert_eq!(text, "--cgroup x: the container has no cgroup of its own");
    }
}
