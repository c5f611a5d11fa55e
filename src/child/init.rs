//! The list of what the init process does, from the clone to the program.

use super::Prepared;
use super::step::{Step, step};
use super::{Phase, enter, user};
use crate::container::report::HookState;
use crate::container::status::Status;
use crate::error::{Error, ErrorKind, Result};
use crate::handshake::{Channel, Order, Report};
use crate::hooks::{self, Environment, Kind, Place};
use crate::process::env::Environment as Variables;
use crate::process::stdio;
use crate::rootfs::{self, Mounted, Named, Root, Sources};
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access};
use crate::sys::this_process;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Becomes the container's program; comes back only to say why not.
pub(super) fn init(
    me: &InChild,
    p: &Prepared,
    sources: &Sources,
    parent: &Channel,
    phase: &mut Phase,
) -> Result<Infallible> {
    let process = &p.process;
    step(Step::Guard, || enter::guard(me, p))?;
    step(Step::Cgroup, || enter::cgroup(p, parent))?;
    // Before any user namespace: a lower score needs the caller's rights.
    step(Step::OomScore, || enter::oom_score(me, p))?;
    step(Step::Namespaces, || enter::namespaces(me, p, parent))?;
    step(Step::NamespaceSetup, || p.namespaces.set_up(me))?;
    step(Step::NetDevices, || net_devices(p, parent))?;
    // By the pid that is the last, and before there are children.
    step(Step::IntelRdt, || intel_rdt(p, parent))?;
    step(Step::Keyring, || process.keyring.as_ref().map_or(Ok(()), |keyring| keyring.apply(me)))?;

    let rootfs = match sources {
        Sources::Ready(prepared) => prepared,
        // Leaked, as all that the child owns is: its descriptors are closed for real below.
        Sources::Named(named) => Box::leak(Box::new(step(Step::Sources, || reopen(me, named, parent))?)),
    };
    let root = step(Step::Root, || rootfs.enter(me))?;
    let mounted = step(Step::Mounts, || rootfs.mount_all(me, root))?;
    // After the mounts: the nodes belong on what is mounted at /dev.
    step(Step::Devices, || rootfs.devices(me, root))?;
    // After mounts and devices, which hooks look at, and before pivot, since they live on the host's files.
    step(Step::CreateHooks, || create_hooks(me, p, parent, root))?;
    step(Step::Terminal, || terminal(me, p, parent, root, Terminal::Console))?;
    step(Step::Pivot, || rootfs.finish(me, &mounted).and_then(|()| rootfs.pivot(me, root)))?;

    let proc = trusted_proc(&mounted, p);
    // Before readonlyPaths, which cover /proc/sys in most configs.
    step(Step::Sysctl, || p.namespaces.sysctls.iter().try_for_each(|sysctl| sysctl.write(proc)))?;
    // Before restrict, which makes the root read-only.
    step(Step::WorkingDirectory, || process.cwd.create(root))?;
    step(Step::Restrict, || rootfs.restrict(me, root))?;
    step(Step::Label, || process.labels.apply(me, proc))?;
    mounted.leave_open(me);
    step(Step::Scheduling, || process.scheduling.apply(me))?;
    step(Step::Stdio, || standard_descriptors(me, p, parent, root))?;
    let mut warnings = Vec::new();
    let variables = process.environment.complete(me, root, process.identity.uid, &mut warnings);
    // All that is ours or the host's is closed for real before the first path that may lead through a descriptor: that of
    // the working directory, or args[0] (CVE-2024-21626).
    step(Step::Descriptors, || close_others(me, p, parent))?;
    step(Step::Identity, || user::become_user(me, p, &mut warnings))?;
    let program = step(Step::Lookup, || process.program.find(me, &variables))?;
    // Laid out before the filter, which may refuse the memory for it.
    let execution = process.program.prepare(program, variables.for_exec());

    step(Step::Ready, || ready(me, p, parent, &warnings))?;
    let has_hooks = !p.hooks.start_container.is_empty();
    if !has_hooks {
        step(Step::Descriptors, || process.inherited.hand_over(me))?;
    }
    let has_listener = user::has_listener(p);
    if has_listener {
        step(Step::Seccomp, || user::install_listening(me, p, parent))?;
    } else {
        step(Step::Ready, || parent.send(&Report::Ready, None))?;
    }
    if p.gate.is_some() {
        *phase = Phase::Alone;
    }
    step(Step::Ready, || user::await_release(p, parent))?;
    // Its hooks are the first code of the container's: nothing of it may run without the filter.
    if !has_listener {
        step(Step::Seccomp, || user::install_filter(me, p))?;
    }
    if has_hooks {
        step(Step::StartHooks, || start_hooks(p, &variables))?;
        // Not before: hooks get none of them.
        step(Step::Descriptors, || process.inherited.hand_over(me))?;
    }
    Err(execution.run(me).of_kind(ErrorKind::Exec))
}

/// Waits until the parent says to go on, and returns what came along.
pub(super) fn await_order(parent: &Channel) -> Result<Option<OwnedFd>> {
    match parent.receive::<Order>()? {
        Some((Order::Proceed, file)) => Ok(file),
        None => Err(Error::new(ErrorKind::System, "onggi itself was killed")),
    }
}

/// Has the parent do what `report` stands for, and returns what came along.
pub(super) fn ask(parent: &Channel, report: &Report) -> Result<Option<OwnedFd>> {
    parent.send(report, None)?;
    await_order(parent)
}

/// Has the parent, who is root on the host, move network devices here.
fn net_devices(p: &Prepared, parent: &Channel) -> Result<()> {
    if p.namespaces.net_devices.is_empty() { Ok(()) } else { ask(parent, &Report::NetDevices).map(drop) }
}

/// Has the parent move us to groups of the resctrl filesystem, which is the host's.
pub(super) fn intel_rdt(p: &Prepared, parent: &Channel) -> Result<()> {
    if p.intel_rdt.is_none() { Ok(()) } else { ask(parent, &Report::IntelRdt).map(drop) }
}

/// Has the parent open the sources of mounts below our own root.
fn reopen(me: &InChild, named: &Named, parent: &Channel) -> Result<rootfs::Prepared> {
    parent.send(&Report::Sources, Some(fs::open("/", Access::Dir)?.as_fd()))?;
    let missing = || Error::new(ErrorKind::System, "no source came along");
    named.clone_all(me, || await_order(parent)?.ok_or_else(missing))
}

fn create_hooks(me: &InChild, p: &Prepared, parent: &Channel, root: &Root) -> Result<()> {
    if !p.hooks.run_before_pivot() {
        return Ok(());
    }
    // They start in the root filesystem, but see the host's files from "/".
    this_process::fchdir(me, root)?;
    // Even if there are none for the parent: it must know that hooks were reached, should the container fail later.
    ask(parent, &Report::Hooks)?;
    if p.hooks.create_container.is_empty() {
        return Ok(());
    }
    let state = HookState::new(&p.record, Status::Creating, Some(this_process::pid())).to_json();
    let place = Place { cwd: None, environment: Environment::Given(&[]), interrupt: None };
    hooks::run(Kind::CreateContainer, &p.hooks.create_container, &state, &place)
}

fn start_hooks(p: &Prepared, variables: &Variables) -> Result<()> {
    let state = HookState::new(&p.record, Status::Created, Some(this_process::pid())).to_json();
    let place = Place { cwd: None, environment: Environment::Given(variables.variables()), interrupt: None };
    hooks::run(Kind::StartContainer, &p.hooks.start_container, &state, &place)
        .map_err(|error| error.of_kind(ErrorKind::Exec))
}

/// Which terminal of the container one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terminal {
    /// The container's own, which is its console as well.
    Console,
    /// That of a process which joins.
    Another,
}

/// Makes the terminal, if there is to be one, and hands its master to the parent.
pub(super) fn terminal(me: &InChild, p: &Prepared, parent: &Channel, root: &Root, which: Terminal) -> Result<()> {
    let Some(plan) = &p.process.terminal else { return Ok(()) };
    let pty = plan.open(me, root.open_ptmx(me)?)?;
    if which == Terminal::Console {
        root.bind_console(me, pty.peer.as_fd())?;
    }
    parent.send(&Report::Console, Some(pty.master.as_fd()))?;
    pty.attach(me)
}

/// A procfs that nobody can have put there: the one just mounted for this container, else the host's.
fn trusted_proc<'a>(mounted: &'a Mounted, p: &'a Prepared) -> BorrowedFd<'a> {
    mounted.proc.as_ref().unwrap_or(&p.proc).as_fd()
}

/// Makes the standard descriptors the container's user's own.
pub(super) fn standard_descriptors(me: &InChild, p: &Prepared, parent: &Channel, root: &Root) -> Result<()> {
    // A terminal is the user's from the start.
    if p.process.terminal.is_some() {
        return Ok(());
    }
    let mut found = stdio::look()?;
    if found.iter().any(stdio::is_null) {
        stdio::replace_nulls(me, &found, root.open_null(me)?)?;
    }
    if p.process.piped {
        stdio::pipe(me, &mut found, |which, end| parent.send(&Report::Pipe(which), Some(end.as_fd())))?;
    }
    stdio::give_to(me, &found, p.process.identity.uid)
}

/// Closes what neither the program nor we still need.
pub(super) fn close_others(me: &InChild, p: &Prepared, parent: &Channel) -> Result<()> {
    let ours: Vec<BorrowedFd<'_>> = std::iter::once(parent.as_fd()).chain(p.gate.iter().map(AsFd::as_fd)).collect();
    p.process.inherited.close_others(me, &ours)
}

/// Ends the dependence on the parent, which is about to be told that nothing more can fail.
pub(super) fn part(me: &InChild, p: &Prepared, parent: &Channel, warnings: &[String]) -> Result<()> {
    for warning in warnings {
        parent.send(&Report::Warning(warning.clone()), None)?;
    }
    this_process::reset_signals(me, p.ignored_signals)?;
    // `create` is about to exit, and the container is to live on.
    this_process::set_pdeathsig(me, false)
}

fn ready(me: &InChild, p: &Prepared, parent: &Channel, warnings: &[String]) -> Result<()> {
    part(me, p, parent, warnings)?;
    if p.gate.is_some() || !p.hooks.start_container.is_empty() {
        // The first process of a PID namespace ignores every signal that it doesn't handle, but `kill` of a created
        // container is to end it, as runc's does, and so is the user who waits for a hook.
        this_process::exit_on_termination(me)?;
    }
    Ok(())
}
