//! Runs compiled programs in an interpreter and compares them with the semantics, evaluated naively from the profile.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

use super::plan;
use super::tables::{CALLS, NO, X86_MULTIPLEXED};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Op,
};
use seccompiler::sock_filter;

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const X32_BIT: u32 = 0x4000_0000;
const KILL_THREAD: u32 = 0;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
struct Data {
    number: u32,
    arch: u32,
    args: [u64; 6],
}

impl Data {
    fn word(self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16.. => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
            }
            _ => panic!("load at {offset}"),
        }
    }
}

/// What the kernel would do: the value returned, and the number of instructions on the way.
fn run(program: &[sock_filter], data: Data) -> (u32, usize) {
    let (mut accumulator, mut at) = (0, 0);
    for steps in 1.. {
        let instruction = &program[at];
        at += 1;
        let k = instruction.k;
        let holds = match instruction.code {
            0x06 => return (k, steps),
            0x05 => {
                at += k as usize;
                continue;
            }
            0x20 => {
                accumulator = data.word(k);
                continue;
            }
            0x54 => {
                accumulator &= k;
                continue;
            }
            0x15 => accumulator == k,
            0x25 => accumulator > k,
            0x35 => accumulator >= k,
            code => panic!("instruction {code:#x}"),
        };
        at += usize::from(if holds { instruction.jt } else { instruction.jf });
    }
    unreachable!()
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

/// The conditions of a rule hold: together, or one of them if an argument is named twice.
fn all_hold(conditions: &[LinuxSeccompArg], skip_first: bool, args: &[u64; 6], wide: bool) -> bool {
    let mut indices: Vec<_> = conditions.iter().map(|arg| arg.index()).collect();
    indices.sort_unstable();
    let repeated = indices.windows(2).any(|pair| pair[0] == pair[1]);
    let mut each = conditions.iter().map(|arg| skip_first && arg.index() == 0 || holds(arg, args, wide));
    if repeated { each.any(|it| it) } else { each.all(|it| it) }
}

/// A name and its numbers.
type Row = (&'static str, [u16; 3]);

/// The rows of the tables for each name of each rule, so that they are looked up once.
struct Semantics<'a> {
    spec: &'a LinuxSeccomp,
    rows: Vec<Vec<Option<&'static Row>>>,
}

impl<'a> Semantics<'a> {
    fn of(spec: &'a LinuxSeccomp) -> Self {
        let row = |name: &String| CALLS.iter().find(|(known, _)| known == name);
        let rows = spec.syscalls().iter().flatten().map(|rule| rule.names().iter().map(row).collect()).collect();
        Self { spec, rows }
    }

    /// The column of the tables for a call, and the bit in its numbers; none when the call kills.
    fn column(&self, data: Data) -> Option<(usize, u32)> {
        let lists = |arch| self.spec.architectures().iter().flatten().any(|it| *it == arch);
        match data.arch {
            X86_64 if data.number < X32_BIT => Some((0, 0)),
            X86_64 if lists(Arch::ScmpArchX32) => Some((2, X32_BIT)),
            X86_64 if data.number == u32::MAX => Some((0, 0)),
            X86 if lists(Arch::ScmpArchX86) => Some((1, 0)),
            _ => None,
        }
    }

    /// What a call should return, from the profile as it is written.
    fn expected(&self, data: Data) -> u32 {
        let Some((column, bit)) = self.column(data) else { return KILL_THREAD };
        let default_action = self.spec.default_action();
        let default = default_action.as_u32(self.spec.default_errno_ret());
        let (mut last, mut always, mut first) = (None, None, None);
        for (rule, rows) in self.spec.syscalls().iter().flatten().zip(&self.rows) {
            let returns = rule.action().as_u32(rule.errno_ret());
            let conditions = rule.args().as_deref().unwrap_or_default();
            for (name, numbers) in rows.iter().flatten() {
                let number = (numbers[column] != NO).then(|| u32::from(numbers[column]) | bit);
                last = last.max(number);
                if returns == default {
                    continue;
                }
                if number == Some(data.number) {
                    if conditions.is_empty() {
                        always = always.or(Some(returns));
                    } else if all_hold(conditions, false, &data.args, column == 0) {
                        first = first.or(Some(returns));
                    }
                }
                if column == 1
                    && is_multiplexed(name, data)
                    && (conditions.is_empty() || all_hold(conditions, true, &data.args, false))
                {
                    first = first.or(Some(returns));
                }
            }
        }
        let passes = matches!(default_action, Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace);
        let newer = !passes && last.is_some_and(|last| data.number > last);
        always.or(first).unwrap_or(if newer { 0x5_0026 } else { default })
    }

    /// Whether arguments matter to some call of this number.
    fn looks_at_arguments(&self, number: u32) -> bool {
        let plain = number & !X32_BIT;
        let rules = self.spec.syscalls().iter().flatten().zip(&self.rows);
        matches!(plain, 102 | 117)
            || rules.filter(|(rule, _)| rule.args().is_some()).any(|(_, rows)| {
                rows.iter().flatten().any(|(_, numbers)| numbers.iter().any(|it| u32::from(*it) == plain))
            })
    }
}

/// Whether this is x86's call of `name` through socketcall(2) or ipc(2).
fn is_multiplexed(name: &str, data: Data) -> bool {
    matches!(data.number, 102 | 117)
        && X86_MULTIPLEXED.iter().any(|(known, by, call)| {
            *known == name && (u32::from(*by), u64::from(*call)) == (data.number, data.args[0] & 0xffff_ffff)
        })
}

/// Values around everything that the profile compares argument `index` with.
fn boundaries(spec: &LinuxSeccomp, index: usize) -> Vec<u64> {
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

/// Compares a program with the semantics: for these numbers, and boundary arguments where these matter. Returns how many
/// calls it saw.
fn compare(spec: &LinuxSeccomp, numbers: impl Iterator<Item = u32>) -> usize {
    let filter = plan(spec, &mut Vec::new()).unwrap();
    let semantics = Semantics::of(spec);
    let mut calls = 0;
    let mut check = |data: Data| {
        assert_eq!(run(&filter.program, data).0, semantics.expected(data), "{data:x?} of {spec:?}");
        calls += 1;
    };
    let values: Vec<_> = (0..6).map(|index| boundaries(spec, index)).collect();
    for number in numbers {
        let values = if semantics.looks_at_arguments(number) { &values[..] } else { &[] };
        for arch in [X86_64, X86, AARCH64] {
            check(Data { number, arch, args: [0; 6] });
            for (index, around) in values.iter().enumerate() {
                for value in around {
                    let mut args = [0; 6];
                    args[index] = *value;
                    check(Data { number, arch, args });
                    args[0] = if index == 0 { *value } else { 16 };
                    args[2] = if index == 2 { *value } else { 9 };
                    check(Data { number, arch, args });
                }
            }
        }
    }
    calls
}

/// Every number that a table has or might have, and the odd ones.
fn numbers() -> impl Iterator<Item = u32> {
    let odd = [0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0xbfff_ffff, 0xc000_0000, 0xffff_fffe, 0xffff_ffff];
    (0..600).chain((0..600).map(|number| X32_BIT | number)).chain(odd)
}

fn docker() -> LinuxSeccomp {
    serde_json::from_str(include_str!("../../integration/profiles/docker.json")).unwrap()
}

fn podman() -> LinuxSeccomp {
    serde_json::from_str(include_str!("../../integration/profiles/podman.json")).unwrap()
}

#[test]
fn engines_profiles_mean_what_they_say() {
    for (name, spec, most) in [("docker", docker(), 350), ("podman", podman(), 400)] {
        let mut warnings = Vec::new();
        let filter = plan(&spec, &mut warnings).unwrap();
        assert_eq!(warnings, [""; 0], "{name}");
        assert!(filter.instructions() < most, "{name}: {} instructions", filter.instructions());
        assert!(compare(&spec, numbers()) > 5_000);
        let longest = (0..600).map(|number| run(&filter.program, Data { number, arch: X86_64, args: [0; 6] }).1).max();
        assert!(longest < Some(40), "{name}: {longest:?} instructions for one call");
    }
}

#[test]
fn every_subset_of_architectures_of_an_engines_profile_works() {
    let all = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32, Arch::ScmpArchAarch64];
    for subset in 0..1 << all.len() {
        let mut spec = docker();
        let chosen = all.iter().enumerate().filter(|(at, _)| subset & 1 << at != 0).map(|(_, arch)| *arch).collect();
        spec.set_architectures(Some(chosen));
        compare(&spec, numbers().filter(|number| number % 7 == 3 || *number > 0x4000_0200 || number & 0xff > 0xd0));
    }
}

/// A sequence of numbers that looks random and is the same in every run (Marsaglia's xorshift).
struct Sequence(u64);

impl Sequence {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next(of.len() as u64) as usize]
    }
}

fn generated(seed: u64) -> serde_json::Value {
    const VALUES: [u64; 8] = [0, 1, 5, 16, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0001, u64::MAX];
    let mut sequence = Sequence(seed);
    let names =
        ["socket", "read", "ipc", "socketcall", "clone", "shmget", "mmap2", "accept", "recvmmsg", "unknown", "dup"];
    let mut rules = Vec::new();
    for _ in 0..sequence.next(12) {
        let args: Vec<_> = (0..sequence.next(4))
            .map(|_| {
                let op = sequence.one(&["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]);
                serde_json::json!({
                    "index": sequence.next(3), "op": format!("SCMP_CMP_{op}"),
                    "value": sequence.one(&VALUES), "valueTwo": sequence.one(&VALUES),
                })
            })
            .collect();
        let random_name = CALLS[sequence.next(CALLS.len() as u64) as usize].0;
        rules.push(serde_json::json!({
            "names": [sequence.one(&names), sequence.one(&names), random_name],
            "action": format!("SCMP_ACT_{}", sequence.one(&["ALLOW", "ALLOW", "ERRNO", "LOG", "TRAP", "KILL"])),
            "errnoRet": 1 + sequence.next(2),
            "args": args,
        }));
    }
    let default = sequence.one(&["ERRNO", "ERRNO", "KILL_PROCESS", "ALLOW", "LOG"]);
    let architectures = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"].map(|arch| (sequence.next(3) > 0).then_some(arch));
    serde_json::json!({
        "defaultAction": format!("SCMP_ACT_{default}"),
        "architectures": architectures.into_iter().flatten().collect::<Vec<_>>(),
        "syscalls": rules,
    })
}

#[test]
fn generated_profiles_mean_what_they_say() {
    let mut compared = 0;
    for seed in 1..200 {
        let spec: LinuxSeccomp = serde_json::from_value(generated(seed * 0x9e37_79b9)).unwrap();
        if plan(&spec, &mut Vec::new()).is_err() {
            continue; // the same condition with two actions
        }
        let chosen = [0, 3, 41, 56, 63, 102, 117, 192, 337, 359, 395, 471, 600];
        compared += compare(&spec, chosen.into_iter().flat_map(|number| [number, number | X32_BIT]));
    }
    assert!(compared > 100_000, "{compared}");
}

#[test]
fn far_jumps_and_too_long_programs() {
    let profile = |rules_per_call: u64| {
        let rules: Vec<_> = (0..rules_per_call * 40)
            .map(|at| {
                let args = serde_json::json!([{"index": at % 6, "value": at, "op": "SCMP_CMP_EQ"}]);
                serde_json::json!({"names": [CALLS[at as usize % 40 * 9].0], "action": "SCMP_ACT_ALLOW", "args": args})
            })
            .collect();
        let spec = serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules});
        serde_json::from_value::<LinuxSeccomp>(spec).unwrap()
    };
    let long = profile(15);
    assert!(plan(&long, &mut Vec::new()).unwrap().instructions() > 2500);
    compare(&long, (0..460).step_by(53));
    let error = plan(&profile(40), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("config.json: linux.seccomp.syscalls: needs "), "{error}");
    assert!(error.ends_with(" instructions, the kernel takes 4096: use fewer rules"), "{error}");
}
