//! `linux.resources.memory`.

use super::{Current, IfMissing, List, ignored, refused};
use crate::error::Result;
use oci_spec::runtime::LinuxMemory;
use std::fmt;

/// An amount that may be without bound; written -1 in config.json and `max` in cgroup files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cgroup) enum Amount {
    /// No bound.
    Max,
    /// Bytes.
    Of(i64),
}

impl Amount {
    /// 0 and an absent value mean: leave it as it is.
    fn of(value: Option<i64>, field: &str) -> Result<Option<Self>> {
        match value {
            None | Some(0) => Ok(None),
            Some(-1) => Ok(Some(Self::Max)),
            Some(value) if value > 0 => Ok(Some(Self::Of(value))),
            Some(value) => Err(refused(field, format!("{value} is neither a number of bytes nor -1 for no limit"))),
        }
    }

    /// The text of a cgroup's file, or one that the kernel takes for it: with a suffix of 1024s.
    pub(in crate::cgroup) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if text == "max" {
            return Some(Self::Max);
        }
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let thousands = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "" => 0,
            suffix => 1 + ["k", "m", "g", "t", "p", "e"].iter().position(|known| *known == suffix)?,
        };
        let bytes = (0..thousands).try_fold(digits.parse::<i64>().ok()?, |bytes, _| bytes.checked_mul(1024));
        bytes.map(Self::Of)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Of(value) => value.fmt(f),
        }
    }
}

/// Swap first: when a limit falls the pages it pushes out should meet the new bound.
pub(super) fn plan(list: &mut List, memory: &LinuxMemory, current: &Current, warnings: &mut Vec<String>) -> Result<()> {
    let limit = Amount::of(memory.limit(), "memory.limit")?;
    let both = Amount::of(memory.swap(), "memory.swap")?;
    if memory.check_before_update() == Some(true) {
        check_usage(limit, both, current)?;
    }
    match swap_max(limit, both, current)? {
        None => {}
        // A kernel without swap accounting has no such file, but then there is nothing to forbid.
        Some(Amount::Of(0)) => list.push("memory.swap.max", "0".to_owned(), "memory.swap", IfMissing::Skip),
        Some(swap) => list.set("memory.swap.max", swap, "memory.swap"),
    }
    if let Some(limit) = limit {
        list.set("memory.max", limit, "memory.limit");
    }
    if let Some(low) = Amount::of(memory.reservation(), "memory.reservation")? {
        list.set("memory.low", low, "memory.reservation");
    }
    #[allow(deprecated, reason = "read only to tell the user that it does nothing")]
    let kernel = memory.kernel();
    ignored(warnings, kernel.is_some_and(|limit| limit != 0), "memory.kernel");
    ignored(warnings, memory.kernel_tcp().is_some_and(|limit| limit != 0), "memory.kernelTCP");
    ignored(warnings, memory.swappiness().is_some(), "memory.swappiness");
    ignored(warnings, memory.disable_oom_killer() == Some(true), "memory.disableOOMKiller");
    Ok(())
}

/// The bound of swap alone, which cgroup v2 has, from that of memory and swap together, which config.json has.
fn swap_max(limit: Option<Amount>, both: Option<Amount>, current: &Current) -> Result<Option<Amount>> {
    match (limit, both) {
        (Some(Amount::Max), None) | (_, Some(Amount::Max)) => Ok(Some(Amount::Max)),
        (None, None) => Ok(None),
        // Not to be divided; runc takes it for swap alone.
        (Some(Amount::Max), Some(both)) => Ok(Some(both)),
        (Some(Amount::Of(limit)), Some(Amount::Of(both))) => above(limit, both).map(Some),
        (None, Some(Amount::Of(both))) => match current.memory_max {
            Some(Amount::Of(limit)) => above(limit, both).map(Some),
            _ => Err(refused("memory.swap", "unable to set swap limit without memory limit")),
        },
        // The sum stays as it is. No swap stays no swap: where there was none an update must not bring it.
        (Some(Amount::Of(limit)), None) => match (current.memory_max, current.swap_max) {
            (Some(Amount::Of(memory)), Some(Amount::Of(swap @ 1..))) => {
                let both = memory.saturating_add(swap);
                above(limit, both).map(Some).map_err(|error| error.hint("that is the one in force: give both"))
            }
            _ => Ok(None),
        },
    }
}

fn above(limit: i64, both: i64) -> Result<Amount> {
    if both < limit {
        let message = format!("memory+swap limit should be >= memory limit, but {both} is less than {limit}");
        return Err(refused("memory.swap", message));
    }
    Ok(Amount::Of(both - limit))
}

/// `checkBeforeUpdate`: no limit at or below what is in use, nor an attempt to get there.
fn check_usage(limit: Option<Amount>, both: Option<Amount>, current: &Current) -> Result<()> {
    let Some(used) = current.memory_used else { return Ok(()) };
    for (amount, field, name) in [(both, "memory.swap", "memory+swap"), (limit, "memory.limit", "memory")] {
        if let Some(Amount::Of(amount)) = amount
            && amount.unsigned_abs() <= used
        {
            return Err(refused(field, format!("rejecting {name} limit {amount} <= usage {used}")));
        }
    }
    Ok(())
}
