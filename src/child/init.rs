//! The list of what the init process does, from the clone to the program.

use super::Prepared;
use super::step::{Step, step};
use crate::error::{Error, ErrorKind, Result};
use crate::handshake::{Channel, Order, Report};
use crate::hooks::{self, Kind, Place};
use crate::namespaces::Origin;
use crate::rootfs::{Mounted, Root};
use crate::sys::clone::{CloneFlags, Fork, InChild, clone3_sibling};
use crate::sys::{fs, namespace, this_process};
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Who listens to a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The parent, on the socket.
    Reporting,
    /// Nobody: `create` has returned, and the container was started later.
    Alone,
}

pub(super) fn init(me: &InChild, p: &Prepared, parent: &Channel, phase: &mut Phase) -> Result<Infallible> {
    let plan = &p.plan;
    let process = &plan.process;
    step(Step::Guard, || guard(me, p))?;
    // Before any user namespace: a lower score needs the caller's rights.
    step(Step::OomScore, || oom_score(p))?;
    step(Step::Namespaces, || enter_namespaces(me, p, parent))?;
    step(Step::NamespaceSetup, || plan.namespaces.set_up(me))?;
    step(Step::Keyring, || process.join_keyring(me))?;

    let root = step(Step::Root, || p.rootfs.enter(me))?;
    let mounted = step(Step::Mounts, || p.rootfs.mount_all(me, &root))?;
    // After the mounts: the nodes belong on what is mounted at /dev.
    step(Step::Devices, || p.rootfs.devices(me, &root))?;
    // After mounts and devices, which hooks look at, and before pivot, since they live on the host's files.
    step(Step::CreateHooks, || create_hooks(me, p, parent, &root))?;
    step(Step::Terminal, || terminal(me, p, parent, &root))?;
    let null = step(Step::Stdio, || process.needs_null().then(|| root.open_null(me)).transpose())?;
    step(Step::Pivot, || p.rootfs.finish(me, &root).and_then(|()| p.rootfs.pivot(me, &root)))?;

    let proc = trusted_proc(&mounted, p);
    // Before readonlyPaths, which cover /proc/sys in most configs, and through our own procfs all the same.
    step(Step::Sysctl, || plan.namespaces.sysctls.iter().try_for_each(|sysctl| sysctl.write(proc)))?;
    step(Step::Restrict, || p.rootfs.restrict(me, &root))?;
    step(Step::Label, || process.apply_label(me, proc))?;
    step(Step::Scheduling, || process.apply_scheduling(me))?;
    step(Step::Stdio, || process.fix_stdio(me, null.as_ref().map(AsFd::as_fd)))?;
    let environment = step(Step::Environment, || process.environment(me))?;
    step(Step::Identity, || become_user(me, p, parent))?;
    let program = step(Step::Lookup, || process.find_program(me, &environment))?;
    drop(root);

    step(Step::Ready, || ready(me, p, parent, phase))?;
    let filter = plan.seccomp.as_ref();
    if !plan.hooks.start_container.is_empty() {
        // The first code of the container's: nothing of it may run without the filter.
        step(Step::Seccomp, || filter.map_or(Ok(()), |filter| filter.install(me)))?;
        step(Step::StartHooks, || start_hooks(me, p, &environment))?;
    }
    // The last step that can be: the fewest system calls of ours run under a filter that was made for the program.
    Err(program.execute(me, &environment, filter.filter(|_| plan.hooks.start_container.is_empty())))
}

/// Ties the init process to its parent and hides it: nothing of ours may be traced or outlive a killed parent.
fn guard(me: &InChild, p: &Prepared) -> Result<()> {
    this_process::set_pdeathsig(me, true)?;
    // A new user namespace's maps may have to be written by a parent without privileges, which can't reach the files of
    // a process that is not dumpable; nobody else sees us yet.
    if p.plan.namespaces.origin(CloneFlags::USER) != Origin::New {
        this_process::set_dumpable(me, false)?;
    }
    // Modes in config.json are final; the container's own umask comes last.
    this_process::umask(me, 0);
    // Also detaches from the caller's terminal, so that nothing can be pushed into it (CVE-2016-10124).
    this_process::setsid(me)
}

/// With a new user namespace the parent does it, since the file belongs to the host's root then.
fn oom_score(p: &Prepared) -> Result<()> {
    match p.plan.process.oom_score_adj {
        Some(score) if p.plan.namespaces.origin(CloneFlags::USER) != Origin::New => {
            scheduling::write_oom_score(p.proc.as_fd(), score)
        }
        _ => Ok(()),
    }
}

fn enter_namespaces(me: &InChild, p: &Prepared, parent: &Channel) -> Result<()> {
    let namespaces = &p.plan.namespaces;
    if namespaces.origin(CloneFlags::USER) == Origin::New {
        await_order(parent)?;
        this_process::become_root(me)?;
    }
    p.joins.join(me)?;
    if namespaces.needs_second_clone() {
        second_clone(me, p, parent)?;
    }
    namespaces.unshare(me)?;
    if namespaces.origin(CloneFlags::TIME) == Origin::New {
        parent.send(&Report::TimeNamespace, None)?;
        let clocks = await_order(parent)?.ok_or_else(|| Error::new(ErrorKind::System, "no time namespace came along"))?;
        namespace::join(me, clocks, CloneFlags::TIME)?;
    }
    // Every change of ids makes a process dumpable again, or whatever fs.suid_dumpable says.
    this_process::set_dumpable(me, false)
}

/// Continues in a new process inside a PID namespace that the joined user namespace owns.
fn second_clone(me: &InChild, p: &Prepared, parent: &Channel) -> Result<()> {
    match clone3_sibling(me, CloneFlags::PID)? {
        Fork::Parent { pid, pidfd } => {
            parent.send(&Report::Moved { pid }, Some(pidfd.as_fd()))?;
            this_process::exit(me, 0)
        }
        Fork::Child(_) => guard(me, p),
    }
}

/// Waits until the parent says to go on, and returns what came along.
fn await_order(parent: &Channel) -> Result<Option<OwnedFd>> {
    match parent.receive::<Order>()? {
        Some((Order::Proceed, file)) => Ok(file),
        None => Err(Error::new(ErrorKind::System, "onggi itself was killed")),
    }
}

fn create_hooks(me: &InChild, p: &Prepared, parent: &Channel, root: &Root) -> Result<()> {
    let hooks = &p.plan.hooks;
    if !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty() {
        parent.send(&Report::Hooks, None)?;
        await_order(parent)?;
    }
    if hooks.create_container.is_empty() {
        return Ok(());
    }
    // They start in the root filesystem, but see the host's files from "/".
    this_process::change_directory_to(me, root)?;
    let state = p.plan.hook_state("creating", Some(this_process::pid()));
    hooks::run(Kind::CreateContainer, &hooks.create_container, &state, &Place::with_environment(&[]))
}

fn start_hooks(p: &Prepared, environment: &[String]) -> Result<()> {
    let state = p.plan.hook_state("created", Some(this_process::pid()));
    hooks::run(Kind::StartContainer, &p.plan.hooks.start_container, &state, &Place::with_environment(environment))
}

fn terminal(me: &InChild, p: &Prepared, parent: &Channel, root: &Root) -> Result<()> {
    let Some(plan) = &p.plan.process.terminal else { return Ok(()) };
    let terminal = plan.open(me, root.open_ptmx(me)?)?;
    root.bind_console(me, terminal.peer.as_fd())?;
    parent.send(&Report::Console, Some(terminal.master.as_fd()))?;
    terminal.attach(me)
}

/// A procfs that nobody can have put there: the one just mounted for this container, else the host's.
fn trusted_proc<'a>(mounted: &'a Mounted, p: &'a Prepared) -> BorrowedFd<'a> {
    mounted.proc.as_ref().unwrap_or(&p.proc).as_fd()
}

fn ready(me: &InChild, p: &Prepared, parent: &Channel, phase: &mut Phase) -> Result<()> {
    this_process::reset_signals(me)?;
    // `create` is about to exit, and the container is to live on.
    this_process::set_pdeathsig(me, false)?;
    parent.send(&Report::Ready, None)?;
    let Some(gate) = &p.gate else { return Ok(()) };
    *phase = Phase::Alone;
    // The first process of a PID namespace ignores every signal that it doesn't handle, but `kill` of a created
    // container is to end it, as runc's does.
    this_process::exit_on_termination(me)?;
    match fs::read(gate, &mut [0])? {
        1 => Ok(()),
        _ => Err(Error::new(ErrorKind::System, "the start gate is broken")),
    }
}
