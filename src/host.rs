//! Facts about this machine, read once.

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs::{self, Access};
use crate::sys::machine;
use procfs::FromBufRead;
use procfs::process::Status;
use std::cell::OnceCell;
use std::path::Path;

/// Where every host mounts the unified cgroup hierarchy.
pub const CGROUP_MOUNT: &str = "/sys/fs/cgroup";

/// Far more than the files read here hold, in bytes.
const LARGEST_FILE: usize = 1 << 20;

/// What this machine and the calling process offer; read once per command, then only looked at. What few containers need
/// is read when it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Effective user id of onggi.
    pub euid: u32,
    /// Effective group id of onggi.
    pub egid: u32,
    /// Whether onggi runs inside a user namespace other than the initial one.
    pub in_user_namespace: bool,
    /// Number of threads of this process.
    pub threads: u64,
    /// onggi's bounding set, bit n for capability number n.
    pub bounding: u64,
    /// onggi's permitted set, bit n for capability number n.
    pub permitted: u64,
    /// The signals that onggi's caller had it ignore, bit n - 1 for signal n.
    pub ignored_signals: u64,
    /// Whether this kernel has system call filters.
    pub filters: bool,
    /// See [`Host::own_cgroup`].
    pub own_cgroup: OnceCell<String>,
    /// See [`Host::apparmor`].
    pub apparmor: OnceCell<bool>,
    /// See [`Host::selinux`].
    pub selinux: OnceCell<bool>,
}

/// CAP_SYS_PTRACE as a mask.
const SYS_PTRACE: u64 = 1 << 19;
/// CAP_SYS_ADMIN as a mask.
const SYS_ADMIN: u64 = 1 << 21;

impl Host {
    /// Whether onggi may join what belongs to its own user namespace.
    pub const fn has_sys_admin(&self) -> bool {
        self.permitted & SYS_ADMIN != 0
    }

    /// Looks at this machine.
    ///
    /// # Errors
    /// When `/proc` can't be read or is not the kernel's.
    pub fn read() -> Result<Self> {
        let odd = |why: String| Error::new(ErrorKind::Unsupported, why).context("/proc/self/status");
        let status = Status::from_buf_read(read("/proc/self/status")?.as_bytes());
        let status = status.map_err(|error| odd(error.to_string()))?;
        Ok(Self {
            euid: status.euid,
            egid: status.egid,
            in_user_namespace: machine::in_user_namespace(),
            threads: status.threads,
            bounding: status.capbnd.ok_or_else(|| odd("no CapBnd".to_owned()))?,
            permitted: status.capprm,
            ignored_signals: status.sigign,
            filters: status.seccomp.is_some(),
            own_cgroup: OnceCell::new(),
            apparmor: OnceCell::new(),
            selinux: OnceCell::new(),
        })
    }

    /// onggi's own cgroup below the cgroup2 mount, such as `/user.slice/x`.
    ///
    /// # Errors
    /// When `/proc` can't be read.
    pub fn own_cgroup(&self) -> Result<&str> {
        if let Some(known) = self.own_cgroup.get() {
            return Ok(known);
        }
        let own = own_cgroup(&read("/proc/self/cgroup")?);
        Ok(self.own_cgroup.get_or_init(|| own))
    }

    /// Whether AppArmor is enabled in this kernel.
    pub fn apparmor(&self) -> bool {
        *self.apparmor.get_or_init(|| {
            read("/sys/module/apparmor/parameters/enabled").is_ok_and(|enabled| enabled.starts_with('Y'))
        })
    }

    /// Whether SELinux is enabled in this kernel.
    pub fn selinux(&self) -> bool {
        *self.selinux.get_or_init(|| Path::new("/sys/fs/selinux/enforce").exists())
    }

    /// Whether onggi may look into processes that hide themselves; see `PR_SET_DUMPABLE`.
    pub fn may_trace(&self) -> bool {
        self.permitted & SYS_PTRACE != 0
    }
}

/// The cgroup of the process `pid` below the cgroup2 mount, such as `/user.slice/x`.
///
/// # Errors
/// ENOENT or ESRCH when there is no such process.
pub fn cgroup_of(pid: i32) -> Result<String> {
    read(&format!("/proc/{pid}/cgroup")).map(|cgroups| own_cgroup(&cgroups))
}

/// Refuses kernels below 5.14: onggi uses clone3, openat2, pidfds, the mount API, CLONE_INTO_CGROUP, mount_setattr and
/// cgroup.kill without weaker means to fall back on.
///
/// # Errors
/// `Unsupported`, with one sentence.
pub fn require_kernel() -> Result<()> {
    let release = machine::kernel_release()?;
    if is_new_enough(&release) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, format!("onggi needs Linux 5.14 or newer; this is {release}")))
}

fn is_new_enough(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 14)
}

fn read(path: &str) -> Result<String> {
    let file = fs::open(path, Access::Read)?;
    let text = fs::read_whole(&file, LARGEST_FILE).with_context(|| path)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The `0::` line of `/proc/self/cgroup`, which is cgroup v2's; without one, the root.
fn own_cgroup(cgroups: &str) -> String {
    cgroups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn kernel_floor() {
        for release in ["5.14.0", "5.14", "5.15.0-rc1", "6.1.0-18-amd64", "10.0"] {
            assert!(is_new_enough(release), "{release}");
        }
        for release in ["5.4.0", "5.13.19-1", "4.19.0", "3.10.0-1160.el7", "", "x"] {
            assert!(!is_new_enough(release), "{release}");
        }
    }

    #[test]
    fn own_cgroups() {
        assert_eq!(own_cgroup("1:cpu:/x\n0::/user.slice/a\n"), "/user.slice/a");
        assert_eq!(own_cgroup("1:cpu:/x\n"), "/");
    }

    #[test]
    fn this_machine() {
        let host = Host::read().unwrap();
        assert_eq!(host.euid, machine::effective_uid());
        assert!(host.threads >= 1 && host.own_cgroup().unwrap().starts_with('/'));
    }
}
