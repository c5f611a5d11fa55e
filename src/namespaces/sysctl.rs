//! Kernel parameters that belong to a namespace; every other one would change the host.

use super::Plan;
use crate::error::{Context, Error, Result};
use crate::sys::clone::CloneFlags;
use crate::sys::fs::{self, Access, Resolve};
use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// Parameters of the IPC namespace, apart from `fs.mqueue.*`.
const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// One parameter and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// As written in config.json, for messages.
    pub key: String,
    /// Below `/proc`, such as `sys/net/ipv4/ip_forward`.
    pub path: PathBuf,
    /// What is written, as it is.
    pub value: String,
}

impl Sysctl {
    /// Writes the value through a procfs that nobody can have changed.
    pub fn write(&self, proc: BorrowedFd<'_>) -> Result<()> {
        fs::open_at(proc, &self.path, Access::Write, Resolve::BeneathOneMount)
            .and_then(|file| fs::write(file, self.value.as_bytes()))
            .with_context(|| format!("config.json: linux.sysctl.{}", self.key))
    }
}

pub(super) fn plan(wanted: Option<&HashMap<String, String>>, namespaces: &Plan) -> Result<Vec<Sysctl>> {
    let mut sysctls = Vec::new();
    for (key, value) in wanted.into_iter().flatten() {
        let name = file_name(key);
        allowed(key, &name, namespaces)?;
        if value.contains('\0') {
            return Err(Error::config(format!("linux.sysctl.{key}"), "its value contains a NUL byte"));
        }
        let path = PathBuf::from("sys").join(&name);
        sysctls.push(Sysctl { key: key.clone(), path, value: value.clone() });
    }
    sysctls.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(sysctls)
}

/// The key with `/` between its parts; whichever separator comes first is the separator (sysctl(8)).
fn file_name(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'.' => key
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => key.to_owned(),
    }
}

fn allowed(key: &str, name: &str, namespaces: &Plan) -> Result<()> {
    let refuse = |message: &str| Err(Error::config(format!("linux.sysctl.{key}"), message));
    if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") || name.contains('\0') {
        return refuse("is not the name of a kernel parameter");
    }
    if IPC.contains(&name) || name.starts_with("fs/mqueue/") {
        if !namespaces.lists(CloneFlags::IPC) {
            return refuse(&format!("sysctl {key:?} is not allowed in the hosts ipc namespace"));
        }
    } else if name.starts_with("net/") {
        if !namespaces.lists(CloneFlags::NETWORK) {
            return refuse(&format!("sysctl {key:?} not allowed in host network namespace"));
        }
    } else if name.starts_with("user/") {
        if !namespaces.lists(CloneFlags::USER) {
            return refuse(&format!("setting ucounts without a user namespace not allowed: {key}"));
        }
    } else if name == "kernel/hostname" {
        return refuse(&format!("sysctl {key:?} is not allowed as it conflicts with the OCI \"hostname\" field"));
    } else if name != "kernel/domainname" || !namespaces.lists(CloneFlags::UTS) {
        return refuse(&format!("sysctl {key:?} is not in a separate kernel namespace"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(key: &str, namespaces: CloneFlags, expected: std::result::Result<&str, &str>) {
        let wanted = HashMap::from([(key.to_owned(), "1".to_owned())]);
        let found = plan(Some(&wanted), &Plan { create: namespaces, ..Plan::default() });
        match expected {
            Ok(path) => assert_eq!(found.unwrap()[0].path, PathBuf::from(path)),
            Err(part) => assert!(found.as_ref().is_err_and(|error| error.to_string().contains(part)), "{found:?}"),
        }
    }

    #[test]
    fn only_parameters_of_own_namespaces_are_allowed() {
        let none = CloneFlags::NONE;
        check("net.ipv4.ip_forward", CloneFlags::NETWORK, Ok("sys/net/ipv4/ip_forward"));
        check("net/ipv4/conf/eth0.100/forwarding", CloneFlags::NETWORK, Ok("sys/net/ipv4/conf/eth0.100/forwarding"));
        check("net.ipv4.conf.eth0/100.forwarding", CloneFlags::NETWORK, Ok("sys/net/ipv4/conf/eth0.100/forwarding"));
        check("net.ipv4.ip_forward", none, Err("host network namespace"));
        check("kernel.sem", CloneFlags::IPC, Ok("sys/kernel/sem"));
        check("fs.mqueue.msg_max", CloneFlags::IPC, Ok("sys/fs/mqueue/msg_max"));
        check("kernel.sem", none, Err("hosts ipc namespace"));
        check("kernel.domainname", CloneFlags::UTS, Ok("sys/kernel/domainname"));
        check("kernel.hostname", CloneFlags::UTS, Err("conflicts with the OCI"));
        check("user.max_user_namespaces", CloneFlags::USER, Ok("sys/user/max_user_namespaces"));
        check("user.max_user_namespaces", none, Err("without a user namespace"));
        // CVE-2022-0811: nothing may smuggle a parameter of the host.
        for key in ["kernel.core_pattern", "kernel/core_pattern", "vm.swappiness", "", "kernel"] {
            check(key, CloneFlags::IPC, Err("linux.sysctl"));
        }
        for key in ["net..ipv4", "net/../kernel/core_pattern", "net/./x", "fs.mqueue..x", "net.a\0b"] {
            check(key, CloneFlags::NETWORK.with(CloneFlags::IPC), Err("not the name of a kernel parameter"));
        }
    }
}
