//! The commands: their flags, their help, and what they mean.

use super::definition::{self, Flag, switch, value};
use super::flags::{
    create_args, create_flags, exec_args, exec_flags, first, format, interval, list_format, update_args, update_flags,
};
use super::reader::{self, Flags, Positionals};
use super::{Action, Refusal, unknown_verb};
use crate::commands::{Command, PsArgs, RunArgs};
use std::ffi::{OsStr, OsString};

/// A command as it is typed.
struct Verb {
    name: &'static str,
    about: &'static str,
    /// Its arguments, for the help.
    arguments: &'static str,
    /// What follows the name in a call as people make it.
    example: &'static str,
    /// The least and the greatest number of them.
    count: (usize, usize),
    flags_end: Positionals,
    flags: fn() -> Vec<Flag>,
    understand: fn(&Flags, Vec<String>) -> Result<Command, String>,
}

/// In the order of the help.
const VERBS: &[Verb] = &[
    Verb {
        name: "create",
        about: "create a container, whose program then waits for start",
        arguments: "ID",
        example: "--bundle /srv/web --pid-file /run/web.pid web",
        count: (1, 1),
        flags_end: Positionals::BetweenFlags,
        flags: || {
            // Some users of go-runc send the flags of run.
            let mut flags = create_flags();
            flags.extend(["detach", "no-subreaper"].map(|name| switch(name, "accepted, without effect").hide(true)));
            flags
        },
        understand: |flags, arguments| Ok(Command::Create(create_args(flags, arguments)?)),
    },
    Verb {
        name: "delete",
        about: "delete what a stopped container has left",
        arguments: "ID",
        example: "--force web",
        count: (1, 1),
        flags_end: Positionals::BetweenFlags,
        flags: || vec![switch("force", "kill the container first; fine if there is none").short('f')],
        understand: |flags, arguments| Ok(Command::Delete { id: first(arguments), force: flags.is_set("force") }),
    },
    Verb {
        name: "events",
        about: "print what a container uses, and when memory runs out in it, as JSON",
        arguments: "ID",
        example: "--interval 10s web",
        count: (1, 1),
        flags_end: Positionals::BetweenFlags,
        flags: || {
            vec![
                value("interval", "TIME", "how often, such as 100ms or 1m (5s)"),
                switch("stats", "print what it uses once, and that is all"),
            ]
        },
        understand: |flags, arguments| {
            Ok(Command::Events { id: first(arguments), interval: interval(flags)?, once: flags.is_set("stats") })
        },
    },
    Verb {
        name: "exec",
        about: "add a process to a container",
        arguments: "ID [COMMAND [ARGUMENTS...]]",
        example: "--tty --cwd /srv web /bin/sh -l",
        count: (1, usize::MAX),
        flags_end: Positionals::EndFlags,
        flags: exec_flags,
        understand: |flags, arguments| Ok(Command::Exec(Box::new(exec_args(flags, arguments)?))),
    },
    Verb {
        name: "features",
        about: "print what onggi can do, as JSON",
        arguments: "",
        example: "",
        count: (0, 0),
        flags_end: Positionals::BetweenFlags,
        flags: Vec::new,
        understand: |_, _| Ok(Command::Features),
    },
    Verb {
        name: "kill",
        about: "send a signal (TERM) to the container's first process",
        arguments: "ID [SIGNAL]",
        example: "web HUP",
        count: (1, 2),
        flags_end: Positionals::EndFlags,
        flags: || vec![switch("all", "send it to every process of the container").short('a')],
        understand: |flags, arguments| {
            let mut arguments = arguments.into_iter();
            let mut next = || arguments.next().unwrap_or_default();
            Ok(Command::Kill { id: next(), signal: next(), all: flags.is_set("all") })
        },
    },
    Verb {
        name: "list",
        about: "list containers",
        arguments: "",
        example: "--format json",
        count: (0, 0),
        flags_end: Positionals::BetweenFlags,
        flags: || {
            vec![
                value("format", "FORMAT", "table or json (table)").short('f'),
                switch("quiet", "print ids only").short('q'),
            ]
        },
        understand: |flags, _| Ok(Command::List { format: list_format(flags) }),
    },
    Verb {
        name: "pause",
        about: "stop all processes of a container where they are",
        arguments: "ID",
        example: "web",
        count: (1, 1),
        flags_end: Positionals::BetweenFlags,
        flags: Vec::new,
        understand: |_, arguments| Ok(Command::Pause { id: first(arguments) }),
    },
    Verb {
        name: "ps",
        about: "list the processes of a container",
        arguments: "ID [PS-OPTIONS]",
        example: "web -o pid,cmd",
        count: (1, usize::MAX),
        flags_end: Positionals::EndFlags,
        flags: || vec![value("format", "FORMAT", "table, which the host's ps makes, or json (table)").short('f')],
        understand: |flags, mut arguments| {
            let options = arguments.split_off(1);
            Ok(Command::Ps(PsArgs { id: first(arguments), format: format(flags), options }))
        },
    },
    Verb {
        name: "resume",
        about: "let a paused container run on",
        arguments: "ID",
        example: "web",
        count: (1, 1),
        flags_end: Positionals::BetweenFlags,
        flags: Vec::new,
        understand: |_, arguments| Ok(Command::Resume { id: first(arguments) }),
    },
    Verb {
        name: "run",
        about: "create a container, start it, and wait for its end",
        arguments: "ID",
        example: "--bundle /srv/web web",
        count: (1, 1),
        flags_end: Positionals::BetweenFlags,
        flags: || {
            let mut flags = create_flags();
            flags.push(switch("detach", "return when the program has been started").short('d'));
            flags.push(switch("keep", "keep the container after its end"));
            flags.push(switch("no-subreaper", "don't take on orphaned processes"));
            flags
        },
        understand: |flags, arguments| {
            Ok(Command::Run(RunArgs {
                create: create_args(flags, arguments)?,
                detach: flags.is_set("detach"),
                keep: flags.is_set("keep"),
                no_subreaper: flags.is_set("no-subreaper"),
            }))
        },
    },
    Verb {
        name: "spec",
        about: "write a config.json to start from",
        arguments: "",
        example: "--rootless --bundle /srv/web",
        count: (0, 0),
        flags_end: Positionals::BetweenFlags,
        flags: || {
            vec![
                value("bundle", "DIR", "where to write it (the working directory)").short('b'),
                switch("rootless", "for a user without privileges"),
            ]
        },
        understand: |flags, _| Ok(Command::Spec { bundle: flags.path("bundle"), rootless: flags.is_set("rootless") }),
    },
    Verb {
        name: "start",
        about: "start the program of a created container",
        arguments: "ID",
        example: "web",
        count: (1, 1),
        flags_end: Positionals::BetweenFlags,
        flags: Vec::new,
        understand: |_, arguments| Ok(Command::Start { id: first(arguments) }),
    },
    Verb {
        name: "state",
        about: "print the state of a container, as JSON",
        arguments: "ID",
        example: "web",
        count: (1, 1),
        flags_end: Positionals::BetweenFlags,
        flags: Vec::new,
        understand: |_, arguments| Ok(Command::State { id: first(arguments) }),
    },
    Verb {
        name: "update",
        about: "change the limits of a container",
        arguments: "ID",
        example: "--memory 512M --pids-limit 200 web",
        count: (1, 1),
        flags_end: Positionals::BetweenFlags,
        flags: update_flags,
        understand: |flags, arguments| Ok(Command::Update(update_args(flags, arguments))),
    },
];

/// Reads the command `name`, typed as an argument of `program`.
pub(super) fn read(program: &str, name: &OsStr, arguments: &[OsString]) -> Result<Action, Refusal> {
    let Some(verb) = VERBS.iter().find(|verb| name == verb.name) else {
        let asked_for_help = arguments.iter().any(|argument| argument == "-h" || argument == "--help");
        return Err(unknown_verb(name, if asked_for_help { 1 } else { 3 }));
    };
    let (flags, arguments) = reader::read(&(verb.flags)(), arguments, verb.flags_end)
        .map_err(|message| Refusal::of_flag(message, verb.help()))?;
    if flags.is_set("help") {
        return Ok(Action::Help(verb.help()));
    }
    verb.check_count(program, arguments.len())?;
    let text = |argument: OsString| {
        let refusal = |argument: OsString| Refusal::new(format!("argument {argument:?} is not UTF-8"));
        argument.into_string().map_err(refusal)
    };
    let arguments = arguments.into_iter().map(text).collect::<Result<_, _>>()?;
    (verb.understand)(&flags, arguments).map(Action::Run).map_err(|message| Refusal::of_flag(message, verb.help()))
}

/// The help of the command `name`, if there is one.
pub(super) fn help(name: &OsStr) -> Option<String> {
    VERBS.iter().find(|verb| name == verb.name).map(Verb::help)
}

/// One line for each command.
pub(super) fn summary() -> String {
    VERBS.iter().map(|verb| format!("   {:<12}{}\n", verb.name, verb.about)).collect()
}

impl Verb {
    fn help(&self) -> String {
        let Self { name, about, arguments, .. } = self;
        let example = format!("{name} {}", self.example);
        let template = format!(
            "NAME:\n   onggi {name} - {about}\n\nUSAGE:\n   onggi {name} [command options] {arguments}\n\n\
             OPTIONS:\n{{options}}\n\nEXAMPLE:\n   onggi {}\n",
            example.trim_end()
        );
        definition::render_help(&(self.flags)(), template)
    }

    fn check_count(&self, program: &str, given: usize) -> Result<(), Refusal> {
        let (least, most) = self.count;
        let wanted = match given {
            _ if least == most && given != least => format!("exactly {least}"),
            _ if given < least => format!("a minimum of {least}"),
            _ if given > most => format!("a maximum of {most}"),
            _ => return Ok(()),
        };
        let message = format!("{program}: \"{}\" requires {wanted} argument(s)", self.name);
        Err(Refusal { stdout: "Incorrect Usage.\n".to_owned(), ..Refusal::new(message) })
    }
}
