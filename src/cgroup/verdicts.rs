//! Tests: what device programs answer, by an interpreter, held against the words of the specification.

#![allow(clippy::expect_used)]

use super::devices::{List, Program, plan};
use crate::sys::bpf::{Instruction, code};
use serde_json::json;

/// What the kernel would answer: runs `program` for a request.
pub(super) fn run(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> u64 {
    let context = [access << 16 | kind, major, minor];
    let mut register = [0_u64; 11];
    let mut at = 0;
    loop {
        let now = program[at];
        let (target, source) = (usize::from(now.registers & 0xf), usize::from(now.registers >> 4));
        let immediate = i64::from(now.immediate).cast_unsigned();
        let low = u64::from(now.immediate.cast_unsigned());
        at += 1;
        let taken = match now.code {
            code::EXIT => return register[0],
            code::LOAD_32 => {
                register[target] = context[usize::from(now.offset.cast_unsigned()) / 4].into();
                continue;
            }
            code::LOAD_IMMEDIATE_64 => {
                register[target] = low | u64::from(program[at].immediate.cast_unsigned()) << 32;
                at += 1;
                continue;
            }
            code::MOVE_IMMEDIATE => {
                register[target] = immediate;
                continue;
            }
            code::MOVE => {
                register[target] = register[source];
                continue;
            }
            code::AND_IMMEDIATE => {
                register[target] &= immediate;
                continue;
            }
            code::OR => {
                register[target] |= register[source];
                continue;
            }
            code::SHIFT_LEFT_IMMEDIATE => {
                register[target] <<= low;
                continue;
            }
            code::SHIFT_RIGHT_IMMEDIATE => {
                register[target] >>= low;
                continue;
            }
            code::JUMP => true,
            code::JUMP_EQUAL => register[target] == register[source],
            code::JUMP_EQUAL_IMMEDIATE_32 => register[target] & 0xffff_ffff == low,
            code::JUMP_UNEQUAL_IMMEDIATE => register[target] != immediate,
            code::JUMP_BITS_IMMEDIATE => register[target] & immediate != 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        if taken {
            at += usize::from(now.offset.cast_unsigned());
        }
    }
}

/// A small generator of numbers (xorshift): the same ones on every run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// One of 0 to `end` - 1.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % end as u64).unwrap_or_default()
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// An entry of `linux.resources.devices`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    kind: char,
    major: Option<u32>,
    minor: Option<u32>,
    /// As the kernel has it: 1 mknod, 2 read, 4 write.
    access: u32,
}

const MKNOD: u32 = 1;
const ALL: u32 = 7;

impl Rule {
    fn allowing(kind: char, major: Option<u32>, minor: Option<u32>, access: u32) -> Self {
        Self { allow: true, kind, major, minor, access }
    }

    fn random(dice: &mut Dice) -> Self {
        const SOME: [Option<u32>; 7] = [None, None, Some(0), Some(1), Some(3), Some(10), Some(u32::MAX)];
        let (major, minor) = (dice.one_of(&SOME), dice.one_of(&SOME));
        let access = dice.one_of(&[1, 2, 3, 4, 5, 6, 7, 7, 7]);
        Self { allow: dice.below(2) == 0, kind: dice.one_of(&['a', 'b', 'c', 'c']), major, minor, access }
    }

    fn to_spec(self) -> oci_spec::runtime::LinuxDeviceCgroup {
        let letters = [(2, 'r'), (4, 'w'), (1, 'm')];
        let access: String =
            letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect();
        let mut rule = json!({"allow": self.allow, "type": self.kind, "access": access});
        for (key, number) in [("major", self.major), ("minor", self.minor)] {
            if let Some(number) = number {
                rule[key] = number.into();
            }
        }
        serde_json::from_value(rule).expect("a rule")
    }

    /// Whether it sets the default and ends all earlier rules.
    fn starts_over(&self) -> bool {
        self.kind == 'a' && self.major.is_none() && self.minor.is_none() && (!self.allow || self.access == ALL)
    }

    /// Whether it is about this device; kinds are 1 for block, 2 for char.
    fn names(&self, kind: u32, major: u32, minor: u32) -> bool {
        let kinds: &[u32] = match self.kind {
            'a' => &[1, 2],
            'b' => &[1],
            _ => &[2],
        };
        kinds.contains(&kind)
            && self.major.is_none_or(|number| number == major)
            && self.minor.is_none_or(|number| number == minor)
    }

    /// Whether both are about some device of one kind, and that some of `other` is not ours.
    fn takes_a_part_of(&self, other: &Self) -> bool {
        let meet = |ours: Option<u32>, other: Option<u32>| ours.is_none() || other.is_none() || ours == other;
        let cover = |ours: Option<u32>, other: Option<u32>| ours.is_none() || ours == other;
        (self.kind == other.kind || self.kind == 'a' || other.kind == 'a')
            && meet(self.major, other.major)
            && meet(self.minor, other.minor)
            && !(cover(self.major, other.major) && cover(self.minor, other.minor))
    }
}

/// What containers may always do, whatever the rules say.
fn always() -> Vec<Rule> {
    let char = |major, minor| Rule::allowing('c', Some(major), minor, ALL);
    let mut rules = vec![Rule::allowing('c', None, None, MKNOD), Rule::allowing('b', None, None, MKNOD)];
    // null, zero, full, random, urandom, tty, console, ptmx; pseudo-terminals; tun.
    rules.extend([3, 5, 7, 8, 9].map(|minor| char(1, Some(minor))));
    rules.extend([0, 1, 2].map(|minor| char(5, Some(minor))));
    rules.extend([char(136, None), char(10, Some(200))]);
    rules
}

/// "The runtime MUST apply entries in the listed order" (config-linux.md): the last rule about a device and a way to
/// use it decides. As with cgroup v1, a request that asks for more than one way must find all of them in one entry,
/// which is the rules for the same numbers; a rule for all devices starts over; the default is to deny.
fn expected(rules: &[Rule], kind: u32, access: u32, major: u32, minor: u32) -> bool {
    let start = rules.iter().rposition(Rule::starts_over);
    let default = start.is_some_and(|at| rules[at].allow);
    let about = rules[start.map_or(0, |at| at + 1)..].iter().filter(|rule| rule.names(kind, major, minor));
    let about: Vec<&Rule> = about.collect();
    let last = |bit: u32, counts: &dyn Fn(&Rule) -> bool| {
        about.iter().rev().find(|rule| rule.access & bit != 0 && counts(rule)).map(|rule| rule.allow)
    };
    if default {
        return [1, 2, 4].iter().all(|bit| access & bit == 0 || last(*bit, &|_| true) != Some(false));
    }
    about.iter().filter(|rule| rule.allow).any(|entry| {
        let counts = |rule: &Rule| !rule.allow || (rule.major, rule.minor) == (entry.major, entry.minor);
        let given: u32 = [1, 2, 4].iter().filter(|bit| last(**bit, &counts) == Some(true)).sum();
        given != 0 && access & !given == 0
    })
}

/// Whether some rule takes a part out of what an earlier one says, which a list of exceptions can't express.
fn has_hole(rules: &[Rule]) -> bool {
    let mut default = false;
    let mut exceptions: Vec<Rule> = Vec::new();
    rules.iter().any(|rule| {
        if rule.starts_over() {
            default = rule.allow;
            exceptions.clear();
        } else if rule.allow != default {
            exceptions.push(*rule);
        }
        rule.allow == default
            && exceptions.iter().any(|known| known.access & rule.access != 0 && rule.takes_a_part_of(known))
    })
}

fn planned(rules: &[Rule]) -> Option<Option<Program>> {
    let rules: Vec<_> = rules.iter().map(|rule| rule.to_spec()).collect();
    List::of(&rules).and_then(|list| plan(&list, false)).ok()
}

#[test]
fn programs_answer_as_the_rules_say() {
    const NUMBERS: [u32; 8] = [0, 1, 3, 5, 10, 136, 200, u32::MAX];
    let mut dice = Dice::new();
    let (mut made, mut refused) = (0, 0);
    while made < 400 {
        let mut rules: Vec<Rule> = (0..1 + dice.below(7)).map(|_| Rule::random(&mut dice)).collect();
        if dice.below(2) == 0 {
            let allow = dice.below(2) == 0;
            rules.insert(0, Rule { allow, ..Rule::allowing('a', None, None, ALL) });
        }
        let all: Vec<Rule> = rules.iter().copied().chain(always()).collect();
        let Some(program) = planned(&rules) else {
            assert!(has_hole(&all), "refused for no reason: {rules:?}");
            refused += 1;
            continue;
        };
        made += 1;
        for kind in 0..=3 {
            for access in 0..=ALL {
                for (major, minor) in NUMBERS.iter().flat_map(|major| NUMBERS.map(|minor| (*major, minor))) {
                    let verdict = program
                        .as_ref()
                        .is_none_or(|program| run(&program.instructions, kind, access, major, minor) == 1);
                    let expected = expected(&all, kind, access, major, minor);
                    assert_eq!(verdict, expected, "kind {kind} access {access} {major}:{minor} by {rules:?}");
                }
            }
        }
    }
    assert!(refused > 50, "{refused} lists with holes: too few to tell");
}

/// The length counts: the verifier reads it at every create, the kernel runs it at every open of a device.
#[test]
fn programs_are_short() {
    let deny_all = Rule { allow: false, ..Rule::allowing('a', None, None, ALL) };
    let length = |rules: &[Rule]| planned(rules).flatten().expect("a program").instructions.len();
    let char = |major, minor| Rule::allowing('c', Some(major), minor, ALL);
    assert_eq!(length(&[deny_all]), 48, "runc's template");
    let docker = [5, 3, 9, 8].map(|minor| char(1, Some(minor))).into_iter();
    let docker =
        docker.chain([0, 1].map(|minor| char(5, Some(minor)))).chain([Rule { allow: false, ..char(10, Some(229)) }]);
    assert_eq!(length(&[deny_all].into_iter().chain(docker).collect::<Vec<_>>()), 48, "Docker's default");
    let many: Vec<Rule> = (0..100).map(|minor| char(200, Some(minor))).collect();
    assert_eq!(length(&many), 348, "three for each more device");
}
