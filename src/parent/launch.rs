//! Brings the init process up: cgroup, descriptors, clone, and the conversation until it is ready or runs.

use super::agent::Agent;
use super::console::Console;
use super::conversation::{Conversation, Done};
use super::init_process::InitProcess;
use super::net_devices::NetDevices;
use super::prepare;
use super::relay::Relay;
use crate::cgroup::{Cgroup, IfDenied};
use crate::child;
use crate::container::record::{Phase, Record};
use crate::container::status;
use crate::container::store::Claim;
use crate::error::{Context, Error, Result};
use crate::handshake::Channel;
use crate::host::Host;
use crate::intel_rdt::Made;
use crate::namespaces::Joins;
use crate::plan::Plan;
use crate::rootfs::HostMounts;
use crate::sys::clone::{Fork, clone3};
use crate::sys::fs::{self, Access};
use crate::sys::signal::Signals;
use crate::sys::{Errno, namespace};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// What the command line adds to the plan, and what was opened for it.
#[derive(Debug)]
pub struct Options {
    /// Who gets the container's terminal.
    pub console: Option<Console>,
    /// Who answers the notifications of its filter.
    pub agent: Option<Agent>,
    /// Whether the init process waits for `start` (`create`) or goes on at once (`run`).
    pub gated: bool,
    /// The namespaces to join ([`prepare::check`]).
    pub joins: Joins,
}

/// A container whose init process is ready (`create`) or runs its program (`run`). Dropped, it undoes all of that.
#[derive(Debug)]
pub struct Launched {
    // The order matters: the process ends before its mounts, its cgroup and its groups are removed.
    /// The init process.
    pub init: InitProcess,
    /// What it has among the host's mounts.
    pub host_mounts: HostMounts,
    /// Its cgroup; none where none is wanted or allowed.
    pub cgroup: Option<Cgroup>,
    /// Its groups in the resctrl filesystem, if it is to have some.
    pub intel_rdt: Option<Made>,
    /// Its state as written.
    pub record: Record,
    /// The host's network devices that it has.
    pub net_devices: Option<NetDevices>,
    /// What is to be served in the foreground.
    pub relay: Relay,
    /// Signals that came meanwhile, to be sent on.
    pub early_signals: Vec<i32>,
    /// What could not be had.
    pub warnings: Vec<String>,
}

/// What a container without cgroup and PID namespace of its own is worth saying.
const UNKILLABLE: &str = "the container has neither a cgroup nor a PID namespace of its own, so that not all of its \
                          processes can be killed with it. Such configuration is strongly discouraged";

/// How far a launch that failed had come.
#[derive(Debug, Default)]
pub struct Progress {
    /// Hooks have run, so that poststop hooks must.
    pub hooks_ran: bool,
}

impl Launched {
    /// Lets the container have its network devices, whatever happens to it.
    pub fn keep_net_devices(&mut self) {
        if let Some(devices) = self.net_devices.take() {
            devices.keep();
        }
    }
}

/// Makes the container that `plan` describes under the name that `claim` holds.
///
/// # Errors
/// Whatever failed, on either side; by then everything made here is gone again.
pub fn launch(
    plan: Plan,
    mut record: Record,
    claim: &Claim,
    host: &Host,
    options: Options,
    signals: &Signals,
    progress: &mut Progress,
) -> Result<Launched> {
    // Looked at once more: until the id was ours, a group of its name may have been one that a `delete` was removing.
    let mut intel_rdt = plan.intel_rdt.as_ref().map(Made::nothing).transpose()?;
    record.intel_rdt = intel_rdt.as_ref().map(|made| made.record().clone());
    // What is about to be made is on disk before it is made, so that `delete --force` finds it whenever we are killed.
    claim.write(&record)?;
    let gate = if options.gated { Some(claim.open_gate()?) } else { None };
    let if_denied = plan.cgroup.as_ref().map(|cgroup| cgroup.if_denied);
    let mut cgroup = match &plan.cgroup {
        Some(cgroup) => Cgroup::create(cgroup)?,
        None => None,
    };
    if let (Some(made), Some(wanted)) = (&mut intel_rdt, &plan.intel_rdt) {
        made.make(wanted)?;
    }
    let mut prepared = prepare::prepare(plan, options.joins, &record, host, gate)?;
    let host_mounts = prepared.host_mounts()?;
    if !host_mounts.record.is_empty() {
        record.host_mounts.clone_from(&host_mounts.record);
        claim.write(&record)?;
    }
    prepared.intel_rdt = intel_rdt.as_ref().map(|made| Rc::clone(made.groups()));
    prepared.awaits_cgroup = cgroup.as_ref().is_some_and(|cgroup| cgroup.dir().is_none());
    let (mut console, mut agent) = (options.console, options.agent);
    let mut done = loop {
        // One that was not to be had may be another container's some day.
        record.cgroup = path_of(cgroup.as_ref());
        let (child, init) = match bear(&prepared, cgroup.as_ref()) {
            Err(error) if cgroup.is_some() && error.is(Errno::EACCES) => {
                if_denied.map_or(Ok(()), |if_denied| denied(error, if_denied))?;
                cgroup = None;
                continue;
            }
            born => born?,
        };
        // While the child works. For `create` it is not there yet; but killed from here on, we leave no process that
        // nobody knows. `run` has no moment of being created.
        let phase = if options.gated { Phase::Creating } else { Phase::Created };
        record_init(&mut record, &init, phase, claim)?;
        let placed = match cgroup.as_mut().filter(|_| prepared.awaits_cgroup) {
            Some(cgroup) => place(&init, cgroup, &mut record, claim, signals),
            None => Ok(()),
        };
        let conversation = Conversation::new(&prepared, &record, host, child, init, &mut console, &mut agent);
        match conversation.hold(placed, signals, cgroup.as_ref(), progress)? {
            Some(done) => break done,
            // Linux since 6.14, and stable kernels since, kill what clone3 starts in a cgroup when `cgroup.kill` was
            // ever written in our own or in that one, and not equally often (kernel/cgroup/cgroup.c, kill_seq, is
            // taken from the wrong cgroup). So it has to be moved there.
            None => prepared.awaits_cgroup = true,
        }
    };
    if options.gated || record.pid != Some(done.init.pid) {
        record_init(&mut record, &done.init, Phase::Created, claim)?;
    }
    let mut warnings = std::mem::take(&mut done.warnings);
    if cgroup.is_none() && !record.private_pid_namespace {
        warnings.push(UNKILLABLE.to_owned());
    }
    let Done { init, relay, net_devices, early_signals, .. } = done;
    Ok(Launched { init, host_mounts, cgroup, intel_rdt, record, net_devices, relay, early_signals, warnings })
}

/// The cgroup is there, but we may not start processes in it: fine for a container that needs none.
fn denied(error: Error, if_denied: IfDenied) -> Result<()> {
    if if_denied == IfDenied::Without {
        return Ok(());
    }
    let advice = "a user may only have processes in cgroups that lie, like the caller's own, below one delegated to that \
                  user, such as by systemd-run --user --scope -p Delegate=yes";
    Err(error.hint(advice).context("unable to apply cgroup configuration"))
}

/// Writes the record of a container that has a process.
fn record_init(record: &mut Record, init: &InitProcess, phase: Phase, claim: &Claim) -> Result<()> {
    record.pid = Some(init.pid);
    record.start_time = status::start_time(init.pid)?;
    record.phase = phase;
    claim.write(record)
}

/// Clones the child, in its cgroup unless it waits to be moved there, and gives the line to it.
pub(super) fn bear(prepared: &child::Prepared, cgroup: Option<&Cgroup>) -> Result<(Channel, InitProcess)> {
    let (ours, childs) = Channel::pair()?;
    match clone(prepared, cgroup)? {
        Fork::Child(me) => {
            drop(ours);
            child::main(me, prepared, childs)
        }
        Fork::Parent { pid, pidfd } => Ok((ours, InitProcess::new(pid, pidfd))),
    }
}

/// Moves the init process, which waits for that, into its cgroup, and writes down where that is.
fn place(init: &InitProcess, cgroup: &mut Cgroup, record: &mut Record, claim: &Claim, signals: &Signals) -> Result<()> {
    cgroup.add(init.pid, signals.ending()?.as_fd())?;
    let path = path_of(Some(cgroup));
    if path != record.cgroup {
        record.cgroup = path;
        claim.write(record)?;
    }
    Ok(())
}

/// What the record says of the cgroup.
fn path_of(cgroup: Option<&Cgroup>) -> Option<String> {
    cgroup.and_then(Cgroup::path).map(|path| path.as_str().to_owned())
}

fn clone(prepared: &child::Prepared, cgroup: Option<&Cgroup>) -> Result<Fork> {
    let namespaces = &prepared.namespaces;
    let home = match prepared.joins.pid() {
        // Joining a PID namespace only counts for processes made later; hooks are to run in ours, so we go back after.
        Some(joined) => {
            let own = fs::open("/proc/self/ns/pid", Access::Read).context("open our own PID namespace")?;
            namespace::set_pid_namespace_for_children(joined).map_err(|error| match error.errno() {
                Some(Errno::EPERM) => error.hint("only root may, or who joins the user namespace that owns it, too"),
                _ => error,
            })?;
            Some(own)
        }
        None => None,
    };
    let first_wave = namespaces.first_wave();
    let cgroup = cgroup.filter(|_| !prepared.awaits_cgroup).and_then(Cgroup::dir);
    let fork = clone3(prepared.single_threaded, first_wave, cgroup).map_err(|error| match error.errno() {
        Some(Errno::ENOSPC) => error.hint("a limit in /proc/sys/user on the number of namespaces is reached"),
        Some(Errno::EPERM) if !first_wave.is_empty() => {
            error.hint("making namespaces needs CAP_SYS_ADMIN, or user namespaces switched on")
        }
        _ => error,
    });
    if let (Some(own), Ok(Fork::Parent { .. }) | Err(_)) = (&home, &fork) {
        go_home(own, prepared)?;
    }
    fork
}

/// Has our next children in our own PID namespace again. Who is root in a user namespace alone, as below an engine without
/// privileges, may not: ours belongs to the user namespace above. Without hooks we have no children any more.
fn go_home(own: &OwnedFd, prepared: &child::Prepared) -> Result<()> {
    match namespace::set_pid_namespace_for_children(own.as_fd()) {
        Err(error) if error.is(Errno::EPERM) && !prepared.hooks.run_on_host() => Ok(()),
        result => result.context("return to our own PID namespace, for hooks"),
    }
}
