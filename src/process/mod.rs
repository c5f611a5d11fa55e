//! What the container's process is: identity, capabilities, limits, environment, labels, keyring, terminal.
//!
//! [`plan`] turns the `process` block of config.json into a [`Plan`], whose parts the child applies one by one, in the
//! order that the comments of their `apply` ask for.

pub mod affinity;
mod caps;
mod cwd;
pub mod env;
pub mod fds;
mod identity;
mod keyring;
mod labels;
mod memory_policy;
mod number_list;
mod program;
mod rlimits;
mod scheduling;
pub mod stdio;
pub mod terminal;

pub use memory_policy::{FLAGS as MEMORY_POLICY_FLAGS, MODES as MEMORY_POLICY_MODES};
pub use scheduling::explain_oom_score;

use crate::error::Result;
use crate::host::Host;
use crate::sys::clone::InChild;
use crate::sys::this_process;
use identity::Ranges;
use oci_spec::runtime::{Linux, Process};
use program::Program;
use std::collections::HashMap;

/// What the plan depends on beside the `process` block.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// This machine.
    pub host: &'a Host,
    /// The container's id, which names the keyring.
    pub id: &'a str,
    /// Whether the container has a user namespace of its own, new or joined.
    pub user_namespace: bool,
    /// The user ids of the container's new user namespace; `None` without one, or when its maps are not ours.
    pub uid_ranges: Ranges<'a>,
    /// Likewise the group ids.
    pub gid_ranges: Ranges<'a>,
    /// Whether the container gets a session keyring (not with `--no-new-keyring`).
    pub keyring: bool,
    /// Whether the program is followed in the foreground.
    pub foreground: bool,
    /// The descriptors to pass on.
    pub inherited: fds::Inherited,
    /// Variables beside those of the `process` block, which count more.
    pub environment: &'a [String],
    /// The annotations of config.json.
    pub annotations: Option<&'a HashMap<String, String>>,
    /// The `linux` block, for personality and memory policy.
    pub linux: Option<&'a Linux>,
}

/// All that `process` asks for, checked and complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// User, groups, umask.
    pub identity: identity::Identity,
    /// The five capability sets.
    pub capabilities: caps::Capabilities,
    /// Resource limits.
    pub rlimits: rlimits::Rlimits,
    /// The program and its arguments.
    pub program: Program,
    /// Its environment.
    pub environment: env::Environment,
    /// Its working directory.
    pub cwd: cwd::WorkingDirectory,
    /// Whether execve must never give privileges.
    pub no_new_privileges: bool,
    /// Scheduler, disk priority, personality, memory policy, OOM score.
    pub scheduling: scheduling::Scheduling,
    /// AppArmor and SELinux.
    pub labels: labels::Labels,
    /// The session keyring, if it gets one.
    pub keyring: Option<keyring::SessionKeyring>,
    /// Its terminal, if it has one.
    pub terminal: Option<terminal::Terminal>,
    /// Whether, without a terminal, those of the standard descriptors that are not for programs in containers are replaced
    /// by pipes that the parent serves.
    pub piped: bool,
    /// Descriptors passed on beyond the standard ones.
    pub inherited: fds::Inherited,
}

/// Plans the `process` block; without one a process that has no program and never gets beyond its gate. What is left out
/// without harm is added to `warnings`.
///
/// # Errors
/// Whatever could not be applied later, as far as that can be known, with the field at fault.
pub fn plan(spec: Option<&Process>, input: &Input<'_>, warnings: &mut Vec<String>) -> Result<Plan> {
    let program = spec.map_or(Ok(Program::default()), |spec| program::plan(spec.args().as_ref()))?;
    let absent = absent();
    let spec = spec.unwrap_or(&absent);
    Ok(Plan {
        program,
        cwd: cwd::plan(spec.cwd())?,
        environment: env::plan(spec.env().as_deref().unwrap_or_default(), input.environment, input.inherited)?,
        identity: identity::plan(spec.user(), input)?,
        capabilities: caps::plan(spec.capabilities().as_ref(), input, warnings)?,
        rlimits: rlimits::plan(spec.rlimits().as_deref().unwrap_or_default())?,
        no_new_privileges: spec.no_new_privileges().unwrap_or(false),
        scheduling: scheduling::plan(spec, input.linux, warnings)?,
        labels: labels::plan(spec, input)?,
        keyring: input.keyring.then(|| keyring::plan(input.id, input.user_namespace)).transpose()?,
        piped: input.foreground && !spec.terminal().unwrap_or(false),
        terminal: terminal::plan(spec)?,
        inherited: input.inherited,
    })
}

/// A block that says nothing; the default of oci-spec is another one.
fn absent() -> Process {
    let mut process = Process::default();
    process.set_terminal(None).set_args(None).set_env(None).set_capabilities(None).set_rlimits(None);
    process.set_no_new_privileges(None);
    process
}

impl Plan {
    /// Forbids new privileges if config.json says so: before the seccomp filter, which needs this or CAP_SYS_ADMIN.
    pub fn apply_no_new_privileges(&self, me: &InChild) -> Result<()> {
        if self.no_new_privileges { this_process::set_no_new_privs(me) } else { Ok(()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// An ordinary machine, seen by root.
    pub(crate) fn host() -> Host {
        Host {
            euid: 0,
            egid: 0,
            in_user_namespace: false,
            threads: 1,
            bounding: (1 << 41) - 1,
            permitted: (1 << 41) - 1,
            ignored_signals: 0,
            filters: true,
            own_cgroup: "/me".to_owned().into(),
            apparmor: false.into(),
            selinux: false.into(),
        }
    }

    /// An ordinary container.
    pub(crate) fn input(host: &Host) -> Input<'_> {
        Input {
            host,
            id: "c1",
            user_namespace: false,
            uid_ranges: None,
            gid_ranges: None,
            keyring: true,
            foreground: false,
            inherited: fds::Inherited::default(),
            environment: &[],
            annotations: None,
            linux: None,
        }
    }

    fn planned(process: &str) -> Result<Plan> {
        plan(Some(&serde_json::from_str(process).unwrap()), &input(&host()), &mut Vec::new())
    }

    #[test]
    fn the_smallest_process() {
        let plan = planned(r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["true"]}"#).unwrap();
        assert!(!plan.no_new_privileges);
        assert_eq!(plan.terminal, None);
        assert!(plan.keyring.is_some());
        assert_eq!(plan.labels, labels::Labels::default());
        assert_eq!(plan.environment.variables(), [] as [&str; 0]);
    }

    #[test]
    fn no_process() {
        let smallest = r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["true"]}"#;
        let plan = plan(None, &input(&host()), &mut Vec::new()).unwrap();
        assert_eq!(Plan { program: Program::default(), ..planned(smallest).unwrap() }, plan);
        assert_eq!(absent(), serde_json::from_str(r#"{"user":{"uid":0,"gid":0},"cwd":"/"}"#).unwrap());
    }

    #[test]
    fn no_new_privileges_is_a_value_not_a_presence() {
        for value in [true, false] {
            let text = format!(r#"{{"user":{{"uid":0,"gid":0}},"cwd":"/","args":["a"],"noNewPrivileges":{value}}}"#);
            assert_eq!(planned(&text).unwrap().no_new_privileges, value);
        }
    }
}
