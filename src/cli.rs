//! The command line, defined once.
//!
//! clap holds the definitions and writes the help. Reading is our own, because callers rely on runc's rules, which clap
//! cannot be told: one dash before a long name (go-runc sends `-no-subreaper`), `--flag=true` for switches, flags after
//! the id for some commands and never for others, and the texts and exit statuses of usage errors.

mod reader;
mod verbs;

use crate::commands::Command;
use crate::error::{Error, ErrorKind, Result};
use crate::log::Format;
use clap::{Arg, ArgAction};
use reader::{Flags, Positionals};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

const ABOUT: &str = "an OCI low-level container runtime for Linux";

/// The flags before the command, understood but not acted on: `--log` decides where to complain about the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Globals {
    /// `--root`.
    pub root: Option<PathBuf>,
    /// `--log`.
    pub log: Option<PathBuf>,
    /// `--log-format`.
    pub log_format: Format,
    /// `--debug`.
    pub debug: bool,
    /// False with `--cgroup-manager disabled`.
    pub cgroup: bool,
    /// `--systemd-cgroup`, `--cgroup-manager systemd`.
    pub systemd_cgroup: bool,
    /// `--rootless`, as typed.
    pub rootless: Option<String>,
}

/// What to do after the global flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run a command.
    Run(Command),
    /// Print this help.
    Help(String),
}

/// A command line that was not understood.
#[derive(Debug)]
pub struct Refusal {
    /// What is wrong, for the log.
    pub error: Error,
    /// The exit status.
    pub status: u8,
    /// What belongs on stderr before.
    pub stderr: String,
    /// What belongs on stdout: help.
    pub stdout: String,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self::from(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// As runc, which shows the help after a flag it doesn't know.
    fn of_flag(message: String, help: String) -> Self {
        Self { stderr: format!("Incorrect Usage: {message}\n\n"), stdout: help, ..Self::new(message) }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, status: 1, stderr: String::new(), stdout: String::new() }
    }
}

/// The first half of a command line: its global flags, and the rest for [`Rest::read`].
#[derive(Debug)]
pub struct Rest {
    program: String,
    first: First,
}

#[derive(Debug)]
enum First {
    Help,
    Version,
    Verb { name: OsString, arguments: Vec<OsString> },
}

/// Reads the global flags of `argv`, up to the name of the command.
pub fn read_globals(argv: &[OsString]) -> std::result::Result<(Globals, Rest), Refusal> {
    let program = argv.first().map_or("onggi".into(), |program| program.to_string_lossy()).into_owned();
    let arguments = argv.get(1..).unwrap_or_default();
    let (flags, mut names) = reader::read(&global_definition(), arguments, Positionals::EndFlags)
        .map_err(|message| Refusal::of_flag(message, global_help()))?;
    let globals = globals(&flags)?;
    let first = if flags.is_set("version") {
        First::Version
    } else if names.is_empty() {
        First::Help
    } else {
        let name = names.remove(0);
        // `onggi --help kill` is about kill.
        if flags.is_set("help") {
            names.insert(0, "--help".into());
        }
        First::Verb { name, arguments: names }
    };
    Ok((globals, Rest { program, first }))
}

impl Rest {
    /// Reads the command and what belongs to it.
    pub fn read(self) -> std::result::Result<Action, Refusal> {
        match self.first {
            First::Help => Ok(Action::Help(global_help())),
            First::Version => Ok(Action::Run(Command::Version)),
            First::Verb { name, arguments } if name == "help" || name == "h" => help_about(arguments.first()),
            First::Verb { name, arguments } => verbs::read(&self.program, &name, &arguments),
        }
    }
}

fn help_about(name: Option<&OsString>) -> std::result::Result<Action, Refusal> {
    match name {
        None => Ok(Action::Help(global_help())),
        Some(name) if name == "-h" || name == "--help" => Ok(Action::Help(global_help())),
        Some(name) => verbs::help(name).map(Action::Help).ok_or_else(|| unknown_verb(name, 3)),
    }
}

fn unknown_verb(name: &OsStr, status: u8) -> Refusal {
    Refusal { status, ..Refusal::new(format!("No help topic for '{}'", name.to_string_lossy())) }
}

fn globals(flags: &Flags) -> Result<Globals> {
    let refuse = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
    let mut globals = Globals {
        root: flags.path("root"),
        log: flags.path("log"),
        log_format: flags.text("log-format").map_or(Ok(Format::Text), |text| Format::parse(&text))?,
        debug: flags.is_set("debug"),
        cgroup: true,
        systemd_cgroup: flags.is_set("systemd-cgroup"),
        rootless: flags.text("rootless"),
    };
    match flags.text("cgroup-manager").as_deref() {
        None => {}
        Some("cgroupfs") => globals.systemd_cgroup = false,
        Some("systemd") => globals.systemd_cgroup = true,
        Some("disabled") => (globals.cgroup, globals.systemd_cgroup) = (false, false),
        Some(other) => {
            return refuse(format!("invalid cgroup-manager: {other}: use cgroupfs, systemd or disabled"));
        }
    }
    Ok(globals)
}

fn global_definition() -> clap::Command {
    clap::Command::new("onggi").about(ABOUT).args([
        value("root", "DIR", "where containers are kept, best on a tmpfs (/run/onggi, or $XDG_RUNTIME_DIR/onggi)"),
        value("log", "FILE", "append messages to this file (stderr)"),
        value("log-format", "FORMAT", "text or json (text)"),
        switch("debug", "write messages for developers, too"),
        switch("systemd-cgroup", "let systemd make the cgroup"),
        value("cgroup-manager", "MANAGER", "who makes the cgroup: cgroupfs, systemd or disabled (cgroupfs)"),
        value("rootless", "BOOL", "true, false or auto (auto)"),
        value("criu", "PATH", "accepted for old callers, without effect").hide(true),
        switch("version", "print the version").short('v'),
    ])
}

/// A flag that takes a value.
fn value(name: &'static str, placeholder: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(placeholder).action(ArgAction::Set).help(help)
}

/// A flag that is there or not.
fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// The head is what runc's tests look for.
fn global_help() -> String {
    let commands = verbs::summary();
    let body = format!(
        "NAME:\n   onggi - {ABOUT}\n\nUSAGE:\n   onggi [global options] command [command options] [arguments...]\n\n\
         COMMANDS:\n{commands}\nGLOBAL OPTIONS:\n{{options}}\n"
    );
    global_definition().help_template(body).render_help().to_string()
}
