//! `linux.resources.unified`: files of the cgroup by name.

use super::{IfMissing, List, refused};
use crate::error::Result;
use std::collections::HashMap;

/// Files of the core that are no resources: through them the config would move or kill processes of the host, or
/// freeze the container before it runs.
const NO_RESOURCES: [&str; 5] = ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.type"];

/// Controllers whose files hold a value for each device, so that two writes to one file need not meet.
const BY_DEVICE: [&str; 4] = ["dmem.", "io.", "misc.", "rdma."];

pub(super) fn plan(list: &mut List, files: &HashMap<String, String>) -> Result<()> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by_key(|(name, _)| *name);
    for (name, value) in files {
        let field = format!("unified[{name:?}]");
        check_name(name, &field)?;
        if !BY_DEVICE.iter().any(|controller| name.starts_with(controller)) {
            // Not even for a moment may a value be in force that this one replaces.
            list.0.retain(|write| write.file != *name);
        }
        if value.trim().is_empty() {
            // To most files nothing is the number 0. The sets have no other word for "as above".
            if !name.starts_with("cpuset.") {
                return Err(refused(field, "has no value"));
            }
            list.push(name, "\n".to_owned(), &field, IfMissing::Refuse);
        }
        // Files such as io.max take one line a write.
        for line in value.lines().filter(|line| !line.trim().is_empty()) {
            list.push(name, line.to_owned(), &field, IfMissing::Refuse);
        }
    }
    Ok(())
}

fn check_name(name: &str, field: &str) -> Result<()> {
    if name.contains('/') {
        return Err(refused(field, format!("unified resource {name:?} must be a file name (no slashes)")));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let parts = name.split_once('.').is_some_and(|(controller, file)| !controller.is_empty() && !file.is_empty());
    if !parts || !name.chars().all(allowed) {
        let message = format!("unified resource {name:?} must be in the form CONTROLLER.PARAMETER");
        return Err(refused(field, message));
    }
    if NO_RESOURCES.contains(&name) {
        return Err(refused(field, format!("unified resource {name:?} is not a resource: remove it")));
    }
    Ok(())
}
