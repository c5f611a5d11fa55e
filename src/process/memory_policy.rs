//! On which nodes of a NUMA machine the process's memory is to lie. Spec: config-linux.md, Memory policy;
//! set_mempolicy(2).

use super::number_list;
use crate::error::{Context, Error, Result};
use crate::sys::Errno;
use crate::sys::clone::InChild;
use crate::sys::mempolicy::{self, Nodes};
use oci_spec::runtime::{Linux, LinuxMemoryPolicy, MemoryPolicyFlagType as Flag, MemoryPolicyModeType as Mode};

/// All modes by their names and numbers in `include/uapi/linux/mempolicy.h`.
pub const MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// All flags by their names and bits, likewise.
pub const FLAGS: [(&str, u32); 3] =
    [("MPOL_F_NUMA_BALANCING", 1 << 13), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_STATIC_NODES", 1 << 15)];

/// `linux.memoryPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// Mode and flags.
    mode: u32,
    nodes: Nodes,
}

/// Plans `linux.memoryPolicy`.
///
/// # Errors
/// Nodes that the mode has no use for, or none where it needs some; flags that exclude each other or fit another mode.
pub fn plan(linux: Option<&Linux>) -> Result<Option<MemoryPolicy>> {
    let wanted = linux.and_then(|linux| linux.memory_policy().as_ref());
    wanted.map(checked).transpose()
}

fn checked(wanted: &LinuxMemoryPolicy) -> Result<MemoryPolicy> {
    let refuse = |field: &str, why: String| Err(Error::config(format!("linux.memoryPolicy.{field}"), why));
    let mode = wanted.mode();
    let list = wanted.nodes().as_deref().filter(|list| !list.is_empty());
    let nodes = match list.map_or(Ok([0; 16]), number_list::parse) {
        Ok(nodes) => nodes,
        Err(why) => return refuse("nodes", format!("invalid memory policy node {why}")),
    };
    let count: u32 = nodes.iter().map(|word: &u64| word.count_ones()).sum();
    match mode {
        Mode::MpolDefault | Mode::MpolLocal if count > 0 => {
            return refuse("nodes", format!("{mode} mode requires 0 nodes but got {count}"));
        }
        Mode::MpolBind | Mode::MpolInterleave | Mode::MpolWeightedInterleave | Mode::MpolPreferredMany
            if count == 0 =>
        {
            return refuse("nodes", format!("{mode} mode requires at least 1 node but got 0"));
        }
        _ => {}
    }
    let flags = wanted.flags().as_deref().unwrap_or_default();
    let has = |flag| flags.contains(&flag);
    if has(Flag::MpolFStaticNodes) && has(Flag::MpolFRelativeNodes) {
        return refuse("flags", "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other".to_owned());
    }
    if has(Flag::MpolFNumaBalancing) && !matches!(mode, Mode::MpolBind | Mode::MpolPreferredMany) {
        let why = "MPOL_F_NUMA_BALANCING counts for MPOL_BIND and MPOL_PREFERRED_MANY only";
        return refuse("flags", why.to_owned());
    }
    let flags = flags.iter().fold(0, |bits, flag| bits | number(&FLAGS, &flag.to_string()));
    Ok(MemoryPolicy { mode: number(&MODES, &mode.to_string()) | flags, nodes })
}

/// What `name` is in a table of all names.
fn number(table: &[(&str, u32)], name: &str) -> u32 {
    table.iter().find(|(known, _)| *known == name).map_or(0, |(_, number)| *number)
}

impl MemoryPolicy {
    /// Sets it: for the program too, and all that it starts.
    ///
    /// # Errors
    /// EINVAL when the kernel doesn't know the mode, or when the process may use none of the nodes.
    pub fn apply(&self, me: &InChild) -> Result<()> {
        mempolicy::set(me, self.mode, &self.nodes)
            .map_err(|error| match error.errno() {
                Some(Errno::EINVAL) => error.hint(
                    "no such node, none that linux.resources.cpu.mems has, or too old a kernel (MPOL_PREFERRED_MANY \
                     is of 5.15, MPOL_WEIGHTED_INTERLEAVE of 6.9)",
                ),
                Some(Errno::ENOSYS) => error.hint("this kernel has no memory policies: leave it out"),
                _ => error,
            })
            .context("set memory policy (linux.memoryPolicy)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(policy: &str, expected: std::result::Result<(u32, u64), &str>) {
        let linux: Linux = serde_json::from_str(&format!(r#"{{"memoryPolicy": {{{policy}}}}}"#)).unwrap();
        let planned = plan(Some(&linux)).map_err(|error| error.to_string());
        let planned = planned.map(|policy| policy.map(|policy| (policy.mode, policy.nodes[0])).unwrap());
        let expected = expected.map_err(|text| format!("config.json: linux.memoryPolicy.{text}"));
        assert_eq!(planned, expected, "{policy}");
    }

    #[test]
    fn policies() {
        check(r#""mode": "MPOL_DEFAULT""#, Ok((0, 0)));
        check(r#""mode": "MPOL_LOCAL", "nodes": "", "flags": []"#, Ok((4, 0)));
        check(r#""mode": "MPOL_PREFERRED""#, Ok((1, 0)));
        check(r#""mode": "MPOL_INTERLEAVE", "nodes": "0-1,5""#, Ok((3, 0b10_0011)));
        check(r#""mode": "MPOL_PREFERRED_MANY", "nodes": "1""#, Ok((5, 2)));
        check(r#""mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "1""#, Ok((6, 2)));
        let flags = r#""flags": ["MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING"]"#;
        check(&format!(r#""mode": "MPOL_BIND", "nodes": "0", {flags}"#), Ok((0xa002, 1)));
        check(r#""mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]"#, Ok((0x4002, 1)));
    }

    #[test]
    fn what_does_not_fit() {
        let nodes = |mode: &str, nodes: &str, why: &str| {
            check(&format!(r#""mode": "{mode}", "nodes": "{nodes}""#), Err(&format!("nodes: {why}")));
        };
        nodes("MPOL_DEFAULT", "0-1", "MPOL_DEFAULT mode requires 0 nodes but got 2");
        nodes("MPOL_LOCAL", "3", "MPOL_LOCAL mode requires 0 nodes but got 1");
        nodes("MPOL_BIND", "", "MPOL_BIND mode requires at least 1 node but got 0");
        let list = "write a list such as 0-3,7 of numbers below 1024";
        nodes("MPOL_BIND", "0,x", &format!("invalid memory policy node x: {list}"));
        nodes("MPOL_BIND", "1024", &format!("invalid memory policy node 1024: {list}"));
        let flags = |flags: &str, why: &str| {
            let policy = format!(r#""mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": [{flags}]"#);
            check(&policy, Err(&format!("flags: {why}")));
        };
        let both = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        flags(r#""MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES""#, both);
        let balancing = "MPOL_F_NUMA_BALANCING counts for MPOL_BIND and MPOL_PREFERRED_MANY only";
        flags(r#""MPOL_F_NUMA_BALANCING""#, balancing);
    }

    /// Otherwise a name would be taken for 0.
    #[test]
    fn the_names_are_those_of_the_types() {
        for (mode, _) in MODES {
            assert_eq!(mode.parse::<Mode>().unwrap().to_string(), mode);
        }
        for (flag, _) in FLAGS {
            assert_eq!(flag.parse::<Flag>().unwrap().to_string(), flag);
        }
    }
}
