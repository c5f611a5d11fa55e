//! One file per command, as typed.

mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod limit_flags;
mod list;
mod pause;
mod ps;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod update;
mod version;

pub use limit_flags::LIMIT_FLAGS;
pub use list::ListFormat;
pub use ps::PsArgs;
pub use update::UpdateArgs;

use crate::cgroup::{CgroupPath, Existing, frozen};
use crate::container::id::ContainerId;
use crate::container::record::Record;
use crate::container::status::Container;
use crate::container::store::{Entry, Root};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hooks::{Environment, Place};
use crate::host;
use crate::log::Log;
use crate::plan::exec::Changes;
use crate::sys::signal::notice_children;
use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// What the flags before the command say.
#[derive(Debug)]
pub struct Global {
    /// The directory of containers.
    pub root: Root,
    /// Where messages go.
    pub log: Log,
    /// Whether a cgroup is made: false with `--cgroup-manager disabled` (Podman's `--cgroups=disabled`). Only `create`
    /// and `run` look at this and the next; later commands follow the state file.
    pub cgroup: bool,
    /// Whether systemd is to make it: `--systemd-cgroup` or `--cgroup-manager systemd`.
    pub systemd_cgroup: bool,
    /// `--rootless` as typed; only the commands that use it look at its value.
    pub rootless: Option<String>,
}

impl Global {
    /// Finds the container `id`.
    ///
    /// # Errors
    /// A malformed id, or the phrase for an unknown container.
    pub fn find(&self, id: &str) -> Result<Entry> {
        self.root.find(&ContainerId::parse(id)?)
    }
}

/// The arguments of `create`, and most of those of `run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateArgs {
    /// The container's name, not checked yet.
    pub id: String,
    /// The bundle's directory, relative to the working directory.
    pub bundle: PathBuf,
    /// The bundle's config.json, relative to `bundle`.
    pub config: PathBuf,
    /// Unix socket that takes the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// Unix socket that takes the init process's pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// File for the init process's pid.
    pub pid_file: Option<PathBuf>,
    /// Enter the root filesystem by moving and chroot instead of pivot_root.
    pub no_pivot: bool,
    /// Leave the session keyring as it is.
    pub no_new_keyring: bool,
    /// How many descriptors to pass on, from 3 upwards.
    pub preserve_fds: u32,
}

/// The arguments of `run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunArgs {
    /// Those it shares with `create`.
    pub create: CreateArgs,
    /// Return when the program has been started.
    pub detach: bool,
    /// Keep the container after its end.
    pub keep: bool,
    /// Don't become the reaper of orphaned processes.
    pub no_subreaper: bool,
}

/// The arguments of `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecArgs {
    /// The container's name, not checked yet.
    pub id: String,
    /// File with the whole process.
    pub process: Option<PathBuf>,
    /// What to change in the container's process, without such a file.
    pub changes: Changes,
    /// Return when the program has been started.
    pub detach: bool,
    /// Unix socket that takes the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// Unix socket that takes the process's pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// File for the process's pid.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors to pass on, from 3 upwards.
    pub preserve_fds: u32,
    /// Each value of `--cgroup`.
    pub cgroup: Vec<String>,
    /// Join a frozen container, and wait there for its thaw.
    pub ignore_paused: bool,
}

/// A command line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes a container whose init process waits.
    Create(CreateArgs),
    /// Makes a container and starts it.
    Run(RunArgs),
    /// Adds a process to a container.
    Exec(Box<ExecArgs>),
    /// Lets the init process of a created container go on.
    Start {
        /// The container's name.
        id: String,
    },
    /// Prints the state document.
    State {
        /// The container's name.
        id: String,
    },
    /// Sends a signal.
    Kill {
        /// The container's name.
        id: String,
        /// Number or name; empty means TERM.
        signal: String,
        /// To every process of the container.
        all: bool,
    },
    /// Removes what is left of a container.
    Delete {
        /// The container's name.
        id: String,
        /// Kill it first; fine if it does not exist.
        force: bool,
    },
    /// Lists containers.
    List {
        /// How.
        format: ListFormat,
    },
    /// Prints what a container uses, and when memory runs out in it.
    Events {
        /// The container's name.
        id: String,
        /// How often; zero is refused later.
        interval: Duration,
        /// What it uses once, and that is all.
        once: bool,
    },
    /// Stops all processes where they are.
    Pause {
        /// The container's name.
        id: String,
    },
    /// Lists processes.
    Ps(PsArgs),
    /// Lets a paused container run on.
    Resume {
        /// The container's name.
        id: String,
    },
    /// Writes a config.json to start from.
    Spec {
        /// Where; the working directory without it.
        bundle: Option<PathBuf>,
        /// For a user without privileges.
        rootless: bool,
    },
    /// Changes the limits of a container.
    Update(UpdateArgs),
    /// Prints what onggi can do.
    Features,
    /// Prints versions.
    Version,
}

/// The commands for which [`Command::enters_container`] holds, as typed.
const ENTERING: [&str; 3] = ["create", "exec", "run"];

/// Whether the command line `argv` may be one that enters a container: certainly not when it has none of their names.
pub fn may_enter_container<'a>(argv: impl Iterator<Item = &'a OsStr>) -> bool {
    argv.skip(1).any(|argument| ENTERING.iter().any(|name| argument == *name))
}

impl Command {
    /// Whether a process of ours becomes one of the container, so that our executable must be protected from it.
    pub fn enters_container(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Exec(_) | Self::Run(_))
    }

    /// The exit status of a failure of our own: for `exec` one that its programs rarely have.
    pub fn failure_status(&self) -> u8 {
        if matches!(self, Self::Exec(_)) { 255 } else { 1 }
    }
}

/// Runs a command. The result is the exit status: 0, or that of the program for a foreground `run` or `exec`.
pub fn dispatch(global: &Global, command: Command) -> Result<u8> {
    // What only tells about onggi works on any kernel.
    if !matches!(command, Command::Spec { .. } | Command::Features | Command::Version) {
        host::require_kernel()?;
        // Hooks and the init process are children of ours, and we are the one to hear of their end.
        notice_children()?;
    }
    match command {
        Command::Create(args) => create::create(global, &args).context("onggi create failed"),
        Command::Exec(args) => exec::exec(global, &args).context("exec failed"),
        Command::Run(args) => run::run(global, &args).context("onggi run failed"),
        Command::Start { id } => start::start(global, &id),
        Command::State { id } => state::state(global, &id),
        Command::Kill { id, signal, all } => kill::kill(global, &id, &signal, all),
        Command::Delete { id, force } => delete::delete(global, &id, force),
        Command::List { format } => list::list(global, format),
        Command::Events { id, interval, once } => events::events(global, &id, interval, once),
        Command::Pause { id } => pause::pause(global, &id),
        Command::Ps(args) => ps::ps(global, &args),
        Command::Resume { id } => resume::resume(global, &id),
        Command::Spec { bundle, rootless } => spec::spec(bundle.as_deref(), rootless),
        Command::Update(args) => update::update(global, &args),
        Command::Features => features::features(),
        Command::Version => version::version(),
    }
}

/// Where poststart and poststop hooks run: where the caller is.
const ON_HOST: Place<'_> = Place { cwd: None, environment: Environment::Inherited, interrupt: None };

/// The container's cgroup, if it has one and it still exists.
fn cgroup(record: &Record) -> Result<Option<Existing>> {
    match &record.cgroup {
        Some(path) => Existing::open(&CgroupPath::try_from(path.clone())?),
        None => Ok(None),
    }
}

/// As [`cgroup`], for `command`, which can do nothing for a container that never had one. None: it is gone.
fn needed_cgroup(record: &Record, command: &str) -> Result<Option<Existing>> {
    if record.cgroup.is_none() {
        let message = format!("{command} works by the container's cgroup, and container {} has none", record.id);
        let advice = "without privileges one must be delegated to you, and named by linux.cgroupsPath when the container \
                      is created; or it was created with --cgroup-manager disabled";
        return Err(Error::new(ErrorKind::Unsupported, message).hint(advice));
    }
    cgroup(record)
}

/// What state a container is in.
fn observe(entry: &Entry, record: Record) -> Result<Container> {
    Container::observe(entry, record, |record| match &record.cgroup {
        Some(path) => frozen(&CgroupPath::try_from(path.clone())?),
        None => Ok(false),
    })
}

fn wrong_state(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::WrongState, message)
}

/// Writes a command's result to stdout, which carries nothing else.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Error::io("write to stdout", &error))
}
