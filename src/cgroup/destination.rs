//! Where a process goes that joins a container: into the container's cgroup or one below it. A container that has moved
//! its init process further down and shares out controllers there (docker in docker), or has lost its first cgroup, gets
//! it where the init process is.

use super::made::Cgroup;
use super::path::{CgroupPath, clean};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host;
use crate::sys::Errno;

/// A cgroup of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    path: CgroupPath,
    /// Whether `--cgroup` names it, so that no other will do.
    named: bool,
}

impl Destination {
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

    /// Opens the cgroup; where it is gone, that of the init process `init`.
    ///
    /// # Errors
    /// `NotFound` for one that `--cgroup` names.
    pub fn open(&self, init: i32) -> Result<Cgroup> {
        match Cgroup::existing(&self.path) {
            Err(error) if is_closed(&error) && !self.named => of_process(init),
            Err(error) if self.named => Err(refused(error)),
            opened => opened,
        }
    }

    /// After `error`, by which no process could start in the cgroup: that of the init process, if another will do.
    ///
    /// # Errors
    /// The same error, where it has other reasons or `--cgroup` names the cgroup.
    pub fn instead(&self, error: Error, init: i32) -> Result<Cgroup> {
        match error {
            error if self.named => Err(refused(error)),
            error if is_closed(&error) => of_process(init),
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
fn of_process(pid: i32) -> Result<Cgroup> {
    let entered = host::cgroup_of(pid).and_then(CgroupPath::try_from).and_then(|path| Cgroup::existing(&path));
    entered.context("enter the cgroup of the container's init process")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(wanted: &[&str], expected: std::result::Result<&str, &str>) {
        let wanted: Vec<String> = wanted.iter().map(|path| (*path).to_owned()).collect();
        let planned = Destination::plan(Some("/a/web"), &wanted).map_err(|error| error.to_string());
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
        assert_eq!(Destination::plan(None, &[]).unwrap(), None);
        let text = Destination::plan(None, &["x".to_owned()]).unwrap_err().to_string();
        assert_eq!(text, "--cgroup x: the container has no cgroup of its own");
    }
}
