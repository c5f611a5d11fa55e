//! The cgroupfs driver: makes a container's cgroup by hand, below whatever is there.

use super::directory::{Directory, is_gone, is_populated};
use super::existing::Existing;
use super::path::CgroupPath;
use super::resources::Write;
use super::{IfDenied, PATIENCE, Plan, delegation, devices, limits};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

/// A cgroup that was made for a container, with its limits and device rules, before the first process is in it.
/// Dropping it kills what runs in it and removes what was made; [`Cgroup::keep`] ends that.
#[derive(Debug)]
pub struct Cgroup {
    directory: Rc<Directory>,
    undo: Undo,
    /// How many processes the kernel had killed in it before.
    oom_kills: u64,
}

/// Which controllers a cgroup gives to those below it.
const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

impl Cgroup {
    /// Makes the cgroup at `path` as `plan` describes it. `None`: nothing was asked for, we run without privileges and may not
    /// make one, so the container stays in the caller's.
    ///
    /// # Errors
    /// `WrongState` when the cgroup exists and holds processes or is frozen; `Unsupported` when a controller is
    /// missing. Nothing is left behind.
    pub fn create(path: &CgroupPath, plan: &Plan) -> Result<Option<Self>> {
        let cgroup = match Self::make_or_retry(path) {
            Ok(cgroup) => cgroup,
            Err(error) if is_denied(&error) && plan.if_denied == IfDenied::Without => return Ok(None),
            Err(error) if is_denied(&error) && plan.if_denied == IfDenied::Explain => {
                return Err(
                    error.context("rootless needs no limits + no cgrouppath when no permission is granted for cgroups")
                );
            }
            Err(error) => return Err(error.context("unable to apply cgroup configuration")),
        };
        cgroup.make_joinable(plan.writes.iter().any(needs_domain))?;
        for write in &plan.writes {
            limits::set(&cgroup.directory, write).context("config.json")?;
        }
        devices::guard(cgroup.directory.as_fd(), plan.devices.as_ref())?;
        if let Some(owner) = plan.owner {
            delegation::give(&cgroup.directory, owner)?;
        }
        Ok(Some(cgroup))
    }

    /// The cgroup at `path`, which exists, for one more process: nothing of it is ours to undo.
    pub(super) fn existing(path: &CgroupPath) -> Result<Self> {
        let directory = Rc::new(Directory::open(path)?);
        let oom_kills = directory.oom_kills();
        Ok(Self { directory, undo: Undo { path: path.clone(), made: Vec::new(), ours: None }, oom_kills })
    }

    /// The directory, for starting a process in it (`CLONE_INTO_CGROUP`).
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Where it lies.
    pub fn path(&self) -> &CgroupPath {
        &self.undo.path
    }

    /// How many processes the kernel has killed since for lack of memory; 0 as well where memory is not accounted.
    pub fn oom_kills(&self) -> u64 {
        self.directory.oom_kills().saturating_sub(self.oom_kills)
    }

    /// Moves the process `pid` into the cgroup, where clone3 could not start it there. This waits for an RCU grace
    /// period, 10 ms and more.
    pub fn add(&self, pid: i32) -> Result<()> {
        // runc tries again after EINVAL, the kernel's answer for a process that fork has not finished (TASK_NEW). Ours
        // is: clone3 returns to us after that.
        self.directory.write("cgroup.procs", &pid.to_string()).context("unable to apply cgroup configuration")
    }

    /// Ends the undoing: from here on the cgroup lives as long as the container.
    pub fn keep(mut self) -> CgroupPath {
        self.undo.made.clear();
        self.undo.ours = None;
        self.undo.path.clone()
    }

    /// As [`Self::make`], again when a parent went meanwhile: another `create` made it, failed and removed it.
    fn make_or_retry(path: &CgroupPath) -> Result<Self> {
        const ATTEMPTS: usize = 100;
        let mut result = Self::make(path);
        for _ in 1..ATTEMPTS {
            match &result {
                Err(error) if is_gone(error) => result = Self::make(path),
                _ => break,
            }
        }
        result
    }

    /// Makes the directories down to `path`, and sees to it that each gives its controllers to those below.
    fn make(path: &CgroupPath) -> Result<Self> {
        let mut undo = Undo { path: path.clone(), made: Vec::new(), ours: None };
        let root = Directory::root()?;
        root.check_whole()?;
        let available = root.controllers("cgroup.controllers")?;
        let parent = match ready_parent(&root, path, &available)? {
            Some(parent) => parent,
            None => make_parent(root, path, available, &mut undo)?,
        };
        if parent.make(path.name())? {
            undo.made.push(path.clone());
        }
        let directory = Rc::new(parent.child(path.name())?);
        check_unused(&directory)?;
        undo.ours = Some(Rc::clone(&directory));
        Ok(Self { directory, undo, oom_kills: 0 })
    }

    /// Below a threaded cgroup (or one that became the root of threads, having both processes and controllers) nothing
    /// can run until it is made threaded as well, and then controllers of whole domains are out of reach.
    fn make_joinable(&self, needs_domain: bool) -> Result<()> {
        let kind = self.directory.read("cgroup.type")?;
        let kind = kind.trim();
        if kind == "domain" {
            return Ok(());
        }
        if needs_domain {
            let why = if kind == "domain invalid" { "an invalid state".to_owned() } else { format!("{kind} mode") };
            let message =
                format!("cannot enter cgroupv2 {:?} with domain controllers -- it is in {why}", self.directory.shown());
            return Err(Error::new(ErrorKind::WrongState, message).hint("remove the limits or choose another cgroup"));
        }
        // From the top: one can become threaded only below another.
        let mut above = Vec::new();
        let mut next = Some(self.path().clone());
        while let Some(path) = next {
            next = path.parent();
            above.push(path);
        }
        for path in above.iter().rev() {
            let level = Directory::open(path)?;
            if level.read("cgroup.type")?.trim() == "domain invalid" {
                level.write("cgroup.type", "threaded")?;
            }
        }
        Ok(())
    }
}

/// Removes what was made, when dropped.
#[derive(Debug)]
struct Undo {
    /// The container's cgroup.
    path: CgroupPath,
    /// The directories made, outermost first. One that was there before stays.
    made: Vec<CgroupPath>,
    /// The container's cgroup once all processes in it are the container's.
    ours: Option<Rc<Directory>>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        // There is nobody to tell of a failure: the error that led here is the one to report.
        if let Some(ours) = self.ours.take() {
            match ours.read("cgroup.events") {
                // `delete --force` was here, and what has the same path now is another container's.
                Err(error) if is_gone(&error) => return,
                // Killing nobody would be remembered by a cgroup that stays, and by clone3 later (parent/launch.rs).
                Ok(events) if !is_populated(&events) => {}
                _ => drop(ours.kill()),
            }
        }
        for path in self.made.iter().rev() {
            let Ok(Some(cgroup)) = Existing::open(path) else { continue };
            // Parents may have been taken by others meanwhile; what is in them is not ours to remove.
            let _ = if *path == self.path { cgroup.remove(PATIENCE) } else { cgroup.remove_if_empty() };
        }
    }
}

/// The cgroup above `path`, if it is there and gives all of `available` to those below: then so do all above it, since the
/// kernel lets a cgroup give only what it has been given.
fn ready_parent(root: &Directory, path: &CgroupPath, available: &[String]) -> Result<Option<Directory>> {
    let Some(parent) = path.parent() else { return Ok(None) };
    let parent = match root.child(parent.relative()) {
        Err(error) if is_gone(&error) => return Ok(None),
        opened => opened?,
    };
    let given = parent.controllers(SUBTREE_CONTROL)?;
    Ok(available.iter().all(|controller| given.contains(controller)).then_some(parent))
}

/// Makes what is missing above `path`, from the top.
fn make_parent(root: Directory, path: &CgroupPath, mut available: Vec<String>, undo: &mut Undo) -> Result<Directory> {
    let mut here = root;
    let mut so_far = String::new();
    let above = path.parent();
    for name in above.iter().flat_map(CgroupPath::components) {
        available = enable(&here, available)?;
        so_far.push('/');
        so_far.push_str(name);
        if here.make(name)? {
            undo.made.push(CgroupPath::try_from(so_far.clone())?);
        }
        here = here.child(name)?;
    }
    enable(&here, available)?;
    Ok(here)
}

/// Lets the cgroups below `directory` have the controllers in `available`. Returns those they have.
///
/// Writes only what is missing, since a write waits for an RCU grace period when there are processes below. Failures
/// are passed over: one controller or the other may be out of our reach (EPERM, EBUSY where the cgroup has processes)
/// and not needed either; if it is, its files will be missing.
pub(super) fn enable(directory: &Directory, available: Vec<String>) -> Result<Vec<String>> {
    let mut enabled = directory.controllers(SUBTREE_CONTROL)?;
    let missing: Vec<_> = available.into_iter().filter(|name| !enabled.contains(name)).collect();
    if missing.is_empty() {
        return Ok(enabled);
    }
    let all: Vec<_> = missing.iter().map(|name| format!("+{name}")).collect();
    let mut done: Vec<_> = match directory.write(SUBTREE_CONTROL, &all.join(" ")) {
        Ok(()) => missing,
        Err(_) => {
            missing.into_iter().filter(|name| directory.write(SUBTREE_CONTROL, &format!("+{name}")).is_ok()).collect()
        }
    };
    enabled.append(&mut done);
    Ok(enabled)
}

/// Refuses a cgroup that another container has, or that would freeze ours before it runs, be it by a cgroup above.
fn check_unused(directory: &Directory) -> Result<()> {
    let events = directory.read("cgroup.events")?;
    if is_populated(&events) {
        let mut pids = Vec::new();
        directory.collect_pids(&mut pids)?;
        let message = format!("container's cgroup is not empty: {} process(es) found", pids.len());
        return Err(Error::new(ErrorKind::WrongState, message).context(directory.shown()));
    }
    // Nobody is in it, so that it counts as frozen the moment that it, or one above, is to be.
    if events.lines().any(|line| line == "frozen 1") {
        let error = Error::new(ErrorKind::WrongState, "container's cgroup unexpectedly frozen");
        let advice = "write 0 to its cgroup.freeze, or to that of the cgroup above which is frozen";
        return Err(error.context(directory.shown()).hint(advice));
    }
    Ok(())
}

/// Whether the limit needs a controller that can't divide the threads of a process (cpu counts, as in runc).
fn needs_domain(write: &Write) -> bool {
    write.is_limit() && matches!(write.controller(), "memory" | "io" | "cpu" | "hugetlb")
}

/// Whether we lack the permission to make a cgroup, as opposed to all other failures.
fn is_denied(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::EPERM | Errno::EACCES | Errno::EROFS))
}
