//! The limits in force, as far as new ones depend on them.

use super::memory::Amount;

/// What a cgroup's files say. The default is a cgroup that is yet to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Current {
    /// `memory.max`, in bytes; `None` without the file.
    pub(super) memory_max: Option<Amount>,
    /// `memory.swap.max`, in bytes, without memory; `None` without the file.
    pub(super) swap_max: Option<Amount>,
    /// `memory.current`: bytes in use.
    pub(super) memory_used: Option<u64>,
    /// The quota of `cpu.max` in microseconds; `None` for no limit.
    pub(super) quota: Option<u64>,
    /// The period of `cpu.max` in microseconds.
    pub(super) period: u64,
    /// `cpu.max.burst` in microseconds.
    pub(super) burst: u64,
    /// `cpu.idle`.
    pub(super) idle: bool,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            memory_max: None,
            swap_max: None,
            memory_used: None,
            quota: None,
            // The kernel's default (cgroup-v2.rst, cpu.max).
            period: 100_000,
            burst: 0,
            idle: false,
        }
    }
}

impl Current {
    /// Understands the files of a cgroup, which `read` gives if they exist.
    pub(in crate::cgroup) fn read(read: impl Fn(&str) -> Option<String>) -> Self {
        let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
        let amount = |file: &str| Amount::read(&read(file)?);
        let default = Self::default();
        let cpu_max = read("cpu.max").unwrap_or_default();
        let (quota, period) = cpu_max.trim().split_once(' ').unwrap_or_default();
        Self {
            memory_max: amount("memory.max"),
            swap_max: amount("memory.swap.max"),
            memory_used: number("memory.current"),
            quota: quota.parse().ok(),
            period: period.parse().unwrap_or(default.period),
            burst: number("cpu.max.burst").unwrap_or(default.burst),
            idle: number("cpu.idle") == Some(1),
        }
    }
}
