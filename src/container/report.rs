//! The state document of the runtime specification, as hooks read it and as `state` and `list` print it.

use super::record::Record;
use super::status::Status;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the OCI runtime specification that onggi follows.
pub const OCI_VERSION: &str = "1.3.0";

/// What hooks get on stdin (runtime.md, State); the order of keys is runc's.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookState<'a> {
    oci_version: &'static str,
    id: &'a str,
    status: Status,
    /// Absent once the container has stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl<'a> HookState<'a> {
    /// The document for hooks that run when the container is in `status`. `pid` is the init process's as the hook sees
    /// it.
    pub fn new(record: &'a Record, status: Status, pid: Option<i32>) -> Self {
        Self {
            oci_version: OCI_VERSION,
            id: record.id.as_str(),
            status,
            pid,
            bundle: &record.bundle,
            annotations: &record.annotations,
        }
    }

    /// The document as compact JSON without a newline. The paths were read from JSON, so they are UTF-8.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What the agent of a system call filter gets beside the listener (config-linux.md, The Container Process State).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessState<'a> {
    oci_version: &'static str,
    /// What the descriptors that come along are, in their order.
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: HookState<'a>,
}

impl<'a> ProcessState<'a> {
    /// The document for the process `pid` of the container in `state`.
    pub fn new(pid: i32, metadata: &'a str, state: HookState<'a>) -> Self {
        Self { oci_version: OCI_VERSION, fds: ["seccompFd"], pid, metadata, state }
    }

    /// The document as compact JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// One container in the output of `state` and `list`; the order of keys is runc's.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The version of the specification that onggi follows, not the config's.
    pub oci_version: &'static str,
    /// The container's name.
    pub id: String,
    /// The init process's pid; 0 when stopped.
    pub pid: i32,
    /// The status at the moment of asking.
    pub status: Status,
    /// The bundle's directory.
    pub bundle: String,
    /// The root filesystem's directory.
    pub rootfs: String,
    /// When it was created.
    pub created: String,
    /// The annotations of config.json.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The user who owns the state directory; empty in `state`.
    pub owner: String,
}

impl Report {
    /// What is known about the container of `record`, which is in `status`.
    pub fn new(record: Record, status: Status, owner: String) -> Self {
        Self {
            oci_version: OCI_VERSION,
            pid: if status == Status::Stopped { 0 } else { record.pid.unwrap_or(0) },
            id: record.id.to_string(),
            status,
            bundle: record.bundle.display().to_string(),
            rootfs: record.rootfs.display().to_string(),
            created: record.created,
            annotations: record.annotations,
            owner,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record() -> Record {
        let text = r#"{"version": 1, "id": "web", "bundle": "/b", "rootfs": "/b/rootfs", "created": "T", "phase": "created",
            "pid": 7, "annotations": {"k": "v"}}"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn for_hooks() {
        let record = record();
        let json = HookState::new(&record, Status::Creating, Some(7)).to_json();
        assert_eq!(
            json,
            r#"{"ociVersion":"1.3.0","id":"web","status":"creating","pid":7,"bundle":"/b","annotations":{"k":"v"}}"#
        );
        let json = HookState::new(&record, Status::Stopped, None).to_json();
        assert_eq!(
            json,
            r#"{"ociVersion":"1.3.0","id":"web","status":"stopped","bundle":"/b","annotations":{"k":"v"}}"#
        );
    }

    #[test]
    fn for_agents() {
        let record = record();
        let state = || HookState::new(&record, Status::Running, Some(7));
        let rest = r#""state":{"ociVersion":"1.3.0","id":"web","status":"running","pid":7,"bundle":"/b","annotations":{"k":"v"}}}"#;
        assert_eq!(
            ProcessState::new(9, "m", state()).to_json(),
            format!(r#"{{"ociVersion":"1.3.0","fds":["seccompFd"],"pid":9,"metadata":"m",{rest}"#)
        );
        assert_eq!(
            ProcessState::new(9, "", state()).to_json(),
            format!(r#"{{"ociVersion":"1.3.0","fds":["seccompFd"],"pid":9,{rest}"#)
        );
    }

    #[test]
    fn for_people() {
        let mut record = record();
        record.annotations.clear();
        let json = serde_json::to_string(&Report::new(record, Status::Stopped, String::new())).unwrap();
        assert_eq!(
            json,
            r#"{"ociVersion":"1.3.0","id":"web","pid":0,"status":"stopped","bundle":"/b","rootfs":"/b/rootfs","created":"T","owner":""}"#
        );
    }
}
