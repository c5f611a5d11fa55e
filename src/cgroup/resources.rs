//! `linux.resources` as an ordered list of writes to the files of a cgroup (cgroup v2). Pure.

use super::weight;
use crate::error::{Error, Result};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxPids, LinuxRdma, LinuxResources, LinuxThrottleDevice,
};
use std::collections::HashMap;
use std::fmt;

/// One value for one file of the container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The file's name.
    pub file: String,
    /// What is written to it, in one write(2).
    pub value: String,
    /// The field of config.json that asked for it.
    pub field: String,
    /// What to do when the kernel has no such file here.
    pub if_missing: IfMissing,
}

impl Write {
    /// The controller that the file belongs to; `cgroup` for the core's own files.
    pub fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or_default()
    }

    /// Whether something is asked for that needs the controller, as opposed to "no limit", which is so without it.
    pub fn is_limit(&self) -> bool {
        self.if_missing != IfMissing::Skip
    }
}

/// What to do when a file is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMissing {
    /// Fail: a limit was asked for that can't be kept.
    Refuse,
    /// Go on: the value means "no limit", or another file carries the limit.
    Skip,
    /// Write this to another file, which must exist.
    Instead {
        /// Its name.
        file: &'static str,
        /// What is written to it.
        value: String,
    },
}

/// What to write for `resources`, in the order of writing. Limits that cgroup v2 lacks are ignored as in runc, but
/// named in `warnings`.
///
/// # Errors
/// `InvalidConfig` for values that contradict each other or can't be meant.
pub(super) fn writes(resources: &LinuxResources, warnings: &mut Vec<String>) -> Result<Vec<Write>> {
    let mut list = List(Vec::new());
    if let Some(limit) = resources.pids() {
        pids(&mut list, *limit);
    }
    if let Some(limits) = resources.memory() {
        memory(&mut list, limits, warnings)?;
    }
    if let Some(limits) = resources.block_io() {
        block_io(&mut list, limits, warnings)?;
    }
    if let Some(limits) = resources.cpu() {
        cpu(&mut list, limits, warnings)?;
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        hugetlb(&mut list, index, limit)?;
    }
    if let Some(limits) = resources.rdma() {
        rdma(&mut list, limits)?;
    }
    if let Some(network) = resources.network() {
        ignored(warnings, network.class_id().is_some_and(|id| id != 0), "network.classID");
        ignored(warnings, network.priorities().as_ref().is_some_and(|list| !list.is_empty()), "network.priorities");
    }
    // Last, so that it has the final word over the typed ones.
    if let Some(files) = resources.unified() {
        unified(&mut list, files)?;
    }
    Ok(list.0)
}

/// The list being made.
struct List(Vec<Write>);

impl List {
    /// A value for `file`. One that begins with `max` means "no limit", which a missing file means as well.
    fn set(&mut self, file: impl Into<String>, value: impl fmt::Display, field: impl fmt::Display) {
        let value = value.to_string();
        let no_limit = value == "max" || value.starts_with("max ") || value.ends_with("=max");
        let if_missing = if no_limit { IfMissing::Skip } else { IfMissing::Refuse };
        self.push(file, value, field, if_missing);
    }

    fn push(&mut self, file: impl Into<String>, value: String, field: impl fmt::Display, if_missing: IfMissing) {
        self.0.push(Write { file: file.into(), value, field: format!("linux.resources.{field}"), if_missing });
    }
}

/// An amount that may be without bound; written -1 in config.json and `max` in cgroup files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    Max,
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
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Of(value) => value.fmt(f),
        }
    }
}

fn refused(field: impl fmt::Display, message: impl AsRef<str>) -> Error {
    Error::config(format!("linux.resources.{field}"), message)
}

fn ignored(warnings: &mut Vec<String>, given: bool, field: &str) {
    if given {
        warnings.push(format!("config.json: linux.resources.{field} is ignored: cgroup v2 has nothing like it"));
    }
}

/// As in runc a limit of 0 is not "none" (Docker's meaning, which it translates itself) but the smallest there is.
fn pids(list: &mut List, limit: LinuxPids) {
    match limit.limit() {
        ..0 => list.set("pids.max", "max", "pids.limit"),
        limit => list.set("pids.max", limit.max(1), "pids.limit"),
    }
}

fn memory(list: &mut List, memory: &LinuxMemory, warnings: &mut Vec<String>) -> Result<()> {
    let limit = Amount::of(memory.limit(), "memory.limit")?;
    // Swap first: when a limit falls the pages it pushes out should meet the new bound.
    match (limit, Amount::of(memory.swap(), "memory.swap")?) {
        (Some(Amount::Max), None) | (_, Some(Amount::Max)) => list.set("memory.swap.max", "max", "memory.swap"),
        (_, None) => {}
        // config.json bounds memory and swap together, cgroup v2 swap alone.
        (Some(Amount::Of(limit)), Some(Amount::Of(both))) if both > limit => {
            list.set("memory.swap.max", both - limit, "memory.swap");
        }
        // A kernel without swap accounting has no such file, but then there is nothing to forbid.
        (Some(Amount::Of(limit)), Some(Amount::Of(both))) if both == limit => {
            list.push("memory.swap.max", "0".to_owned(), "memory.swap", IfMissing::Skip);
        }
        (Some(Amount::Of(limit)), Some(Amount::Of(both))) => {
            let message = format!("memory+swap limit should be >= memory limit, but {both} is less than {limit}");
            return Err(refused("memory.swap", message));
        }
        (None | Some(Amount::Max), Some(Amount::Of(_))) => {
            return Err(refused("memory.swap", "unable to set swap limit without memory limit"));
        }
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

fn block_io(list: &mut List, io: &LinuxBlockIo, warnings: &mut Vec<String>) -> Result<()> {
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        io_weight(list, "", weight, "blockIO.weight")?;
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let field = format!("blockIO.weightDevice[{index}]");
        if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
            io_weight(list, &device_prefix(device.major(), device.minor(), &field)?, weight, &field)?;
        }
        ignored(warnings, device.leaf_weight().is_some_and(|weight| weight != 0), &format!("{field}.leafWeight"));
    }
    ignored(warnings, io.leaf_weight().is_some_and(|weight| weight != 0), "blockIO.leafWeight");
    throttle(list, io.throttle_read_bps_device(), "rbps", "throttleReadBpsDevice")?;
    throttle(list, io.throttle_write_bps_device(), "wbps", "throttleWriteBpsDevice")?;
    throttle(list, io.throttle_read_iops_device(), "riops", "throttleReadIOPSDevice")?;
    throttle(list, io.throttle_write_iops_device(), "wiops", "throttleWriteIOPSDevice")
}

/// The weight of the BFQ scheduler where the kernel has it, which takes config.json's range as it is; else that of the
/// cost model. runc drops the weights of single devices in the second case, crun and we do not.
fn io_weight(list: &mut List, device: &str, weight: u16, field: &str) -> Result<()> {
    if !(10..=1000).contains(&weight) {
        return Err(refused(field, format!("weight {weight} is not between 10 and 1000")));
    }
    let instead = IfMissing::Instead { file: "io.weight", value: format!("{device}{}", weight::of_io(weight)) };
    list.push("io.bfq.weight", format!("{device}{weight}"), field, instead);
    Ok(())
}

fn throttle(list: &mut List, devices: &Option<Vec<LinuxThrottleDevice>>, key: &str, name: &str) -> Result<()> {
    for (index, device) in devices.iter().flatten().enumerate() {
        let field = format!("blockIO.{name}[{index}]");
        let device_prefix = device_prefix(device.major(), device.minor(), &field)?;
        // The kernel refuses a rate of 0; config.json means by it what cgroup v1 did: no limit.
        match device.rate() {
            0 => list.set("io.max", format!("{device_prefix}{key}=max"), field),
            rate => list.set("io.max", format!("{device_prefix}{key}={rate}"), field),
        }
    }
    Ok(())
}

/// `MAJOR:MINOR ` as the io controller's files have it before a value.
fn device_prefix(major: i64, minor: i64, field: &str) -> Result<String> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(format!("{major}:{minor} ")),
        _ => Err(refused(field, format!("{major}:{minor} are not the numbers of a device"))),
    }
}

fn cpu(list: &mut List, cpu: &LinuxCpu, warnings: &mut Vec<String>) -> Result<()> {
    if !matches!(cpu.idle(), None | Some(0 | 1)) {
        return Err(refused("cpu.idle", "must be 0 or 1"));
    }
    let weight = weight::of_cpu(cpu.shares().unwrap_or(0));
    // An idle cgroup has no weight, and the kernel refuses one (EINVAL); so leave idleness first, enter it last.
    if cpu.idle() == Some(0) {
        list.set("cpu.idle", 0, "cpu.idle");
    }
    match weight {
        Some(_) if cpu.idle() == Some(1) => {
            warnings.push("config.json: linux.resources.cpu.shares is ignored: cpu.idle is 1".to_owned());
        }
        Some(weight) => list.set("cpu.weight", weight, "cpu.shares"),
        None => {}
    }
    if cpu.idle() == Some(1) {
        list.set("cpu.idle", 1, "cpu.idle");
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        // The kernel's default, which must be given when only the quota is known.
        let period = period.unwrap_or(100_000);
        match quota {
            Some(quota @ 1..) => list.set("cpu.max", format!("{quota} {period}"), "cpu.quota"),
            _ => list.set("cpu.max", format!("max {period}"), "cpu.period"),
        }
    }
    // After the quota, which it must not exceed.
    if let Some(burst) = cpu.burst() {
        list.set("cpu.max.burst", burst, "cpu.burst");
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

fn hugetlb(list: &mut List, index: usize, limit: &LinuxHugepageLimit) -> Result<()> {
    let field = format!("hugepageLimits[{index}]");
    let size = limit.page_size();
    // It becomes part of a file name: runc 1.1.10 closed a way to write other files by it.
    let number = size.strip_suffix("KB").or_else(|| size.strip_suffix("MB")).or_else(|| size.strip_suffix("GB"));
    let well_formed = number.is_some_and(|digits| {
        digits.starts_with(|first: char| matches!(first, '1'..='9')) && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !well_formed {
        return Err(refused(format!("{field}.pageSize"), format!("{size:?} is not a size such as 2MB or 1GB")));
    }
    if limit.limit() < 0 {
        return Err(refused(format!("{field}.limit"), format!("{} is not a number of bytes", limit.limit())));
    }
    list.set(format!("hugetlb.{size}.max"), limit.limit(), &field);
    list.push(format!("hugetlb.{size}.rsvd.max"), limit.limit().to_string(), &field, IfMissing::Skip);
    Ok(())
}

fn rdma(list: &mut List, limits: &HashMap<String, LinuxRdma>) -> Result<()> {
    let mut devices: Vec<_> = limits.iter().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        let field = format!("rdma[{name:?}]");
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(refused(field, "is not the name of a device"));
        }
        let handles = limit.hca_handles().map(|count| format!(" hca_handle={count}")).unwrap_or_default();
        let objects = limit.hca_objects().map(|count| format!(" hca_object={count}")).unwrap_or_default();
        if !handles.is_empty() || !objects.is_empty() {
            list.set("rdma.max", format!("{name}{handles}{objects}"), field);
        }
    }
    Ok(())
}

/// Files of the core that are no resources: through them the config would move or kill processes of the host, or
/// freeze the container before it runs.
const NO_RESOURCES: [&str; 5] = ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.type"];

fn unified(list: &mut List, files: &HashMap<String, String>) -> Result<()> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by_key(|(name, _)| *name);
    for (name, value) in files {
        let field = format!("unified[{name:?}]");
        if name.contains('/') {
            return Err(refused(field, format!("unified resource {name:?} must be a file name (no slashes)")));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let parts = name.split_once('.').is_some_and(|(controller, file)| !controller.is_empty() && !file.is_empty());
        if !parts || !name.chars().all(allowed) {
            let message = format!("unified resource {name:?} must be in the form CONTROLLER.PARAMETER");
            return Err(refused(field, message));
        }
        if NO_RESOURCES.contains(&name.as_str()) {
            return Err(refused(field, format!("unified resource {name:?} is not a resource: remove it")));
        }
        // Files such as io.max take one line a write.
        for line in value.lines().filter(|line| !line.trim().is_empty()) {
            list.push(name, line.to_owned(), &field, IfMissing::Refuse);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{IfMissing, Write, writes};
    use oci_spec::runtime::LinuxResources;

    /// What `config`, a fragment of JSON, makes: `file=value`, with `?` for a file that may be missing.
    fn made(config: &str) -> (Result<Vec<String>, String>, Vec<String>) {
        let resources: LinuxResources = serde_json::from_str(config).unwrap();
        let mut warnings = Vec::new();
        let shown = |write: &Write| match &write.if_missing {
            IfMissing::Refuse => format!("{}={}", write.file, write.value),
            IfMissing::Skip => format!("{}={}?", write.file, write.value),
            IfMissing::Instead { file, value } => format!("{}={} or {file}={value}", write.file, write.value),
        };
        let list = writes(&resources, &mut warnings);
        (list.map(|list| list.iter().map(shown).collect()).map_err(|error| error.to_string()), warnings)
    }

    fn check(config: &str, expected: &[&str]) {
        let (list, warnings) = made(config);
        assert_eq!(list.unwrap(), expected, "{config}");
        assert!(warnings.is_empty(), "{config}: {warnings:?}");
    }

    fn check_refused(config: &str, phrase: &str) {
        let error = made(config).0.unwrap_err();
        assert!(error.starts_with("config.json: linux.resources.") && error.contains(phrase), "{config}: {error}");
    }

    #[test]
    fn nothing() {
        check("{}", &[]);
        check(r#"{"memory": {}, "cpu": {}, "blockIO": {}, "unified": {}, "hugepageLimits": []}"#, &[]);
    }

    #[test]
    fn pids() {
        check(r#"{"pids": {"limit": 50}}"#, &["pids.max=50"]);
        check(r#"{"pids": {"limit": 0}}"#, &["pids.max=1"]);
        check(r#"{"pids": {"limit": -1}}"#, &["pids.max=max?"]);
    }

    #[test]
    fn memory() {
        check(r#"{"memory": {"limit": 100}}"#, &["memory.max=100"]);
        check(r#"{"memory": {"limit": 0, "reservation": 0, "swap": 0}}"#, &[]);
        check(r#"{"memory": {"limit": -1}}"#, &["memory.swap.max=max?", "memory.max=max?"]);
        check(r#"{"memory": {"limit": 100, "swap": -1}}"#, &["memory.swap.max=max?", "memory.max=100"]);
        check(r#"{"memory": {"swap": -1}}"#, &["memory.swap.max=max?"]);
        check(r#"{"memory": {"limit": -1, "swap": -1}}"#, &["memory.swap.max=max?", "memory.max=max?"]);
        check(r#"{"memory": {"limit": 100, "swap": 100}}"#, &["memory.swap.max=0?", "memory.max=100"]);
        check(r#"{"memory": {"limit": 100, "swap": 150}}"#, &["memory.swap.max=50", "memory.max=100"]);
        check(r#"{"memory": {"limit": 100, "swap": 0}}"#, &["memory.max=100"]);
        check(r#"{"memory": {"reservation": 60}}"#, &["memory.low=60"]);
        check(r#"{"memory": {"reservation": -1}}"#, &["memory.low=max?"]);
        check_refused(r#"{"memory": {"limit": 100, "swap": 99}}"#, "memory+swap limit should be >= memory limit");
        check_refused(r#"{"memory": {"swap": 99}}"#, "unable to set swap limit without memory limit");
        check_refused(r#"{"memory": {"limit": -1, "swap": 99}}"#, "unable to set swap limit without memory limit");
        check_refused(r#"{"memory": {"limit": -2}}"#, "linux.resources.memory.limit: -2");
    }

    #[test]
    fn cpu() {
        check(r#"{"cpu": {"shares": 1024}}"#, &["cpu.weight=100"]);
        check(r#"{"cpu": {"shares": 0}}"#, &[]);
        check(r#"{"cpu": {"quota": 50000, "period": 100000}}"#, &["cpu.max=50000 100000"]);
        check(r#"{"cpu": {"quota": 50000}}"#, &["cpu.max=50000 100000"]);
        check(r#"{"cpu": {"quota": 50000, "period": 0}}"#, &["cpu.max=50000 100000"]);
        check(r#"{"cpu": {"quota": -1}}"#, &["cpu.max=max 100000?"]);
        check(r#"{"cpu": {"quota": 0}}"#, &[]);
        check(r#"{"cpu": {"period": 5000}}"#, &["cpu.max=max 5000?"]);
        check(r#"{"cpu": {"quota": 5000, "burst": 500}}"#, &["cpu.max=5000 100000", "cpu.max.burst=500"]);
        check(r#"{"cpu": {"idle": 1}}"#, &["cpu.idle=1"]);
        check(r#"{"cpu": {"idle": 0, "shares": 2}}"#, &["cpu.idle=0", "cpu.weight=1"]);
        check(r#"{"cpu": {"cpus": "0-1,3", "mems": "0"}}"#, &["cpuset.cpus=0-1,3", "cpuset.mems=0"]);
        check(r#"{"cpu": {"cpus": "", "mems": ""}}"#, &[]);
        check_refused(r#"{"cpu": {"idle": 2}}"#, "cpu.idle: must be 0 or 1");
    }

    #[test]
    fn block_io() {
        check(r#"{"blockIO": {"weight": 750}}"#, &["io.bfq.weight=750 or io.weight=7475"]);
        check(r#"{"blockIO": {"weight": 0}}"#, &[]);
        check(
            r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 16, "weight": 10}, {"major": 8, "minor": 0}]}}"#,
            &["io.bfq.weight=8:16 10 or io.weight=8:16 1"],
        );
        check(
            r#"{"blockIO": {
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 10}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 20}, {"major": 9, "minor": 1, "rate": 0}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 30}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 18446744073709551615}]}}"#,
            &[
                "io.max=8:0 rbps=10",
                "io.max=8:0 wbps=20",
                "io.max=9:1 wbps=max?",
                "io.max=8:0 riops=30",
                "io.max=8:0 wiops=18446744073709551615",
            ],
        );
        check_refused(r#"{"blockIO": {"weight": 9}}"#, "weight 9 is not between 10 and 1000");
        check_refused(r#"{"blockIO": {"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}}"#, "[0]: -1:0");
    }

    #[test]
    fn hugetlb() {
        check(
            r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "64KB", "limit": 65536}]}"#,
            &["hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0?", "hugetlb.64KB.max=65536", "hugetlb.64KB.rsvd.max=65536?"],
        );
        for size in ["", "MB", "2", "2mb", "02MB", "2TB", "../x/2MB", "2.5GB", "2MB/../../x", "-2MB", "2 MB"] {
            let config = format!(r#"{{"hugepageLimits": [{{"pageSize": "{size}", "limit": 1}}]}}"#);
            check_refused(&config, "hugepageLimits[0].pageSize");
        }
        check_refused(r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": -1}]}"#, "hugepageLimits[0].limit");
    }

    #[test]
    fn rdma() {
        check(
            r#"{"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 7}, "x": {}}}"#,
            &["rdma.max=mlx4_0 hca_object=7", "rdma.max=mlx5_1 hca_handle=3 hca_object=10000"],
        );
        check_refused(r#"{"rdma": {"a b": {"hcaHandles": 3}}}"#, "is not the name of a device");
    }

    #[test]
    fn unified() {
        check(
            r#"{"unified": {"memory.high": "100", "io.max": "8:0 rbps=1\n\n8:16 rbps=2\n", "cgroup.max.depth": "3"}}"#,
            &["cgroup.max.depth=3", "io.max=8:0 rbps=1", "io.max=8:16 rbps=2", "memory.high=100"],
        );
        check(
            r#"{"unified": {"memory.max": "max"}, "memory": {"limit": 5}, "pids": {"limit": 7}}"#,
            &["pids.max=7", "memory.max=5", "memory.max=max"],
        );
        check_refused(r#"{"unified": {"a/b": "1"}}"#, r#"unified resource "a/b" must be a file name (no slashes)"#);
        for name in ["foo", "", ".", "..", ".foo", "foo.", "foo.b r", "foo.\u{e9}"] {
            check_refused(&format!(r#"{{"unified": {{"{name}": "1"}}}}"#), "must be in the form CONTROLLER.PARAMETER");
        }
        check_refused(r#"{"unified": {"cgroup.procs": "1"}}"#, "is not a resource");
    }

    #[test]
    fn ignored_but_told() {
        for (config, field) in [
            (r#"{"memory": {"kernel": 5}}"#, "memory.kernel "),
            (r#"{"memory": {"kernelTCP": 5}}"#, "memory.kernelTCP "),
            (r#"{"memory": {"swappiness": 5}}"#, "memory.swappiness "),
            (r#"{"memory": {"disableOOMKiller": true}}"#, "memory.disableOOMKiller "),
            (r#"{"cpu": {"realtimeRuntime": 5}}"#, "cpu.realtimeRuntime "),
            (r#"{"cpu": {"realtimePeriod": 5}}"#, "cpu.realtimePeriod "),
            (r#"{"blockIO": {"leafWeight": 50}}"#, "blockIO.leafWeight "),
            (r#"{"network": {"classID": 5}}"#, "network.classID "),
            (r#"{"network": {"priorities": [{"name": "eth0", "priority": 1}]}}"#, "network.priorities "),
        ] {
            let (list, warnings) = made(config);
            assert_eq!(list.unwrap(), Vec::<String>::new(), "{config}");
            assert!(warnings.len() == 1 && warnings[0].contains(field), "{config}: {warnings:?}");
        }
        let (list, warnings) = made(r#"{"cpu": {"idle": 1, "shares": 1024}}"#);
        assert_eq!(list.unwrap(), ["cpu.idle=1"]);
        assert_eq!(warnings, ["config.json: linux.resources.cpu.shares is ignored: cpu.idle is 1"]);
    }
}
