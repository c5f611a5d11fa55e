//! The steps of the child's list, so that a failure says where it happened.

use crate::error::{Context, Result};

/// One line of the list, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Tie the child's life to its parent's and hide it from others.
    Guard,
    /// The cgroup, where clone3 could not do it.
    Cgroup,
    /// The out-of-memory score.
    OomScore,
    /// Join and make namespaces.
    Namespaces,
    /// Host name, domain name, loopback interface.
    NamespaceSetup,
    /// Network devices of the host.
    NetDevices,
    /// The groups in the resctrl filesystem.
    IntelRdt,
    /// The session keyring.
    Keyring,
    /// Open the sources of mounts as this namespace has them.
    Sources,
    /// Put the root filesystem into the mount namespace.
    Root,
    /// The mounts of config.json.
    Mounts,
    /// Device nodes and links.
    Devices,
    /// prestart, createRuntime and createContainer hooks.
    CreateHooks,
    /// The terminal.
    Terminal,
    /// Make the root filesystem the root.
    Pivot,
    /// Kernel parameters.
    Sysctl,
    /// Make the working directory.
    WorkingDirectory,
    /// Read-only and masked paths.
    Restrict,
    /// The label of the security module.
    Label,
    /// Scheduler, I/O priority, personality.
    Scheduling,
    /// Standard input, output and error.
    Stdio,
    /// Limits, ids and capabilities.
    Identity,
    /// Close what the program must not see.
    Descriptors,
    /// Look up the program.
    Lookup,
    /// Tell the parent that all is ready.
    Ready,
    /// The system call filter.
    Seccomp,
    /// startContainer hooks.
    StartHooks,
}

impl Step {
    /// What was being done, for the error's chain.
    fn doing(self) -> &'static str {
        match self {
            Self::Guard => "guard the init process",
            Self::Cgroup => "enter the cgroup",
            Self::OomScore => "set process.oomScoreAdj",
            Self::Namespaces => "enter namespaces",
            Self::NamespaceSetup => "set up namespaces",
            Self::NetDevices => "move network devices",
            Self::IntelRdt => "join groups of Intel RDT",
            Self::Keyring => "join the session keyring",
            Self::Sources => "open the sources of mounts",
            Self::Root => "attach the root filesystem",
            Self::Mounts => "mount",
            Self::Devices => "create devices",
            Self::CreateHooks => "run hooks",
            Self::Terminal => "set up the terminal",
            Self::Pivot => "change the root",
            Self::Sysctl => "set kernel parameters",
            Self::WorkingDirectory => "create the working directory (process.cwd)",
            Self::Restrict => "restrict paths",
            Self::Label => "set the security label",
            Self::Scheduling => "set scheduling",
            Self::Stdio => "set up standard input and output",
            Self::Identity => "become the container's user",
            Self::Descriptors => "close descriptors",
            Self::Lookup => "find the program",
            Self::Ready => "report readiness",
            Self::Seccomp => "load the system call filter",
            Self::StartHooks => "run startContainer hooks",
        }
    }
}

/// Does one step; a failure gets the step's name.
pub(super) fn step<T>(step: Step, action: impl FnOnce() -> Result<T>) -> Result<T> {
    action().context(step.doing())
}
