//! What the flags of the larger commands are and mean.

use super::definition::{Flag, switch, value};
use super::duration;
use super::reader::Flags;
use crate::commands::{CreateArgs, ExecArgs, LIMIT_FLAGS, ListFormat, UpdateArgs};
use crate::plan::exec::Changes;
use std::path::PathBuf;
use std::time::Duration;

pub(super) fn create_flags() -> Vec<Flag> {
    vec![
        value("bundle", "DIR", "directory of the container's files (the working directory)").short('b'),
        value("config", "FILE", "its configuration, relative to the bundle (config.json)").short('f'),
        value("console-socket", "SOCKET", "unix socket that takes the terminal").short('c'),
        value("pidfd-socket", "SOCKET", "unix socket that takes a pidfd of the first process"),
        value("pid-file", "FILE", "write the pid of the first process here").short('p'),
        switch("no-pivot", "enter the root filesystem without pivot_root, for a host that runs from a ramdisk"),
        switch("no-new-keyring", "leave the session keyring as it is"),
        value("preserve-fds", "N", "pass on N descriptors, from 3 upwards (0)"),
    ]
}

pub(super) fn exec_flags() -> Vec<Flag> {
    vec![
        value("process", "FILE", "take the whole process from this file, as in config.json").short('p'),
        value("cwd", "DIR", "working directory in the container"),
        value("env", "NAME=VALUE", "set a variable; may be repeated").short('e'),
        switch("tty", "make a terminal for the process").short('t'),
        value("user", "UID[:GID]", "run as this user, by number").short('u'),
        value("additional-gids", "GID", "add a group, by number; may be repeated").short('g'),
        value("cap", "CAP", "add a capability; may be repeated").short('c'),
        switch("no-new-privs", "never gain privileges by executing a program"),
        value("apparmor", "PROFILE", "confine the process by this AppArmor profile"),
        value("process-label", "LABEL", "give the process this SELinux label"),
        switch("detach", "return when the program has been started").short('d'),
        value("console-socket", "SOCKET", "unix socket that takes the terminal"),
        value("pidfd-socket", "SOCKET", "unix socket that takes a pidfd of the process"),
        value("pid-file", "FILE", "write the pid of the process here"),
        value("preserve-fds", "N", "pass on N descriptors, from 3 upwards (0)"),
        value("cgroup", "PATH", "start in this cgroup below the container's"),
        switch("ignore-paused", "join a paused container, and wait until it is resumed"),
        switch("no-subreaper", "accepted, without effect").hide(true),
    ]
}

pub(super) fn exec_args(flags: &Flags, arguments: Vec<String>) -> Result<ExecArgs, String> {
    let mut arguments = arguments.into_iter();
    let id = arguments.next().unwrap_or_default();
    let number = |gid: String| gid.parse().map_err(|_| format!("invalid value {gid:?} for flag -additional-gids"));
    let filled = |name| flags.text(name).filter(|text| !text.is_empty());
    let changes = Changes {
        args: arguments.collect(),
        terminal: flags.is_set("tty"),
        cwd: flags.path("cwd"),
        env: flags.texts("env")?,
        user: filled("user"),
        additional_gids: flags.texts("additional-gids")?.into_iter().map(number).collect::<Result<_, _>>()?,
        capabilities: flags.texts("cap")?,
        no_new_privileges: flags.is_given("no-new-privs").then(|| flags.is_set("no-new-privs")),
        apparmor: filled("apparmor"),
        selinux: filled("process-label"),
    };
    Ok(ExecArgs {
        id,
        process: flags.path("process"),
        changes,
        detach: flags.is_set("detach"),
        console_socket: flags.path("console-socket"),
        pidfd_socket: flags.path("pidfd-socket"),
        pid_file: flags.path("pid-file"),
        preserve_fds: preserve_fds(flags)?,
        cgroup: flags.texts("cgroup")?,
        ignore_paused: flags.is_set("ignore-paused"),
    })
}

fn preserve_fds(flags: &Flags) -> Result<u32, String> {
    let count = flags.text("preserve-fds").unwrap_or_else(|| "0".to_owned());
    count.parse().map_err(|_| format!("invalid value {count:?} for flag -preserve-fds"))
}

pub(super) fn create_args(flags: &Flags, arguments: Vec<String>) -> Result<CreateArgs, String> {
    Ok(CreateArgs {
        id: first(arguments),
        bundle: flags.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
        config: flags.path("config").unwrap_or_else(|| PathBuf::from("config.json")),
        console_socket: flags.path("console-socket"),
        pidfd_socket: flags.path("pidfd-socket"),
        pid_file: flags.path("pid-file"),
        no_pivot: flags.is_set("no-pivot"),
        no_new_keyring: flags.is_set("no-new-keyring"),
        preserve_fds: preserve_fds(flags)?,
    })
}

pub(super) fn update_flags() -> Vec<Flag> {
    let mut flags = vec![
        value("resources", "FILE", "JSON of the new limits, - for stdin; all other flags are then ignored").short('r'),
    ];
    flags.extend(LIMIT_FLAGS.iter().map(|flag| value(flag.name, flag.placeholder, flag.help).hide(flag.hidden)));
    flags.push(value("l3-cache-schema", "SCHEMA", "parts of L3 caches, such as L3:0=7f0;1=1f"));
    flags.push(value("mem-bw-schema", "SCHEMA", "parts of memory bandwidth, such as MB:0=20;1=70"));
    flags
}

pub(super) fn update_args(flags: &Flags, arguments: Vec<String>) -> UpdateArgs {
    let filled = |name| flags.text(name).filter(|text| !text.is_empty());
    let given = |name: &'static str| Some((name, filled(name)?));
    UpdateArgs {
        id: first(arguments),
        resources: flags.path("resources"),
        limits: LIMIT_FLAGS.iter().filter_map(|flag| given(flag.name)).collect(),
        l3_cache_schema: filled("l3-cache-schema"),
        memory_bandwidth_schema: filled("mem-bw-schema"),
    }
}

pub(super) fn list_format(flags: &Flags) -> ListFormat {
    if flags.is_set("quiet") {
        return ListFormat::Quiet;
    }
    ListFormat::Named(format(flags))
}

pub(super) fn format(flags: &Flags) -> String {
    flags.text("format").unwrap_or_else(|| "table".to_owned())
}

pub(super) fn interval(flags: &Flags) -> Result<Duration, String> {
    let text = flags.text("interval").unwrap_or_else(|| "5s".to_owned());
    let advice = "write a number and a unit, such as 500ms, 5s or 1m30s";
    duration::parse(&text).ok_or_else(|| format!("invalid value {text:?} for flag -interval: {advice}"))
}

/// The number of arguments has been checked.
pub(super) fn first(arguments: Vec<String>) -> String {
    arguments.into_iter().next().unwrap_or_default()
}
