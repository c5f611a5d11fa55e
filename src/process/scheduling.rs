//! How the kernel treats the process: scheduler, CPU affinity, disk priority, personality, memory policy, OOM score.
//! Spec: config.md, Linux Process; config-linux.md, Personality.

use super::affinity::Affinity;
use super::memory_policy::{self, MemoryPolicy};
use crate::error::{Context, Error, Result};
use crate::sys::Errno;
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access, Resolve};
use crate::sys::this_process::{self, Domain, SchedulerAttributes};
use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy, Process, Scheduler,
};
use std::os::fd::AsFd;

/// What the kernel is to be told, where config.json says anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scheduling {
    /// Which CPUs it may use.
    pub affinity: Affinity,
    scheduler: Option<SchedulerAttributes>,
    /// Class and level.
    io_priority: Option<(u8, u8)>,
    personality: Option<Domain>,
    memory_policy: Option<MemoryPolicy>,
    /// `process.oomScoreAdj`.
    pub oom_score_adj: Option<i32>,
}

/// Plans `process.scheduler`, `process.ioPriority`, `process.oomScoreAdj`, `linux.personality`, `linux.memoryPolicy`.
/// What `process.execCPUAffinity` says is for joining processes only; see [`super::affinity`].
///
/// # Errors
/// Values out of range, parameters of another policy.
pub fn plan(process: &Process, linux: Option<&Linux>, warnings: &mut Vec<String>) -> Result<Scheduling> {
    let oom_score_adj = process.oom_score_adj();
    if let Some(score) = oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return Err(Error::config("process.oomScoreAdj", format!("{score} is not within -1000 to 1000")));
    }
    let personality = linux.and_then(|linux| linux.personality().as_ref());
    if personality.and_then(|it| it.flags().as_ref()).is_some_and(|flags| !flags.is_empty()) {
        warnings.push("ignoring linux.personality.flags: none are defined".to_owned());
    }
    Ok(Scheduling {
        affinity: Affinity::All,
        scheduler: process.scheduler().as_ref().map(|wanted| attributes(wanted, warnings)).transpose()?,
        io_priority: io_priority(process)?,
        personality: personality.map(|it| match it.domain() {
            LinuxPersonalityDomain::PerLinux => Domain::Linux,
            LinuxPersonalityDomain::PerLinux32 => Domain::Linux32,
        }),
        memory_policy: memory_policy::plan(linux)?,
        oom_score_adj,
    })
}

fn io_priority(process: &Process) -> Result<Option<(u8, u8)>> {
    let Some(wanted) = process.io_priority() else { return Ok(None) };
    let class = match wanted.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = u8::try_from(wanted.priority()).ok().filter(|level| *level <= 7);
    let refusal = || format!("invalid ioPriority.Priority: {}: it goes from 0 to 7", wanted.priority());
    level.map(|level| Some((class, level))).ok_or_else(|| Error::config("process.ioPriority.priority", refusal()))
}

fn attributes(wanted: &Scheduler, warnings: &mut Vec<String>) -> Result<SchedulerAttributes> {
    use LinuxSchedulerPolicy as Policy;
    let policy = *wanted.policy();
    let refuse = |field: &str, why: &str| Err(Error::config(format!("process.scheduler.{field}"), why));
    let mut nice = wanted.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return refuse("nice", &format!("{nice} is not within -20 to 19"));
    }
    if nice != 0 && !matches!(policy, Policy::SchedOther | Policy::SchedBatch) {
        // The kernel doesn't look at it with any other policy, and runc lets it pass.
        warnings.push("ignoring process.scheduler.nice: it counts for SCHED_OTHER and SCHED_BATCH only".to_owned());
        nice = 0;
    }
    let realtime = matches!(policy, Policy::SchedFifo | Policy::SchedRr);
    let priority = wanted.priority().unwrap_or(0);
    if priority != 0 && !realtime {
        return refuse("priority", "counts for SCHED_FIFO and SCHED_RR only");
    }
    let Some(priority) = u32::try_from(priority).ok().filter(|priority| !realtime || (1..=99).contains(priority))
    else {
        return refuse("priority", &format!("{priority} is not within 1 to 99"));
    };
    let times = [("runtime", wanted.runtime()), ("deadline", wanted.deadline()), ("period", wanted.period())];
    if let Some((field, _)) =
        times.iter().find(|(_, time)| policy != Policy::SchedDeadline && time.is_some_and(|it| it != 0))
    {
        return refuse(field, "counts for SCHED_DEADLINE only");
    }
    let policy = match policy {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => return refuse("policy", "invalid scheduler policy: SCHED_ISO: no kernel has it"),
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    };
    let flags = wanted.flags().iter().flatten().fold(0, |flags, flag| flags | flag_bit(*flag));
    let [runtime, deadline, period] = times.map(|(_, time)| time.unwrap_or(0));
    Ok(SchedulerAttributes { policy, flags, nice, priority, runtime, deadline, period })
}

/// The bits of `include/uapi/linux/sched.h`.
fn flag_bit(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

/// What is to be said to who may not change the OOM score, whoever does it.
pub fn explain_oom_score(error: Error) -> Error {
    let denied = error.is(Errno::EACCES);
    let error = error.context("config.json: process.oomScoreAdj");
    if denied { error.hint("only CAP_SYS_RESOURCE may lower it: leave it out, or ask for more") } else { error }
}

impl Scheduling {
    /// Sets the OOM score through `proc`, a procfs that we trust. First of all, while we may still lower it: with a
    /// user namespace entered or as another user the kernel refuses.
    pub fn apply_oom_score(&self, _: &InChild, proc: impl AsFd) -> Result<()> {
        let Some(score) = self.oom_score_adj else { return Ok(()) };
        let file = fs::open_at(proc, "self/oom_score_adj", Access::Write, Resolve::ProcSelf);
        let written = file.and_then(|file| fs::write(file, score.to_string().as_bytes()));
        written
            .map_err(|error| error.phrased(format!("failed to update /proc/self/oom_score_adj to {score}")))
            .map_err(explain_oom_score)
    }

    /// Sets the affinity once in the cgroup, then scheduler, disk priority, personality, memory policy. While still
    /// privileged.
    pub fn apply(&self, me: &InChild) -> Result<()> {
        self.affinity.apply(me)?;
        if let Some(attributes) = self.scheduler {
            this_process::sched_setattr(me, attributes).map_err(|error| {
                let denied = error.is(Errno::EPERM);
                let error = error.context("set scheduler (process.scheduler)");
                let advice = "SCHED_DEADLINE cannot be had with linux.resources.cpu.cpus (AllowedCPUs), \
                              realtime needs CAP_SYS_NICE";
                if denied { error.hint(advice) } else { error }
            })?;
        }
        if let Some((class, level)) = self.io_priority {
            this_process::ioprio_set(me, class, level).context("set disk priority (process.ioPriority)")?;
        }
        if let Some(domain) = self.personality {
            this_process::personality(me, domain).context("set personality (linux.personality)")?;
        }
        if let Some(policy) = &self.memory_policy {
            policy.apply(me)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(fields: &str, linux: &str, expected: &str) {
        let process = format!(r#"{{"user":{{"uid":0,"gid":0}},"cwd":"/"{fields}}}"#);
        let process: Process = serde_json::from_str(&process).unwrap();
        let linux: Linux = serde_json::from_str(linux).unwrap();
        let mut warnings = Vec::new();
        let text = match plan(&process, Some(&linux), &mut warnings) {
            Ok(planned) => format!("{planned:?} {warnings:?}"),
            Err(error) => error.to_string(),
        };
        assert!(text.contains(expected), "{fields}: {text}");
    }

    #[test]
    fn schedulers() {
        let scheduler = |fields: &str, expected: &str| check(&format!(r#","scheduler":{{{fields}}}"#), "{}", expected);
        scheduler(r#""policy":"SCHED_BATCH","nice":19"#, "policy: 3, flags: 0, nice: 19");
        scheduler(r#""policy":"SCHED_FIFO","priority":10,"flags":["SCHED_FLAG_KEEP_POLICY"]"#, "policy: 1, flags: 8");
        scheduler(
            r#""policy":"SCHED_DEADLINE","runtime":1,"deadline":2,"period":3"#,
            "runtime: 1, deadline: 2, period: 3",
        );
        scheduler(r#""policy":"SCHED_IDLE","nice":5"#, "nice: 0");
        scheduler(r#""policy":"SCHED_IDLE","nice":5"#, "ignoring process.scheduler.nice");
        scheduler(r#""policy":"SCHED_OTHER","nice":20"#, "process.scheduler.nice: 20 is not within -20 to 19");
        scheduler(r#""policy":"SCHED_OTHER","priority":1"#, "process.scheduler.priority: counts for");
        scheduler(r#""policy":"SCHED_RR""#, "process.scheduler.priority: 0 is not within 1 to 99");
        scheduler(r#""policy":"SCHED_RR","priority":100"#, "process.scheduler.priority: 100 is not within 1 to 99");
        scheduler(r#""policy":"SCHED_IDLE","period":3"#, "process.scheduler.period: counts for SCHED_DEADLINE only");
        scheduler(r#""policy":"SCHED_ISO""#, "invalid scheduler policy: SCHED_ISO");
    }

    #[test]
    fn the_others() {
        check(r#","oomScoreAdj":-1000"#, "{}", "oom_score_adj: Some(-1000)");
        check(r#","oomScoreAdj":1001"#, "{}", "process.oomScoreAdj: 1001 is not within -1000 to 1000");
        check(r#","ioPriority":{"class":"IOPRIO_CLASS_IDLE","priority":7}"#, "{}", "io_priority: Some((3, 7))");
        check(r#","ioPriority":{"class":"IOPRIO_CLASS_RT","priority":9}"#, "{}", "invalid ioPriority.Priority: 9");
        check(r#","ioPriority":{"class":"IOPRIO_CLASS_RT","priority":-1}"#, "{}", "invalid ioPriority.Priority: -1");
        check("", r#"{"personality":{"domain":"LINUX32","flags":["X"]}}"#, "ignoring linux.personality.flags");
        check("", r#"{"personality":{"domain":"LINUX32"}}"#, "personality: Some(Linux32)");
        check("", r#"{"memoryPolicy":{"mode":"MPOL_LOCAL"}}"#, "MemoryPolicy { mode: 4");
    }
}
