//! Compares compiled programs with libseccomp's for the same profile, call by call.
//!
//! What runc puts before libseccomp's program is computed here: a number above every one that the profile names is ENOSYS,
//! and so is number 0 on s390. These differences are meant:
//!
//! - Two rules of one call hold, with different actions: the earlier one decides here. libseccomp sorts them by argument
//!   and operator, and refuses some.
//! - 32-bit ARM's private numbers from 0xf0000 on are apart from the others: a profile that names one still makes
//!   0x200 ENOSYS.
//! - A call that is multiplexed, such as socket on x86, counts with its own number among those that the profile names;
//!   libseccomp does not tell it, so that with runc a profile may make ENOSYS what it allows.
//! - libseccomp 2.5 has bugs: after a comparison within a rule that fails it may go on to the next rule without loading
//!   that one's argument again, and so compares another; and where the first of its rules is one for a call that the
//!   architecture lacks, it does not load the call's number. Here the rules hold as written.
//! - Names and numbers that the library is too old for are left out on both sides.
//! - Architectures of the other byte order are left out; the library refuses them.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tests")]

use super::abi::{Abi, Call, name_at};
use super::check::{Data, Expected, Semantics, arguments, boundaries, run, thousand_rules};
use super::differential::{MACHINES, Sequence, docker, generated, podman};
use super::libseccomp::{self, Library};
use super::plan_on;
use super::tables::COUNT;
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction as Action};
use seccompiler::sock_filter;
use std::collections::BTreeSet;

const ENOSYS: u32 = 0x5_0026;
const X32_BIT: u32 = 0x4000_0000;
const ARM_PRIVATE: u32 = 0xf_0000;

/// The number of a name under an architecture, by the library; `None` where it has none.
fn theirs(library: Library, arch: Arch, name: &str) -> Option<u32> {
    library.number_under(arch as u32, name).filter(|number| *number >= 0).map(|number| number as u32)
}

fn ours(arch: Arch, name: &str) -> Option<u32> {
    let under = |abi: Abi| Call::named(name)?.number(abi).map(|number| number as u32 + abi.base());
    let private = if arch == Arch::ScmpArchArm { under(Abi::ArmPrivate) } else { None };
    private.or_else(|| under(Abi::named(arch)))
}

/// A name has no two numbers, and what one of the two does not know is known to be so.
#[test]
fn names_have_libseccomps_numbers() {
    let library = Library::load();
    let (mut agreed, mut only_theirs) = (0, Vec::new());
    for arch in MACHINES.iter().copied().flatten() {
        for name in (0..COUNT).map(name_at) {
            match (ours(*arch, name), theirs(library, *arch, name)) {
                (Some(own), Some(other)) => {
                    assert_eq!(own, other, "{name} of {arch:?}");
                    agreed += 1;
                }
                (None, Some(_)) => only_theirs.push((*arch, name)),
                _ => {}
            }
        }
    }
    assert!(agreed > 7_500, "{agreed}");
    // Not in the headers of Linux 6.1.
    let newer = [
        (Arch::ScmpArchS390, "memfd_secret"),
        (Arch::ScmpArchParisc64, "cacheflush"),
        (Arch::ScmpArchParisc, "cacheflush"),
    ];
    assert_eq!(only_theirs, newer);
}

/// Whether both know the same of a name. A call that is multiplexed has a number of its own for us alone.
fn is_same(library: Library, arch: Arch, name: &str) -> bool {
    let multiplexed = Call::named(name).and_then(|call| call.multiplexed(Abi::named(arch)));
    match library.number_under(arch as u32, name) {
        Some(-299..=-100) => multiplexed.is_some() || ours(arch, name).is_none(),
        number => number.and_then(|number| u32::try_from(number).ok()) == ours(arch, name),
    }
}

/// A profile without the names that the two libraries have different knowledge of, and how many these are.
fn common(library: Library, machine: &[Arch], spec: &LinuxSeccomp) -> (LinuxSeccomp, BTreeSet<String>) {
    let mut spec = spec.clone();
    let mut left_out = BTreeSet::new();
    let mut rules = spec.syscalls().clone().unwrap_or_default();
    for rule in &mut rules {
        let (same, other) = rule.names().iter().cloned().partition(|name| {
            let known = Call::named(name).is_some() == library.number(name).is_some();
            known && machine.iter().all(|arch| is_same(library, *arch, name))
        });
        left_out.extend::<Vec<String>>(other);
        rule.set_names(same);
    }
    spec.set_syscalls(Some(rules)).set_architectures(Some(machine.to_vec()));
    (spec, left_out)
}

/// What runc has the kernel do.
struct Runc {
    program: Vec<sock_filter>,
    /// The architectures with the largest number that the profile names in each.
    newest: Vec<(Arch, Option<u32>)>,
    default_passes: bool,
    little_endian: bool,
}

impl Runc {
    fn new(library: Library, machine: &[Arch], spec: &LinuxSeccomp, tree: bool) -> Result<Self, i32> {
        let little_endian = Abi::named(machine[0]).is_little_endian();
        let filter = libseccomp::compile(library, machine[0], spec, tree)?;
        let program = filter
            .program(little_endian)
            .into_iter()
            .map(|(code, jt, jf, k)| sock_filter { code, jt, jf, k })
            .collect();
        let names: BTreeSet<&String> = spec.syscalls().iter().flatten().flat_map(|rule| rule.names()).collect();
        let number = |arch: Arch, name: &str| match library.number_under(arch as u32, name) {
            Some(-299..=-100) => ours(arch, name),
            _ => theirs(library, arch, name),
        };
        let newest = |arch: &Arch| names.iter().filter_map(|name| number(*arch, name)).max();
        let newest = machine.iter().map(|arch| (*arch, newest(arch))).collect();
        let default = spec.default_action();
        Ok(Self {
            program,
            newest,
            default_passes: matches!(default, Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace),
            little_endian,
        })
    }

    fn verdict(&self, data: Data) -> u32 {
        let found = run(&self.program, data, self.little_endian).0;
        let x32 = data.arch == Abi::X32.audit() && data.number >= X32_BIT && data.number != u32::MAX;
        let of_call = |arch: Arch| {
            let abi = Abi::named(arch);
            abi.audit() == data.arch && (abi == Abi::X32) == x32
        };
        let newest = self.newest.iter().find(|(arch, _)| of_call(*arch));
        let Some((arch, Some(newest))) = newest else { return found };
        let large = data.number == 0 && matches!(arch, Arch::ScmpArchS390 | Arch::ScmpArchS390x);
        if !self.default_passes && (data.number > *newest || large) { ENOSYS } else { found }
    }
}

/// What came of a comparison.
#[derive(Debug, Default)]
struct Count {
    calls: usize,
    /// Two rules with different actions held, and libseccomp decided otherwise.
    ambiguous: usize,
    refused_by_them: usize,
    refused_by_us: usize,
    /// libseccomp compared something else than the rule says.
    miscompiled: usize,
}

/// Whether libseccomp's bugs can matter: they take a second comparison, or a call that an architecture lacks.
fn may_be_miscompiled(library: Library, machine: &[Arch], spec: &LinuxSeccomp) -> bool {
    let rules = || spec.syscalls().iter().flatten();
    let lacks = |arch: &Arch, name: &str| library.number_under(*arch as u32, name).is_some_and(|number| number < 0);
    rules().flat_map(|rule| rule.args().iter().flatten()).count() > 1
        || rules().flat_map(|rule| rule.names()).any(|name| machine.iter().any(|arch| lacks(arch, name)))
}

/// Compares both of libseccomp's programs with ours, on a machine that runs these architectures.
fn compare(
    library: Library,
    machine: &[Arch],
    spec: &LinuxSeccomp,
    wanted: impl Fn(u32) -> bool,
    most: usize,
    count: &mut Count,
) {
    let native = Abi::named(machine[0]);
    let filter = plan_on(native, spec, &mut Vec::new());
    let runc = [false, true].map(|tree| Runc::new(library, machine, spec, tree));
    let ([Ok(chain), Ok(tree)], Ok(filter)) = (&runc, &filter) else {
        count.refused_by_us += usize::from(filter.is_err());
        count.refused_by_them += usize::from(runc.iter().any(Result::is_err));
        return;
    };
    let semantics = Semantics::on(native, spec);
    let values: Vec<_> = (0..6).map(|index| boundaries(spec, index)).collect();
    for arch in semantics.archs() {
        for number in semantics.numbers(arch).into_iter().chain([u32::MAX]).filter(|number| wanted(*number)) {
            // runc counts ARM's own calls among the others.
            if arch == Abi::Arm.audit() && number < ARM_PRIVATE && (0x1c0..).contains(&number) {
                continue;
            }
            let values = if semantics.looks_at_arguments(arch, number) { &values[..] } else { &[] };
            let all = arguments(values).count();
            for args in arguments(values).step_by(all.div_ceil(most)) {
                let data = Data { number, arch, args };
                let own = run(filter.program(), data, native.is_little_endian()).0;
                for (name, other) in [("chain", chain), ("tree", tree)] {
                    count.calls += 1;
                    let theirs = other.verdict(data);
                    if own == theirs {
                        continue;
                    }
                    let Expected { returns, conditional } = semantics.expected(data);
                    if conditional.iter().any(|other| *other != conditional[0]) {
                        count.ambiguous += 1;
                    } else if own == returns && may_be_miscompiled(library, machine, spec) {
                        count.miscompiled += 1;
                    } else {
                        assert_eq!(own, theirs, "{name}: {data:x?} of {spec:#?} on {machine:?}");
                    }
                }
            }
        }
    }
}

/// Every number of every architecture, on every machine, with boundary arguments.
#[test]
fn engines_profiles_equal_libseccomps() {
    let library = Library::load();
    let mut count = Count::default();
    for machine in MACHINES {
        for profile in [docker(), podman()] {
            let (spec, left_out) = common(library, machine, &profile);
            assert!(left_out.len() < 40, "{machine:?}: {left_out:?}");
            compare(library, machine, &spec, |_| true, usize::MAX, &mut count);
        }
    }
    assert_eq!((count.refused_by_them, count.refused_by_us, count.miscompiled, count.ambiguous), (0, 0, 0, 0));
    assert!(count.calls > 100_000, "{count:?}");
}

/// The examples of config-linux.md.
#[test]
fn the_specifications_examples_equal_libseccomps() {
    let library = Library::load();
    let mut count = Count::default();
    for text in [
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{"names": ["getcwd", "chmod"], "action": "SCMP_ACT_ERRNO"}]}"#,
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/agent",
            "syscalls": [{"names": ["getcwd", "chmod"], "action": "SCMP_ACT_NOTIFY"},
                         {"names": ["chown"], "action": "SCMP_ACT_TRACE", "errnoRet": 7}]}"#,
    ] {
        let spec: LinuxSeccomp = serde_json::from_str(text).unwrap();
        let (spec, left_out) = common(library, MACHINES[0], &spec);
        assert_eq!(left_out.len(), 0);
        compare(library, MACHINES[0], &spec, |_| true, usize::MAX, &mut count);
    }
    assert!(count.calls > 5_000, "{count:?}");
}

/// Forty calls look for the same twenty-five values of an argument, which libseccomp writes once as well.
#[test]
fn a_thousand_rules_take_fewer_instructions() {
    let library = Library::load();
    let spec = thousand_rules();
    let own = plan_on(Abi::NATIVE, &spec, &mut Vec::new()).unwrap().instructions();
    let theirs = Runc::new(library, &[Arch::ScmpArchX86_64], &spec, true).unwrap().program.len();
    assert!(own < theirs, "{own} instructions, {theirs} in libseccomp's binary tree");
    let mut count = Count::default();
    compare(library, &[Arch::ScmpArchX86_64], &spec, |_| true, usize::MAX, &mut count);
    assert!(count.calls > 5_000, "{count:?}");
}

/// For machines of our own byte order: libseccomp 2.5 writes values of the other one unswapped here and there.
#[test]
fn generated_profiles_equal_libseccomps() {
    let library = Library::load();
    let is_ours = |machine: &&[Arch]| Abi::named(machine[0]).is_little_endian();
    let machines: Vec<&[Arch]> = MACHINES.into_iter().filter(is_ours).collect();
    let mut count = Count::default();
    for seed in 1..2_500 {
        let mut sequence = Sequence(seed * 0x51_7cc1);
        let machine = if seed % 2 == 0 { MACHINES[0] } else { sequence.one(&machines) };
        let (spec, _) = common(library, machine, &generated(seed * 0x9e37_79b9));
        let named: BTreeSet<u32> = spec
            .syscalls()
            .iter()
            .flatten()
            .flat_map(|rule| rule.names().clone())
            .flat_map(|name| machine.iter().filter_map(move |arch| ours(*arch, &name)))
            .flat_map(|number| [number, number + 1])
            .chain([0, 102, 117, 599])
            .collect();
        compare(library, machine, &spec, |number| named.contains(&number), 30, &mut count);
    }
    assert!(count.calls > 250_000 && count.miscompiled < count.calls / 100, "{count:?}");
}
