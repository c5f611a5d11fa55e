//! Namespaces to create and to join, in which order, and with which mappings.
//!
//! New namespaces are made in two waves. The first is part of clone3; with a new user namespace it holds only that one
//! and the PID namespace, since what is made before the id maps are written belongs to the overflow ids (the root of
//! mqueue shows it). The second wave is one unshare in the child. The cgroup namespace always belongs to the second:
//! clone3 roots it in the *parent's* cgroup, even with `CLONE_INTO_CGROUP` (kernel/cgroup/namespace.c looks at
//! `current`).

mod idmap;
mod join;
mod net_devices;
mod sysctl;
mod target;

use crate::idmap::IdMap;
pub use join::Joins;
pub use net_devices::NetDevice;
pub use sysctl::Sysctl;
pub use target::Target;

use crate::error::{Context, Error, Result};
use crate::sys::clone::{CloneFlags, InChild};
use crate::sys::{namespace, net, this_process};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};
use std::path::{Path, PathBuf};

/// How the container gets a namespace of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Not listed: the caller's own.
    Inherited,
    /// Listed without a path.
    New,
    /// Listed with a path.
    Joined,
}

/// A namespace of somebody else, to be joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Its kind, as one clone flag.
    pub kind: CloneFlags,
    /// Its file, absolute.
    pub path: PathBuf,
    /// Its index in `linux.namespaces`, for messages.
    pub index: usize,
}

/// One line of `timens_offsets`; see time_namespaces(7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds, below 10^9.
    pub nanoseconds: u32,
}

/// All that config.json says about namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Namespaces to make.
    pub create: CloneFlags,
    /// Namespaces to join.
    pub join: Vec<Join>,
    /// User ids of a new user namespace.
    pub uid_map: Vec<IdMap>,
    /// Group ids of a new user namespace.
    pub gid_map: Vec<IdMap>,
    /// Clocks of a new time namespace.
    pub time_offsets: Vec<TimeOffset>,
    /// Name of a UTS namespace.
    pub hostname: Option<String>,
    /// NIS domain name of a UTS namespace.
    pub domainname: Option<String>,
    /// Kernel parameters of the container's own namespaces.
    pub sysctls: Vec<Sysctl>,
    /// Network devices of the host to be moved to the container.
    pub net_devices: Vec<NetDevice>,
}

/// Reads `linux.namespaces` and what depends on it.
///
/// # Errors
/// `InvalidConfig` for duplicates, a relative path, a user namespace without maps, maps or offsets that don't fit, a host
/// or domain name without a UTS namespace, network devices without a namespace of their own, and sysctls that would change
/// the host.
pub fn plan(spec: &Spec) -> Result<Plan> {
    let mut plan = Plan::default();
    let linux = spec.linux().as_ref();
    let listed = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    for (index, namespace) in listed.iter().enumerate() {
        let kind = clone_flag(namespace.typ());
        let field = format!("linux.namespaces[{index}]");
        if plan.origin(kind) != Origin::Inherited {
            return Err(Error::config(field, format!("malformed spec file: duplicated {kind} namespace")));
        }
        match path(namespace) {
            None => plan.create = plan.create.with(kind),
            Some(path) if path.as_os_str().as_encoded_bytes().contains(&0) => {
                return Err(Error::config(format!("{field}.path"), "contains a NUL byte"));
            }
            // Relative to what the specification does not say.
            Some(path) if path.is_relative() => {
                return Err(Error::config(format!("{field}.path"), "must be an absolute path"));
            }
            Some(path) => plan.join.push(Join { kind, path: path.to_owned(), index }),
        }
    }
    if let Some(linux) = linux {
        idmap::plan(linux, &mut plan)?;
        plan.time_offsets = time_offsets(linux, plan.origin(CloneFlags::TIME))?;
        plan.sysctls = sysctl::plan(linux.sysctl().as_ref(), &plan)?;
        plan.net_devices = net_devices::plan(linux.net_devices().as_ref(), &plan)?;
    }
    plan.hostname = name("hostname", spec.hostname().as_deref(), plan.origin(CloneFlags::UTS))?;
    plan.domainname = name("domainname", spec.domainname().as_deref(), plan.origin(CloneFlags::UTS))?;
    Ok(plan)
}

/// The namespaces that are made with a container of `spec`, whose list has been found right.
pub fn made(spec: &Spec) -> CloneFlags {
    let listed = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    let new = listed.iter().filter(|namespace| path(namespace).is_none());
    new.fold(CloneFlags::NONE, |made, namespace| made.with(clone_flag(namespace.typ())))
}

/// Of one to join; an empty path is none.
fn path(namespace: &LinuxNamespace) -> Option<&Path> {
    namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

fn clone_flag(kind: LinuxNamespaceType) -> CloneFlags {
    match kind {
        LinuxNamespaceType::Cgroup => CloneFlags::CGROUP,
        LinuxNamespaceType::Ipc => CloneFlags::IPC,
        LinuxNamespaceType::Mount => CloneFlags::MOUNT,
        LinuxNamespaceType::Network => CloneFlags::NETWORK,
        LinuxNamespaceType::Pid => CloneFlags::PID,
        LinuxNamespaceType::Time => CloneFlags::TIME,
        LinuxNamespaceType::User => CloneFlags::USER,
        LinuxNamespaceType::Uts => CloneFlags::UTS,
    }
}

fn name(field: &str, value: Option<&str>, uts: Origin) -> Result<Option<String>> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    if uts == Origin::Inherited {
        return Err(Error::config(field, format!("unable to set {field} without a private UTS namespace")));
    }
    // sethostname(2): 64 bytes at most.
    if value.len() > 64 || value.contains('\0') {
        return Err(Error::config(field, "must have at most 64 bytes and no NUL"));
    }
    Ok(Some(value.to_owned()))
}

fn time_offsets(linux: &oci_spec::runtime::Linux, time: Origin) -> Result<Vec<TimeOffset>> {
    let Some(wanted) = linux.time_offsets().as_ref().filter(|wanted| !wanted.is_empty()) else {
        return Ok(Vec::new());
    };
    let field = "linux.timeOffsets";
    match time {
        Origin::New => {}
        Origin::Inherited => {
            let message = "time namespace offsets specified, but time namespace isn't enabled in the config";
            return Err(Error::config(field, message));
        }
        Origin::Joined => {
            return Err(Error::config(field, "can't change the clocks of a time namespace that is joined"));
        }
    }
    let mut offsets = Vec::new();
    for (clock, offset) in wanted {
        if clock != "monotonic" && clock != "boottime" {
            return Err(Error::config(field, format!("unknown clock {clock:?}: use monotonic or boottime")));
        }
        let nanoseconds = offset.nanosecs().unwrap_or(0);
        if nanoseconds >= 1_000_000_000 {
            return Err(Error::config(format!("{field}.{clock}.nanosecs"), "must be below 1000000000"));
        }
        offsets.push(TimeOffset { clock: clock.clone(), seconds: offset.secs().unwrap_or(0), nanoseconds });
    }
    offsets.sort_by(|a, b| a.clock.cmp(&b.clock));
    Ok(offsets)
}

impl Plan {
    /// How the container gets the namespace of this kind.
    pub fn origin(&self, kind: CloneFlags) -> Origin {
        if self.create.has(kind) {
            Origin::New
        } else if self.join.iter().any(|join| join.kind == kind) {
            Origin::Joined
        } else {
            Origin::Inherited
        }
    }

    /// Whether config.json lists this kind, new or joined.
    pub fn lists(&self, kind: CloneFlags) -> bool {
        self.origin(kind) != Origin::Inherited
    }

    /// Whether there is a user namespace to make and others to join, which need not belong to it: whoever has entered it
    /// has no right to them any more.
    pub fn makes_user_namespace_beside_joined(&self) -> bool {
        self.create.has(CloneFlags::USER) && !self.join.is_empty()
    }

    /// Has the user namespace joined, which is made beforehand then, instead of made by the clone.
    pub fn join_user(&mut self) {
        self.create = self.create.without(CloneFlags::USER);
        self.join.push(Join { kind: CloneFlags::USER, path: PathBuf::new(), index: self.join.len() });
    }

    /// The namespaces that clone3 makes.
    pub fn first_wave(&self) -> CloneFlags {
        let second = CloneFlags::CGROUP.with(CloneFlags::TIME);
        match self.origin(CloneFlags::USER) {
            Origin::Inherited => self.create.without(second),
            Origin::New => self.create.both(CloneFlags::USER.with(CloneFlags::PID)),
            Origin::Joined => CloneFlags::NONE,
        }
    }

    /// Whether a process that has joined the user namespace must clone the init process: a PID namespace belongs to
    /// the user namespace of its maker, and procfs can be mounted only by the owner; one that is joined may be joined by
    /// its owner alone. Either counts for processes made later.
    pub fn needs_second_clone(&self) -> bool {
        self.origin(CloneFlags::USER) == Origin::Joined && self.lists(CloneFlags::PID)
    }

    /// The namespaces that the init process makes for itself once it is root in its user namespace.
    pub fn second_wave(&self) -> CloneFlags {
        let second = self.create.without(self.first_wave());
        if self.needs_second_clone() { second.without(CloneFlags::PID) } else { second }
    }

    /// Moves into the second wave of new namespaces. The time namespace is made but not entered: its clocks can be set
    /// only while nobody is in it.
    pub fn unshare(&self, me: &InChild) -> Result<()> {
        let second = self.second_wave();
        if second.is_empty() { Ok(()) } else { namespace::unshare(me, second) }
    }

    /// Gives the new namespaces their names and their loopback interface.
    pub fn set_up(&self, me: &InChild) -> Result<()> {
        if self.create.has(CloneFlags::NETWORK) {
            net::loopback_up(me).context("bring up the loopback interface")?;
        }
        if let Some(name) = &self.hostname {
            this_process::sethostname(me, name).context("set hostname")?;
        }
        if let Some(name) = &self.domainname {
            this_process::setdomainname(me, name).context("set domainname")?;
        }
        Ok(())
    }
}
