//! Spec and Host to Plan: every default filled in, every conflict refused, no file touched.

pub mod exec;
mod rootless;

use crate::bundle::Bundle;
use crate::cgroup::{self, Place};
use crate::container::id::ContainerId;
use crate::container::record::{self, Phase, Record};
use crate::container::status;
use crate::error::{Error, ErrorKind, Result, phrase};
use crate::hooks::{self, Hooks};
use crate::host::Host;
use crate::idmap::IdMap;
use crate::intel_rdt;
use crate::namespaces::{self, Origin};
use crate::process::{self, affinity, fds::Inherited};
use crate::rootfs::{self, MountNamespace};
use crate::seccomp;
use crate::sys::clone::CloneFlags;
use oci_spec::runtime::{Process, Spec};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the command line says about the container itself.
#[derive(Debug, Clone)]
pub struct Options {
    /// The container's name.
    pub id: ContainerId,
    /// Whether the caller goes away before the container ends (`create`, `run --detach`).
    pub detached: bool,
    /// Whether the program is executed at once (`run`).
    pub starts: bool,
    /// Whether `--console-socket` was given.
    pub console_socket: bool,
    /// False with `--no-pivot`.
    pub pivot: bool,
    /// False with `--no-new-keyring`.
    pub keyring: bool,
    /// Descriptors of the caller that the program gets.
    pub inherited: Inherited,
    /// The host's directory for the socket by which the program tells that it is ready, if anybody wants to know.
    pub notify: Option<PathBuf>,
    /// Variables that the program gets beside those of config.json, and rather than them.
    pub environment: Vec<String>,
    /// Who makes the cgroup; nobody with `--cgroup-manager disabled`.
    pub cgroup: Option<cgroup::Manager>,
    /// What `--rootless` says; without it whether we are root, and that of the initial user namespace, decides.
    pub rootless: Option<bool>,
}

/// Everything that will be done for one container, as numbers, paths and lists; nothing later looks at config.json.
#[derive(Debug)]
pub struct Plan {
    /// Namespaces, names and kernel parameters.
    pub namespaces: namespaces::Plan,
    /// Root filesystem, mounts, devices, masks.
    pub rootfs: rootfs::Plan,
    /// What the process is and may do.
    pub process: process::Plan,
    /// The cgroup and its limits; none with `--cgroup-manager disabled`.
    pub cgroup: Option<cgroup::Plan>,
    /// The groups in the resctrl filesystem.
    pub intel_rdt: Option<intel_rdt::Plan>,
    /// The system call filter.
    pub seccomp: Option<seccomp::Filter>,
    /// Programs to run along the way.
    pub hooks: Hooks,
    /// What could not be had, to be told to the user.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Decides everything about the container `options.id` of `bundle` on `host`.
    ///
    /// # Errors
    /// `InvalidConfig` with the field at fault, `Unsupported` with the field that this host can't honour.
    pub fn new(bundle: &Bundle, host: &Host, options: &Options) -> Result<Self> {
        let spec = &bundle.spec;
        let mut warnings = bundle.warnings.clone();
        if spec.annotations().iter().flatten().any(|(key, _)| key.is_empty()) {
            return Err(Error::config("annotations", "a key is empty: give it a name, or leave it out"));
        }
        let namespaces = namespaces::plan(spec)?;
        rootless::check(spec, host, &namespaces)?;
        let process = plan_process(spec, host, options, &namespaces, &mut warnings)?;
        let linux = spec.linux().as_ref();
        let hooks = hooks::plan(spec.hooks().as_ref())?;
        let rootfs = plan_rootfs(bundle, options, &namespaces, &hooks, &mut warnings)?;
        let cgroup = match options.cgroup {
            Some(manager) => {
                let owner = cgroup_owner(spec, &namespaces, &rootfs);
                Some(plan_cgroup(spec, manager, host, options, owner, &mut warnings)?)
            }
            None => None,
        };
        let rdt = linux.and_then(|linux| linux.intel_rdt().as_ref());
        let intel_rdt = intel_rdt::plan(rdt, options.id.as_str())?;
        let profile = linux.and_then(|linux| linux.seccomp().as_ref());
        let seccomp = profile.map(|profile| seccomp::plan(profile, &mut warnings)).transpose()?;
        if let Some(filter) = &seccomp {
            filter.require_names(spec.annotations().as_ref())?;
        }
        Ok(Self { namespaces, rootfs, process, cgroup, intel_rdt, seccomp, hooks, warnings })
    }

    /// The container's record before anything of it exists.
    pub fn record(&self, bundle: &Bundle, options: &Options, created: String) -> Record {
        let annotations = bundle.spec.annotations().iter().flatten();
        let (cgroup, systemd) = match self.cgroup.as_ref().map(|cgroup| &cgroup.place) {
            Some(Place::Directory(path)) => (Some(path.as_str().to_owned()), None),
            Some(Place::Unit(unit)) => (None, Some(unit.id.clone())),
            None => (None, None),
        };
        Record {
            version: record::VERSION,
            id: options.id.clone(),
            bundle: bundle.dir.clone(),
            rootfs: self.rootfs.source.clone(),
            created,
            phase: Phase::Creating,
            pid: None,
            start_time: None,
            boot_id: status::boot_id(),
            cgroup,
            systemd,
            intel_rdt: None,
            host_mounts: Vec::new(),
            private_pid_namespace: self.namespaces.create.has(CloneFlags::PID),
            no_new_keyring: !options.keyring,
            no_process: bundle.spec.process().is_none(),
            annotations: annotations.map(|(key, value)| (key.clone(), value.clone())).collect::<BTreeMap<_, _>>(),
            poststart: self.hooks.poststart.clone(),
            poststop: self.hooks.poststop.clone(),
        }
    }
}

fn plan_process(
    spec: &Spec,
    host: &Host,
    options: &Options,
    namespaces: &namespaces::Plan,
    warnings: &mut Vec<String>,
) -> Result<process::Plan> {
    let process = spec.process().as_ref();
    if process.is_none() && options.starts {
        return Err(Error::config("process", phrase::START_NOTHING));
    }
    check_terminal(process, options.detached, options.console_socket)?;
    let (uids, gids) = (ranges(&namespaces.uid_map), ranges(&namespaces.gid_map));
    let input = process::Input {
        host,
        id: options.id.as_str(),
        user_namespace: namespaces.lists(CloneFlags::USER),
        uid_ranges: uids.as_deref(),
        gid_ranges: gids.as_deref(),
        keyring: options.keyring,
        annotations: spec.annotations().as_ref(),
        foreground: !options.detached,
        inherited: options.inherited,
        environment: &options.environment,
        linux: spec.linux().as_ref(),
    };
    // For `exec` alone, which should not be the first to find it wrong.
    process.map(affinity::plan).transpose()?;
    process::plan(process, &input, warnings)
}

/// The ids that maps of ours have inside; without a new user namespace there are none, and ids are not checked.
fn ranges(maps: &[IdMap]) -> Option<Vec<(u32, u32)>> {
    (!maps.is_empty()).then(|| maps.iter().map(|map| (map.container, map.size)).collect())
}

/// Whether somebody takes the terminal, if there is to be one.
fn check_terminal(process: Option<&Process>, detached: bool, console_socket: bool) -> Result<()> {
    match (process.and_then(Process::terminal).unwrap_or(false), detached, console_socket) {
        (true, true, false) => Err(Error::config("process.terminal", phrase::NEEDS_CONSOLE_SOCKET)),
        (false, _, true) | (true, false, true) => {
            Err(Error::new(ErrorKind::InvalidArgument, phrase::USELESS_CONSOLE_SOCKET))
        }
        _ => Ok(()),
    }
}

fn plan_cgroup(
    spec: &Spec,
    manager: cgroup::Manager,
    host: &Host,
    options: &Options,
    owner: Option<u32>,
    warnings: &mut Vec<String>,
) -> Result<cgroup::Plan> {
    let linux = spec.linux().as_ref();
    let input = cgroup::Input {
        manager,
        annotations: spec.annotations().as_ref(),
        cgroups_path: linux.and_then(|linux| linux.cgroups_path().as_deref()),
        id: options.id.as_str(),
        resources: linux.and_then(|linux| linux.resources().as_ref()),
        host,
        rootless: options.rootless.unwrap_or(host.in_user_namespace || host.euid != 0),
        owner,
    };
    cgroup::plan(&input, warnings)
}

/// The user of the host who is the container's process, if the container is to divide its cgroup itself: it sees no
/// other, in a cgroup namespace of its own, and can write to it. With a user namespace of somebody else we don't know.
fn cgroup_owner(spec: &Spec, namespaces: &namespaces::Plan, rootfs: &rootfs::Plan) -> Option<u32> {
    if namespaces.origin(CloneFlags::CGROUP) != Origin::New || !rootfs.has_writable_cgroups() {
        return None;
    }
    let uid = spec.process().as_ref().map_or(0, |process| process.user().uid());
    match namespaces.origin(CloneFlags::USER) {
        Origin::Inherited => Some(uid),
        Origin::New => IdMap::host_of(&namespaces.uid_map, uid),
        Origin::Joined => None,
    }
}

fn plan_rootfs(
    bundle: &Bundle,
    options: &Options,
    namespaces: &namespaces::Plan,
    hooks: &Hooks,
    warnings: &mut Vec<String>,
) -> Result<rootfs::Plan> {
    let input = rootfs::Input {
        root: bundle.spec.root().as_ref(),
        mounts: bundle.spec.mounts().as_deref(),
        linux: bundle.spec.linux().as_ref(),
        mount_label: rootfs::mount_label(bundle.spec.linux().as_ref(), bundle.spec.annotations().as_ref())?,
        bundle: &bundle.dir,
        mount_namespace: match namespaces.origin(CloneFlags::MOUNT) {
            Origin::New => MountNamespace::New,
            Origin::Joined => MountNamespace::Joined,
            Origin::Inherited => MountNamespace::Host,
        },
        user_namespace: namespaces.lists(CloneFlags::USER),
        cgroup_namespace: namespaces.lists(CloneFlags::CGROUP),
        network_namespace: namespaces.lists(CloneFlags::NETWORK),
        pid_namespace: namespaces.lists(CloneFlags::PID),
        ipc_namespace: namespaces.lists(CloneFlags::IPC),
        uid_map: &namespaces.uid_map,
        gid_map: &namespaces.gid_map,
        pivot: options.pivot,
        hooks: hooks.run_before_pivot(),
        notify: options.notify.as_deref(),
    };
    rootfs::plan(&input, warnings)
}
