//! The process that `exec` adds to a container: from a file or the container's own config, as a plan.
//!
//! What the process block leaves out is the container's: capabilities, labels, limits, scheduling, umask. So are, always,
//! the system call filter and the personality. Forbidding new privileges, additional groups, environment and terminal
//! are the block's own affair.

use super::{check_terminal, ranges};
use crate::container::id::ContainerId;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::namespaces::Target;
use crate::process::affinity::{self, Affinities};
use crate::process::{self, env, fds::Inherited};
use crate::seccomp;
use crate::sys::clone::CloneFlags;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, LinuxNamespaceType, Process, Spec};
use std::path::PathBuf;

/// What the command line changes in the container's process; not looked at when the process has a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `--tty`: config.json's word on this counts for the first process only.
    pub terminal: bool,
    /// `--cwd`.
    pub cwd: Option<PathBuf>,
    /// Each `--env`, after config.json's.
    pub env: Vec<String>,
    /// `--user`, as typed.
    pub user: Option<String>,
    /// Each `--additional-gids`, after config.json's.
    pub additional_gids: Vec<i64>,
    /// Each `--cap`.
    pub capabilities: Vec<String>,
    /// `--no-new-privs`, if it was given.
    pub no_new_privileges: Option<bool>,
    /// `--apparmor`.
    pub apparmor: Option<String>,
    /// `--process-label`.
    pub selinux: Option<String>,
}

/// What the plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The container's config.
    pub container: &'a Spec,
    /// The process block in a file of its own, and the file's name.
    pub file: Option<(&'a Process, &'a str)>,
    /// What else to change in that of the container.
    pub changes: &'a Changes,
    /// This machine.
    pub host: &'a Host,
    /// The container's name.
    pub id: &'a ContainerId,
    /// Where the container's init process is.
    pub target: &'a Target,
    /// False for a container that was made with `--no-new-keyring`.
    pub keyring: bool,
    /// Descriptors of the caller that the program gets.
    pub inherited: Inherited,
    /// Whether the caller goes away before the process ends.
    pub detached: bool,
    /// Whether `--console-socket` was given.
    pub console_socket: bool,
}

/// All about the process.
#[derive(Debug)]
pub struct Plan {
    /// What it is and may do.
    pub process: process::Plan,
    /// The system call filter.
    pub seccomp: Option<seccomp::Filter>,
    /// The CPUs for it.
    pub affinities: Affinities,
    /// Whether the container lives in a part of its mount namespace, so that its root is not the namespace's.
    pub inner_root: bool,
    /// What could not be had, to be told to the user.
    pub warnings: Vec<String>,
}

/// Decides everything about the process.
///
/// # Errors
/// `InvalidConfig` and `InvalidArgument` with the field or flag at fault.
pub fn plan(input: &Input<'_>) -> Result<Plan> {
    let mut warnings = Vec::new();
    let (process, named) = match (input.file, input.container.process()) {
        (Some((process, file)), Some(own)) => (completed(process.clone(), own), format!("--process {file}")),
        (Some((process, file)), None) => (process.clone(), format!("--process {file}")),
        (None, Some(own)) => (changed(own.clone(), input.changes, &mut warnings)?, String::new()),
        (None, None) => return Err(Error::config("process", "is not set: give the whole process with --process FILE")),
    };
    let linux = input.container.linux().as_ref();
    let profile = linux.and_then(|linux| linux.seccomp().as_ref());
    let seccomp = profile.map(|profile| seccomp::plan(profile, &mut warnings)).transpose()?;
    let (process, affinities) = plan_process(&process, input, &mut warnings).map_err(|error| error.in_file(&named))?;
    Ok(Plan { process, seccomp, affinities, inner_root: lives_in_a_part(input), warnings })
}

fn plan_process(spec: &Process, input: &Input<'_>, warnings: &mut Vec<String>) -> Result<(process::Plan, Affinities)> {
    check_terminal(Some(spec), input.detached, input.console_socket)?;
    let user_namespace = input.target.kinds.has(CloneFlags::USER);
    let ranges = |maps| if user_namespace { ranges(maps) } else { None };
    let (uids, gids) = (ranges(&input.target.uid_map), ranges(&input.target.gid_map));
    let planned = process::Input {
        host: input.host,
        id: input.id.as_str(),
        user_namespace,
        uid_ranges: uids.as_deref(),
        gid_ranges: gids.as_deref(),
        keyring: input.keyring,
        annotations: input.container.annotations().as_ref(),
        foreground: !input.detached,
        inherited: input.inherited,
        environment: &[],
        linux: input.container.linux().as_ref(),
    };
    let mut process = process::plan(Some(spec), &planned, warnings)?;
    let affinities = affinity::plan(spec)?;
    process.scheduling.affinity = affinities.last.clone();
    Ok((process, affinities))
}

/// In a mount namespace that was joined, or is the host's, each container lives on a root of its own.
fn lives_in_a_part(input: &Input<'_>) -> bool {
    let listed = input.container.linux().as_ref().and_then(|linux| linux.namespaces().as_deref());
    let is_new = listed.into_iter().flatten().any(|namespace| {
        let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
        namespace.typ() == LinuxNamespaceType::Mount && path.is_none()
    });
    !is_new || !input.target.kinds.has(CloneFlags::MOUNT)
}

/// Fills in what `process` leaves out.
fn completed(mut process: Process, container: &Process) -> Process {
    let is_empty = |label: &Option<String>| label.as_deref().is_none_or(str::is_empty);
    if process.capabilities().is_none() {
        process.set_capabilities(container.capabilities().clone());
    }
    if is_empty(process.apparmor_profile()) {
        process.set_apparmor_profile(container.apparmor_profile().clone());
    }
    if is_empty(process.selinux_label()) {
        process.set_selinux_label(container.selinux_label().clone());
    }
    if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
        process.set_rlimits(container.rlimits().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*container.io_priority());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(container.scheduler().clone());
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(container.exec_cpu_affinity().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(container.oom_score_adj());
    }
    if process.user().umask().is_none() {
        process.user_mut().set_umask(container.user().umask());
    }
    process
}

/// The container's own process with the changes of the command line.
fn changed(mut process: Process, changes: &Changes, warnings: &mut Vec<String>) -> Result<Process> {
    if changes.args.is_empty() {
        return refuse("exec args cannot be empty");
    }
    process.set_args(Some(changes.args.clone())).set_terminal(Some(changes.terminal));
    if let Some(cwd) = &changes.cwd {
        process.set_cwd(cwd.clone());
    }
    if let Some(user) = &changes.user {
        set_user(&mut process, user)?;
    }
    for gid in &changes.additional_gids {
        let Ok(gid) = u32::try_from(*gid) else {
            return refuse(format!("additional-gids must be a positive number {gid}"));
        };
        process.user_mut().additional_gids_mut().get_or_insert_default().push(gid);
    }
    for variable in &changes.env {
        env::plan(std::slice::from_ref(variable), &[], Inherited::default())
            .map_err(|error| error.in_file("").context(format!("--env {variable}")))?;
    }
    process.env_mut().get_or_insert_default().extend(changes.env.iter().cloned());
    if let Some(value) = changes.no_new_privileges {
        process.set_no_new_privileges(Some(value));
    }
    if let Some(profile) = &changes.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if let Some(label) = &changes.selinux {
        process.set_selinux_label(Some(label.clone()));
    }
    add_capabilities(&mut process, &changes.capabilities, warnings);
    Ok(process)
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

/// `UID` or `UID:GID`, numbers only: a name would have to be looked up in a file of the container's (CVE-2016-3697).
fn set_user(process: &mut Process, user: &str) -> Result<()> {
    let (uid, gid) = user.split_once(':').map_or((user, None), |(uid, gid)| (uid, Some(gid)));
    let Ok(uid) = uid.parse() else { return refuse(format!("bad uid: {uid:?}: --user takes numbers, as UID:GID")) };
    process.user_mut().set_uid(uid);
    if let Some(gid) = gid {
        let Ok(gid) = gid.parse() else { return refuse(format!("bad gid: {gid:?}: --user takes numbers, as UID:GID")) };
        process.user_mut().set_gid(gid);
    }
    Ok(())
}

/// As runc: never to the inheritable set, and to the ambient set only where there is an inheritable one.
fn add_capabilities(process: &mut Process, names: &[String], warnings: &mut Vec<String>) {
    if names.is_empty() {
        return;
    }
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for name in names {
        match serde_json::from_value::<Capability>(name.as_str().into()) {
            Ok(capability) => known.push(capability),
            Err(_) => unknown.push(name.as_str()),
        }
    }
    if !unknown.is_empty() {
        warnings.push(format!("ignoring unknown or unavailable capabilities: [{}]", unknown.join(" ")));
    }
    let mut sets = process.capabilities().clone().unwrap_or_else(no_capabilities);
    let with = |set: &Option<Capabilities>| Some(set.iter().flatten().copied().chain(known.iter().copied()).collect());
    sets.set_bounding(with(sets.bounding()));
    sets.set_effective(with(sets.effective()));
    sets.set_permitted(with(sets.permitted()));
    if sets.inheritable().is_some() {
        sets.set_ambient(with(sets.ambient()));
    }
    process.set_capabilities(Some(sets));
}

/// The sets of a block that says nothing; the default of oci-spec is another one.
fn no_capabilities() -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(None).set_effective(None).set_permitted(None).set_inheritable(None).set_ambient(None);
    sets
}

#[cfg(test)]
mod tests;
