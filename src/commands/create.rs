//! `create`: everything up to the program, which waits for `start`.

use super::delete::poststop;
use super::start::relay;
use super::{CreateArgs, Global};
use crate::bundle::Bundle;
use crate::cgroup::{Manager, Place};
use crate::container::id::ContainerId;
use crate::container::store::{Claim, Entry, NOTIFY_SOCKET};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::parent::agent::Agent;
use crate::parent::console::Console;
use crate::parent::launch::{self, Launched, Progress};
use crate::parent::notify::{self, Notify};
use crate::parent::pid_file::PidFile;
use crate::parent::pidfd_socket::{PidfdSocket, Process};
use crate::parent::prepare;
use crate::plan::{Options, Plan};
use crate::process::fds::{self, Inherited};
use crate::rootfs;
use crate::seccomp::Filter;
use crate::sys::signal::Signals;
use crate::sys::{clock, this_process};

/// How the caller wants the container, beyond what `create` and `run` share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attachment {
    /// `create`: waits for `start`.
    Gated,
    /// `run --detach`.
    Detached,
    /// `run`.
    Foreground,
}

/// A container that exists. Dropped without [`Made::keep`], it is undone: process, cgroup, state directory, in this
/// order.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) launched: Launched,
    claim: Claim,
    pub(super) signals: Signals,
    pid_file: Option<PidFile>,
    /// Waits for word of the program's readiness; not for `create`, where `start` does it.
    pub(super) notify: Option<Notify>,
}

/// Runs `onggi create`.
pub(super) fn create(global: &Global, args: &CreateArgs) -> Result<u8> {
    let made = make(global, args, Attachment::Gated)?;
    if let Err(error) = made.write_pid_file() {
        return Err(made.undo(global, error));
    }
    made.warn(global);
    made.keep();
    Ok(0)
}

/// Makes the container that the bundle describes, up to its program.
pub(super) fn make(global: &Global, args: &CreateArgs, attachment: Attachment) -> Result<Made> {
    try_make(global, args, attachment).map_err(|error| error.in_file(&args.config.to_string_lossy()))
}

fn try_make(global: &Global, args: &CreateArgs, attachment: Attachment) -> Result<Made> {
    let inherited = inherited(args.preserve_fds)?;
    let id = ContainerId::parse(&args.id)?;
    let pid_file = args.pid_file.as_deref().map(PidFile::plan).transpose()?;
    let bundle = Bundle::load(&args.bundle, &args.config)?;
    let host = Host::read()?;
    let awaits_readiness = notify::address().is_some();
    let options = Options {
        id: id.clone(),
        detached: attachment != Attachment::Foreground,
        starts: attachment != Attachment::Gated,
        console_socket: args.console_socket.is_some(),
        pivot: !args.no_pivot,
        keyring: !args.no_new_keyring,
        inherited,
        notify: awaits_readiness.then(|| global.root.notify_path(&id)),
        environment: variables(awaits_readiness, inherited),
        cgroup: global.cgroup.then(|| cgroup_manager(global.systemd_cgroup, &host)),
        rootless: rootless(global.rootless.as_deref())?,
    };
    let mut plan = Plan::new(&bundle, &host, &options)?;
    debug(global, &id, &plan);
    let warnings = std::mem::take(&mut plan.warnings);
    let console = Console::of(plan.process.terminal.as_mut(), args.console_socket.as_deref())?;
    let pidfd_socket = args.pidfd_socket.as_deref().map(PidfdSocket::connect).transpose()?;
    plan.seccomp.as_ref().map_or(Ok(()), |filter| filter.require_kernel(&host))?;
    let agent = Agent::connect(plan.seccomp.as_ref())?;
    let joins = prepare::check(&plan)?;
    let store = global.root.open_or_make()?;
    // Held back from here on, so that a signal ends with everything undone. Not before: there is nothing to undo yet, and
    // a bundle on a dead file server or a console socket that nobody serves must not keep the user waiting.
    let signals = Signals::block()?;
    let claim = store.claim(&id)?;
    claim.keep_config(&bundle.text)?;
    let notify = if awaits_readiness { Some(claim.make_notify()?) } else { None };
    let notify = if attachment == Attachment::Gated { None } else { relay(global, notify) };
    let record = plan.record(&bundle, &options, clock::now_nanoseconds());
    let launch_options = launch::Options { console, agent, gated: attachment == Attachment::Gated, joins };
    let mut progress = Progress::default();
    match launch::launch(plan, record.clone(), &claim, &host, launch_options, &signals, &mut progress) {
        Ok(mut launched) => {
            launched.warnings.splice(0..0, warnings);
            let made = Made { launched, claim, signals, pid_file, notify };
            match pidfd_socket.map_or(Ok(()), |socket| socket.send(Process::Init, made.launched.init.pidfd())) {
                Ok(()) => Ok(made),
                Err(error) => Err(made.undo(global, error)),
            }
        }
        Err(error) => {
            drop(claim);
            if progress.hooks_ran {
                poststop(&record, &global.log);
            }
            Err(error)
        }
    }
}

/// What the program finds in its environment because of who called us.
fn variables(awaits_readiness: bool, inherited: Inherited) -> Vec<String> {
    let socket = awaits_readiness.then(|| format!("{}={}/{NOTIFY_SOCKET}", notify::VARIABLE, rootfs::NOTIFY));
    let names = (inherited.listen > 0).then(|| std::env::var("LISTEN_FDNAMES").ok()).flatten();
    socket.into_iter().chain(names.map(|names| format!("LISTEN_FDNAMES={names}"))).collect()
}

/// Root in a user namespace may be a user of the host (rootless Podman) or root of a system of its own; the former comes
/// with the variables of a session.
fn cgroup_manager(systemd: bool, host: &Host) -> Manager {
    let in_session =
        || ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    match systemd {
        true => Manager::Systemd { user: host.euid != 0 || (host.in_user_namespace && in_session()) },
        false => Manager::Ourselves,
    }
}

fn rootless(flag: Option<&str>) -> Result<Option<bool>> {
    match flag {
        None | Some("auto") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => {
            let message = format!("invalid --rootless: {other}: use true, false or auto");
            Err(Error::new(ErrorKind::InvalidArgument, message))
        }
    }
}

/// What was decided, for developers.
fn debug(global: &Global, id: &ContainerId, plan: &Plan) {
    let cgroup = plan.cgroup.as_ref().map_or("none", |cgroup| match &cgroup.place {
        Place::Directory(path) => path.as_str(),
        Place::Unit(unit) => unit.id.unit.as_str(),
    });
    let namespaces = plan.namespaces.create;
    global.log.debug(&format!("container {id}: new namespaces {namespaces}, cgroup {cgroup}"));
    debug_filter(global, plan.seccomp.as_ref());
}

/// The same of the system call filter.
pub(super) fn debug_filter(global: &Global, filter: Option<&Filter>) {
    if let Some(filter) = filter {
        global.log.debug(&format!("seccomp filter flags: {}", filter.flags()));
        let unknown = filter.unknown_names().join(" ");
        global.log.debug(&format!("seccomp: {} instructions, unknown names: [{unknown}]", filter.instructions()));
    }
}

/// The descriptors of the caller that the program gets: socket activation's and `--preserve-fds`. Every other one that
/// the caller left open is closed at execve, in hooks as in the container.
fn inherited(preserve_fds: u32) -> Result<Inherited> {
    let variable = |name| std::env::var(name).ok();
    let (fds, pid) = (variable("LISTEN_FDS"), variable("LISTEN_PID"));
    pass_on(fds::plan(preserve_fds, fds.as_deref(), pid.as_deref(), std::process::id())?)
}

/// The same without socket activation, which is for init processes.
pub(super) fn preserved(preserve_fds: u32) -> Result<Inherited> {
    pass_on(fds::plan(preserve_fds, None, None, std::process::id())?)
}

fn pass_on(inherited: Inherited) -> Result<Inherited> {
    inherited.check_open()?;
    this_process::close_on_exec_from(3)?;
    Ok(inherited)
}

impl Made {
    /// Writes the pid file, last of all, so that it can't appear for a container that failed.
    pub(super) fn write_pid_file(&self) -> Result<()> {
        self.pid_file.as_ref().map_or(Ok(()), |file| file.write(self.launched.init.pid))
    }

    /// Tells what could not be had.
    pub(super) fn warn(&self, global: &Global) {
        for warning in &self.launched.warnings {
            global.log.warning(warning);
        }
    }

    /// Lets the container stay when this command ends.
    pub(super) fn keep(self) -> Entry {
        let Self { mut launched, claim, .. } = self;
        launched.init.release();
        launched.keep_net_devices();
        launched.host_mounts.keep();
        if let Some(cgroup) = launched.cgroup {
            cgroup.keep();
        }
        if let Some(groups) = launched.intel_rdt {
            groups.keep();
        }
        claim.keep()
    }

    /// Removes the container again because of `error`, which is handed back.
    pub(super) fn undo(self, global: &Global, error: Error) -> Error {
        let record = self.launched.record.clone();
        drop(self);
        poststop(&record, &global.log);
        error
    }
}
