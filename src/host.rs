//! Facts about this machine, read once.

/// What this machine and the calling process offer; read once per command, then only looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Effective user id of onggi.
    pub euid: u32,
    /// Whether onggi runs inside a user namespace other than the initial one.
    pub in_user_namespace: bool,
    /// Number of threads of this process.
    pub threads: u64,
    /// onggi's bounding set, bit n for capability number n.
    pub bounding: u64,
    /// onggi's permitted set, bit n for capability number n.
    pub permitted: u64,
    /// onggi's own cgroup below the cgroup2 mount, such as `/user.slice/x`.
    pub own_cgroup: String,
    /// Whether AppArmor is enabled in this kernel.
    pub apparmor: bool,
    /// Whether SELinux is enabled in this kernel.
    pub selinux: bool,
}
