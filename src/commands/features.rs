//! `features`: what this build can do (features.md of the runtime specification), whatever the host offers.

use super::print;
use super::version::{COMMIT, VERSION};
use crate::container::report::OCI_VERSION;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES};
use crate::rootfs;
use crate::seccomp;
use crate::sys::this_process;
use serde::Serialize;
use serde_json::{Value, json};

/// Prints the features: four spaces of indent and a newline, as runc does. Engines call this without any other flag and
/// read stdout and stderr together, so nothing else may be printed.
pub(super) fn features() -> Result<u8> {
    let mut text = Vec::new();
    let four_spaces = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, four_spaces);
    document()
        .serialize(&mut serializer)
        .map_err(|error| Error::new(ErrorKind::System, format!("features document: {error}")))?;
    print(&format!("{}\n", String::from_utf8_lossy(&text)))?;
    Ok(0)
}

fn document() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": rootfs::mount_option_names(),
        "linux": linux(),
        "annotations": {
            "io.github.onggi.version": VERSION,
            "io.github.onggi.commit": COMMIT,
            // Podman and CRI-O look for this one whatever the runtime.
            "org.opencontainers.runc.checkpoint.enabled": "false",
        },
        // They change the unit that systemd makes; those that do more are refused.
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property."],
    })
}

fn linux() -> Value {
    json!({
        "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
        "capabilities": capabilities(),
        "cgroup": { "v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
        "seccomp": {
            "enabled": true,
            "actions": seccomp::ACTIONS,
            "operators": seccomp::OPERATORS,
            "archs": seccomp::ARCHITECTURES,
            "knownFlags": seccomp::known_flags(),
            // The one list that depends on the kernel, as the specification wants it.
            "supportedFlags": seccomp::supported_flags(),
        },
        "apparmor": { "enabled": true },
        // Labels of processes and mounts are given, but no machine with SELinux has proven it.
        "selinux": { "enabled": false },
        "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
        "memoryPolicy": {
            "modes": MEMORY_POLICY_MODES.map(|(name, _)| name),
            "flags": MEMORY_POLICY_FLAGS.map(|(name, _)| name),
        },
        "mountExtensions": { "idmap": { "enabled": true } },
        "netDevices": { "enabled": true },
    })
}

/// The capabilities that both onggi and the running kernel know, by number.
fn capabilities() -> Vec<String> {
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
    let last: u8 = last.and_then(|text| text.trim_end().parse().ok()).unwrap_or(63);
    let names = (0..=last).map(|number| (number, this_process::capability_name(number)));
    names
        .filter(|(number, name)| this_process::capability_number(name) == Some(*number))
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_look_for() {
        let document = document();
        assert!(document["mountOptions"].as_array().unwrap().contains(&json!("rro")));
        let capabilities = document["linux"]["capabilities"].as_array().unwrap();
        assert_eq!(capabilities.first().unwrap(), "CAP_CHOWN");
        assert!(capabilities.len() >= 38);
        // Any kernel that onggi runs on knows these.
        for list in ["knownFlags", "supportedFlags"] {
            let flags = document["linux"]["seccomp"][list].as_array().unwrap();
            assert!(flags.contains(&json!("SECCOMP_FILTER_FLAG_SPEC_ALLOW")), "{list}: {flags:?}");
        }
        for list in ["hooks", "mountOptions"] {
            assert!(!document[list].as_array().unwrap().is_empty(), "{list}");
        }
    }
}
