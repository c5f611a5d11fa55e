//! What the specification allows in config.json but the types that read it refuse: taken out or put in their words, and
//! told where it matters.

use oci_spec::runtime::Capability;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Blocks for other platforms, which mean nothing on Linux whatever is in them (config.md, Platform-specific
/// configuration).
const OTHER_PLATFORMS: [&str; 5] = ["vm", "windows", "solaris", "zos", "freebsd"];

/// Flags of the scheduler whose names oci-spec spells in its own way.
const SCHEDULER_FLAGS: [(&str, &str); 2] =
    [("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"), ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN")];

/// Takes out of `config` what may be there without meaning anything here. Returns what the user should know, or `None`
/// when there was nothing to change.
pub fn repair(config: &mut Value) -> Option<Vec<String>> {
    let config = config.as_object_mut()?;
    let mut warnings = Vec::new();
    let mut changed = false;
    for platform in OTHER_PLATFORMS {
        changed |= config.remove(platform).is_some();
    }
    let unknown = remove_unknown_capabilities(config);
    if !unknown.is_empty() {
        let names = unknown.into_iter().collect::<Vec<_>>().join(" ");
        warnings.push(format!("ignoring unknown or unavailable capabilities: [{names}]"));
        changed = true;
    }
    changed |= remove_empty_seccomp(config);
    let resources = config.get_mut("linux").and_then(|linux| linux.get_mut("resources"));
    changed |= resources.and_then(Value::as_object_mut).is_some_and(remove_pids_without_limit);
    changed |= respell_scheduler_flags(config);
    changed |= remove_empty_cpu_lists(config);
    changed.then_some(warnings)
}

/// The specification wants unknown capabilities to be a warning (config.md, Linux Process).
fn remove_unknown_capabilities(config: &mut Map<String, Value>) -> BTreeSet<String> {
    let mut unknown = BTreeSet::new();
    let sets = config.get_mut("process").and_then(|process| process.get_mut("capabilities"));
    let sets = sets.and_then(Value::as_object_mut);
    for names in sets.into_iter().flat_map(|sets| sets.values_mut()).filter_map(Value::as_array_mut) {
        names.retain(|name| {
            let known = Capability::deserialize(name).is_ok();
            match name.as_str() {
                Some(name) if !known => {
                    unknown.insert(name.to_owned());
                    false
                }
                _ => true,
            }
        });
    }
    unknown
}

fn respell_scheduler_flags(config: &mut Map<String, Value>) -> bool {
    let flags = config.get_mut("process").and_then(|process| process.pointer_mut("/scheduler/flags"));
    let mut changed = false;
    for flag in flags.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some((_, ours)) = SCHEDULER_FLAGS.iter().find(|(theirs, _)| flag.as_str() == Some(theirs)) {
            *flag = Value::from(*ours);
            changed = true;
        }
    }
    changed
}

/// Empty is the same as absent (config.md, Linux Process, execCPUAffinity).
fn remove_empty_cpu_lists(config: &mut Map<String, Value>) -> bool {
    let affinity = config.get_mut("process").and_then(|process| process.get_mut("execCPUAffinity"));
    let Some(affinity) = affinity.and_then(Value::as_object_mut) else { return false };
    let before = affinity.len();
    affinity.retain(|_, list| list.as_str() != Some(""));
    affinity.len() < before
}

/// A seccomp block with neither a default action nor system calls asks for nothing, as runc sees it.
fn remove_empty_seccomp(config: &mut Map<String, Value>) -> bool {
    let Some(linux) = config.get_mut("linux").and_then(Value::as_object_mut) else { return false };
    let empty = linux.get("seccomp").and_then(Value::as_object).is_some_and(|seccomp| {
        let calls = seccomp.get("syscalls").and_then(Value::as_array);
        !seccomp.contains_key("defaultAction") && calls.is_none_or(Vec::is_empty)
    });
    empty && linux.remove("seccomp").is_some()
}

/// Without a limit `pids` asks for nothing (optional since version 1.3 of the specification); the types would take it
/// for 0.
pub fn remove_pids_without_limit(resources: &mut Map<String, Value>) -> bool {
    let pids = resources.get("pids").and_then(Value::as_object);
    let limitless = pids.is_some_and(|pids| pids.get("limit").is_none_or(Value::is_null));
    limitless && resources.remove("pids").is_some()
}
