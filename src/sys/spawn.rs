//! Starting a program of the host, such as a hook's, with exactly the descriptors, environment and directory that it should have.

#![allow(unsafe_code)]

use super::fs;
use super::poll::{Interest, poll};
use super::{Errno, pidfd};
use crate::error::{Error, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, killpg, sigaction};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By exit with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// By us, with all of its process group, when its time was over.
    TimedOut,
    /// Likewise, when the interruption came.
    Interrupted,
}

/// What became of a program that [`run`] ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// The beginning of what it wrote to stdout.
    pub stdout: Vec<u8>,
    /// The beginning of what it wrote to stderr.
    pub stderr: Vec<u8>,
}

/// Runs `command` to its end in a process group of its own: `input` on stdin, up to `keep` bytes each of stdout and
/// stderr kept, killed with its group after `limit` or as soon as `interrupt` can be read, from which nothing is taken.
/// Everything we have open beyond those is close-on-exec and so stays out. No thread, so it works in the child, too.
///
/// # Errors
/// The errno of starting the program.
pub fn run(
    command: &mut Command,
    input: &[u8],
    keep: usize,
    limit: Option<Duration>,
    interrupt: Option<BorrowedFd<'_>>,
) -> Result<Outcome> {
    let name = command.get_program().to_string_lossy().into_owned();
    let deadline = limit.map(|limit| Instant::now() + limit);
    // Writing to a program that does not read its stdin is no reason to die.
    let _quiet = NoSigpipe::new()?;
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: sigprocmask(2) is async-signal-safe. We may hold back every signal ourselves, and a shell that inherited
    // that would never hear of its children, nor anybody's kill(1) be heard.
    unsafe { command.pre_exec(|| SigSet::empty().thread_set_mask().map_err(std::io::Error::from)) };
    let mut child = command.spawn().map_err(|error| Error::io(format!("exec {name}"), &error))?;
    let served = serve(&mut child, input, keep, deadline, interrupt);
    if served.is_err() {
        kill_group(&mut child);
    }
    served
}

/// The talk with a running program.
struct Talk<'a> {
    input: &'a [u8],
    keep: usize,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    outcome: Outcome,
}

fn serve(
    child: &mut Child,
    input: &[u8],
    keep: usize,
    deadline: Option<Instant>,
    interrupt: Option<BorrowedFd<'_>>,
) -> Result<Outcome> {
    let mut talk = Talk {
        input,
        keep,
        stdin: child.stdin.take().map(OwnedFd::from),
        stdout: child.stdout.take().map(OwnedFd::from),
        stderr: child.stderr.take().map(OwnedFd::from),
        outcome: Outcome { ending: Ending::TimedOut, stdout: Vec::new(), stderr: Vec::new() },
    };
    for fd in [&talk.stdin, &talk.stdout, &talk.stderr].into_iter().flatten() {
        fs::set_nonblocking(fd)?;
    }
    // A container's seccomp filter may refuse pidfd_open to a startContainer hook's parent: then we look every 10 ms.
    let pidfd = pidfd::open(child.id() as i32).ok();
    loop {
        talk.exchange();
        if let Some(status) = child.try_wait().map_err(|error| Error::io("wait4", &error))? {
            // What it wrote between our last look and its end. A grandchild that holds on to the pipes is not waited for.
            talk.exchange();
            talk.outcome.ending = ending(status);
            return Ok(talk.outcome);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            kill_group(child);
            return Ok(talk.outcome);
        }
        if talk.wait(pidfd.as_ref(), left, interrupt)? {
            kill_group(child);
            talk.outcome.ending = Ending::Interrupted;
            return Ok(talk.outcome);
        }
    }
}

impl Talk<'_> {
    /// Moves what can be moved without waiting.
    fn exchange(&mut self) {
        if let Some(stdin) = &self.stdin {
            self.input = feed(stdin, self.input);
        }
        if self.input.is_empty() {
            // Closing tells the end.
            self.stdin = None;
        }
        drain(&mut self.stdout, &mut self.outcome.stdout, self.keep);
        drain(&mut self.stderr, &mut self.outcome.stderr, self.keep);
    }

    /// Waits until something can be moved, the program ended or `left` is over; tells whether the interruption came.
    fn wait(&self, pidfd: Option<&OwnedFd>, left: Option<Duration>, interrupt: Option<BorrowedFd<'_>>) -> Result<bool> {
        let reading = [&self.stdout, &self.stderr].into_iter().flatten().chain(pidfd).map(AsFd::as_fd);
        let reading = interrupt.into_iter().chain(reading).map(|fd| (fd, Interest::Read));
        let writing = self.stdin.iter().map(|fd| (fd.as_fd(), Interest::Write));
        let wanted: Vec<_> = reading.chain(writing).collect();
        let pause = pidfd.is_none().then_some(Duration::from_millis(10));
        let ready = poll(&wanted, left.into_iter().chain(pause).min())?;
        Ok(interrupt.is_some() && ready.first().copied().unwrap_or(false))
    }
}

/// Writes what fits and gives the rest; a reader that is gone gets nothing more.
fn feed<'a>(fd: &OwnedFd, mut input: &'a [u8]) -> &'a [u8] {
    while !input.is_empty() {
        match fs::write_some(fd, input) {
            Ok(count) => input = &input[count..],
            Err(error) if error.is(Errno::EAGAIN) => return input,
            Err(_) => return &[],
        }
    }
    input
}

/// How often [`drain`] reads in a row: enough for a full pipe, and an end for one that somebody keeps filling.
const READS: usize = 32;

/// Reads what is there, keeping no more than `keep` bytes in all; closes at the end.
fn drain(source: &mut Option<OwnedFd>, kept: &mut Vec<u8>, keep: usize) {
    let mut buffer = [0; 4096];
    for _ in 0..READS {
        let Some(fd) = source else { return };
        match fs::read(&*fd, &mut buffer) {
            Ok(0) => *source = None,
            Ok(count) => {
                let room = keep.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(error) if error.is(Errno::EAGAIN) => return,
            Err(_) => *source = None,
        }
    }
}

fn kill_group(child: &mut Child) {
    // Not waited for yet, so the number still is this group's.
    let _ = killpg(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    let _ = child.wait();
}

fn ending(status: ExitStatus) -> Ending {
    status.code().map_or_else(|| Ending::Killed(status.signal().unwrap_or(0)), Ending::Exited)
}

/// Ignores SIGPIPE as long as it lives. The programs started meanwhile have the default: `Command` resets it.
struct NoSigpipe(SigAction);

impl NoSigpipe {
    fn new() -> Result<Self> {
        let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // SAFETY: no handler is installed.
        let previous = unsafe { sigaction(Signal::SIGPIPE, &ignore) };
        previous.map(Self).map_err(|errno| Error::sys("sigaction(SIGPIPE)", errno))
    }
}

impl Drop for NoSigpipe {
    fn drop(&mut self) {
        // SAFETY: what was installed before is installed again.
        let _ = unsafe { sigaction(Signal::SIGPIPE, &self.0) };
    }
}
