//! RCU grace periods that a command waits for, by the kernel's own trace: wherever a process goes to sleep in the kernel
//! the stack tells what for.

use crate::Done;
use crate::process::Command;
use nix::mount::{MsFlags, mount};
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
        let _ = self.set("events/sched/sched_switch/enable", "0");
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
        Ok(trace)
    }

    fn set(&self, file: &str, value: &str) -> Done<()> {
        fs::write(self.directory.join(file), value).map_err(|error| format!("{file} of the tracefs: {error}").into())
    }

    /// What one run of the command waited for, and whoever else waited meanwhile: the trace has pids of another namespace,
    /// so that they can't be told apart. Take the [`Waits::least`] of some.
    pub fn once(&self, command: &Command) -> Done<Waits> {
        self.set("trace", "")?;
        self.set("tracing_on", "1")?;
        let ran = command.cost();
        // Not the event: switching that waits for a grace period itself.
        self.set("tracing_on", "0")?;
        ran?;
        Ok(parse(&fs::read_to_string(self.directory.join("trace"))?))
    }
}

/// Counts the stacks of processes, which are not kernel threads, that lead through a wait for a grace period.
fn parse(text: &str) -> Waits {
    let mut waits = Waits::default();
    for stack in text.split("<stack trace>").skip(1) {
        let functions = || stack.lines().skip(1).map_while(|line| line.trim().strip_prefix("=> "));
        let within = |names: &[&str]| functions().any(|function| names.contains(&function));
        if within(&["kthread"]) {
            continue;
        }
        if within(&["synchronize_rcu_expedited"]) {
            waits.expedited += 1;
        } else if within(&["synchronize_rcu", "synchronize_rcu_normal", "__wait_rcu_gp"]) {
            waits.normal += 1;
        }
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks() {
        let text = "# tracer: nop\n\
            umount-7 [000] d..2. 7.8: sched_switch: prev_comm=umount prev_state=D\n\
            umount-7 [000] d..2. 7.9: <stack trace>\n => schedule\n => synchronize_rcu_expedited\n => namespace_unlock\n\
            rcu-17 [000] d..2. 7.9: <stack trace>\n => schedule\n => synchronize_rcu_expedited\n => kthread\n\
            a-8 [000] d..2. 7.9: <stack trace>\n => schedule\n => __wait_rcu_gp\n => synchronize_rcu\n => rcu_sync_enter\n\
            b-9 [000] d..2. 7.9: <stack trace>\n => schedule\n => io_schedule\n => ext4_lookup\n";
        assert_eq!(parse(text), Waits { normal: 1, expedited: 1 });
    }
}
