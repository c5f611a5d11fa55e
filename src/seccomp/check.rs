//! What programs do, by an interpreter, and what they should do, evaluated naively from the profile. For tests, benches
//! and fuzzing; nothing of it is in the runtime.

#![allow(
    clippy::missing_panics_doc,
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::expect_used,
    reason = "a panic is how a check tells"
)]

use super::abi::{Abi, Call};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Op,
};
use seccompiler::sock_filter;

const KILL_THREAD: u32 = 0;
const ENOSYS: u32 = 0x5_0026;
const X32_BIT: u32 = 0x4000_0000;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub struct Data {
    /// The number of the call.
    pub number: u32,
    /// The audit value of the architecture.
    pub arch: u32,
    /// The arguments.
    pub args: [u64; 6],
}

impl Data {
    fn word(self, offset: u32, little_endian: bool) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16.. => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) == little_endian { arg as u32 } else { (arg >> 32) as u32 }
            }
            _ => panic!("load at {offset}"),
        }
    }
}

/// What a kernel of this byte order would do: the value returned, and the number of instructions on the way.
pub fn run(program: &[sock_filter], data: Data, little_endian: bool) -> (u32, usize) {
    let (mut accumulator, mut index, mut at, mut steps) = (0_u32, 0, 0, 0);
    let mut memory = [0; 16];
    loop {
        let instruction = program.get(at).unwrap_or_else(|| panic!("jump to {at} of {}", program.len()));
        let k = instruction.k;
        at += 1;
        steps += 1;
        let holds = match instruction.code {
            0x06 => return (k, steps),
            0x05 => {
                at += k as usize;
                continue;
            }
            0x20 => {
                accumulator = data.word(k, little_endian);
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x00 => {
                accumulator = k;
                continue;
            }
            0x07 => {
                index = accumulator;
                continue;
            }
            // Panics where a shift is too far.
            0x6c => {
                accumulator = accumulator.strict_shl(index);
                continue;
            }
            0x45 => accumulator & k != 0,
            // libseccomp keeps what it loaded in the scratch memory: BPF_ST, BPF_LD | BPF_MEM.
            0x02 => {
                memory[k as usize] = accumulator;
                continue;
            }
            0x60 => {
                accumulator = memory[k as usize];
                continue;
            }
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            code => panic!("instruction {code:#x}"),
        };
        at += usize::from(if holds { instruction.jt } else { instruction.jf });
    }
}

/// Whether the kernel would take the program: every jump leads to an instruction of it, and it ends in a return.
pub fn is_well_formed(program: &[sock_filter]) -> bool {
    let reaches = |at: usize, skip: usize| at + 1 + skip < program.len();
    let whole = program.iter().enumerate().all(|(at, it)| match it.code {
        0x05 => reaches(at, it.k as usize),
        0x15 | 0x25 | 0x35 | 0x45 => reaches(at, it.jt.into()) && reaches(at, it.jf.into()),
        0x06 => true,
        0x20 => it.k.is_multiple_of(4) && it.k < 64 && reaches(at, 0),
        _ => reaches(at, 0),
    });
    whole && program.last().is_some_and(|last| last.code == 0x06) && program.len() <= 4096
}

fn holds(arg: &LinuxSeccompArg, args: &[u64; 6], wide: bool) -> bool {
    let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let (actual, value) = (cut(args[arg.index()]), cut(arg.value()));
    match arg.op() {
        Op::ScmpCmpNe => actual != value,
        Op::ScmpCmpLt => actual < value,
        Op::ScmpCmpLe => actual <= value,
        Op::ScmpCmpEq => actual == value,
        Op::ScmpCmpGe => actual >= value,
        Op::ScmpCmpGt => actual > value,
        Op::ScmpCmpMaskedEq => actual & value == arg.value_two().unwrap_or(0) & value,
    }
}

/// Whether an argument is named twice: then the conditions are alternatives.
fn are_alternatives(conditions: &[LinuxSeccompArg]) -> bool {
    let repeats = |at: usize| conditions.iter().take(at).any(|earlier| earlier.index() == conditions[at].index());
    (1..conditions.len()).any(repeats)
}

/// The conditions of a rule hold: together, or one of them.
fn all_hold(conditions: &[LinuxSeccompArg], skip_first: bool, args: &[u64; 6], wide: bool) -> bool {
    let mut each = conditions.iter().map(|arg| skip_first && arg.index() == 0 || holds(arg, args, wide));
    if are_alternatives(conditions) { each.any(|it| it) } else { each.all(|it| it) }
}

/// The rule always holds, and is one without conditions.
fn is_no_condition(conditions: &[LinuxSeccompArg], wide: bool) -> bool {
    let mask = |value: u64| if wide { value } else { value & 0xffff_ffff };
    let mut each = conditions.iter().map(|arg| arg.op() == Op::ScmpCmpMaskedEq && mask(arg.value()) == 0);
    if are_alternatives(conditions) { each.any(|it| it) } else { each.all(|it| it) }
}

/// What the profile says about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// What the program should return.
    pub returns: u32,
    /// What conditional rules that hold say; more than one of them and the earliest decides.
    pub conditional: Vec<u32>,
}

/// A profile, with its names looked up once.
#[derive(Debug)]
pub struct Semantics<'a> {
    spec: &'a LinuxSeccomp,
    abis: Vec<Abi>,
    calls: Vec<Vec<Option<Call>>>,
}

impl<'a> Semantics<'a> {
    /// Of a profile on the machine that runs this.
    #[cfg(feature = "internals")]
    pub fn of(spec: &'a LinuxSeccomp) -> Self {
        Self::on(Abi::NATIVE, spec)
    }

    /// Of a profile on a machine whose native ABI is `native`.
    pub(super) fn on(native: Abi, spec: &'a LinuxSeccomp) -> Self {
        let mut abis = vec![native];
        for arch in spec.architectures().iter().flatten() {
            abis.push(Abi::named(*arch));
        }
        if abis.contains(&Abi::Arm) {
            abis.push(Abi::ArmPrivate);
        }
        abis.retain(|abi| abi.is_little_endian() == native.is_little_endian());
        let calls = spec.syscalls().iter().flatten().map(|rule| rule.names().iter().map(|name| Call::named(name)));
        let calls: Vec<Vec<Option<Call>>> = calls.map(Iterator::collect).collect();
        let is_private = |call: &Call| call.number(Abi::ArmPrivate).is_some();
        let private = calls.iter().flatten().flatten().any(is_private);
        abis.retain(|abi| *abi != Abi::ArmPrivate || private);
        Self { spec, abis, calls }
    }

    /// The ABI of a call; none when the call kills.
    fn abi(&self, data: Data) -> Option<Abi> {
        let of_arch = self.abis.iter().copied().filter(|abi| abi.audit() == data.arch);
        let x32_kills = data.arch == Abi::X32.audit() && !self.abis.contains(&Abi::X32) && data.number != u32::MAX;
        if x32_kills && data.number >= X32_BIT {
            return None;
        }
        // Numbers of x32 and of ARM's own calls lie above the others.
        let at_or_below = |abi: &Abi| abi.base() <= data.number;
        of_arch.clone().filter(at_or_below).max_by_key(|abi| abi.base()).or(of_arch.clone().next())
    }

    /// What a call should return.
    pub fn expected(&self, data: Data) -> Expected {
        let Some(abi) = self.abi(data) else { return Expected { returns: KILL_THREAD, conditional: Vec::new() } };
        let default_action = self.spec.default_action();
        let default = default_action.as_u32(self.spec.default_errno_ret());
        let (mut last, mut always, mut conditional) = (None, None, Vec::new());
        for (rule, calls) in self.spec.syscalls().iter().flatten().zip(&self.calls) {
            let returns = rule.action().as_u32(rule.errno_ret());
            let conditions = rule.args().as_deref().unwrap_or_default();
            for call in calls.iter().flatten() {
                let number = call.number(abi).map(|number| number as u32 + abi.base());
                last = last.max(number);
                if returns == default {
                    continue;
                }
                if number == Some(data.number) {
                    if is_no_condition(conditions, abi.is_wide()) {
                        always = always.or(Some(returns));
                    } else if all_hold(conditions, false, &data.args, abi.is_wide()) {
                        conditional.push(returns);
                    }
                }
                let first = if abi.is_wide() { data.args[0] } else { data.args[0] & 0xffff_ffff };
                let multiplexed = call.multiplexed(abi).map(|(by, call)| (by as u32 + abi.base(), call))
                    == Some((data.number, first));
                if multiplexed && (conditions.is_empty() || all_hold(conditions, true, &data.args, abi.is_wide())) {
                    conditional.push(returns);
                }
            }
        }
        let passes = matches!(default_action, Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace);
        let large = data.number == 0 && matches!(abi, Abi::S390 | Abi::S390x);
        let newer = !passes && last.is_some_and(|last| data.number > last || large);
        let without_rule = if newer { ENOSYS } else { default };
        let returns = always.or(conditional.first().copied()).unwrap_or(without_rule);
        Expected { returns, conditional: if always.is_some() { Vec::new() } else { conditional } }
    }

    /// The audit values of the profile and one that it does not have.
    pub fn archs(&self) -> Vec<u32> {
        let stranger = [Arch::ScmpArchAarch64, Arch::ScmpArchX86_64].map(|arch| Abi::named(arch).audit());
        let own: Vec<u32> = self.abis.iter().map(|abi| abi.audit()).collect();
        let stranger = stranger.into_iter().find(|arch| !own.contains(arch));
        let mut archs: Vec<u32> = own.into_iter().chain(stranger).collect();
        archs.sort_unstable();
        archs.dedup();
        archs
    }

    /// Every number that a call of `arch` has or might have.
    pub fn numbers(&self, arch: u32) -> Vec<u32> {
        let bases = self.abis.iter().filter(|abi| abi.audit() == arch).map(|abi| abi.base());
        let bases: Vec<u32> = bases.chain([0, X32_BIT]).collect();
        bases.into_iter().flat_map(|base| (0..600).map(move |at| base + at)).collect()
    }

    /// Whether arguments matter to some call of this number.
    pub fn looks_at_arguments(&self, arch: u32, number: u32) -> bool {
        let abis = || self.abis.iter().filter(|abi| abi.audit() == arch);
        let rules = self.spec.syscalls().iter().flatten().zip(&self.calls);
        let mut calls = rules.flat_map(|(rule, calls)| calls.iter().flatten().map(move |call| (rule, call)));
        calls.any(|(rule, call)| {
            abis().any(|abi| {
                let is = |at: Option<usize>| at.is_some_and(|at| at as u32 + abi.base() == number);
                is(call.multiplexed(*abi).map(|(by, _)| by)) || rule.args().is_some() && is(call.number(*abi))
            })
        })
    }
}

/// Values around everything that the profile compares argument `index` with.
pub fn boundaries(spec: &LinuxSeccomp, index: usize) -> Vec<u64> {
    let mut values = vec![0, 1, 11, u64::from(u32::MAX), u64::MAX];
    let args = spec.syscalls().iter().flatten().flat_map(|rule| rule.args().iter().flatten());
    for arg in args.filter(|arg| arg.index() == index) {
        for value in [arg.value(), arg.value_two().unwrap_or(0)] {
            values.extend([
                value.wrapping_sub(1),
                value,
                value.wrapping_add(1),
                !value,
                value ^ 1 << 32,
                value ^ 1 << 63,
            ]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}

/// Arguments worth a try: around each boundary, alone and in company of what socketcall and others look at.
pub fn arguments(values: &[Vec<u64>]) -> impl Iterator<Item = [u64; 6]> + '_ {
    let each = values.iter().enumerate().flat_map(|(index, around)| {
        around.iter().flat_map(move |value| {
            let mut alone = [0; 6];
            alone[index] = *value;
            let mut company = alone;
            company[0] = if index == 0 { *value } else { 16 };
            company[2] = if index == 2 { *value } else { 9 };
            [alone, company]
        })
    });
    std::iter::once([0; 6]).chain(each)
}

/// A profile with a thousand rules: each of 40 calls has 25 that look at an argument.
pub fn thousand_rules() -> LinuxSeccomp {
    let names = ["read", "close", "poll", "lseek", "mmap", "ioctl", "access", "dup", "getpid", "socket"];
    let more = ["bind", "listen", "clone", "kill", "fcntl", "fsync", "chdir", "mkdir", "chmod", "umask"];
    let again = ["ptrace", "syslog", "setuid", "getpgid", "capget", "mknod", "prctl", "mount", "reboot", "gettid"];
    let last = ["futex", "openat", "dup3", "prlimit64", "setns", "getcpu", "bpf", "execveat", "statx", "clone3"];
    let rules: Vec<_> = [names, more, again, last]
        .concat()
        .into_iter()
        .flat_map(|name| {
            (0..25).map(move |value| {
                let args = serde_json::json!([{"index": 2, "value": value * 3 + 100, "op": "SCMP_CMP_EQ"}]);
                serde_json::json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "args": args})
            })
        })
        .collect();
    let spec = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules});
    serde_json::from_value(spec).expect("a profile")
}
