//! Starting a process as cheaply as can be, and what it cost until it ended.

#![allow(unsafe_code, reason = "wait4(2), which nobody wraps")]

use crate::Done;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::stat::Mode;
use std::ffi::CString;
use std::time::{Duration, Instant};

/// What to run: the program, its arguments, and the whole environment.
#[derive(Debug, Clone)]
pub struct Command {
    /// Words of the command line; the first is the path of the program.
    pub words: Vec<String>,
    /// `NAME=VALUE`.
    pub environment: Vec<String>,
}

/// What a process cost, with all descendants that were waited for.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// From before the start to after the end.
    pub wall_ms: f64,
    /// In user and kernel.
    pub cpu_ms: f64,
    /// Without input from disk.
    pub page_faults: f64,
}

impl Command {
    /// Starts it with the null device for input, output and errors. posix_spawn(3) shares the memory until the exec, so
    /// that ours costs the other nothing.
    pub fn spawn(&self) -> Done<i32> {
        let strings = |list: &[String]| list.iter().map(|it| CString::new(it.as_str())).collect::<Result<Vec<_>, _>>();
        let (words, environment) = (strings(&self.words)?, strings(&self.environment)?);
        let mut actions = PosixSpawnFileActions::init()?;
        for number in 0..3 {
            actions.add_open(number, c"/dev/null", OFlag::O_RDWR, Mode::empty())?;
        }
        let program = words.first().ok_or("nothing to run")?;
        let pid = posix_spawn(program.as_c_str(), &actions, &PosixSpawnAttr::init()?, &words, &environment)?;
        Ok(pid.as_raw())
    }

    /// Runs it to its end, which must be a success.
    pub fn cost(&self) -> Done<Cost> {
        let start = Instant::now();
        let pid = self.spawn()?;
        let (_, status, mut cost) = wait(pid)?.ok_or("the process is gone")?;
        cost.wall_ms = milliseconds(start.elapsed());
        self.succeeded(status)?;
        Ok(cost)
    }

    /// An error that shows the command, unless `status` is that of a success.
    pub fn succeeded(&self, status: i32) -> Done<()> {
        if status == 0 { Ok(()) } else { Err(format!("{}: wait status {status:#x}", self.words.join(" ")).into()) }
    }
}

/// A time span in milliseconds.
pub fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// Waits for the child `pid`, for any with -1: its pid, its wait status and what it cost, without the wall time. `None`
/// when there is no child.
pub fn wait(pid: i32) -> Done<Option<(i32, i32, Cost)>> {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both places live and have the right size.
    let ended = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    match Errno::result(ended) {
        Err(Errno::ECHILD) => return Ok(None),
        result => result?,
    };
    // SAFETY: zeros are a valid value, and the kernel filled it in.
    let usage = unsafe { usage.assume_init() };
    let time = |it: libc::timeval| -> Done<f64> {
        Ok(f64::from(i32::try_from(it.tv_sec)?) * 1e3 + f64::from(i32::try_from(it.tv_usec)?) / 1e3)
    };
    let cpu_ms = time(usage.ru_utime)? + time(usage.ru_stime)?;
    let page_faults = f64::from(i32::try_from(usage.ru_minflt)?);
    Ok(Some((ended, status, Cost { wall_ms: 0.0, cpu_ms, page_faults })))
}

/// Reaps all children, which have ended or are about to.
pub fn reap_all() -> Done<()> {
    while wait(-1)?.is_some() {}
    Ok(())
}
