//! Limits and device rules as properties of a systemd unit (systemd.resource-control(5)). Pure.
//!
//! The cgroup's files are what counts, and we write them ourselves. systemd gets the same values so that it does not
//! put its own back when it looks at the unit again.

use super::super::devices::{self, Access, Kind, List};
use super::super::resources::Write;

/// A property of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) name: &'static str,
    pub(super) value: Value,
    /// The version of systemd that brought it, where onggi meets older ones; 0 otherwise.
    pub(super) since: u32,
}

impl Property {
    pub(super) fn new(name: &'static str, value: Value) -> Self {
        Self { name, value, since: 0 }
    }
}

/// The value of a property, of one of the D-Bus types that we need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `b`.
    Bool(bool),
    /// `i`.
    I32(i32),
    /// `t`; the largest one stands for infinity.
    U64(u64),
    /// `s`.
    Text(String),
    /// `as`.
    Texts(Vec<String>),
    /// `ay`.
    Bytes(Vec<u8>),
    /// `au`.
    Pids(Vec<u32>),
    /// `a(ss)`.
    Pairs(Vec<(String, String)>),
}

/// Can be set only when the unit is made.
pub(super) const OOM_POLICY: &str = "OOMPolicy";

/// "No limit" among numbers.
const INFINITY: u64 = u64::MAX;

/// The steps in which systemd keeps a quota: 10 ms of CPU time a second.
const QUOTA_STEP: u64 = 10_000;

/// The period that the kernel begins with, in µs.
const DEFAULT_PERIOD: u64 = 100_000;

/// The properties for `writes`. Files that systemd knows nothing of, and values that it would not take, are left to
/// the cgroup's files. The last write to a file counts, as it does there.
pub(super) fn of_writes(writes: &[Write]) -> Vec<Property> {
    let mut properties: Vec<Property> = Vec::new();
    for property in writes.iter().flat_map(of_write) {
        properties.retain(|earlier| earlier.name != property.name);
        properties.push(property);
    }
    properties
}

fn of_write(write: &Write) -> Vec<Property> {
    let value = write.value.trim();
    // What systemd refuses, it refuses together with all the rest: such values are for the kernel to judge.
    let number = |name, least| {
        let amount = amount(value).filter(|amount| *amount >= least);
        amount.map(|amount| Property::new(name, Value::U64(amount))).into_iter().collect()
    };
    let mask = |name| mask(value).map(|mask| Property::new(name, Value::Bytes(mask))).into_iter().collect();
    match write.file.as_str() {
        "memory.max" => number("MemoryMax", 1),
        "memory.high" => number("MemoryHigh", 1),
        "memory.low" => number("MemoryLow", 0),
        "memory.min" => number("MemoryMin", 0),
        "memory.swap.max" => number("MemorySwapMax", 0),
        // Otherwise systemd puts back its own choice, `continue`.
        "memory.oom.group" => {
            let policy = if value == "1" { "kill" } else { "continue" };
            vec![Property { since: 253, ..Property::new(OOM_POLICY, Value::Text(policy.to_owned())) }]
        }
        "pids.max" => number("TasksMax", 1),
        "cpu.weight" => {
            let weight = amount(value).filter(|weight| (1..=10_000).contains(weight));
            weight.map(|weight| Property::new("CPUWeight", Value::U64(weight))).into_iter().collect()
        }
        // The kernel's default, which leaving idleness brings back.
        "cpu.idle" if value == "0" => vec![Property::new("CPUWeight", Value::U64(100))],
        "cpu.idle" if value == "1" => vec![Property { since: 252, ..Property::new("CPUWeight", Value::U64(0)) }],
        "cpu.max" => cpu_max(value).map_or_else(Vec::new, |(quota, period)| {
            vec![
                Property::new("CPUQuotaPeriodUSec", Value::U64(period)),
                Property::new(
                    "CPUQuotaPerSecUSec",
                    Value::U64(quota.map_or(INFINITY, |quota| a_second(quota, period))),
                ),
            ]
        }),
        "cpuset.cpus" => mask("AllowedCPUs"),
        "cpuset.mems" => mask("AllowedMemoryNodes"),
        _ => Vec::new(),
    }
}

/// Replaces quotas by what systemd makes of them, so that the file says the same whoever wrote it last.
pub(in super::super) fn round_quotas(writes: &mut [Write]) {
    for write in writes.iter_mut().filter(|write| write.file == "cpu.max") {
        if let Some((Some(quota), period)) = cpu_max(&write.value) {
            let quota = u128::from(a_second(quota, period)) * u128::from(period) / 1_000_000;
            write.value = format!("{quota} {period}");
        }
    }
}

/// Quota and period of `cpu.max`, in µs; no quota for `max`.
fn cpu_max(value: &str) -> Option<(Option<u64>, u64)> {
    let mut words = value.split_ascii_whitespace();
    let quota = match words.next()? {
        "max" => None,
        quota => Some(quota.parse().ok()?),
    };
    let period = words.next().map_or(Ok(DEFAULT_PERIOD), str::parse).ok().filter(|period| *period > 0)?;
    Some((quota, period))
}

/// A quota as µs of CPU time a second, rounded up to what systemd can keep.
fn a_second(quota: u64, period: u64) -> u64 {
    let exact = u128::from(quota) * 1_000_000 / u128::from(period);
    let rounded = exact.div_ceil(u128::from(QUOTA_STEP)) * u128::from(QUOTA_STEP);
    u64::try_from(rounded).unwrap_or(INFINITY)
}

/// A number as the kernel reads it in the files of cgroups: `max`, or digits with a binary suffix.
fn amount(value: &str) -> Option<u64> {
    if value == "max" {
        return Some(INFINITY);
    }
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &value[digits.len()..] {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A list such as `0-2,5` as a mask, bit i of byte i/8; `None` for what is no such list or beyond all machines.
fn mask(list: &str) -> Option<Vec<u8>> {
    const MOST: usize = 1 << 16;
    let mut mask = Vec::new();
    for range in list.split(',').map(str::trim) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        if mask.len() <= last / 8 {
            mask.resize(last / 8 + 1, 0);
        }
        for bit in first..=last {
            mask[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(mask)
}

/// The device rules as systemd states them. It can list what is allowed, by exact numbers, by a major number or by
/// kind. Where that does not say it, systemd is to allow everything: our own program decides, and a second one that
/// allows less would forbid what the config allows.
pub(super) fn of_devices(list: &List) -> Vec<Property> {
    let entries: Option<Vec<_>> =
        list.exceptions.iter().map(|(device, access)| Some((pattern(device)?, letters(*access)))).collect();
    let (policy, entries) = match entries {
        Some(entries) if !list.allow => ("strict", entries),
        _ => ("auto", Vec::new()),
    };
    let mut properties = vec![Property::new("DevicePolicy", Value::Text(policy.to_owned()))];
    if !entries.is_empty() {
        properties.push(Property::new("DeviceAllow", Value::Pairs(entries)));
    }
    properties
}

/// systemd takes the numbers out of such paths, so that no node needs to be there; of `char-136` likewise.
fn pattern(device: &devices::Device) -> Option<String> {
    let kind = if device.kind == Kind::Block { "block" } else { "char" };
    match (device.major, device.minor) {
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
        (Some(major), None) => Some(format!("{kind}-{major}")),
        (None, None) => Some(format!("{kind}-*")),
        (None, Some(_)) => None,
    }
}

fn letters(access: Access) -> String {
    let letters = [(Access::READ, 'r'), (Access::WRITE, 'w'), (Access::MKNOD, 'm')];
    letters.iter().filter(|(bit, _)| access.0 & bit.0 != 0).map(|(_, letter)| *letter).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::resources::{IfMissing, Write};
    use super::{INFINITY, Property, Value, of_devices, of_writes, round_quotas};
    use crate::cgroup::devices::List;

    fn writes(lines: &[(&str, &str)]) -> Vec<Write> {
        let write = |(file, value): &(&str, &str)| Write {
            file: (*file).to_owned(),
            value: (*value).to_owned(),
            field: "f".to_owned(),
            if_missing: IfMissing::Refuse,
        };
        lines.iter().map(write).collect()
    }

    fn check(lines: &[(&str, &str)], expected: &[(&str, Value)]) {
        let made = of_writes(&writes(lines));
        let made: Vec<_> = made.into_iter().map(|property| (property.name, property.value)).collect();
        assert_eq!(made, expected, "{lines:?}");
    }

    #[test]
    fn numbers() {
        check(&[("memory.max", "max")], &[("MemoryMax", Value::U64(INFINITY))]);
        check(&[("memory.max", "64M")], &[("MemoryMax", Value::U64(64 << 20))]);
        check(&[("memory.max", "0")], &[]);
        check(&[("memory.max", "much")], &[]);
        check(&[("memory.max", "20000000000G")], &[]);
        check(&[("memory.swap.max", "0")], &[("MemorySwapMax", Value::U64(0))]);
        check(
            &[("memory.low", "5"), ("memory.min", "6")],
            &[("MemoryLow", Value::U64(5)), ("MemoryMin", Value::U64(6))],
        );
        check(&[("pids.max", "7"), ("pids.max", "max\n")], &[("TasksMax", Value::U64(INFINITY))]);
        check(&[("memory.high", "9"), ("io.max", "8:0 rbps=1")], &[("MemoryHigh", Value::U64(9))]);
        check(&[("cpu.weight", "100")], &[("CPUWeight", Value::U64(100))]);
        check(&[("cpu.weight", "10001")], &[]);
        check(&[("cpu.weight", "100"), ("cpu.idle", "1")], &[("CPUWeight", Value::U64(0))]);
        check(&[("cpu.idle", "0")], &[("CPUWeight", Value::U64(100))]);
        check(&[("cpu.idle", "0"), ("cpu.weight", "7")], &[("CPUWeight", Value::U64(7))]);
        check(&[("memory.oom.group", "1")], &[("OOMPolicy", Value::Text("kill".to_owned()))]);
        assert_eq!(of_writes(&writes(&[("cpu.idle", "1")]))[0].since, 252);
    }

    #[test]
    fn quotas() {
        let check_max = |value: &str, a_second: u64, period: u64, written: &str| {
            let mut list = writes(&[("cpu.max", value)]);
            let expected = [
                Property::new("CPUQuotaPeriodUSec", Value::U64(period)),
                Property::new("CPUQuotaPerSecUSec", Value::U64(a_second)),
            ];
            assert_eq!(of_writes(&list), expected, "{value}");
            round_quotas(&mut list);
            assert_eq!(list[0].value, written, "{value}");
            assert_eq!(of_writes(&list), expected, "{value}: rounding changes no more");
        };
        check_max("50000 100000", 500_000, 100_000, "50000 100000");
        check_max("50001 100000", 510_000, 100_000, "51000 100000");
        check_max("1000 7000", 150_000, 7000, "1050 7000");
        check_max("200000", 2_000_000, 100_000, "200000 100000");
        check_max("max 5000", INFINITY, 5000, "max 5000");
        check(&[("cpu.max", "x 5000")], &[]);
        check(&[("cpu.max", "5000 0")], &[]);
    }

    #[test]
    fn masks() {
        check(&[("cpuset.cpus", "0-1,3")], &[("AllowedCPUs", Value::Bytes(vec![0b1011]))]);
        check(&[("cpuset.cpus", "9")], &[("AllowedCPUs", Value::Bytes(vec![0, 2]))]);
        check(&[("cpuset.mems", " 0 , 7-8 ")], &[("AllowedMemoryNodes", Value::Bytes(vec![0x81, 1]))]);
        for odd in ["", "a", "2-1", "0-65536", "0-7:1/2"] {
            check(&[("cpuset.cpus", odd)], &[]);
        }
    }

    fn check_devices(rules: &str, policy: &str, expected: &[(&str, &str)]) {
        let list = List::of(&serde_json::from_str::<Vec<_>>(rules).unwrap()).unwrap();
        let properties = of_devices(&list);
        assert_eq!(properties[0], Property::new("DevicePolicy", Value::Text(policy.to_owned())));
        let allowed = match properties.get(1).map(|property| &property.value) {
            Some(Value::Pairs(pairs)) => pairs.iter().map(|(path, access)| (path.as_str(), access.as_str())).collect(),
            _ => Vec::new(),
        };
        assert_eq!(allowed, expected, "{rules}");
    }

    #[test]
    fn device_rules() {
        let defaults = [
            ("block-*", "m"),
            ("char-*", "m"),
            ("/dev/char/1:3", "rwm"),
            ("/dev/char/1:5", "rwm"),
            ("/dev/char/1:7", "rwm"),
            ("/dev/char/1:8", "rwm"),
            ("/dev/char/1:9", "rwm"),
            ("/dev/char/5:0", "rwm"),
            ("/dev/char/5:1", "rwm"),
            ("/dev/char/5:2", "rwm"),
            ("/dev/char/10:200", "rwm"),
            ("char-136", "rwm"),
        ];
        let sorted = |more: &[(&'static str, &'static str)]| {
            let mut all = defaults.to_vec();
            all.extend(more);
            all
        };
        // In the order of kinds and numbers, whatever the order of the rules.
        let one_more = r#"[{"allow": true, "type": "b", "major": 8, "access": "r"}]"#;
        let list = List::of(&serde_json::from_str::<Vec<_>>(one_more).unwrap()).unwrap();
        let Value::Pairs(mut made) = of_devices(&list)[1].value.clone() else { panic!("a list") };
        let mut expected: Vec<_> = sorted(&[("block-8", "r")])
            .iter()
            .map(|(path, access)| ((*path).to_owned(), (*access).to_owned()))
            .collect();
        made.sort();
        expected.sort();
        assert_eq!(made, expected);
        check_devices(r#"[{"allow": true, "access": "rwm"}]"#, "auto", &[]);
        check_devices(
            r#"[{"allow": true, "access": "rwm"}, {"allow": false, "type": "c", "major": 10, "minor": 229,
            "access": "rwm"}]"#,
            "auto",
            &[],
        );
        check_devices(r#"[{"allow": true, "type": "c", "minor": 7, "access": "r"}]"#, "auto", &[]);
    }
}
