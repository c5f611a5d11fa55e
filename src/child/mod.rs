//! Everything after the clone; nothing here returns.
//!
//! The child has a copy of all that the parent prepared and no thread but its own, so it may allocate and use `?`. It
//! ends in execve or `_exit`, never by returning or unwinding: the parent's undo guards were copied too, and would
//! undo the container from inside.

mod enter;
mod exec;
mod init;
mod step;
mod user;

use crate::container::record::Record;
use crate::error::{Error, ErrorKind, Result};
use crate::handshake::{Channel, Report};
use crate::hooks::Hooks;
use crate::intel_rdt::Groups;
use crate::namespaces::{self, Joins};
use crate::rootfs::HostMounts;
use crate::seccomp::Filter;
use crate::sys::clone::{InChild, SingleThreaded};
use crate::sys::fs::write_all;
use crate::sys::{Errno, stdio, this_process};
use crate::{process, rootfs};
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// The status of a process that could not become the container's program.
const FAILED: u8 = 255;

/// All that the parent opened for the child, and what is to be done with it.
#[derive(Debug)]
pub struct Prepared {
    /// The container's record, for the hooks' state.
    pub record: Record,
    /// Proof that clone3 may be called.
    pub single_threaded: SingleThreaded,
    /// Namespaces to make, their names and kernel parameters.
    pub namespaces: namespaces::Plan,
    /// The namespaces to join.
    pub joins: Joins,
    /// What the child is to become.
    pub role: Role,
    /// What the process is and may do.
    pub process: process::Plan,
    /// The system call filter.
    pub seccomp: Option<Filter>,
    /// Programs to run along the way.
    pub hooks: Hooks,
    /// The host's procfs, proved to be one.
    pub proc: OwnedFd,
    /// The signals that our caller had us ignore, bit n - 1 for signal n.
    pub ignored_signals: u64,
    /// Whether the child is to be hidden from the first: not where a parent without privileges has to write its id maps,
    /// as the files of a process that is not dumpable belong to root.
    pub hidden: bool,
    /// Whether the child has to show itself to a parent that is to take the listener of its filter.
    pub shows_listener: bool,
    /// Whether the child is to wait until its parent has moved it into the cgroup.
    pub awaits_cgroup: bool,
    /// The groups in the resctrl filesystem that the parent is to move the child to.
    pub intel_rdt: Option<Rc<Groups>>,
    /// The FIFO that `start` writes to; `None` for `run`, which starts at once.
    pub gate: Option<OwnedFd>,
}

impl Prepared {
    /// What the container will have among the host's mounts.
    pub fn host_mounts(&self) -> Result<HostMounts> {
        match &self.role {
            Role::Init(sources) => HostMounts::of(sources),
            Role::Joining { .. } => Ok(HostMounts::default()),
        }
    }
}

/// What the child is to become.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in each process")]
pub enum Role {
    /// A container's first process, with the root filesystem to make.
    Init(rootfs::Sources),
    /// A process that joins a container.
    Joining {
        /// The container's root, where it is not that of the mount namespace.
        inner_root: Option<OwnedFd>,
    },
}

/// Who listens to a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The parent, on the socket.
    Reporting,
    /// Nobody: `create` has returned, and the container was started later.
    Alone,
}

/// Tells the parent of a failure, in fewer words where they are too many for a message: `args[0]` or a path may be long.
fn report(parent: &Channel, failure: Error) {
    /// Fits even if every byte has to be written as six.
    const SHORT: usize = 8 * 1024;
    let shorter = failure.clone().shortened(SHORT);
    if parent.send(&Report::Failed(failure), None).is_err_and(|error| error.is(Errno::EMSGSIZE)) {
        drop(parent.send(&Report::Failed(shorter), None));
    }
}

/// The child's whole life before the container's program.
pub fn main(me: InChild, prepared: &Prepared, parent: Channel) -> ! {
    // Leaked on purpose: the panic hook needs it too, and nothing here is ever freed.
    let parent: &'static Channel = Box::leak(Box::new(parent));
    std::panic::set_hook(Box::new(move |panic| {
        // A bug of ours: there is nobody else to tell.
        let bug = Error::new(ErrorKind::System, format!("bug: {panic}"));
        let _ = parent.send(&Report::Failed(bug), None);
    }));
    let mut phase = Phase::Reporting;
    let Err(failure) = match &prepared.role {
        Role::Init(sources) => init::init(&me, prepared, sources, parent, &mut phase),
        Role::Joining { inner_root } => exec::exec(&me, prepared, inner_root.as_ref(), parent),
    };
    match phase {
        // The parent may be dead; then nobody wants to know.
        Phase::Reporting => report(parent, failure),
        // `create` has returned long ago; the container's own standard error is all that is left.
        Phase::Alone => drop(write_all(stdio::stderr(), format!("{failure}\n").as_bytes())),
    }
    this_process::exit(&me, FAILED)
}
