//! The container's cgroup: planned, created, limited, emptied and removed (cgroup v2).
//!
//! `path`, `resources` (with `weight`) and `devices` (with `program`) turn the config into a [`Plan`] without touching
//! a file. There are two drivers: `fs`, which makes the cgroup by hand, and `systemd`, which has systemd make it; `made`
//! is what they have in common. `existing` is what later commands need, whoever made the cgroup, and with it `freezer`,
//! `stats`, `watch` and `update` (with `reclaim`); `destination` is where `exec` goes. `directory` (with `signal`),
//! `limits` and `delegation` are what all build on. A driver differs from another in the paths it makes of the config and
//! in how it makes and ends a cgroup; limits, device rules and removal of what is below are the same for all.

mod delegation;
mod destination;
mod devices;
mod directory;
mod existing;
mod freezer;
mod fs;
mod limits;
mod made;
mod path;
mod program;
mod reclaim;
mod resources;
mod signal;
mod stats;
mod systemd;
mod update;
#[cfg(test)]
mod verdicts;
mod watch;
mod weight;

pub use delegation::Owner;
pub use destination::Destination;
pub use devices::Program;
pub use existing::Existing;
pub use freezer::frozen;
pub use made::Cgroup;
pub use path::CgroupPath;
pub use resources::{Current, Write};
pub use stats::Stats;
pub use systemd::{Unit, set_properties as set_unit_properties, stop as stop_unit};
pub use update::plan_update;
pub use watch::Happening;

use crate::error::{Context, Result};
use crate::host::Host;
use oci_spec::runtime::LinuxResources;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// How long killed processes, and after them their cgroup, may take to go.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a cgroup is planned from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `linux.cgroupsPath`.
    pub cgroups_path: Option<&'a Path>,
    /// Who makes the cgroup.
    pub manager: Manager,
    /// `annotations`, which have properties of systemd's unit.
    pub annotations: Option<&'a HashMap<String, String>>,
    /// The container's id, which names the cgroup when no path is given.
    pub id: &'a str,
    /// `linux.resources`.
    pub resources: Option<&'a LinuxResources>,
    /// This machine, which tells our own cgroup.
    pub host: &'a Host,
    /// Whether we may lack the permission to make cgroups and to load device programs.
    pub rootless: bool,
    /// The user of the host whom the cgroup is delegated to, if to any.
    pub owner: Option<u32>,
}

/// Who makes a container's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// We do (`cgroupfs`).
    Ourselves,
    /// systemd does.
    Systemd {
        /// The user's own instance and not the machine's.
        user: bool,
    },
}

/// Where a container's cgroup is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At this path.
    Directory(CgroupPath),
    /// Where systemd has the unit.
    Unit(Unit),
}

/// The cgroup to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where, and so by whom.
    pub place: Place,
    /// Its limits, in the order of writing.
    pub writes: Vec<Write>,
    /// Which devices may be used; `None` for all.
    pub devices: Option<Program>,
    /// Whom it is delegated to.
    pub owner: Option<Owner>,
    /// What to do when we may not make it.
    pub if_denied: IfDenied,
}

/// What to do when the permission to make a cgroup is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfDenied {
    /// Fail with the plain error.
    Fail,
    /// Fail and say what a container without privileges would have to do without.
    Explain,
    /// Go on without a cgroup: the config asks neither for one nor for a limit, and we are without privileges.
    Without,
}

/// Plans the container's cgroup. Limits that cgroup v2 lacks are named in `warnings`.
///
/// # Errors
/// `InvalidConfig` with the field at fault.
pub fn plan(input: &Input<'_>, warnings: &mut Vec<String>) -> Result<Plan> {
    let mut ignored = Vec::new();
    let mut writes = match input.resources {
        Some(resources) => resources::writes(resources, &Current::default(), &mut ignored).context("config.json")?,
        None => Vec::new(),
    };
    warnings.extend(ignored.into_iter().map(|warning| format!("config.json: {warning}")));
    let rules = input.resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default();
    let named = input.cgroups_path.is_some_and(|path| !path.as_os_str().is_empty());
    let if_denied = match (input.rootless, named, writes.iter().any(Write::is_limit)) {
        (false, _, _) | (true, true, _) => IfDenied::Fail,
        (true, false, true) => IfDenied::Explain,
        (true, false, false) => IfDenied::Without,
    };
    let devices = devices::List::of(rules)?;
    let place = match input.manager {
        Manager::Ourselves => Place::Directory(CgroupPath::of_cgroupfs(input.cgroups_path, input.id, input.host)?),
        Manager::Systemd { user } => Place::Unit(systemd::plan(input, user, &mut writes, &devices)?),
    };
    let devices = devices::plan(&devices, input.rootless)?;
    let owner = input.owner.map(|uid| Owner { uid, optional: input.rootless });
    Ok(Plan { place, writes, devices, owner, if_denied })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Host, IfDenied, Input, Manager, Place, plan};
    use crate::process::tests::host;
    use std::path::Path;

    fn input(host: &Host) -> Input<'_> {
        Input {
            cgroups_path: None,
            manager: Manager::Ourselves,
            annotations: None,
            id: "web",
            resources: None,
            host,
            rootless: false,
            owner: None,
        }
    }

    fn check(rootless: bool, path: Option<&str>, resources: &str, expected: IfDenied) {
        let resources = serde_json::from_str(resources).unwrap();
        let host = host();
        let input = Input { cgroups_path: path.map(Path::new), resources: Some(&resources), rootless, ..input(&host) };
        assert_eq!(plan(&input, &mut Vec::new()).unwrap().if_denied, expected);
    }

    #[test]
    fn without_permission() {
        check(true, None, "{}", IfDenied::Without);
        check(true, Some(""), r#"{"pids": {"limit": -1}}"#, IfDenied::Without);
        check(true, None, r#"{"pids": {"limit": 5}}"#, IfDenied::Explain);
        check(true, Some("/a"), "{}", IfDenied::Fail);
        check(false, None, "{}", IfDenied::Fail);
    }

    #[test]
    fn no_resources() {
        let plan = plan(&input(&host()), &mut Vec::new()).unwrap();
        let Place::Directory(path) = plan.place else { panic!("a directory") };
        assert_eq!((path.as_str(), plan.writes.len(), plan.devices.is_some()), ("/web", 0, true));
    }

    #[test]
    fn by_systemd() {
        let resources = serde_json::from_str(r#"{"cpu": {"quota": 50001}}"#).unwrap();
        let manager = Manager::Systemd { user: false };
        let plan = plan(&Input { resources: Some(&resources), manager, ..input(&host()) }, &mut Vec::new()).unwrap();
        let Place::Unit(unit) = plan.place else { panic!("a unit") };
        assert_eq!((unit.id.unit.as_str(), plan.writes[0].value.as_str()), ("onggi-web.scope", "51000 100000"));
    }
}
