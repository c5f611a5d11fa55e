//! Which new filesystems a container with a user namespace may mount; user_namespaces(7). Pure.

use super::{Input, MountPlan, What};
use crate::error::{Error, Result};

/// Refuses what the kernel would refuse without a reason: a filesystem that shows a namespace which the container's user
/// namespace does not own, and options with ids that it does not map.
pub(super) fn check(plan: &MountPlan, input: &Input<'_>) -> Result<()> {
    if !input.user_namespace {
        return Ok(());
    }
    let (shown, listed) = match plan.fstype() {
        Some("proc") => ("pid", input.pid_namespace),
        Some("mqueue") => ("ipc", input.ipc_namespace),
        _ => ("", true),
    };
    if !listed {
        let fstype = plan.fstype().unwrap_or_default();
        let advice = format!(
            "{fstype} can't be mounted in a user namespace without a {shown} namespace of the container; \
             list one in linux.namespaces, or bind the host's"
        );
        return Err(Error::config(format!("{}.type", plan.field), advice));
    }
    check_ids(plan, input)
}

fn check_ids(plan: &MountPlan, input: &Input<'_>) -> Result<()> {
    let What::Filesystem { data, .. } = &plan.what else { return Ok(()) };
    for (key, value) in data {
        let (map, field) = match key.as_str() {
            "uid" => (input.uid_map, "linux.uidMappings"),
            "gid" => (input.gid_map, "linux.gidMappings"),
            _ => continue,
        };
        let Some(id) = value.as_ref().and_then(|value| value.parse::<u32>().ok()) else { continue };
        if !map.is_empty() && !map.iter().any(|line| line.has(id)) {
            let why = format!("cannot specify {key}={id} mount option: {field} does not map {id}; remove it");
            return Err(Error::config(format!("{}.options", plan.field), why));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::plan_of;

    fn check(mount: &str, user_namespace: bool, expected: &str) {
        let planned = plan_of(&format!(r#"{{"mounts":[{{"destination":"/x",{mount}}}]}}"#), user_namespace);
        let text = planned.map_or_else(|error| error.to_string(), |_| "fine".to_owned());
        assert!(text.contains(expected), "{mount}: {text}");
    }

    #[test]
    fn what_shows_a_namespace_needs_it() {
        check(r#""type":"mqueue""#, true, "mounts[0].type: mqueue can't be mounted");
        check(r#""type":"sysfs""#, false, "fine");
        check(r#""type":"tmpfs""#, true, "fine");
        check(r#""type":"none","source":"/sys","options":["rbind"]"#, true, "fine");
    }

    #[test]
    fn ids_must_be_mapped() {
        let refusal = "mounts[0].options: cannot specify gid=5 mount option: linux.gidMappings does not map 5";
        check(r#""type":"devpts","options":["newinstance","gid=5"]"#, true, refusal);
        check(r#""type":"devpts","options":["gid=5"]"#, false, "fine");
        check(r#""type":"devpts","options":["gid=0","uid=0"]"#, true, "fine");
        check(r#""type":"tmpfs","options":["uid=7"]"#, true, "uid=7");
        check(r#""type":"tmpfs","options":["uid=all"]"#, true, "fine");
    }
}
