//! `linux.resources.cpu`.

use super::{Current, IfMissing, List, Write, ignored, refused};
use crate::cgroup::weight;
use crate::error::{Error, ErrorKind, Result};
use oci_spec::runtime::LinuxCpu;

/// In any order: [`arrange`] finds the right one.
pub(super) fn plan(list: &mut List, cpu: &LinuxCpu, current: &Current, warnings: &mut Vec<String>) -> Result<()> {
    match cpu.idle() {
        None => {}
        Some(idle @ (0 | 1)) => list.set_or_zero("cpu.idle", idle.unsigned_abs(), "cpu.idle"),
        Some(_) => return Err(refused("cpu.idle", "must be 0 or 1")),
    }
    if let Some(weight) = weight::of_cpu(cpu.shares().unwrap_or(0)) {
        list.set("cpu.weight", weight, "cpu.shares");
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let field = if quota.is_some() { "cpu.quota" } else { "cpu.period" };
        let period = period.unwrap_or(current.period);
        match quota.map_or(current.quota, |quota| u64::try_from(quota).ok()) {
            Some(quota) => list.set("cpu.max", format!("{quota} {period}"), field),
            None => list.set("cpu.max", format!("max {period}"), field),
        }
    }
    if let Some(burst) = cpu.burst() {
        list.set_or_zero("cpu.max.burst", burst, "cpu.burst");
    }
    ignored(warnings, cpu.realtime_runtime().is_some_and(|time| time != 0), "cpu.realtimeRuntime");
    ignored(warnings, cpu.realtime_period().is_some_and(|time| time != 0), "cpu.realtimePeriod");
    for (file, value, field) in [("cpuset.cpus", cpu.cpus(), "cpu.cpus"), ("cpuset.mems", cpu.mems(), "cpu.mems")] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            list.set(file, value, field);
        }
    }
    Ok(())
}

/// Brings the writes, wherever they come from, into an order in which the kernel takes them.
pub(super) fn arrange(list: &mut Vec<Write>, current: &Current, warnings: &mut Vec<String>) -> Result<()> {
    arrange_weight(list, current, warnings);
    arrange_burst(list, current)
}

/// An idle cgroup has no weight, and the kernel refuses one (EINVAL): idleness wins over a weight beside it, and a weight
/// alone ends it, as systemd does since version 252.
fn arrange_weight(list: &mut Vec<Write>, current: &Current, warnings: &mut Vec<String>) {
    let is_weight = |write: &Write| write.file == "cpu.weight" || write.file == "cpu.weight.nice";
    let Some(weight) = list.iter().find(|write| is_weight(write)) else { return };
    let of_weight = weight.field.clone();
    let idle = list.iter().rfind(|write| write.file == "cpu.idle").cloned();
    match idle {
        Some(idle) if idle.value.trim() == "1" => {
            list.retain(|write| !is_weight(write));
            warnings.push(format!("unable to apply both cpu.weight and cpu.idle: {of_weight} is ignored"));
            return;
        }
        None if !current.idle => return,
        _ => {}
    }
    list.retain(|write| write.file != "cpu.idle");
    let at = list.iter().position(is_weight).unwrap_or(0);
    let (file, value) = ("cpu.idle".to_owned(), "0".to_owned());
    let leave = Write { file, value, field: of_weight, if_missing: IfMissing::Skip };
    list.insert(at, idle.unwrap_or(leave));
}

/// The burst must never exceed the quota, neither the new one the old nor the other way round (EINVAL).
fn arrange_burst(list: &mut [Write], current: &Current) -> Result<()> {
    let quota_at = list.iter().rposition(|write| write.file == "cpu.max");
    let burst_at = list.iter().rposition(|write| write.file == "cpu.max.burst");
    // A value that is no number is the kernel's to refuse.
    let first_number = |at: usize| list[at].value.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    let (quota, burst) =
        (quota_at.map_or(current.quota, first_number), burst_at.map_or(Some(current.burst), first_number));
    let (Some(quota), Some(burst)) = (quota, burst) else { return Ok(()) };
    if burst > quota {
        let message = match (quota_at, burst_at) {
            (_, Some(at)) => format!("{}: a burst of {burst} is more than the quota of {quota}", list[at].field),
            (Some(at), None) => format!(
                "{}: a quota of {quota} is less than the burst of {burst} in force: lower that as well",
                list[at].field
            ),
            (None, None) => return Ok(()),
        };
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    if let (Some(quota_at), Some(burst_at)) = (quota_at, burst_at)
        && (quota_at < burst_at) == (current.burst > quota)
    {
        list.swap(quota_at, burst_at);
    }
    Ok(())
}
