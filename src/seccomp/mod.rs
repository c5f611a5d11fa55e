//! seccomp: an OCI profile compiled to a BPF program (pure), and its installation.
//!
//! The phases, each in its file: [`profile`] checks the block of config.json, [`verdicts`] looks the names up and says
//! what becomes of each system call number, [`compile`] makes the program of this with the [`assembler`]. [`abi`] and
//! `tables`, which `generate_tables.py` writes, know the machine's calls.
//!
//! The verdicts are those of runc with libseccomp; `equivalence.rs` compares them and lists the differences, of which one
//! can be noticed: of two rules of one call whose conditions can hold together and whose actions differ the earlier one
//! decides, while libseccomp sorts them by argument and operator, or refuses them when one's conditions are among the
//! other's.
//!
//! A filter without `SCMP_ACT_NOTIFY` is loaded last: execve(2) is the only call of ours under it, and before that
//! capset(2) where new privileges are allowed. One with it is loaded before the container counts as created, and one
//! read(2) comes between: see `child/user.rs`.
//!
//! From seccompiler come the instruction type, the values of actions and the comparisons of arguments. The rest is our
//! own, since its filters have one architecture and one action, kill all others and know no call numbers.

mod abi;
mod assembler;
#[cfg(any(test, feature = "internals"))]
pub mod check;
mod compile;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod equivalence;
mod intervals;
#[cfg(test)]
#[path = "../../integration/libseccomp.rs"]
mod libseccomp;
mod profile;
mod ranges;
mod tables;
mod verdicts;

pub use profile::Listener;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::Host;
use crate::sys::clone::InChild;
use crate::sys::seccomp::{FilterFlags, install, knows};
use abi::Abi;
use oci_spec::runtime::LinuxSeccomp;
use seccompiler::sock_filter;
use std::collections::HashMap;

/// The actions that profiles may use, sorted.
pub const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// The operators that profiles may use, sorted.
pub const OPERATORS: [&str; 7] =
    ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];

/// The architectures that profiles may name, sorted.
pub const ARCHITECTURES: [&str; 23] = [
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

/// The flags that profiles may use.
const FLAGS: [(&str, FilterFlags); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", FilterFlags::TSYNC),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", FilterFlags::SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_LOG", FilterFlags::LOG),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", FilterFlags::WAIT_KILLABLE_RECV),
];

/// The names of the flags that profiles may use.
pub fn known_flags() -> Vec<&'static str> {
    FLAGS.iter().map(|(name, _)| *name).collect()
}

/// The names of those flags that the running kernel knows as well. Asks it, by one failing seccomp(2) for each.
pub fn supported_flags() -> Vec<&'static str> {
    FLAGS.iter().filter(|(_, flag)| knows(*flag)).map(|(name, _)| *name).collect()
}

/// crun's annotation for profiles of whose names none may be unknown.
const FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";

/// A profile, compiled and ready to be installed.
#[derive(Debug)]
pub struct Filter {
    program: Vec<sock_filter>,
    flags: FilterFlags,
    listener: Option<Listener>,
    unknown: Vec<String>,
}

/// Compiles `linux.seccomp`.
///
/// # Errors
/// `InvalidConfig` for a value that makes no sense, with the field.
pub fn plan(spec: &LinuxSeccomp, warnings: &mut Vec<String>) -> Result<Filter> {
    plan_on(Abi::NATIVE, spec, warnings)
}

/// The same for a machine whose native ABI is `native`.
fn plan_on(native: Abi, spec: &LinuxSeccomp, warnings: &mut Vec<String>) -> Result<Filter> {
    let profile = profile::Profile::on(native, spec)?;
    let verdicts = verdicts::Verdicts::new(&profile, warnings)?;
    if profile.listener.is_some() && !verdicts.lets_read(&profile) {
        let message = "read must be allowed or notified where another call is notified: \
                       with it the process waits until the agent has the listener";
        return Err(Error::config("linux.seccomp.syscalls", message));
    }
    let program = compile::compile(&profile, &verdicts.tables)?;
    let unknown = verdicts.unknown.into_iter().collect();
    Ok(Filter { program, flags: profile.flags, listener: profile.listener, unknown })
}

impl Filter {
    /// The program.
    #[cfg(any(test, feature = "internals"))]
    pub fn program(&self) -> &[sock_filter] {
        &self.program
    }

    /// The length of the program.
    pub fn instructions(&self) -> usize {
        self.program.len()
    }

    /// The flags that it is installed with, as the kernel numbers them.
    pub fn flags(&self) -> u64 {
        self.flags.bits()
    }

    /// The names in the profile that are no system calls of this machine, sorted; their rules have no effect on them.
    pub fn unknown_names(&self) -> &[String] {
        &self.unknown
    }

    /// Refuses unknown names where an annotation asks for that, which crun knows.
    ///
    /// # Errors
    /// `InvalidConfig` with the names.
    pub fn require_names(&self, annotations: Option<&HashMap<String, String>>) -> Result<()> {
        let strict = annotations.and_then(|all| all.get(FAIL_UNKNOWN)).is_some_and(|value| value != "0");
        if !strict || self.unknown.is_empty() {
            return Ok(());
        }
        let names = self.unknown.join(", ");
        let text = format!("no system calls of this machine, as annotations[{FAIL_UNKNOWN:?}] asks for: {names}");
        Err(Error::config("linux.seccomp.syscalls", text))
    }

    /// Who answers notifications, if it makes any.
    pub fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    /// Refuses, before anything is made, what this kernel has not. It is asked only where it may be too old: Linux 5.14
    /// knows all flags but `WAIT_KILLABLE_RECV`.
    ///
    /// # Errors
    /// `Unsupported`, naming the field that asks for too much.
    pub fn require_kernel(&self, host: &Host) -> Result<()> {
        let refuse = |field: &str, why: &str| Err(Error::config(field, why).of_kind(ErrorKind::Unsupported));
        if !host.filters {
            let why = "this kernel has no system call filters: remove the profile if the container may run without";
            return refuse("linux.seccomp", why);
        }
        if self.flags.has(FilterFlags::WAIT_KILLABLE_RECV) && !knows(self.flags) {
            let why = "this kernel does not know SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (Linux 5.19): leave it out";
            return refuse("linux.seccomp.flags", why);
        }
        Ok(())
    }

    /// Installs the filter in the calling process, for good; what it denies is denied to onggi itself from here on.
    ///
    /// # Errors
    /// The errno of seccomp(2): EACCES without both no_new_privs and CAP_SYS_ADMIN.
    pub fn install(&self, me: &InChild) -> Result<()> {
        install(me, &self.program, self.flags).context("load the seccomp filter")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::process::tests::host;

    #[test]
    fn a_kernel_without_filters_is_refused() {
        let spec = serde_json::from_str(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).unwrap();
        let filter = plan(&spec, &mut Vec::new()).unwrap();
        filter.require_kernel(&host()).unwrap();
        let error = filter.require_kernel(&Host { filters: false, ..host() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().starts_with("config.json: linux.seccomp: this kernel has no system call filters"));
    }
}
