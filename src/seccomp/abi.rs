//! The ABIs that a profile can name, and the numbers of the system calls under each.

use super::tables::{self, COUNT, MULTIPLEXED, Multiplexer, NAMES, NO, NUMBERS, STARTS};
use oci_spec::runtime::Arch;

/// The number that a tracer sets to have a call skipped, -1. It belongs to no ABI.
pub(super) const SKIPPED: u32 = u32::MAX;

/// The bit in the number of every x32 call (`__X32_SYSCALL_BIT` in asm/unistd.h).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// What tells the ABIs apart.
#[derive(Debug, Clone, Copy)]
struct Facts {
    /// The value in `seccomp_data.arch` (`AUDIT_ARCH_*` in linux/audit.h).
    audit: u32,
    /// What its numbers start at.
    base: u32,
    /// Its column in the tables.
    column: usize,
}

// The parts of `AUDIT_ARCH_*`.
/// Arguments of 64 bits.
const BITS_64: u32 = 0x8000_0000;
/// The lower half first.
const LITTLE: u32 = 0x4000_0000;
/// MIPS' n32.
const N32: u32 = 0x2000_0000;

/// Declares [`Abi`] with what is known of each; those that have no name in profiles come after the semicolon.
macro_rules! abis {
    ($($name:ident = $arch:ident: $audit:expr, $base:expr, $column:ident;)*) => {
        /// A system call ABI.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs, clippy::missing_docs_in_private_items, reason = "their names are the names of profiles")]
        pub(super) enum Abi {
            $($name,)*
            /// The calls that 32-bit ARM has beyond the common ones, such as set_tls. No profile names it by itself.
            ArmPrivate,
        }

        impl Abi {
            /// The ABI that a profile names.
            pub(super) const fn named(arch: Arch) -> Self {
                match arch {
                    $(Arch::$arch => Self::$name,)*
                    Arch::ScmpArchNative => Self::NATIVE,
                }
            }

            const fn facts(self) -> Facts {
                match self {
                    $(Self::$name => Facts { audit: $audit, base: $base, column: tables::$column },)*
                    Self::ArmPrivate => Facts { base: 0xf_0000, column: tables::ARM_PRIVATE, ..Self::Arm.facts() },
                }
            }
        }
    };
}

// The numbers of machines are those of ELF (linux/elf-em.h).
abis! {
    X86_64 = ScmpArchX86_64: BITS_64 | LITTLE | 62, 0, X86_64;
    X86 = ScmpArchX86: LITTLE | 3, 0, X86;
    X32 = ScmpArchX32: BITS_64 | LITTLE | 62, X32_BIT, X32;
    Aarch64 = ScmpArchAarch64: BITS_64 | LITTLE | 183, 0, AARCH64;
    Arm = ScmpArchArm: LITTLE | 40, 0, ARM;
    Riscv64 = ScmpArchRiscv64: BITS_64 | LITTLE | 243, 0, RISCV64;
    Loongarch64 = ScmpArchLoongarch64: BITS_64 | LITTLE | 258, 0, LOONGARCH64;
    Ppc = ScmpArchPpc: 20, 0, PPC;
    Ppc64 = ScmpArchPpc64: BITS_64 | 21, 0, PPC64;
    Ppc64le = ScmpArchPpc64le: BITS_64 | LITTLE | 21, 0, PPC64;
    S390 = ScmpArchS390: 22, 0, S390;
    S390x = ScmpArchS390x: BITS_64 | 22, 0, S390X;
    Mips = ScmpArchMips: 8, 4000, MIPS;
    Mipsel = ScmpArchMipsel: LITTLE | 8, 4000, MIPS;
    Mips64 = ScmpArchMips64: BITS_64 | 8, 5000, MIPS64;
    Mipsel64 = ScmpArchMipsel64: BITS_64 | LITTLE | 8, 5000, MIPS64;
    Mips64n32 = ScmpArchMips64n32: BITS_64 | N32 | 8, 6000, MIPS64N32;
    Mipsel64n32 = ScmpArchMipsel64n32: BITS_64 | N32 | LITTLE | 8, 6000, MIPS64N32;
    Parisc = ScmpArchParisc: 15, 0, PARISC;
    Parisc64 = ScmpArchParisc64: BITS_64 | 15, 0, PARISC;
    M68k = ScmpArchM68k: 4, 0, M68K;
    Sh = ScmpArchSh: LITTLE | 42, 0, SH;
    Sheb = ScmpArchSheb: 42, 0, SH;
}

impl Abi {
    /// The ABI of onggi itself.
    #[cfg(target_arch = "x86_64")]
    pub(super) const NATIVE: Self = Self::X86_64;
    /// The ABI of onggi itself.
    #[cfg(target_arch = "aarch64")]
    pub(super) const NATIVE: Self = Self::Aarch64;
    /// The ABI of onggi itself.
    #[cfg(target_arch = "riscv64")]
    pub(super) const NATIVE: Self = Self::Riscv64;
    /// The ABI of onggi itself.
    #[cfg(target_arch = "loongarch64")]
    pub(super) const NATIVE: Self = Self::Loongarch64;
    /// The ABI of onggi itself.
    #[cfg(all(target_arch = "powerpc64", target_endian = "little"))]
    pub(super) const NATIVE: Self = Self::Ppc64le;
    /// The ABI of onggi itself.
    #[cfg(target_arch = "s390x")]
    pub(super) const NATIVE: Self = Self::S390x;

    /// The value in `seccomp_data.arch`, which x86_64 and x32 share, and ARM's two.
    pub(super) const fn audit(self) -> u32 {
        self.facts().audit
    }

    /// What its numbers start at.
    pub(super) const fn base(self) -> u32 {
        self.facts().base
    }

    /// Whether arguments are compared as 64 bits. x32 and n32 get 32 as from libseccomp, though their registers have 64.
    pub(super) const fn is_wide(self) -> bool {
        self.audit() & (BITS_64 | N32) == BITS_64 && !matches!(self, Self::X32)
    }

    /// Whether the lower half of an argument lies first.
    pub(super) const fn is_little_endian(self) -> bool {
        self.audit() & LITTLE != 0
    }
}

/// A name that some ABI knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// Its place in the tables.
    at: u16,
    /// How it is told from other calls of the same multiplexer, where there is one.
    multiplexed: Option<(Multiplexer, u8)>,
}

impl Call {
    /// Looks a name up; none when no ABI has it.
    pub(super) fn named(name: &str) -> Option<Self> {
        let mut slot = slot(name.as_bytes());
        while SLOTS[slot] != NO {
            let at = SLOTS[slot];
            if name_at(at.into()) == name {
                return Some(Self { at, multiplexed: multiplexed(at) });
            }
            slot = (slot + 1) % SLOT_COUNT;
        }
        None
    }

    /// The name.
    pub(super) fn name(self) -> &'static str {
        name_at(self.at.into())
    }

    /// The call's number under `abi`, less what the numbers start at; none when it does not exist there.
    pub(super) fn number(self, abi: Abi) -> Option<usize> {
        let number = NUMBERS[abi.facts().column][usize::from(self.at)];
        (number != NO).then(|| usize::from(number))
    }

    /// The number of socketcall(2) or ipc(2) and its first argument, when `abi` takes the call by these, maybe as well.
    pub(super) fn multiplexed(self, abi: Abi) -> Option<(usize, u64)> {
        let (by, call) = self.multiplexed?;
        let number = Self::named(by.name())?.number(abi)?;
        Some((number, call.into()))
    }
}

impl Multiplexer {
    /// The name of the system call.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ipc => "ipc",
            Self::Socketcall => "socketcall",
        }
    }
}

/// The name at this place in the tables.
pub(super) fn name_at(at: usize) -> &'static str {
    NAMES.get(usize::from(STARTS[at])..usize::from(STARTS[at + 1])).unwrap_or_default()
}

/// How many slots there are for names.
const SLOT_COUNT: usize = 2 * COUNT;

/// The places of the names, each in the slot of its hash or the next free one; [`NO`] in the others. With a binary search
/// looking names up would be a third of the compiler's work.
static SLOTS: [u16; SLOT_COUNT] = {
    let mut slots = [NO; SLOT_COUNT];
    let mut at = 0;
    while (at as usize) < COUNT {
        let (names, _) = NAMES.as_bytes().split_at(STARTS[at as usize + 1] as usize);
        let (_, name) = names.split_at(STARTS[at as usize] as usize);
        let mut slot = slot(name);
        while slots[slot] != NO {
            slot = (slot + 1) % SLOT_COUNT;
        }
        slots[slot] = at;
        at += 1;
    }
    slots
};

/// The slot of a name's hash (FNV-1a).
const fn slot(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash as usize % SLOT_COUNT
}

fn multiplexed(at: u16) -> Option<(Multiplexer, u8)> {
    let found = MULTIPLEXED.binary_search_by_key(&at, |(known, ..)| *known).ok()?;
    Some((MULTIPLEXED[found].1, MULTIPLEXED[found].2))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found() {
        assert!((1..COUNT).all(|at| name_at(at - 1) < name_at(at)));
        assert!(MULTIPLEXED.is_sorted_by(|a, b| a.0 < b.0));
        assert!((0..COUNT).all(|at| Call::named(name_at(at)).is_some_and(|call| usize::from(call.at) == at)));
    }

    #[test]
    fn numbers_differ_between_the_abis() {
        let check = |name: &str, expected: [Option<usize>; 5]| {
            let call = Call::named(name).unwrap();
            let abis = [Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::ArmPrivate];
            assert_eq!(abis.map(|abi| call.number(abi)), expected, "{name}");
        };
        check("read", [Some(0), Some(3), Some(0), Some(63), None]);
        check("execve", [Some(59), Some(11), Some(520), Some(221), None]);
        check("socketcall", [None, Some(102), None, None, None]);
        check("set_tls", [None, None, None, None, Some(5)]);
        check("fchmodat2", [Some(452), Some(452), Some(452), Some(452), None]);
        check("file_getattr", [Some(468), Some(468), Some(468), Some(468), None]);
        assert!(Call::named("no_such_call").is_none());
    }

    #[test]
    fn multiplexed_calls() {
        let check = |name: &str, abi: Abi, expected: Option<(usize, u64)>| {
            assert_eq!(Call::named(name).unwrap().multiplexed(abi), expected, "{name} of {abi:?}");
        };
        check("socket", Abi::X86, Some((102, 1)));
        check("recv", Abi::X86, Some((102, 10)));
        check("semtimedop", Abi::S390x, Some((117, 4)));
        check("socket", Abi::X86_64, None);
        check("read", Abi::X86, None);
    }

    #[test]
    fn audit_values() {
        let check = |abi: Abi, expected: u32, wide: bool, little: bool| {
            assert_eq!((abi.audit(), abi.is_wide(), abi.is_little_endian()), (expected, wide, little), "{abi:?}");
        };
        check(Abi::X86_64, 0xc000_003e, true, true);
        check(Abi::X86, 0x4000_0003, false, true);
        check(Abi::X32, 0xc000_003e, false, true);
        check(Abi::Arm, 0x4000_0028, false, true);
        check(Abi::Mipsel64n32, 0xe000_0008, false, true);
        check(Abi::S390x, 0x8000_0016, true, false);
    }
}
