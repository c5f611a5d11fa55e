//! The state file: what later commands need to know about a container.

use super::id::ContainerId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The version that this build writes. A build reads every older version, and newer ones as far as it knows their
/// fields: containers live on while onggi is upgraded.
pub const VERSION: u32 = 1;

/// Everything about a container that outlives the command that made it. Nothing here is "the status": that is derived
/// from the kernel whenever it is asked for, see [`super::status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Format of the file, see [`VERSION`].
    pub version: u32,
    /// The container's name.
    pub id: ContainerId,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// The root filesystem's directory on the host, absolute.
    pub rootfs: PathBuf,
    /// When it was created: RFC 3339, UTC, nanoseconds.
    pub created: String,
    /// How far `create` came.
    pub phase: Phase,
    /// The init process's pid in the runtime's PID namespace.
    #[serde(default)]
    pub pid: Option<i32>,
    /// When the init process started, in clock ticks since boot (field 22 of `/proc/PID/stat`); guards against reuse
    /// of the pid.
    #[serde(default)]
    pub start_time: Option<u64>,
    /// The kernel's boot id when `start_time` was taken; guards against a state directory that survived a reboot.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// The container's cgroup below the cgroup2 mount; none with `--cgroup-manager disabled`, and with systemd's unit
    /// until that is made.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// systemd's unit that the cgroup belongs to; none with the cgroupfs driver. Later commands follow this, whatever
    /// their flags say.
    #[serde(default)]
    pub systemd: Option<SystemdUnit>,
    /// Its groups in the resctrl filesystem, if `linux.intelRdt` asked for them.
    #[serde(default)]
    pub intel_rdt: Option<IntelRdt>,
    /// What is mounted for it in the runtime's own mount namespace, on the root filesystem's directory, the lowest first.
    #[serde(default)]
    pub host_mounts: Vec<HostMount>,
    /// Whether the init process is number 1 of a PID namespace made for it, so that its end ends all others.
    #[serde(default)]
    pub private_pid_namespace: bool,
    /// Whether its processes keep the session keyring of their callers (`--no-new-keyring`).
    #[serde(default)]
    pub no_new_keyring: bool,
    /// Whether config.json has no `process`, so that the container can't be started.
    #[serde(default)]
    pub no_process: bool,
    /// The annotations of config.json.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Hooks for `start`.
    #[serde(default)]
    pub poststart: Vec<Hook>,
    /// Hooks for `delete`.
    #[serde(default)]
    pub poststop: Vec<Hook>,
}

/// A unit of systemd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemdUnit {
    /// Its name.
    pub unit: String,
    /// Whether it belongs to the user's manager and not to the machine's.
    pub user_bus: bool,
}

/// Groups in the resctrl filesystem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntelRdt {
    /// The control group's name; empty for the root.
    pub group: String,
    /// Whether it goes with the container.
    pub own: bool,
    /// The name of the monitoring group in it, which goes with the container.
    #[serde(default)]
    pub monitor: Option<String>,
}

/// A mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMount {
    /// Its number in `/proc/self/mountinfo`, which another one gets when it is gone.
    pub id: u64,
    /// The number that no other one gets, where the kernel has such.
    #[serde(default)]
    pub unique: Option<u64>,
}

/// How far `create` came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The init process is not ready yet.
    Creating,
    /// The init process waits for `start`, or has been started.
    Created,
}

/// A program to run at a point of the container's life (config.md, POSIX-platform Hooks).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The program, absolute.
    pub path: PathBuf,
    /// Its argv with argv\[0\]; empty means the path alone.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its whole environment; none means the runtime's.
    #[serde(default)]
    pub env: Option<Vec<String>>,
    /// After how many seconds it is killed; none means never.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn of_another_version() {
        let text = r#"{"version": 9, "id": "web", "bundle": "/b", "rootfs": "/b/rootfs", "created": "2026-01-02T03:04:05Z",
            "phase": "created", "pid": 7, "start_time": 99, "colour": {"new": true},
            "poststop": [{"path": "/bin/true", "mood": 1}]}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!((record.pid, record.start_time, record.cgroup.as_deref()), (Some(7), Some(99), None));
        assert_eq!(record.poststop[0].path, PathBuf::from("/bin/true"));
        let again: Record = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(again, record);
    }

    #[test]
    fn an_id_that_leads_out_is_refused() {
        let text = r#"{"version": 1, "id": "..", "bundle": "/", "rootfs": "/", "created": "", "phase": "created"}"#;
        assert!(serde_json::from_str::<Record>(text).is_err());
    }
}
