//! The ABIs by which a program can call this machine's kernel, and the numbers of the system calls under each.

use super::tables::{CALLS, NO, X86_MULTIPLEXED};
use oci_spec::runtime::Arch;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("seccomp has system call tables for x86_64 only");

/// The bit in the number of every x32 call (`__X32_SYSCALL_BIT` in asm/unistd.h). x32 shares x86_64's audit value.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// The number that a tracer sets to have a call skipped, -1. It belongs to no ABI.
pub(super) const SKIPPED: u32 = u32::MAX;

/// A system call ABI of this machine. The order is that of the columns in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Abi {
    /// 64-bit calls.
    X86_64,
    /// 32-bit calls.
    X86,
    /// 64-bit calls of programs with 32-bit pointers.
    X32,
}

impl Abi {
    /// The ABI of onggi itself.
    pub(super) const NATIVE: Self = Self::X86_64;

    /// The ABI that a profile names; none when no program can call this machine's kernel by it.
    pub(super) fn named(arch: Arch) -> Option<Self> {
        match arch {
            Arch::ScmpArchNative => Some(Self::NATIVE),
            Arch::ScmpArchX86_64 => Some(Self::X86_64),
            Arch::ScmpArchX86 => Some(Self::X86),
            Arch::ScmpArchX32 => Some(Self::X32),
            _ => None,
        }
    }

    /// The value in `seccomp_data.arch` (`AUDIT_ARCH_*` in linux/audit.h).
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
        }
    }

    /// Whether arguments are compared as 64 bits. x32 gets 32 as from libseccomp, though its registers have 64.
    pub(super) const fn is_wide(self) -> bool {
        matches!(self, Self::X86_64)
    }
}

/// The numbers of one name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    numbers: [u16; 3],
    /// The multiplexer that x86 also takes the call by, and the first argument there.
    multiplexed: Option<(usize, u64)>,
}

impl Call {
    /// Looks a name up; none when it is unknown on this machine.
    pub(super) fn named(name: &str) -> Option<Self> {
        let at = CALLS.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
        let multiplexed = X86_MULTIPLEXED.binary_search_by(|(known, _, _)| (*known).cmp(name)).ok();
        Some(Self {
            numbers: CALLS[at].1,
            multiplexed: multiplexed.map(|at| (usize::from(X86_MULTIPLEXED[at].1), u64::from(X86_MULTIPLEXED[at].2))),
        })
    }

    /// The call's number under `abi`, without the x32 bit; none when it does not exist there.
    pub(super) fn number(self, abi: Abi) -> Option<usize> {
        let number = self.numbers[abi as usize];
        (number != NO).then(|| usize::from(number))
    }

    /// The number of socketcall(2) or ipc(2) and its first argument, when `abi` takes the call by these as well.
    pub(super) fn multiplexed(self, abi: Abi) -> Option<(usize, u64)> {
        self.multiplexed.filter(|_| abi == Abi::X86)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_for_the_binary_search() {
        assert!(CALLS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(X86_MULTIPLEXED.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn numbers_differ_between_the_abis() {
        let check = |name: &str, expected: [Option<usize>; 3]| {
            let call = Call::named(name).unwrap();
            assert_eq!([Abi::X86_64, Abi::X86, Abi::X32].map(|abi| call.number(abi)), expected, "{name}");
        };
        check("read", [Some(0), Some(3), Some(0)]);
        check("execve", [Some(59), Some(11), Some(520)]);
        check("socketcall", [None, Some(102), None]);
        check("fchmodat2", [Some(452), Some(452), Some(452)]);
        check("file_getattr", [Some(468), Some(468), Some(468)]);
        assert!(Call::named("no_such_call").is_none());
        assert_eq!(Call::named("socket").unwrap().multiplexed(Abi::X86), Some((102, 1)));
        assert_eq!(Call::named("socket").unwrap().multiplexed(Abi::X86_64), None);
    }
}
