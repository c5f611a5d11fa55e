//! The change from the runtime's rights to the container's.

use super::{Prepared, enter};
use crate::error::Result;
use crate::sys::clone::InChild;

/// Takes the limits, ids and capabilities of the container's user, and its working directory.
pub(super) fn become_user(me: &InChild, p: &Prepared, warnings: &mut Vec<String>) -> Result<()> {
    let process = &p.process;
    process.rlimits.apply(me)?;
    // While CAP_SETPCAP is there.
    process.capabilities.drop_bounding(me)?;
    process.capabilities.keep(me)?;
    let entered = process.cwd.enter(me)?;
    process.identity.apply(me)?;
    enter::hide_again(me)?;
    warnings.extend(process.capabilities.apply(me, keeps_filter_right(p))?);
    process.cwd.settle(me, entered)?;
    process.identity.apply_umask(me);
    process.apply_no_new_privileges(me)
}

/// Loads the filter as the last act but execve, so that no other system call of ours runs under a profile made for the
/// program. Where new privileges are not forbidden the kernel demands CAP_SYS_ADMIN for that, which was kept and is now
/// given up: capset then is the one call that the filter sees.
pub(super) fn install_filter(me: &InChild, p: &Prepared) -> Result<()> {
    let Some(filter) = &p.seccomp else { return Ok(()) };
    filter.install(me)?;
    if keeps_filter_right(p) { p.process.capabilities.settle(me) } else { Ok(()) }
}

fn keeps_filter_right(p: &Prepared) -> bool {
    p.seccomp.is_some() && !p.process.no_new_privileges
}
