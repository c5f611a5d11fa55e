//! `resume`: lets a paused container run on.

use super::{Global, needed_cgroup, observe, wrong_state};
use crate::container::status::Container;
use crate::error::Result;

/// Resumes `id`. Its processes run on a moment later.
pub(super) fn resume(global: &Global, id: &str) -> Result<u8> {
    let entry = global.find(id)?;
    let _lock = entry.lock()?;
    let container = observe(&entry, entry.load()?)?;
    let paused = matches!(container, Container::Paused(..));
    let cgroup = needed_cgroup(&container.into_parts().0, "resume")?;
    let Some(cgroup) = cgroup.filter(|_| paused) else { return Err(wrong_state("container not paused")) };
    cgroup.thaw()?;
    if let Some(above) = cgroup.frozen_above()? {
        let message = format!("the container stays frozen with cgroup {above}: write 0 to its cgroup.freeze");
        global.log.warning(&message);
    }
    Ok(0)
}
