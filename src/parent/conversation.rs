//! The parent's half of the handshake: serves the child until it is ready, runs, or has failed.

use super::agent::Agent;
use super::console::Console;
use super::idmap;
use super::idmapped::Mapper;
use super::init_process::InitProcess;
use super::launch::Progress;
use super::net_devices::NetDevices;
use super::relay::Relay;
use crate::cgroup::Cgroup;
use crate::child::{Prepared, Role};
use crate::container::record::Record;
use crate::container::report::HookState;
use crate::container::status::Status;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::handshake::{Channel, Order, Report};
use crate::hooks::{self, Environment, Kind, Place};
use crate::host::Host;
use crate::namespaces::Origin;
use crate::process::explain_oom_score;
use crate::rootfs::Sources;
use crate::sys::clone::CloneFlags;
use crate::sys::pidfd::{self, Exit};
use crate::sys::poll::{Interest, poll};
use crate::sys::signal::{Signals, asks_for_end, number};
use crate::sys::{Errno, namespace, signal_name};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// A conversation with one child.
#[derive(Debug)]
pub struct Conversation<'a> {
    prepared: &'a Prepared,
    record: &'a Record,
    host: &'a Host,
    child: Channel,
    console: &'a mut Option<Console>,
    agent: &'a mut Option<Agent>,
    /// Whether the child has said anything yet.
    heard: bool,
    ready: bool,
    done: Done,
}

/// What came of a conversation.
#[derive(Debug)]
pub struct Done {
    /// The init process.
    pub init: InitProcess,
    /// What is to be served in the foreground.
    pub relay: Relay,
    /// The devices that were moved to the container.
    pub net_devices: Option<NetDevices>,
    /// Signals that came meanwhile.
    pub early_signals: Vec<i32>,
    /// What the child could not have.
    pub warnings: Vec<String>,
}

impl<'a> Conversation<'a> {
    /// Takes over the process that has just been cloned.
    pub fn new(
        prepared: &'a Prepared,
        record: &'a Record,
        host: &'a Host,
        child: Channel,
        init: InitProcess,
        console: &'a mut Option<Console>,
        agent: &'a mut Option<Agent>,
    ) -> Self {
        let relay = Relay::default();
        let done = Done { init, relay, net_devices: None, early_signals: Vec::new(), warnings: Vec::new() };
        Self { prepared, record, host, child, console, agent, heard: false, ready: false, done }
    }

    /// Serves the child until it waits at the gate, or, without one, until its program runs. `placed` tells what came of
    /// moving it to its cgroup, if it was not started there. `None`: SIGKILL was the first thing that happened to the
    /// child, which clone3 had started in its cgroup.
    pub fn hold(
        mut self,
        placed: Result<()>,
        signals: &Signals,
        cgroup: Option<&Cgroup>,
        progress: &mut Progress,
    ) -> Result<Option<Done>> {
        match placed.and_then(|()| self.begin(signals)) {
            // Whatever it was, it was done to a process that is gone.
            Err(_) if pidfd::wait_exit(self.done.init.pidfd(), Some(Duration::ZERO))? => {
                return if self.is_stillborn(cgroup)? { Ok(None) } else { Err(self.death(cgroup)) };
            }
            result => result?,
        }
        let gated = self.prepared.gate.is_some();
        while !(self.ready && gated) {
            let ready = poll(&[(self.child.as_fd(), Interest::Read), (signals.as_fd(), Interest::Read)], None)?;
            // What the child says comes first: whether it is ready decides on what a signal does.
            if !ready[0] {
                self.take_signals(signals)?;
                continue;
            }
            match self.child.receive::<Report>()? {
                Some((report, file)) => {
                    self.heard = true;
                    self.answer(report, file, signals, progress)?;
                }
                // The socket closes by the program's execve.
                None if self.ready => break,
                None if self.is_stillborn(cgroup)? => return Ok(None),
                None => return Err(self.death(cgroup)),
            }
        }
        Ok(Some(self.done))
    }

    /// What the child waits for first.
    fn begin(&self, signals: &Signals) -> Result<()> {
        if self.prepared.awaits_cgroup {
            self.proceed(None)?;
        }
        if self.prepared.namespaces.origin(CloneFlags::USER) == Origin::New {
            self.map_ids(signals)?;
        }
        Ok(())
    }

    /// Whether the child, which is gone, was killed before it could say anything, by nobody we know of.
    fn is_stillborn(&self, cgroup: Option<&Cgroup>) -> Result<bool> {
        let in_cgroup = cgroup.filter(|_| !self.heard && !self.prepared.awaits_cgroup);
        let Some(cgroup) = in_cgroup else { return Ok(false) };
        Ok(self.done.init.ending()? == Exit::Signal(number::KILL) && cgroup.oom_kills() == 0)
    }

    fn map_ids(&self, signals: &Signals) -> Result<()> {
        let pid = self.done.init.pid;
        let proc = self.prepared.proc.as_fd();
        if let Some(score) = self.prepared.process.scheduling.oom_score_adj {
            idmap::put(proc, pid, "oom_score_adj", &score.to_string()).map_err(explain_oom_score)?;
        }
        idmap::write(proc, pid, &self.prepared.namespaces, self.host, signals)?;
        self.proceed(None)
    }

    /// A child that is gone does not proceed; its last words, or how it died, come next.
    fn proceed(&self, file: Option<&OwnedFd>) -> Result<()> {
        match self.child.send(&Order::Proceed, file.map(AsFd::as_fd)) {
            Err(error) if error.is(Errno::EPIPE) || error.is(Errno::ECONNRESET) => Ok(()),
            result => result,
        }
    }

    fn answer(
        &mut self,
        report: Report,
        file: Option<OwnedFd>,
        signals: &Signals,
        progress: &mut Progress,
    ) -> Result<()> {
        match report {
            Report::Moved { pid } => {
                let pidfd = came_along(file)?;
                // The one that moved has nothing left to do.
                self.done.init.reap()?;
                self.done.init = InitProcess::new(pid, pidfd);
                self.proceed(None)?;
            }
            Report::TimeNamespace => {
                let clocks = self.set_clocks()?;
                self.proceed(Some(&clocks))?;
            }
            Report::NetDevices => {
                let devices = &self.prepared.namespaces.net_devices;
                let given = NetDevices::give(devices, self.done.init.pid, self.done.init.pidfd())?;
                self.done.net_devices = Some(given);
                self.proceed(None)?;
            }
            Report::IntelRdt => {
                let groups = self.prepared.intel_rdt.as_ref().ok_or_else(|| unexpected("a wish for no group"))?;
                groups.add(self.done.init.pid).context("config.json: linux.intelRdt")?;
                self.proceed(None)?;
            }
            Report::Sources => {
                let root = came_along(file)?;
                let Role::Init(Sources::Named(named)) = &self.prepared.role else {
                    return Err(unexpected("its root"));
                };
                let mapper = named
                    .has_idmaps()
                    .then(|| Mapper::start(named, &root, self.done.init.pidfd(), self.prepared.single_threaded));
                let mapper = mapper.transpose()?;
                let mapped = || mapper.as_ref().ok_or_else(|| unexpected("a source for nobody")).and_then(Mapper::next);
                named.reopen(&root, mapped).try_for_each(|source| self.proceed(Some(&source?)))?;
            }
            Report::Mapped => return Err(unexpected("what it may not do")),
            Report::Hooks => {
                progress.hooks_ran = true;
                self.run_hooks(signals)?;
                self.proceed(None)?;
            }
            Report::Console => {
                let master = came_along(file)?;
                let console = self.console.take().ok_or_else(|| unexpected("a terminal nobody asked for"))?;
                self.done.relay = console.take(master)?.unwrap_or_default();
            }
            Report::Pipe(which) => self.done.relay.add(which, came_along(file)?)?,
            Report::Warning(warning) => self.done.warnings.push(warning),
            Report::Ready => self.ready = true,
            Report::Listener { number } => self.pass_listener(number, signals)?,
            Report::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes the listener from the child, which is loading its filter, and gives it to the agent. A child that fails at
    /// loading says so next. (It could not tell us that it has loaded it: that might be what the agent is to answer.)
    fn pass_listener(&mut self, number: i32, signals: &Signals) -> Result<()> {
        const PAUSE: Duration = Duration::from_millis(1);
        loop {
            match pidfd::descriptor(self.done.init.pidfd(), number) {
                Ok(listener) => {
                    self.send_listener(&listener)?;
                    self.ready = true;
                    return if self.prepared.gate.is_some() { Ok(()) } else { self.proceed(None) };
                }
                Err(error) if error.is(Errno::EBADF) || error.is(Errno::ESRCH) => {}
                Err(error) => {
                    let denied = error.is(Errno::EPERM);
                    let error = error.context("take the listener of the system call filter");
                    let advice = "where process.user is another than the caller, that takes CAP_SYS_PTRACE";
                    return Err(if denied { error.hint(advice) } else { error });
                }
            }
            let ready = poll(&[(self.child.as_fd(), Interest::Read), (signals.as_fd(), Interest::Read)], Some(PAUSE))?;
            match (ready[0], ready[1]) {
                (true, _) => return Ok(()),
                (false, true) => self.take_signals(signals)?,
                (false, false) => {}
            }
        }
    }

    fn send_listener(&mut self, listener: &OwnedFd) -> Result<()> {
        let agent = self.agent.take().ok_or_else(|| unexpected("a listener nobody asked for"))?;
        let pid = self.done.init.pid;
        let state = match self.prepared.role {
            Role::Init(_) => HookState::new(self.record, Status::Creating, Some(pid)),
            Role::Joining { .. } => HookState::new(self.record, Status::Running, self.record.pid),
        };
        agent.send(pid, state, listener)
    }

    /// Sets the clocks of the time namespace that the child has made but not entered, and opens it.
    fn set_clocks(&self) -> Result<OwnedFd> {
        let pid = self.done.init.pid;
        let offsets = &self.prepared.namespaces.time_offsets;
        let lines: String =
            offsets.iter().map(|clock| format!("{} {} {}\n", clock.clock, clock.seconds, clock.nanoseconds)).collect();
        if !lines.is_empty() {
            idmap::put(self.prepared.proc.as_fd(), pid, "timens_offsets", &lines)
                .context("config.json: linux.timeOffsets")?;
        }
        namespace::open(Path::new(&format!("/proc/{pid}/ns/time_for_children")), CloneFlags::TIME)
            .context("open the new time namespace")
    }

    fn run_hooks(&self, signals: &Signals) -> Result<()> {
        let state = HookState::new(self.record, Status::Creating, Some(self.done.init.pid)).to_json();
        let ending = signals.ending()?;
        let interrupt = Some(ending.as_fd());
        let place = Place { cwd: Some(&self.record.bundle), environment: Environment::Inherited, interrupt };
        let hooks = &self.prepared.hooks;
        hooks::run(Kind::Prestart, &hooks.prestart, &state, &place)?;
        hooks::run(Kind::CreateRuntime, &hooks.create_runtime, &state, &place)
    }

    /// A signal that asks for an end gets it, as long as there is no program to decide on it.
    fn take_signals(&mut self, signals: &Signals) -> Result<()> {
        while let Some(signal) = signals.next()? {
            let ending = asks_for_end(signal);
            if ending && !self.ready {
                return Err(Error::new(ErrorKind::System, format!("interrupted by signal {signal}")));
            }
            if ending && !self.prepared.hooks.start_container.is_empty() {
                // They may take their time. If the program runs already, it is the one to have the signal anyway.
                pidfd::send_signal(self.done.init.pidfd(), signal)?;
            } else if signal != number::CHILD {
                self.done.early_signals.push(signal);
            }
        }
        Ok(())
    }

    /// Why the child is gone without a word.
    fn death(&mut self, cgroup: Option<&Cgroup>) -> Error {
        let how = match self.done.init.reap() {
            Ok(Exit::Signal(signal)) => {
                format!("was killed by signal {signal} ({})", signal_name::describe(signal))
            }
            Ok(Exit::Code(code)) => format!("exited with status {code}"),
            Err(error) => return error,
        };
        let who = match self.prepared.role {
            Role::Init(_) => "container init",
            Role::Joining { .. } => "the process",
        };
        if cgroup.is_some_and(|cgroup| cgroup.oom_kills() > 0) {
            return Error::new(ErrorKind::System, format!("{who} was OOM-killed (memory limit too low?)"));
        }
        Error::new(ErrorKind::System, format!("{who} {how} before it was ready"))
    }
}

fn came_along(file: Option<OwnedFd>) -> Result<OwnedFd> {
    file.ok_or_else(|| unexpected("a message without its descriptor"))
}

fn unexpected(what: &str) -> Error {
    Error::new(ErrorKind::System, format!("the init process sent {what}"))
}
