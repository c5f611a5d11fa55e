//! Hooks: planned from config.json, run with their own environment, time limit and captured output.
//! Spec: config.md, POSIX-platform Hooks; runtime.md, Lifecycle.

use crate::container::record::Hook;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::signal_name;
use crate::sys::spawn::{self, Ending};
use oci_spec::runtime::{Hook as SpecHook, Hooks as SpecHooks};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How much of a hook's stdout and of its stderr is kept for the error message, in bytes. From createContainer hooks it
/// travels in a message of the handshake, where a control character takes six bytes.
const KEPT_OUTPUT: usize = 4 * 1024;

/// The points of a container's life at which hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In `create`, outside, before pivot. Deprecated by the specification, used by engines all the same.
    Prestart,
    /// In `create`, outside, directly after `prestart`.
    CreateRuntime,
    /// In `create`, in the container's namespaces, before pivot.
    CreateContainer,
    /// In `start`, inside, just before the program.
    StartContainer,
    /// In `start`, outside, after the program was released.
    Poststart,
    /// In `delete`, outside, after everything is gone.
    Poststop,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        })
    }
}

/// The hooks of a container, each kind in the order of config.json.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// See [`Kind::Prestart`].
    pub prestart: Vec<Hook>,
    /// See [`Kind::CreateRuntime`].
    pub create_runtime: Vec<Hook>,
    /// See [`Kind::CreateContainer`].
    pub create_container: Vec<Hook>,
    /// See [`Kind::StartContainer`].
    pub start_container: Vec<Hook>,
    /// See [`Kind::Poststart`].
    pub poststart: Vec<Hook>,
    /// See [`Kind::Poststop`].
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Whether some run outside of the container, by whoever creates, starts or deletes it.
    pub fn run_on_host(&self) -> bool {
        [&self.prestart, &self.create_runtime, &self.poststart, &self.poststop].iter().any(|hooks| !hooks.is_empty())
    }

    /// Whether some run while the container's root filesystem is attached but not yet the root.
    pub fn run_before_pivot(&self) -> bool {
        [&self.prestart, &self.create_runtime, &self.create_container].iter().any(|hooks| !hooks.is_empty())
    }
}

/// Plans the `hooks` block.
///
/// # Errors
/// A relative path, a timeout that is not above zero, an environment that could not be passed.
#[allow(deprecated, reason = "the specification deprecates prestart, engines such as Docker use it")]
pub fn plan(spec: Option<&SpecHooks>) -> Result<Hooks> {
    let Some(spec) = spec else { return Ok(Hooks::default()) };
    Ok(Hooks {
        prestart: list(Kind::Prestart, spec.prestart().as_ref())?,
        create_runtime: list(Kind::CreateRuntime, spec.create_runtime().as_ref())?,
        create_container: list(Kind::CreateContainer, spec.create_container().as_ref())?,
        start_container: list(Kind::StartContainer, spec.start_container().as_ref())?,
        poststart: list(Kind::Poststart, spec.poststart().as_ref())?,
        poststop: list(Kind::Poststop, spec.poststop().as_ref())?,
    })
}

fn list(kind: Kind, hooks: Option<&Vec<SpecHook>>) -> Result<Vec<Hook>> {
    hooks
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, hook)| planned(hook, &format!("hooks.{kind}[{index}]")))
        .collect()
}

fn planned(hook: &SpecHook, field: &str) -> Result<Hook> {
    let refuse = |name: &str, why: &str| Error::config(format!("{field}.{name}"), why);
    let path = hook.path().clone();
    if !path.is_absolute() {
        return Err(refuse("path", &format!("\"{}\" must be an absolute path", path.display())));
    }
    let timeout_seconds = match hook.timeout().map(u64::try_from) {
        None => None,
        Some(Ok(seconds)) if seconds > 0 => Some(seconds),
        Some(_) => return Err(refuse("timeout", "must be greater than zero seconds")),
    };
    for (index, variable) in hook.env().iter().flatten().enumerate() {
        if variable.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
            return Err(refuse(&format!("env[{index}]"), "must have the form NAME=value"));
        }
    }
    let args = hook.args().clone().unwrap_or_default();
    let strings = args.iter().chain(hook.env().iter().flatten());
    if path.as_os_str().as_encoded_bytes().contains(&0) || strings.into_iter().any(|text| text.contains('\0')) {
        return Err(Error::config(field, "contains a NUL byte"));
    }
    Ok(Hook { path, args, env: hook.env().clone(), timeout_seconds })
}

/// What hooks find themselves in.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Their working directory; `None` is ours.
    pub cwd: Option<&'a Path>,
    /// The environment of a hook that config.json gives none.
    pub environment: Environment<'a>,
    /// What ends the waiting for a hook as soon as it can be read, see [`Signals::ending`](crate::sys::signal::Signals::ending).
    pub interrupt: Option<BorrowedFd<'a>>,
}

/// The environment of a hook that config.json gives none.
#[derive(Debug, Clone, Copy)]
pub enum Environment<'a> {
    /// The runtime's, for hooks on the host.
    Inherited,
    /// These variables: none at all for createContainer, lest an image's LD_PRELOAD runs on the host (CVE-2025-23266);
    /// those of the process for startContainer.
    Given(&'a [String]),
}

/// Runs the hooks of one kind, one after another, each with `state_json` on stdin.
///
/// # Errors
/// The first hook that can't be started, ends in failure or runs out of time; those after it don't run.
pub fn run(kind: Kind, hooks: &[Hook], state_json: &str, place: &Place<'_>) -> Result<()> {
    hooks.iter().enumerate().try_for_each(|(index, hook)| run_one(kind, index, hook, state_json, place))
}

/// As [`run`] for kinds whose failures are warnings and keep no other hook from running, as the specification wants it
/// of poststop. Gives the failures.
pub fn run_all(kind: Kind, hooks: &[Hook], state_json: &str, place: &Place<'_>) -> Vec<Error> {
    let each = hooks.iter().enumerate();
    each.filter_map(|(index, hook)| run_one(kind, index, hook, state_json, place).err()).collect()
}

fn run_one(kind: Kind, index: usize, hook: &Hook, state_json: &str, place: &Place<'_>) -> Result<()> {
    let failed = |why: &str| Error::new(ErrorKind::Hook, format!("error running {kind} hook #{index}: {why}"));
    let limit = hook.timeout_seconds.map(Duration::from_secs);
    let outcome = spawn::run(&mut command(hook, place), state_json.as_bytes(), KEPT_OUTPUT, limit, place.interrupt)
        .map_err(|error| failed(&error.to_string()))?;
    let ending = match outcome.ending {
        Ending::Exited(0) => return Ok(()),
        Ending::TimedOut => {
            let seconds = hook.timeout_seconds.unwrap_or_default();
            return Err(failed(&format!("hook ran past specified timeout of {seconds}.0s")));
        }
        Ending::Interrupted => return Err(failed("interrupted by a signal")),
        Ending::Exited(status) => format!("exit status {status}"),
        Ending::Killed(signal) => format!("killed by signal {signal} ({})", signal_name::describe(signal)),
    };
    let shown = |output: &[u8]| String::from_utf8_lossy(output).trim_end().to_owned();
    Err(failed(&format!("{ending}, stdout: {}, stderr: {}", shown(&outcome.stdout), shown(&outcome.stderr))))
}

fn command(hook: &Hook, place: &Place<'_>) -> Command {
    let mut command = Command::new(&hook.path);
    if let [name, rest @ ..] = hook.args.as_slice() {
        command.arg0(name).args(rest);
    }
    let variables = match (&hook.env, place.environment) {
        (Some(variables), _) => Some(variables.as_slice()),
        (None, Environment::Given(variables)) => Some(variables),
        (None, Environment::Inherited) => None,
    };
    if let Some(variables) = variables {
        command.env_clear().envs(variables.iter().filter_map(|variable| variable.split_once('=')));
    }
    if let Some(cwd) = place.cwd {
        command.current_dir(cwd);
    }
    command
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Instant;

    const HERE: Place<'_> = Place { cwd: None, environment: Environment::Inherited, interrupt: None };

    fn check(hooks: &str, expected: std::result::Result<&str, &str>) {
        let planned = plan(Some(&serde_json::from_str(hooks).unwrap()));
        let text = planned.map(|hooks| format!("{hooks:?}")).map_err(|error| error.to_string());
        match (&text, expected) {
            (Ok(text), Ok(part)) | (Err(text), Err(part)) => assert!(text.contains(part), "{text}"),
            _ => panic!("{text:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn plans() {
        check("{}", Ok("prestart: []"));
        check(r#"{"poststop":[{"path":"/a","env":[]}]}"#, Ok(r#"args: [], env: Some([]), timeout_seconds: None"#));
        check(
            r#"{"poststart":[{"path":"/a","args":["x","y"],"timeout":3}]}"#,
            Ok("env: None, timeout_seconds: Some(3)"),
        );
        check(r#"{"prestart":[{"path":"/a"},{"path":"a"}]}"#, Err("hooks.prestart[1].path: \"a\" must be an absolute"));
        check(r#"{"createRuntime":[{"path":"/a","timeout":0}]}"#, Err("hooks.createRuntime[0].timeout: must be"));
        check(r#"{"createContainer":[{"path":"/a","timeout":-1}]}"#, Err("hooks.createContainer[0].timeout"));
        check(r#"{"startContainer":[{"path":"/a","env":["X"]}]}"#, Err("hooks.startContainer[0].env[0]: must have"));
        check(r#"{"startContainer":[{"path":"/a","args":["X\u0000"]}]}"#, Err("hooks.startContainer[0]: contains"));
    }

    fn shell(script: &str) -> Hook {
        Hook {
            path: "/bin/sh".into(),
            args: vec!["hook".into(), "-c".into(), script.into()],
            env: None,
            timeout_seconds: Some(20),
        }
    }

    fn outcome(hook: Hook, state: &str, place: &Place<'_>) -> String {
        run(Kind::CreateRuntime, &[hook], state, place).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn the_state_is_on_stdin_and_output_in_the_error() {
        let text = outcome(shell("cat; echo \" $0\"; echo bad >&2; exit 3"), r#"{"id":"x"}"#, &HERE);
        assert_eq!(
            text,
            "error running createRuntime hook #0: exit status 3, stdout: {\"id\":\"x\"} hook, stderr: bad"
        );
        assert_eq!(outcome(shell("exit 0"), "{}", &HERE), "ok");
        let text = outcome(shell("kill -9 $$"), "{}", &HERE);
        assert_eq!(text, "error running createRuntime hook #0: killed by signal 9 (killed), stdout: , stderr: ");
    }

    #[test]
    fn large_input_and_output() {
        let large = "x".repeat(1 << 20);
        assert_eq!(outcome(shell("exec <&-; sleep 0.1"), &large, &HERE), "ok");
        assert_eq!(outcome(shell("test $(wc -c) = 1048576"), &large, &HERE), "ok");
        let text = outcome(shell("cat; exit 1"), &large, &HERE);
        assert!(text.len() > KEPT_OUTPUT && text.len() < KEPT_OUTPUT + 200, "{}", text.len());
    }

    #[test]
    fn missing_program() {
        let hook = Hook { path: "/nowhere".into(), ..shell("") };
        let text = outcome(hook, "{}", &HERE);
        assert_eq!(text, "error running createRuntime hook #0: exec /nowhere: no such file or directory");
    }

    #[test]
    fn time_limit_ends_the_whole_group() {
        let begin = Instant::now();
        let hook = Hook { timeout_seconds: Some(1), ..shell("sleep 30 & sleep 30") };
        let text = outcome(hook, "{}", &HERE);
        assert_eq!(text, "error running createRuntime hook #0: hook ran past specified timeout of 1.0s");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_daemon_that_keeps_the_pipes_is_not_waited_for() {
        let begin = Instant::now();
        assert_eq!(outcome(shell("sleep 5 &"), "{}", &HERE), "ok");
        assert!(begin.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn environment_directory_and_descriptors() {
        let given = ["A=1".to_owned(), "B=x=y".to_owned()];
        let place = Place { cwd: Some(Path::new("/usr")), environment: Environment::Given(&given), interrupt: None };
        assert_eq!(outcome(shell("test \"$A$B$PWD\" = 1x=y/usr && test -z \"$CARGO$HOME\""), "{}", &place), "ok");
        let own = Hook { env: Some(vec!["C=2".into()]), ..shell("test \"$A$C\" = 2") };
        assert_eq!(outcome(own, "{}", &place), "ok");
        assert_eq!(outcome(shell("test -n \"$PATH\""), "{}", &HERE), "ok");
        // As every command does first; what the test's caller left open is no hook's.
        crate::sys::this_process::close_on_exec_from(3).unwrap();
        // ls holds one more open for its listing.
        let _ours = std::fs::File::open("/etc").unwrap();
        let text = outcome(shell("ls /proc/self/fd | tr '\\n' ' '; exit 1"), "{}", &HERE);
        assert!(text.contains("stdout: 0 1 2 3, "), "{text}");
    }

    #[test]
    fn later_hooks_run_only_where_failures_are_warnings() {
        let hooks = [shell("exit 1"), shell("exit 2")];
        let error = run(Kind::Poststart, &hooks, "{}", &HERE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Hook);
        assert!(error.to_string().starts_with("error running poststart hook #0: exit status 1"));
        let errors = run_all(Kind::Poststop, &hooks, "{}", &HERE);
        assert_eq!(errors.len(), 2);
        assert!(errors[1].to_string().starts_with("error running poststop hook #1: exit status 2"));
    }
}
