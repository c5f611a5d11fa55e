//! `exec`: one more process in a container.

use super::create::{debug_filter, preserved};
use super::run::follow;
use super::{ExecArgs, Global, observe, wrong_state};
use crate::bundle::{Kept, ProcessFile};
use crate::cgroup::{Destination, PATIENCE};
use crate::container::record::Phase;
use crate::container::status::{Container, Live, Status, is_being_made};
use crate::container::store::Entry;
use crate::error::{Context, Result, phrase};
use crate::host::Host;
use crate::namespaces::{self, Target};
use crate::parent::agent::Agent;
use crate::parent::console::Console;
use crate::parent::exec;
use crate::parent::pid_file::PidFile;
use crate::parent::pidfd_socket::{PidfdSocket, Process};
use crate::parent::prepare::host_proc;
use crate::plan::exec::{Input, Plan, plan};
use crate::process::fds::Inherited;
use crate::sys::pidfd;
use crate::sys::signal::Signals;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs `onggi exec`; in the foreground the status is the program's. Takes no lock: the process may run for long, and
/// the container it joins is known by the pidfd of its init process.
pub(super) fn exec(global: &Global, args: &ExecArgs) -> Result<u8> {
    let inherited = preserved(args.preserve_fds)?;
    let pid_file = args.pid_file.as_deref().map(PidFile::plan).transpose()?;
    let entry = global.find(&args.id)?;
    let container = observe(&entry, entry.load()?)?;
    // Known of each but a paused one, which may be either.
    let started = match container.status() {
        Status::Paused => !entry.has_gate()?,
        status => status != Status::Created,
    };
    let live = joinable(container, args.ignore_paused)?;
    if started {
        wait_for_program(&live)?;
    }
    let host = Host::read()?;
    let (mut plan, container) = plan_and_open(&entry, live, args, inherited, &host)?;
    debug(global, &plan, &container);
    let console = Console::of(plan.process.terminal.as_mut(), args.console_socket.as_deref())?;
    let pidfd_socket = args.pidfd_socket.as_deref().map(PidfdSocket::connect).transpose()?;
    plan.seccomp.as_ref().map_or(Ok(()), |filter| filter.require_kernel(&host))?;
    let agent = Agent::connect(plan.seccomp.as_ref())?;
    let signals = Signals::block()?;
    let started = exec::exec(plan, container, &host, console, agent, &signals);
    // From here on dropping it ends the process.
    let mut done = started.context("unable to start container process")?;
    if let Some(socket) = pidfd_socket {
        socket.send(Process::Joining, done.init.pidfd())?;
    }
    if let Some(file) = pid_file {
        file.write(done.init.pid)?;
    }
    for warning in &done.warnings {
        global.log.warning(warning);
    }
    // Not only when the process ends.
    global.log.settle();
    if args.detach {
        done.init.release();
        return Ok(0);
    }
    follow(global, &mut done.init, &signals, done.relay, &done.early_signals, None)
}

/// What was decided, for developers.
fn debug(global: &Global, plan: &Plan, container: &exec::Container) {
    let exec::Container { record, target, .. } = container;
    let cgroup = record.cgroup.as_deref().unwrap_or("none");
    global.log.debug(&format!("exec in container {}: joining namespaces {}, cgroup {cgroup}", record.id, target.kinds));
    debug_filter(global, plan.seccomp.as_ref());
}

/// The container, if a process can be added to it.
fn joinable(container: Container, ignore_paused: bool) -> Result<Live> {
    let status = container.status();
    if status == Status::Paused && !ignore_paused {
        return Err(wrong_state(phrase::EXEC_PAUSED));
    }
    let (record, init) = container.into_parts();
    // Its init process may still see the host's files.
    if status != Status::Stopped && record.phase == Phase::Creating {
        return Err(wrong_state(format!("cannot exec in a container in the {} state", Status::Creating)));
    }
    let init = init.ok_or_else(|| wrong_state(phrase::EXEC_STOPPED))?;
    Ok(Live { record, init })
}

/// Waits until the init process has become its program: with `run` the container counts as running before, and until
/// then its namespaces may show the host's files.
fn wait_for_program(live: &Live) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(1);
    let deadline = Instant::now() + PATIENCE;
    while let Some(pid) = live.record.pid
        && of_living(&live.init, is_being_made(pid))?
    {
        if Instant::now() > deadline {
            return Err(wrong_state("the container is still being started: try again when its program runs"));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// What was found out about the init process by its number: true only if it still lives, for then the number was its own.
fn of_living<T>(init: &OwnedFd, found: Result<T>) -> Result<T> {
    if pidfd::wait_exit(init, Some(Duration::ZERO))? {
        return Err(wrong_state(phrase::EXEC_STOPPED));
    }
    found
}

/// Decides what the process is to be, and opens the container for it.
fn plan_and_open(
    entry: &Entry,
    live: Live,
    args: &ExecArgs,
    inherited: Inherited,
    host: &Host,
) -> Result<(Plan, exec::Container)> {
    let Live { record, init } = live;
    let file = args.process.as_deref().map(load).transpose()?;
    let kept = Kept::parse(&entry.load_config()?)?;
    let place = Destination::plan(record.cgroup.as_deref(), &args.cgroup)?;
    let proc = host_proc()?;
    let pid = record.pid.ok_or_else(|| wrong_state(phrase::EXEC_STOPPED))?;
    let target = of_living(&init, Target::read(proc.as_fd(), pid, namespaces::made(&kept.spec)))?;
    let mut plan = plan(&Input {
        container: &kept.spec,
        file: file.as_ref().map(|(file, name)| (&file.process, name.as_str())),
        changes: &args.changes,
        host,
        id: &record.id,
        target: &target,
        keyring: !record.no_new_keyring,
        inherited,
        detached: args.detach,
        console_socket: args.console_socket.is_some(),
    })?;
    plan.warnings.splice(0..0, file.map_or(kept.warnings, |(file, _)| file.warnings));
    let inner_root = match plan.inner_root {
        true => Some(of_living(&init, exec::Container::open_root(pid))?),
        false => None,
    };
    Ok((plan, exec::Container { record, pid, init, target, inner_root, place, proc }))
}

fn load(path: &Path) -> Result<(ProcessFile, String)> {
    let name = path.display().to_string();
    let file = ProcessFile::load(path).with_context(|| format!("--process {name}"))?;
    Ok((file, name))
}
