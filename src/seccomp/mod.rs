//! seccomp: an OCI profile compiled to a BPF program (pure), and its installation.
//!
//! The phases, each in its file: [`profile`] checks the block of config.json, [`verdicts`] looks the names up and says
//! what becomes of each system call number, [`compile`] makes the program of this with the [`assembler`]. [`abi`] and
//! `tables`, which `generate_tables.py` writes, know the machine's calls.
//!
//! The verdicts are those of runc with libseccomp, but for two rules of one call whose conditions can hold together and
//! whose actions differ: here the earlier rule decides, while libseccomp sorts them by argument and operator, or refuses
//! them when one's conditions are among the other's.
//!
//! From seccompiler come the instruction type, the values of actions and the comparisons of arguments. The rest is our
//! own, since its filters have one architecture and one action, kill all others and know no call numbers.

mod abi;
mod assembler;
mod compile;
#[cfg(test)]
mod differential;
mod profile;
mod tables;
mod verdicts;

use crate::error::{Context, Result};
use crate::sys::clone::InChild;
use crate::sys::seccomp::{FilterFlags, install, knows};
use oci_spec::runtime::LinuxSeccomp;
use seccompiler::sock_filter;

/// The actions that profiles may use, sorted.
pub const ACTIONS: [&str; 8] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// The operators that profiles may use, sorted.
pub const OPERATORS: [&str; 7] =
    ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];

/// The architectures whose calls filters can let through, sorted.
pub const ARCHITECTURES: [&str; 3] = ["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"];

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

/// A profile, compiled and ready to be installed.
#[derive(Debug)]
pub struct Filter {
    program: Vec<sock_filter>,
    flags: FilterFlags,
    unknown: Vec<String>,
}

/// Compiles `linux.seccomp`.
///
/// # Errors
/// `InvalidConfig` for a value that makes no sense, `Unsupported` for `SCMP_ACT_NOTIFY`; both name the field.
pub fn plan(spec: &LinuxSeccomp, warnings: &mut Vec<String>) -> Result<Filter> {
    let profile = profile::Profile::new(spec)?;
    let verdicts = verdicts::Verdicts::new(&profile, warnings)?;
    let program = compile::compile(&profile, &verdicts.tables)?;
    Ok(Filter { program, flags: profile.flags, unknown: verdicts.unknown.into_iter().collect() })
}

impl Filter {
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

    /// Installs the filter in the calling process, for good; what it denies is denied to onggi itself from here on.
    ///
    /// # Errors
    /// The errno of seccomp(2): EACCES without both no_new_privs and CAP_SYS_ADMIN.
    pub fn install(&self, me: &InChild) -> Result<()> {
        install(me, &self.program, self.flags).context("load the seccomp filter")
    }
}
