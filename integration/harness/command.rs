//! One run of the binary: arguments, descriptors, a deadline, and what came out.

#![allow(unsafe_code)]

use super::{binary, is_peer, patience};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// No command of a test takes longer than these seconds; one that does is killed and fails the test.
const DEADLINE: u64 = 60;

/// A command about to be run. Its output goes to files, so that a container which outlives it can go on writing.
pub struct Invocation {
    command: Command,
    out: PathBuf,
    err: PathBuf,
    deadline: Duration,
    silent: bool,
}

impl Invocation {
    /// The binary under test with `args`; output files are made in `logs`.
    pub fn runtime<S: AsRef<OsStr>>(logs: &Path, args: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(binary());
        command.args(args);
        Self::new(logs, command)
    }

    /// Any command.
    pub fn new(logs: &Path, mut command: Command) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (logs.join(format!("{number}.out")), logs.join(format!("{number}.err")));
        command.stdin(Stdio::null());
        command.stdout(File::create(&out).expect("output file"));
        command.stderr(File::create(&err).expect("output file"));
        Self { command, out, err, deadline: patience(DEADLINE), silent: false }
    }

    /// The same under `wrapper`, such as `["strace", "-f"]` or `["sh", "-c", "exec 9</etc/passwd; exec \"$@\"", "-"]`.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(self.command.get_program()).args(self.command.get_args());
        for (key, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        command.stdin(Stdio::null());
        command.stdout(File::options().append(true).open(&self.out).expect("output file"));
        command.stderr(File::options().append(true).open(&self.err).expect("output file"));
        self.command = command;
        if self.silent { self.silent() } else { self }
    }

    /// Gives `/dev/null` as all three.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self.stdio(Stdio::null(), Stdio::null(), Stdio::null())
    }

    /// Adds a variable to the environment of the command.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Leaves nothing in the environment but these, and our mark on what belongs to the test.
    #[must_use]
    pub fn only_env(mut self, variables: &[(&str, &str)]) -> Self {
        let mark = self.command.get_envs().find(|(key, _)| *key == "ONGGI_TEST_ID");
        let mark = mark.and_then(|(key, value)| Some((key.to_owned(), value?.to_owned())));
        self.command.env_clear().envs(mark).envs(variables.iter().copied());
        self
    }

    /// Sends stderr to where stdout goes, as callers do that want both in one text.
    #[must_use]
    pub fn combined(mut self) -> Self {
        let append = || File::options().append(true).open(&self.out).expect("output file");
        self.command.stdout(append()).stderr(append());
        self
    }

    /// Starts it in a process group of its own.
    #[must_use]
    pub fn own_group(mut self) -> Self {
        self.command.process_group(0);
        self
    }

    /// Has it killed when the caller ends.
    #[must_use]
    pub fn dies_with_caller(mut self) -> Self {
        let ask = || nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(std::io::Error::from);
        // SAFETY: prctl(2) alone is called between fork and exec; nothing is allocated and no lock taken.
        unsafe { self.command.pre_exec(ask) };
        self
    }

    /// Runs in `dir`.
    #[must_use]
    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Gives `text` on stdin.
    #[must_use]
    pub fn stdin_text(mut self, text: &str) -> Self {
        let path = self.out.with_extension("in");
        fs::write(&path, text).expect("input file");
        self.command.stdin(File::open(path).expect("input file"));
        self
    }

    /// Gives this file on stdin, for reading.
    #[must_use]
    pub fn stdin_file(mut self, path: &Path) -> Self {
        self.command.stdin(File::open(path).expect("input file"));
        self
    }

    /// Gives these as stdin, stdout and stderr.
    #[must_use]
    pub fn stdio(mut self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Self {
        self.command.stdin(stdin).stdout(stdout).stderr(stderr);
        self
    }

    /// Starts it and does not wait.
    pub fn spawn(mut self) -> Running {
        let shown = shown(&self.command);
        let child = retrying_when_busy(|| self.command.spawn()).unwrap_or_else(|error| panic!("{shown}: {error}"));
        Running { child, shown, out: self.out, err: self.err, deadline: self.deadline }
    }

    /// Runs it to its end.
    pub fn run(self) -> Outcome {
        self.spawn().wait()
    }
}

/// A program that was written a moment ago can't be executed while a process that another test has just forked still
/// has our descriptor for writing (ETXTBSY).
fn retrying_when_busy<T>(mut spawn: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    for _ in 0..500 {
        match spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            result => return result,
        }
    }
    spawn()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// A command that runs.
pub struct Running {
    child: Child,
    shown: String,
    out: PathBuf,
    err: PathBuf,
    deadline: Duration,
}

impl Running {
    /// Sends a signal to it alone.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id().cast_signed()), signal).expect("kill");
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_some()
    }

    /// What it has written on stdout so far.
    pub fn stdout(&self) -> String {
        read(&self.out)
    }

    /// What it has written on stderr so far.
    pub fn stderr(&self) -> String {
        read(&self.err)
    }

    /// Whether it has a file of this name open now.
    pub fn has_open(&self, name: &str) -> bool {
        let fds = fs::read_dir(format!("/proc/{}/fd", self.child.id())).into_iter().flatten().flatten();
        fds.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|file| file.ends_with(name))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes longer than the deadline; it is killed then.
    pub fn wait(mut self) -> Outcome {
        let end = Instant::now() + self.deadline;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            if Instant::now() > end {
                self.child.kill().expect("kill");
                self.child.wait().expect("wait");
                panic!("{}: hung\nstdout: {}\nstderr: {}", self.shown, read(&self.out), read(&self.err));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        Outcome {
            status,
            stdout: read(&self.out),
            stderr: read(&self.err),
            shown: self.shown,
            out: self.out,
            err: self.err,
        }
    }
}

/// Not more than a few MiB: a container gone wrong may print without end.
fn read(path: &Path) -> String {
    let mut raw = Vec::new();
    if let Ok(file) = File::open(path) {
        file.take(4 << 20).read_to_end(&mut raw).expect("output file");
    }
    String::from_utf8_lossy(&raw).into_owned()
}

/// What came of a command.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// What it had written when it ended.
    pub stdout: String,
    /// What it had written when it ended.
    pub stderr: String,
    shown: String,
    out: PathBuf,
    err: PathBuf,
}

impl Outcome {
    /// Asserts exit status 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "exit status of {self}");
        self
    }

    /// Asserts failure, whatever the status, with something on stderr.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(self.status.code().is_some_and(|code| code != 0), "should have failed with an exit status: {self}");
        assert!(!self.stderr.trim().is_empty(), "failed without a word: {self}");
        self
    }

    /// Asserts that stderr has `text`; another runtime's texts are its own.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        // The text log quotes messages.
        let unquoted = self.stderr.replace("\\\"", "\"");
        assert!(is_peer() || unquoted.contains(text), "stderr should say {text:?}: {self}");
        self
    }

    /// Asserts that stderr is empty.
    #[track_caller]
    pub fn quiet(self) -> Self {
        assert_eq!(self.stderr, "", "stderr should be empty: {self}");
        self
    }

    /// Everything on stdout up to now, also what a container wrote after the command had ended.
    pub fn stdout_now(&self) -> String {
        read(&self.out)
    }

    /// Everything on stderr up to now.
    pub fn stderr_now(&self) -> String {
        read(&self.err)
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("stdout is no JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shown, status, stdout, stderr, .. } = self;
        write!(to, "{shown}\n{status}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

/// The words of a command line as owned strings.
pub fn words(args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).collect()
}
