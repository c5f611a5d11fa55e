//! The CPUs of a process that joins a container. Spec: config.md, Linux Process, execCPUAffinity.

use super::number_list;
use crate::error::{Context, Error, Result};
use crate::sys::Errno;
use crate::sys::clone::InChild;
use crate::sys::this_process::{self, Cpus};
use oci_spec::runtime::Process;

/// Every CPU there is.
const ALL: Cpus = [u64::MAX; 128];

/// Which CPUs a process may use once it is in the cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Affinity {
    /// All, lest the affinity of the caller binds the container: the cpuset of its cgroup is what counts.
    #[default]
    All,
    /// Those that it was born with.
    Born,
    /// These.
    Only(Box<Cpus>),
}

/// `process.execCPUAffinity`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Affinities {
    /// For onggi itself, until the process is in the container's cgroup.
    pub initial: Option<Box<Cpus>>,
    /// For the process after that.
    pub last: Affinity,
}

/// Plans `process.execCPUAffinity`.
///
/// # Errors
/// A CPU beyond the 8192nd, a range that ends before it begins.
pub fn plan(process: &Process) -> Result<Affinities> {
    let Some(wanted) = process.exec_cpu_affinity() else { return Ok(Affinities::default()) };
    let parse = |list: &Option<String>, field: &str| {
        let list = list.as_deref().filter(|list| !list.is_empty());
        let refuse = |why| Error::config(format!("process.execCPUAffinity.{field}"), why);
        list.map(|list| number_list::parse(list).map(Box::new).map_err(refuse)).transpose()
    };
    let initial = parse(wanted.initial(), "initial")?;
    let last = match parse(wanted.cpu_affinity_final(), "final")? {
        Some(cpus) => Affinity::Only(cpus),
        None if initial.is_some() => Affinity::Born,
        None => Affinity::All,
    };
    Ok(Affinities { initial, last })
}

impl Affinity {
    /// Sets it. Once in the cgroup, whose cpuset narrows it.
    ///
    /// # Errors
    /// EINVAL when the cpuset has none of the CPUs that were asked for.
    pub fn apply(&self, me: &InChild) -> Result<()> {
        match self {
            Self::All => {
                // Peers ignore a failure, too: a sandbox around us may not allow it.
                let _ = this_process::sched_setaffinity(me, &ALL);
                Ok(())
            }
            Self::Born => Ok(()),
            Self::Only(cpus) => this_process::sched_setaffinity(me, cpus)
                .map_err(|error| explained(error, "no such CPU, or none that the container's cpuset has"))
                .context("set final CPU affinity (process.execCPUAffinity.final)"),
        }
    }
}

impl Affinities {
    /// In the parent, before the clone: runs on the initial CPUs, as will the process.
    ///
    /// # Errors
    /// EINVAL when there is none of them.
    pub fn prepare(&self) -> Result<()> {
        let Some(cpus) = &self.initial else { return Ok(()) };
        this_process::run_on(cpus)
            .map_err(|error| explained(error, "no such CPU, or none that onggi may use"))
            .context("set initial CPU affinity (process.execCPUAffinity.initial)")
    }
}

fn explained(error: Error, why: &str) -> Error {
    if error.is(Errno::EINVAL) { error.hint(why) } else { error }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out() {
        let planned = |affinity: &str| {
            let text = format!(r#"{{"user": {{"uid": 0, "gid": 0}}, "cwd": "/"{affinity}}}"#);
            plan(&serde_json::from_str(&text).unwrap()).unwrap()
        };
        let only = |list: &str| Box::new(number_list::parse(list).unwrap());
        assert_eq!(planned(""), Affinities { initial: None, last: Affinity::All });
        let born = Affinities { initial: Some(only("1")), last: Affinity::Born };
        assert_eq!(planned(r#","execCPUAffinity": {"initial": "1"}"#), born);
        let only = Affinities { initial: None, last: Affinity::Only(only("0-1")) };
        assert_eq!(planned(r#","execCPUAffinity": {"final": "0-1"}"#), only);
    }
}
