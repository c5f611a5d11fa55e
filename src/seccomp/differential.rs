//! Compares compiled programs with the semantics, evaluated naively from the profile.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

use super::abi::{Abi, name_at};
use super::check::{Data, Semantics, arguments, boundaries, is_well_formed, run};
use super::tables::COUNT;
use super::{plan, plan_on};
use oci_spec::runtime::{Arch, LinuxSeccomp};

const X32_BIT: u32 = 0x4000_0000;
/// At the edges of what a number can be.
const ODD: [u32; 7] = [0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0xbfff_ffff, 0xc000_0000, 0xffff_fffe, 0xffff_ffff];

/// Compares a program with the semantics: for the numbers of each architecture that `wanted` wants, and boundary
/// arguments where these matter. Returns how many calls it saw.
fn compare(native: Abi, spec: &LinuxSeccomp, wanted: impl Fn(u32) -> bool) -> usize {
    let filter = plan_on(native, spec, &mut Vec::new()).unwrap();
    assert!(is_well_formed(filter.program()));
    let semantics = Semantics::on(native, spec);
    let mut calls = 0;
    let mut check = |data: Data| {
        let found = run(filter.program(), data, native.is_little_endian()).0;
        assert_eq!(found, semantics.expected(data).returns, "{data:x?} of {spec:?} on {native:?}");
        calls += 1;
    };
    let values: Vec<_> = (0..6).map(|index| boundaries(spec, index)).collect();
    for arch in semantics.archs() {
        for number in semantics.numbers(arch).into_iter().chain(ODD).filter(|number| wanted(*number)) {
            let values = if semantics.looks_at_arguments(arch, number) { &values[..] } else { &[] };
            arguments(values).for_each(|args| check(Data { number, arch, args }));
        }
    }
    calls
}

pub(super) fn docker() -> LinuxSeccomp {
    serde_json::from_str(include_str!("../../integration/profiles/docker.json")).unwrap()
}

pub(super) fn podman() -> LinuxSeccomp {
    serde_json::from_str(include_str!("../../integration/profiles/podman.json")).unwrap()
}

#[test]
fn engines_profiles_mean_what_they_say() {
    for (name, spec, most) in [("docker", docker(), 350), ("podman", podman(), 400)] {
        let mut warnings = Vec::new();
        let filter = plan(&spec, &mut warnings).unwrap();
        assert_eq!(warnings, [""; 0], "{name}");
        assert!(filter.instructions() < most, "{name}: {} instructions", filter.instructions());
        assert!(compare(Abi::NATIVE, &spec, |_| true) > 5_000);
        let steps = |number| run(filter.program(), Data { number, arch: 0xc000_003e, args: [0; 6] }, true).1;
        let longest = (0..600).map(steps).max();
        assert!(longest < Some(40), "{name}: {longest:?} instructions for one call");
    }
}

/// Each machine with the architectures whose programs its kernel runs.
pub(super) const MACHINES: [&[Arch]; 11] = [
    &[Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
    &[Arch::ScmpArchX86],
    &[Arch::ScmpArchAarch64, Arch::ScmpArchArm],
    &[Arch::ScmpArchArm],
    &[Arch::ScmpArchRiscv64],
    &[Arch::ScmpArchPpc64le],
    &[Arch::ScmpArchPpc64, Arch::ScmpArchPpc],
    &[Arch::ScmpArchS390x, Arch::ScmpArchS390],
    &[Arch::ScmpArchMips64, Arch::ScmpArchMips, Arch::ScmpArchMips64n32],
    &[Arch::ScmpArchMipsel64, Arch::ScmpArchMipsel, Arch::ScmpArchMipsel64n32],
    &[Arch::ScmpArchParisc64, Arch::ScmpArchParisc],
];

#[test]
fn engines_profiles_mean_the_same_on_every_machine() {
    let newer: [&[Arch]; 3] = [&[Arch::ScmpArchLoongarch64], &[Arch::ScmpArchM68k], &[Arch::ScmpArchSh]];
    for machine in MACHINES.iter().chain(&newer) {
        for mut spec in [docker(), podman()] {
            spec.set_architectures(Some(machine.to_vec()));
            compare(Abi::named(machine[0]), &spec, |number| number % 5 == 0 || number & 0x1ff > 0x1a0);
        }
    }
}

#[test]
fn every_subset_of_architectures_of_an_engines_profile_works() {
    let all = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32, Arch::ScmpArchAarch64, Arch::ScmpArchS390x];
    for subset in 0..1 << all.len() {
        let mut spec = docker();
        let chosen = all.iter().enumerate().filter(|(at, _)| subset & 1 << at != 0).map(|(_, arch)| *arch).collect();
        spec.set_architectures(Some(chosen));
        compare(Abi::NATIVE, &spec, |number| number % 7 == 3 || number > 0x4000_0200 || number & 0xff > 0xd0);
    }
}

/// A sequence of numbers that looks random and is the same in every run (Marsaglia's xorshift).
pub(super) struct Sequence(pub(super) u64);

impl Sequence {
    pub(super) fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    pub(super) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next(of.len() as u64) as usize]
    }
}

/// A profile for x86_64 with rules that meet each other.
pub(super) fn generated(seed: u64) -> LinuxSeccomp {
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
        let random_name = name_at(sequence.next(COUNT as u64) as usize);
        rules.push(serde_json::json!({
            "names": [sequence.one(&names), sequence.one(&names), random_name],
            "action": format!("SCMP_ACT_{}", sequence.one(&["ALLOW", "ALLOW", "ERRNO", "LOG", "TRAP", "KILL"])),
            "errnoRet": 1 + sequence.next(2),
            "args": args,
        }));
    }
    let default = sequence.one(&["ERRNO", "ERRNO", "KILL_PROCESS", "ALLOW", "LOG"]);
    let architectures = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"].map(|arch| (sequence.next(3) > 0).then_some(arch));
    let profile = serde_json::json!({
        "defaultAction": format!("SCMP_ACT_{default}"),
        "architectures": architectures.into_iter().flatten().collect::<Vec<_>>(),
        "syscalls": rules,
    });
    serde_json::from_value(profile).unwrap()
}

#[test]
fn generated_profiles_mean_what_they_say() {
    let mut compared = 0;
    for seed in 1..200 {
        let spec = generated(seed * 0x9e37_79b9);
        if plan(&spec, &mut Vec::new()).is_err() {
            continue; // the same condition with two actions
        }
        let chosen = [0, 3, 41, 56, 63, 102, 117, 192, 337, 359, 395, 471, 599];
        compared += compare(Abi::NATIVE, &spec, |number| chosen.contains(&(number & !X32_BIT)));
    }
    assert!(compared > 100_000, "{compared}");
}

/// Many values of one argument: intervals, chains and bits, in both halves and byte orders.
#[test]
fn one_argument_has_many_values() {
    let mut compared = 0;
    for seed in 1..60 {
        let mut sequence = Sequence(seed * 0x2545_f491);
        let spread = 1 << sequence.next(9);
        let rules: Vec<_> = (0..sequence.next(60))
            .map(|_| {
                let upper = sequence.one(&[0, 0, 0, 1, 2, 0xffff_ffff]);
                let value =
                    upper << 32 | (sequence.one(&[0, 0x40, 0xffff_ff80]) + sequence.next(spread.max(2))) & 0xffff_ffff;
                let op = sequence.one(&["EQ", "EQ", "EQ", "EQ", "EQ", "NE", "LT", "GE", "GT", "LE"]);
                serde_json::json!({
                    "names": ["dup"], "action": format!("SCMP_ACT_{}", sequence.one(&["ALLOW", "ALLOW", "LOG"])),
                    "args": [{"index": 1, "value": value, "op": format!("SCMP_CMP_{op}")}],
                })
            })
            .collect();
        let spec = serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules});
        let mut spec: LinuxSeccomp = serde_json::from_value(spec).unwrap();
        for machine in [MACHINES[0], MACHINES[2], MACHINES[7]] {
            spec.set_architectures(Some(machine.to_vec()));
            if plan_on(Abi::named(machine[0]), &spec, &mut Vec::new()).is_ok() {
                compared += compare(Abi::named(machine[0]), &spec, |number| number & 0xff < 64);
            }
        }
    }
    assert!(compared > 200_000, "{compared}");
}

#[test]
fn far_jumps_and_too_long_programs() {
    let profile = |rules_per_call: u64| {
        let rules: Vec<_> = (0..rules_per_call * 40)
            .map(|at| {
                let args = serde_json::json!([{"index": at % 6, "value": at, "op": "SCMP_CMP_EQ"}]);
                serde_json::json!({"names": [name_at(at as usize % 40 * 9)], "action": "SCMP_ACT_ALLOW", "args": args})
            })
            .collect();
        let spec = serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules});
        serde_json::from_value::<LinuxSeccomp>(spec).unwrap()
    };
    let long = profile(15);
    assert!(plan(&long, &mut Vec::new()).unwrap().instructions() > 2000);
    compare(Abi::NATIVE, &long, |number| number % 53 == 0);
    let error = plan(&profile(50), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("config.json: linux.seccomp.syscalls: needs "), "{error}");
    assert!(error.ends_with(" instructions, the kernel takes 4096: use fewer rules"), "{error}");
}
