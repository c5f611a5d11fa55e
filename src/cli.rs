//! The command line, defined once.
//!
//! clap writes the help. Reading is our own, because callers rely on runc's rules, which clap
//! cannot be told: one dash before a long name (go-runc sends `-no-subreaper`), `--flag=true` for switches, flags after
//! the id for some commands and never for others, and the texts and exit statuses of usage errors.

mod definition;
mod duration;
mod flags;
mod reader;
mod verbs;

use crate::commands::Command;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Format, Level};
use definition::{Flag, switch, value};
use reader::{Flags, Positionals};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

const ABOUT: &str = "an OCI low-level container runtime for Linux";

/// The flags before the command, understood but not acted on: `--log` decides where to complain about the rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Globals {
    /// `--root`.
    pub root: Option<PathBuf>,
    /// `--log`, as typed.
    pub log: Option<OsString>,
    /// `--log-format`.
    pub log_format: Format,
    /// `--log-level`, or `--debug`.
    pub log_level: Level,
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
    let (flags, mut names) = reader::read(GLOBAL_FLAGS, arguments, Positionals::EndFlags)
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
        log: flags.path("log").map(OsString::from),
        log_format: flags.text("log-format").map_or(Ok(Format::Text), |text| Format::parse(&text))?,
        log_level: flags.text("log-level").map_or(Ok(Level::default()), |text| Level::parse(&text))?,
        cgroup: true,
        systemd_cgroup: flags.is_set("systemd-cgroup"),
        rootless: flags.text("rootless"),
    };
    if flags.is_set("debug") {
        globals.log_level = Level::Debug;
    }
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

const GLOBAL_FLAGS: &[Flag] = &[
    value("root", "DIR", "where containers are kept, best on a tmpfs (/run/onggi, or $XDG_RUNTIME_DIR/onggi)")
        .short('r'),
    value("log", "FILE", "append messages to this file, or to journald:TAG or syslog:TAG (stderr)").short('l'),
    value("log-format", "FORMAT", "text or json (text)"),
    value("log-level", "LEVEL", "write messages of this level and worse: error, warning or debug (warning)"),
    switch("debug", "the same as --log-level debug"),
    switch("systemd-cgroup", "let systemd make the cgroup").short('s'),
    value("cgroup-manager", "MANAGER", "who makes the cgroup: cgroupfs, systemd or disabled (cgroupfs)"),
    value("rootless", "BOOL", "whether cgroups may be out of reach: true, false or auto (auto)"),
    value("criu", "PATH", "accepted for old callers, without effect").hide(true),
    switch("version", "print the version").short('v'),
];

/// The head is what runc's tests look for.
fn global_help() -> String {
    let commands = verbs::summary();
    let body = format!(
        "NAME:\n   onggi - {ABOUT}\n\nUSAGE:\n   onggi [global options] command [command options] [arguments...]\n\n\
         COMMANDS:\n{commands}   help, h     show this, or the help of a command\n\nGLOBAL OPTIONS:\n{{options}}\n\n\
         EXAMPLE:\n   onggi --root /run/mine --log-format json list\n"
    );
    definition::render_help(GLOBAL_FLAGS, body)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::commands::{CreateArgs, ListFormat, PsArgs, RunArgs};

    fn read(line: &str) -> std::result::Result<(Globals, Action), Refusal> {
        // `_` stands for an empty argument.
        let argument = |word: &str| OsString::from(if word == "_" { "" } else { word });
        let argv: Vec<OsString> = std::iter::once("onggi").chain(line.split(' ')).map(argument).collect();
        let (globals, rest) = read_globals(&argv)?;
        Ok((globals, rest.read()?))
    }

    fn check(line: &str, expected: Command) {
        let (_, action) = read(line).unwrap();
        assert_eq!(action, Action::Run(expected), "{line}");
    }

    fn check_refused(line: &str, status: u8, message: &str) {
        let refusal = read(line).map(drop).unwrap_err();
        assert_eq!((refusal.error.to_string().as_str(), refusal.status), (message, status), "{line}");
    }

    fn kill(id: &str, signal: &str, all: bool) -> Command {
        Command::Kill { id: id.to_owned(), signal: signal.to_owned(), all }
    }

    #[test]
    fn flags_and_arguments_in_any_order() {
        let forced = Command::Delete { id: "x".to_owned(), force: true };
        for line in ["delete -f x", "delete x -f", "delete --force=true x", "delete -force x", "delete x --force=1"] {
            check(line, forced.clone());
        }
        let gentle = |id: &str| Command::Delete { id: id.to_owned(), force: false };
        check("delete --force --force=false x", gentle("x"));
        check("delete -- -f", gentle("-f"));
        check("delete -", gentle("-"));
        check("state _", Command::State { id: String::new() });
        check("list --format=json", Command::List { format: ListFormat::Named("json".to_owned()) });
        check("list -q -f x", Command::List { format: ListFormat::Quiet });
    }

    #[test]
    fn kill_takes_everything_after_the_id() {
        check("kill x", kill("x", "", false));
        check("kill x KILL", kill("x", "KILL", false));
        check("kill x -9", kill("x", "-9", false));
        check("kill -a x 9", kill("x", "9", true));
        check("kill --all x _", kill("x", "", true));
        check("kill -- x 15", kill("x", "15", false));
        check_refused("kill x KILL -a", 1, "onggi: \"kill\" requires a maximum of 2 argument(s)");
        check_refused("kill", 1, "onggi: \"kill\" requires a minimum of 1 argument(s)");
    }

    #[test]
    fn ps_takes_everything_after_the_id() {
        let ps = |format: &str, options: &[&str]| {
            let options = options.iter().map(|option| (*option).to_owned()).collect();
            Command::Ps(PsArgs { id: "x".to_owned(), format: format.to_owned(), options })
        };
        check("ps x", ps("table", &[]));
        check("ps -f json x", ps("json", &[]));
        check("ps --format table x -e -x", ps("table", &["-e", "-x"]));
        check("ps x -f json", ps("table", &["-f", "json"]));
        check("ps x aux -- --help", ps("table", &["aux", "--", "--help"]));
        check_refused("ps", 1, "onggi: \"ps\" requires a minimum of 1 argument(s)");
    }

    #[test]
    fn intervals() {
        let events = |milliseconds: u64, once| {
            let interval = std::time::Duration::from_millis(milliseconds);
            Command::Events { id: "x".to_owned(), interval, once }
        };
        check("events x", events(5_000, false));
        check("events --stats x", events(5_000, true));
        check("events --interval=100ms x", events(100, false));
        check("events x -interval 1m", events(60_000, false));
        check("events x --interval -5s", events(0, false));
        let refusal = "invalid value \"5\" for flag -interval: write a number and a unit, such as 500ms, 5s or 1m30s";
        check_refused("events x --interval 5", 1, refusal);
    }

    #[test]
    fn as_engines_call() {
        let args = CreateArgs {
            id: "c".to_owned(),
            bundle: "/b".into(),
            config: "config.json".into(),
            console_socket: Some("/s".into()),
            pidfd_socket: None,
            pid_file: Some("/p".into()),
            no_pivot: true,
            no_new_keyring: true,
            preserve_fds: 2,
        };
        let flags = "--bundle /b --pid-file /p --console-socket /s --no-pivot --no-new-keyring --preserve-fds 2";
        check(&format!("create {flags} --detach c"), Command::Create(args.clone()));
        let run = |detach, keep| RunArgs { create: args.clone(), detach, keep, no_subreaper: true };
        check(&format!("run {flags} -d --keep -no-subreaper c"), Command::Run(run(true, true)));
        check(&format!("run -no-subreaper=true {flags} c"), Command::Run(run(false, false)));
        let other = CreateArgs { config: "other.json".into(), ..args.clone() };
        let flags = "-b /b -f other.json -p /p -c /s --no-pivot --no-new-keyring --preserve-fds 2";
        check(&format!("create {flags} c"), Command::Create(other));
        let (globals, _) =
            read("--root /r --debug --log /l --log-format json --systemd-cgroup --rootless=true state c").unwrap();
        let expected = Globals {
            root: Some("/r".into()),
            log: Some("/l".into()),
            log_format: Format::Json,
            log_level: Level::Debug,
            cgroup: true,
            systemd_cgroup: true,
            rootless: Some("true".to_owned()),
        };
        assert_eq!(globals, expected);
        let (globals, _) =
            read("-r /r -l /l --log-format=json --log-level error -debug -s -rootless=true state c").unwrap();
        assert_eq!(globals, expected);
        let level = |line: &str| read(line).map(|(globals, _)| globals.log_level).unwrap();
        assert_eq!(level("--log-level error features"), Level::Error);
        assert_eq!(level("--debug=false features"), Level::Warning);
        let cgroups = |line: &str| read(line).map(|(globals, _)| (globals.cgroup, globals.systemd_cgroup)).unwrap();
        assert_eq!(cgroups("--criu /x features"), (true, false));
        assert_eq!(cgroups("--cgroup-manager disabled features"), (false, false));
        assert_eq!(cgroups("--cgroup-manager=systemd features"), (true, true));
    }

    /// Lines of Docker 26 and Podman 5.4 as they were seen, with shorter names.
    #[test]
    fn as_captured() {
        let shim = "--root /var/run/docker/runtime-runc/moby --log /run/c/log.json --log-format json";
        let tail = "--bundle /run/c --pid-file /run/c/init.pid c";
        for line in [
            format!("{shim} --systemd-cgroup create {tail}"),
            format!("{shim} --systemd-cgroup start c"),
            format!("{shim} --systemd-cgroup exec --process /tmp/runc-process4 --detach --pid-file /run/c/x.pid c"),
            format!("{shim} --systemd-cgroup kill c 9"),
            format!("{shim} --systemd-cgroup delete c"),
            format!("{shim} delete --force c"),
            format!("--systemd-cgroup create {tail}"),
            "start c".to_owned(),
            "delete --force c".to_owned(),
        ] {
            assert!(matches!(read(&line).unwrap().1, Action::Run(_)), "{line}");
        }
    }

    #[test]
    fn usage_errors() {
        check_refused("bogus", 3, "No help topic for 'bogus'");
        check_refused("bogus -h", 1, "No help topic for 'bogus'");
        check_refused("help bogus", 3, "No help topic for 'bogus'");
        check_refused("--bogus state x", 1, "flag provided but not defined: -bogus");
        check_refused("state -x y", 1, "flag provided but not defined: -x");
        check_refused("state --root /r y", 1, "flag provided but not defined: -root");
        check_refused("list -fq", 1, "flag provided but not defined: -fq");
        check_refused("--log", 1, "flag needs an argument: --log");
        check_refused("create --bundle", 1, "flag needs an argument: --bundle");
        check_refused("create --preserve-fds x y", 1, "invalid value \"x\" for flag -preserve-fds");
        check_refused("delete --force=maybe x", 1, "invalid boolean value \"maybe\" for -force");
        check_refused("--log-format yaml state x", 1, "invalid log-format: yaml");
        check_refused("--log-level loud state x", 1, "invalid log-level: loud: use error, warning, info or debug");
        check_refused(
            "--cgroup-manager none state x",
            1,
            "invalid cgroup-manager: none: use cgroupfs, systemd or disabled",
        );
        check_refused("state", 1, "onggi: \"state\" requires exactly 1 argument(s)");
        check_refused("list x", 1, "onggi: \"list\" requires exactly 0 argument(s)");
        let refusal = read("state -x").map(drop).unwrap_err();
        assert!(refusal.stderr.starts_with("Incorrect Usage: flag provided"));
        assert!(refusal.stdout.starts_with("NAME:\n   onggi state - "));
    }

    #[test]
    fn examples() {
        for name in verbs::summary().lines().filter_map(|line| line.split_whitespace().next()) {
            let help = verbs::help(OsStr::new(name)).unwrap();
            let example = help.trim_end().rsplit("   onggi ").next().unwrap();
            let (_, action) = read(example).unwrap();
            assert!(matches!(action, Action::Run(_)) && example.starts_with(name), "{example}");
        }
        let help = global_help();
        let example = help.trim_end().rsplit("   onggi ").next().unwrap();
        assert!(matches!(read(example).unwrap().1, Action::Run(_)), "{example}");
    }

    #[test]
    fn help() {
        let second_line = |line: &str| match read(line).unwrap().1 {
            Action::Help(text) if text.starts_with("NAME:\n") => text.lines().nth(1).unwrap().trim().to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(second_line("--help"), format!("onggi - {ABOUT}"));
        assert_eq!(second_line("-h"), format!("onggi - {ABOUT}"));
        assert_eq!(second_line("help"), format!("onggi - {ABOUT}"));
        assert!(
            matches!(read("list -h").unwrap().1, Action::Help(text) if text.ends_with("\n   onggi list --format json\n"))
        );
        for line in ["create --help", "create -h", "create x -h", "help create", "--help create"] {
            assert!(second_line(line).starts_with("onggi create - "), "{line}");
        }
        assert!(matches!(read("--version").unwrap().1, Action::Run(Command::Version)));
        assert!(matches!(read("-v state").unwrap().1, Action::Run(Command::Version)));
    }
}
