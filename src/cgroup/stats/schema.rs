//! The document of `events`: keys, their order, and what is left out, as runc's types/events.go has them.
//!
//! What cgroup v2 does not tell is in here only where runc writes it all the same, as 0.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// All there is to tell about a container's resources.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    pub(super) cpu: Cpu,
    pub(super) cpuset: CpuSet,
    pub(super) memory: Memory,
    pub(super) pids: Pids,
    pub(super) blkio: Blkio,
    /// By page size, such as `2MB`.
    pub(super) hugetlb: BTreeMap<String, HugeTlb>,
    pub(super) intel_rdt: IntelRdt,
    /// Always null: runc counts no packets either.
    pub(super) network_interfaces: (),
}

/// Processor time.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Cpu {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) usage: CpuUsage,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) throttling: Throttling,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) psi: Option<Pressure>,
}

/// In nanoseconds.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct CpuUsage {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) total: u64,
    pub(super) kernel: u64,
    pub(super) user: u64,
}

/// What `cpu.max` has held back.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Throttling {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) periods: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) throttled_periods: u64,
    /// In nanoseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) throttled_time: u64,
}

/// Switches of cgroup v1, 0 on v2.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct CpuSet {
    cpu_exclusive: u64,
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

/// In bytes.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Memory {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) cache: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) usage: MemoryEntry,
    /// Memory and swap together, as in cgroup v1.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) swap: MemoryEntry,
    /// `memory.stat` as it is.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) psi: Option<Pressure>,
}

/// One kind of memory, in bytes.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct MemoryEntry {
    /// The greatest number of all for none.
    pub(super) limit: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) usage: u64,
    /// The most that was ever in use.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) max: u64,
    /// How often the limit was in the way.
    pub(super) failcnt: u64,
}

/// Tasks.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Pids {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) current: u64,
    /// Zero, which is left out, for none.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) limit: u64,
}

/// Block devices.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blkio {
    /// In bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) io_service_bytes_recursive: Vec<BlkioEntry>,
    /// In operations.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) psi: Option<Pressure>,
}

/// One kind of operation on one device.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct BlkioEntry {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) major: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) minor: u64,
    /// `Read` or `Write`.
    pub(super) op: &'static str,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) value: u64,
}

/// Huge pages of one size.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct HugeTlb {
    /// In bytes, reserved ones included where the kernel counts them.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) usage: u64,
    /// How often the limit was in the way.
    pub(super) failcnt: u64,
}

/// Cache and memory bandwidth by resctrl, which onggi does not set up.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct IntelRdt {}

/// Pressure stall information: how long some, or all, of the tasks had to wait.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Pressure {
    #[serde(skip_serializing_if = "is_default")]
    pub(super) some: Stall,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) full: Stall,
}

/// Shares of the last 10, 60 and 300 seconds in percent, and the sum in microseconds.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Stall {
    pub(super) avg10: Percent,
    pub(super) avg60: Percent,
    pub(super) avg300: Percent,
    pub(super) total: u64,
}

/// Written as Go writes a number: 0, not 0.0.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Percent(pub(super) f64);

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let number: serde_json::Number = self.0.to_string().parse().map_err(serde::ser::Error::custom)?;
        number.serialize(to)
    }
}

/// What Go's `omitempty` and `omitzero` leave out.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
