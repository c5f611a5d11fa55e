//! RCU grace periods that a command waits for, by the kernel's own trace: wherever one of its processes goes to sleep in
//! the kernel the stack tells what for.

use crate::Done;
use crate::process::Command;
use nix::mount::{MsFlags, mount};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How often processes waited for one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// For one of some scheduler ticks.
    pub normal: u32,
    /// For one that interrupts all processors.
    pub expedited: u32,
}

impl Waits {
    /// The lower number of each.
    pub fn least(self, other: Self) -> Self {
        Self { normal: self.normal.min(other.normal), expedited: self.expedited.min(other.expedited) }
    }
}

/// A trace of our own, beside those of others.
pub struct Trace {
    /// Its directory in the tracefs.
    directory: PathBuf,
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.set("events/enable", "0");
        let _ = fs::remove_dir(&self.directory);
    }
}

impl Trace {
    /// Mounts a tracefs below `scratch`, in the mount namespace of the benches.
    #[expect(clippy::disallowed_methods, reason = "no path of a container")]
    pub fn begin(scratch: &Path) -> Done<Self> {
        let tracefs = scratch.join("tracefs");
        fs::create_dir_all(&tracefs)?;
        mount(Some("tracefs"), &tracefs, Some("tracefs"), MsFlags::empty(), None::<&str>)?;
        let directory = tracefs.join("instances").join(format!("onggi-bench-{}", std::process::id()));
        fs::create_dir(&directory)?;
        let trace = Self { directory };
        trace.set("options/stacktrace", "1")?;
        trace.set("buffer_size_kb", "8192")?;
        // Those that sleep uninterruptibly.
        trace.set("events/sched/sched_switch/filter", "prev_state & 2")?;
        trace.set("tracing_on", "0")?;
        trace.set("events/sched/sched_switch/enable", "1")?;
        trace.set("events/sched/sched_process_fork/enable", "1")?;
        Ok(trace)
    }

    fn set(&self, file: &str, value: &str) -> Done<()> {
        fs::write(self.directory.join(file), value).map_err(|error| format!("{file} of the tracefs: {error}").into())
    }

    /// What one run of the command waited for. Take the [`Waits::least`] of some: who waits while another process of the
    /// machine does may sleep twice.
    pub fn once(&self, command: &Command) -> Done<Waits> {
        self.set("trace", "")?;
        self.set("tracing_on", "1")?;
        self.set("trace_marker", MARK)?;
        let ran = command.cost();
        // Not the event: switching that waits for a grace period itself.
        self.set("tracing_on", "0")?;
        ran?;
        parse(&fs::read_to_string(self.directory.join("trace"))?)
    }
}

/// What we write into the trace, to learn the pid that we have in it: that of another namespace.
const MARK: &str = "onggi-bench begins";

/// Counts the stacks of our descendants that lead through a wait for a grace period.
fn parse(text: &str) -> Done<Waits> {
    let mut waits = Waits::default();
    let mut ours = HashSet::new();
    // A line is "COMMAND-PID [CPU] FLAGS TIME: EVENT: TEXT", or " => FUNCTION" of the stack that the last one was about.
    let mut lines = text.lines().filter(|line| !line.starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        let (Some((task, _)), Some((_, event))) = (line.split_once(" ["), line.split_once(": ")) else { continue };
        let pid = task.rsplit('-').next().unwrap_or(task).trim_end();
        if event.ends_with(MARK) {
            ours.insert(pid);
        }
        if !ours.contains(pid) {
            continue;
        }
        if let Some((_, child)) = event.split_once("child_pid=") {
            ours.insert(child);
        } else if event.starts_with("<stack trace>") {
            let mut stack = Vec::new();
            while let Some(function) = lines.next_if(|line| line.starts_with(" => ")) {
                stack.push(function.trim_start_matches(" => "));
            }
            let within = |names: &[&str]| stack.iter().any(|function| names.contains(function));
            if within(&["synchronize_rcu_expedited"]) {
                waits.expedited += 1;
            } else if within(&["synchronize_rcu", "synchronize_rcu_normal", "__wait_rcu_gp"]) {
                waits.normal += 1;
            }
        }
    }
    if ours.len() < 2 {
        return Err("the trace has no process of the command".into());
    }
    Ok(waits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn stacks_of_descendants() {
        let text = "# tracer: nop\n\
            compare-5   [000] ...1. 7.7: tracing_mark_write: onggi-bench begins\n\
            compare-5   [000] ..... 7.7: sched_process_fork: comm=compare pid=5 child_comm=compare child_pid=7\n\
            compare-5   [000] ..... 7.7: <stack trace>\n => kernel_clone\n => __do_sys_clone\n\
            runc:[2:INIT]-7   [000] d..2. 7.8: sched_switch: prev_comm=umount prev_state=D\n\
            runc:[2:INIT]-7   [000] d..2. 7.9: <stack trace>\n => schedule\n => synchronize_rcu_expedited\n => umount\n\
            a-b-7   [000] ..... 7.9: sched_process_fork: comm=a-b pid=7 child_comm=a-b child_pid=8\n\
            umount-6   [000] d..2. 7.9: <stack trace>\n => schedule\n => synchronize_rcu_expedited\n => umount\n\
            a-8   [001] d..2. 7.9: <stack trace>\n => schedule\n => __wait_rcu_gp\n => synchronize_rcu\n\
            a-8   [001] d..2. 7.9: <stack trace>\n => schedule\n => io_schedule\n => ext4_lookup\n";
        assert_eq!(parse(text).unwrap(), Waits { normal: 1, expedited: 1 });
        assert!(parse("# tracer: nop\n").is_err());
    }
}
