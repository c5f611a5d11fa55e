//! The list of what a process does that joins a container, from the clone to the program.
//!
//! The container is hostile: it sees the process from the moment it is in the same PID namespace, which is its birth. It
//! can't look into it or trace it, for the parent has hidden itself before the clone; what it can do is end or stop it.
//! Nothing of the container's is trusted or executed before the program.

use super::Prepared;
use super::enter;
use super::init::{self, Terminal};
use super::step::{Step, step};
use super::user;
use crate::error::{ErrorKind, Result};
use crate::handshake::{Channel, Report};
use crate::rootfs::Root;
use crate::sys::clone::InChild;
use std::convert::Infallible;
use std::os::fd::OwnedFd;

/// Becomes the program; comes back only to say why not.
pub(super) fn exec(me: &InChild, p: &Prepared, inner_root: Option<&OwnedFd>, parent: &Channel) -> Result<Infallible> {
    let process = &p.process;
    // First of all: without privileges it can't be done once we are hidden. Only with a user namespace can onggi be
    // without privileges here, and then the container can neither see us nor has rights over us until we join it.
    step(Step::OomScore, || enter::oom_score(me, p))?;
    step(Step::Guard, || enter::guard(me, p))?;
    step(Step::Cgroup, || enter::cgroup(p, parent))?;
    step(Step::Namespaces, || enter::namespaces(me, p, parent))?;
    // By the pid that is the last, and before there are children.
    step(Step::IntelRdt, || init::intel_rdt(p, parent))?;
    step(Step::Keyring, || process.keyring.as_ref().map_or(Ok(()), |keyring| keyring.apply(me)))?;
    let root = step(Step::Root, || Root::of_joined(me, inner_root))?;
    step(Step::Terminal, || init::terminal(me, p, parent, &root, Terminal::Another))?;
    // The host's procfs, where the container can have put nothing in the way.
    step(Step::Label, || process.labels.apply(me, &p.proc))?;
    step(Step::Scheduling, || process.scheduling.apply(me))?;
    step(Step::Stdio, || init::standard_descriptors(me, p, parent, &root))?;
    let mut warnings = Vec::new();
    let variables = process.environment.complete(me, &root, process.identity.uid, &mut warnings);
    root.leave_open(me);
    // All that is ours or the host's is closed for real before the first path that may lead through a descriptor: that of
    // the working directory, or args[0] (CVE-2024-21626).
    step(Step::Descriptors, || init::close_others(me, p, parent))?;
    step(Step::Identity, || user::become_user(me, p, &mut warnings))?;
    let program = step(Step::Lookup, || process.program.find(me, &variables))?;
    // Laid out before the filter, which may refuse the memory for it.
    let execution = process.program.prepare(program, variables.for_exec());
    step(Step::Ready, || init::part(me, p, parent, &warnings))?;
    step(Step::Descriptors, || process.inherited.hand_over(me))?;
    if user::has_listener(p) {
        step(Step::Seccomp, || user::install_listening(me, p, parent))?;
        step(Step::Ready, || user::await_release(p, parent))?;
    } else {
        step(Step::Ready, || parent.send(&Report::Ready, None))?;
        step(Step::Seccomp, || user::install_filter(me, p))?;
    }
    Err(execution.run(me).of_kind(ErrorKind::Exec))
}
