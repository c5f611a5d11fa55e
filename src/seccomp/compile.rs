//! From verdicts to the BPF program: a section for each audit architecture, in it a balanced search over ranges of
//! numbers, at its leaves the checks of arguments. Pure.

use super::abi::{Abi, SKIPPED, X32_BIT};
use super::assembler::{
    AND, Assembler, IF_ANY_BIT, IF_AT_LEAST, IF_EQUAL, LOAD, LOAD_VALUE, Label, RETURN, SHIFT_LEFT, TO_INDEX, Target,
};
use super::intervals::Intervals;
use super::profile::{Comparison, Condition, Profile};
use super::ranges::{Range, Window, around, middle, push, windows};
use super::verdicts::{Alternative, Conditions, Table, Verdict};
use crate::error::{Error, Result};
use crate::sys::seccomp::MAX_INSTRUCTIONS;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule, sock_filter,
};
use std::collections::HashMap;

// Offsets in `struct seccomp_data` of linux/seccomp.h:
//     int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6];
/// Offset of `nr`.
const NUMBER: u32 = 0;
/// Offset of `arch`.
const ARCH: u32 = 4;
/// Offset of `args`.
const ARGUMENTS: u32 = 16;
/// The size of each of them, of which BPF loads a half at once.
const ARGUMENT: u32 = 8;
/// The size of that.
const HALF: u32 = ARGUMENT / 2;

/// The instructions at the start of each rule that seccompiler makes: a jump into it and one past it, for chains of
/// rules of its own. We enter a rule where it starts to compare.
const RULE_ENTRY: usize = 2;

/// What to do about a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The same for all arguments.
    Return(u32),
    /// By the arguments: the check with this place among all.
    Check(usize),
}

/// A check of arguments, which calls and ABIs share. They are compared as 64 bits when `wide`, and as 32 otherwise.
#[derive(Debug, PartialEq)]
struct Check<'a> {
    alternatives: &'a [Alternative],
    wide: bool,
}

/// A half of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Upper,
    Lower,
}

/// Compiles the verdicts of `profile`.
///
/// # Errors
/// `InvalidConfig` when the program would be longer than the kernel takes.
pub(super) fn compile(profile: &Profile<'_>, tables: &[Table]) -> Result<Vec<sock_filter>> {
    let mut writer =
        Writer::new(profile.default_returns, tables.first().is_none_or(|table| table.abi.is_little_endian()));
    let mut sections: Vec<(u32, Label)> = Vec::new();
    let mut checks = Vec::new();
    // The native section is put last and so lies first, in the dispatcher's reach.
    for table in tables.iter().rev() {
        let audit = table.abi.audit();
        if sections.iter().all(|(known, _)| *known != audit) {
            let of_section = tables.iter().filter(|other| other.abi.audit() == audit);
            let ranges = section(profile, of_section, &mut checks);
            sections.push((audit, writer.section(&ranges, &checks)?));
        }
    }
    let program = writer.dispatch(&sections);
    if program.len() > MAX_INSTRUCTIONS {
        let length = program.len();
        let message = format!("needs {length} instructions, the kernel takes {MAX_INSTRUCTIONS}: use fewer rules");
        return Err(Error::config("linux.seccomp.syscalls", message));
    }
    Ok(program)
}

/// The ranges of one audit architecture, by the bases of its ABIs. x86_64's has x32's numbers, which kill when x32 is not
/// in the profile.
fn section<'a>(
    profile: &Profile<'_>,
    tables: impl Iterator<Item = &'a Table>,
    checks: &mut Vec<Check<'a>>,
) -> Vec<Range<Outcome>> {
    let mut ranges = vec![Range { first: 0, outcome: Outcome::Return(profile.default_returns) }];
    let mut last = None;
    for table in tables {
        push_table(&mut ranges, profile, table, checks);
        last = Some(table.abi);
    }
    if last == Some(Abi::X86_64) {
        let newest = ranges.last().map_or(Outcome::Return(profile.default_returns), |range| range.outcome);
        push(&mut ranges, X32_BIT, Outcome::Return(u32::from(SeccompAction::KillThread)));
        push(&mut ranges, SKIPPED, newest);
    }
    ranges
}

/// Adds the ranges of one ABI.
fn push_table<'a>(
    ranges: &mut Vec<Range<Outcome>>,
    profile: &Profile<'_>,
    table: &'a Table,
    checks: &mut Vec<Check<'a>>,
) {
    let wide = table.abi.is_wide();
    let end = table.verdicts.len().max(table.newer);
    for (number, at) in (table.abi.base()..).zip(0..=end) {
        let outcome = match table.verdicts.get(at).and_then(Option::as_ref) {
            None => Outcome::Return(profile.returns_without_rule(table, at)),
            Some(Verdict::Always(returns)) => Outcome::Return(*returns),
            Some(Verdict::When(alternatives)) => {
                let check = Check { alternatives, wide };
                Outcome::Check(checks.iter().position(|known| *known == check).unwrap_or_else(|| {
                    checks.push(check);
                    checks.len() - 1
                }))
            }
        };
        push(ranges, number, outcome);
    }
}

/// Writes the parts of the program, the last one first.
struct Writer {
    program: Assembler,
    default_returns: u32,
    /// The byte order of the machine.
    little_endian: bool,
    /// Where the checks of arguments are that were written already, by their places among all.
    checks: HashMap<usize, Target>,
}

impl Writer {
    fn new(default_returns: u32, little_endian: bool) -> Self {
        Self { program: Assembler::default(), default_returns, little_endian, checks: HashMap::new() }
    }

    /// The search of one audit architecture.
    fn section(&mut self, ranges: &[Range<Outcome>], checks: &[Check<'_>]) -> Result<Label> {
        let start = self.tree(ranges, None, &mut |writer, outcome| match outcome {
            Outcome::Return(value) => Ok(Target::Return(value)),
            Outcome::Check(at) => writer.arguments(at, checks),
        })?;
        self.program.continue_at(start);
        Ok(self.program.put(LOAD, NUMBER))
    }

    /// The start of the program: chooses the section.
    fn dispatch(mut self, sections: &[(u32, Label)]) -> Vec<sock_filter> {
        // libseccomp's default action for calls by another architecture.
        let mut start = Target::Return(u32::from(SeccompAction::KillThread));
        for (audit, section) in sections {
            start = Target::At(self.program.branch(IF_EQUAL, *audit, Target::At(*section), start));
        }
        self.program.continue_at(start);
        self.program.put(LOAD, ARCH);
        self.program.finish()
    }

    /// A search for the range of what is loaded, whose leaves are chains. The last range goes up to `end`, or to the end
    /// of all.
    fn tree<T: Copy + PartialEq>(
        &mut self,
        ranges: &[Range<T>],
        end: Option<u32>,
        outcome: &mut impl FnMut(&mut Self, T) -> Result<Target>,
    ) -> Result<Target> {
        if let Some(around) = around(ranges, end) {
            let mut no = outcome(self, around)?;
            for one in ranges.iter().rev().filter(|range| range.outcome != around) {
                let yes = outcome(self, one.outcome)?;
                no = Target::At(self.program.branch(IF_EQUAL, one.first, yes, no));
            }
            return Ok(no);
        }
        let (below, above) = ranges.split_at(middle(ranges));
        let Some(pivot) = above.first().map(|range| range.first) else {
            return Ok(Target::Return(self.default_returns));
        };
        let yes = self.tree(above, end, outcome)?;
        let no = self.tree(below, Some(pivot), outcome)?;
        Ok(Target::At(self.program.branch(IF_AT_LEAST, pivot, yes, no)))
    }

    fn arguments(&mut self, at: usize, checks: &[Check<'_>]) -> Result<Target> {
        if let Some(known) = self.checks.get(&at) {
            return Ok(*known);
        }
        let Some(Check { alternatives, wide }) = checks.get(at) else {
            return Ok(Target::Return(self.default_returns));
        };
        let target = match Intervals::new(alternatives, self.default_returns) {
            Some(intervals) => self.search(&intervals, *wide)?,
            None => Target::At(self.check(alternatives, *wide)?),
        };
        self.checks.insert(at, target);
        Ok(target)
    }

    /// Searches an argument's intervals: in its upper half, then in the lower one. Arguments of 32 bits have that alone.
    fn search(&mut self, intervals: &Intervals, wide: bool) -> Result<Target> {
        let mut upper = Vec::new();
        let mut before = self.default_returns;
        for (half, values) in intervals.by_upper_half() {
            // Up to the first value the interval before goes on.
            let mut lower = vec![Range { first: 0, outcome: Target::Return(before) }];
            for (value, returns) in values {
                push(&mut lower, value, Target::Return(returns));
                before = returns;
            }
            let target = self.search_half(intervals.index, Half::Lower, &lower)?;
            if !wide {
                return Ok(target);
            }
            push(&mut upper, half, target);
            if let Some(next) = half.checked_add(1) {
                push(&mut upper, next, Target::Return(before));
            }
        }
        self.search_half(intervals.index, Half::Upper, &upper)
    }

    fn search_half(&mut self, index: u8, half: Half, ranges: &[Range<Target>]) -> Result<Target> {
        if let [one] = ranges {
            return Ok(one.outcome);
        }
        let start = self.tree(&windows(ranges), None, &mut |writer, window| match window {
            Window::One(target) => Ok(target),
            Window::Bits { bits, set, clear } => Ok(Target::At(writer.test_bits(bits, set, clear))),
        })?;
        self.program.continue_at(start);
        let second = (half == Half::Upper) == self.little_endian;
        let offset = ARGUMENTS + ARGUMENT * u32::from(index) + if second { HALF } else { 0 };
        Ok(Target::At(self.program.put(LOAD, offset)))
    }

    /// Takes the lowest five bits of what is loaded for a number, and tests that bit.
    fn test_bits(&mut self, bits: u32, set: Target, clear: Target) -> Label {
        self.program.branch(IF_ANY_BIT, bits, set, clear);
        self.program.put(SHIFT_LEFT, 0);
        self.program.put(LOAD_VALUE, 1);
        self.program.put(TO_INDEX, 0);
        self.program.put(AND, u32::BITS - 1)
    }

    /// seccompiler loads the halves of arguments where a little-endian machine has them.
    fn in_byte_order(&self, instruction: sock_filter) -> sock_filter {
        match instruction.code {
            LOAD if !self.little_endian => sock_filter { k: instruction.k ^ HALF, ..instruction },
            _ => instruction,
        }
    }

    /// Compares the arguments with one alternative after the other.
    fn check(&mut self, alternatives: &[Alternative], wide: bool) -> Result<Label> {
        let mut label = self.program.put(RETURN, self.default_returns);
        for alternative in alternatives.iter().rev() {
            // seccompiler's comparisons run into the next instruction when all hold, and else jump past it.
            self.program.put(RETURN, alternative.returns);
            let block = comparisons(&alternative.conditions, wide)?;
            let block = block.into_iter().skip(RULE_ENTRY).map(|instruction| self.in_byte_order(instruction));
            let block: Vec<_> = block.collect();
            label = self.program.put_block(block.into_iter()).unwrap_or(label);
        }
        Ok(label)
    }
}

fn comparisons(conditions: &Conditions, wide: bool) -> Result<BpfProgram> {
    // The profile was checked for all that these constructors check; the error is for a bug of ours.
    let refuse = |error: BackendError| Error::config("linux.seccomp.syscalls", error.to_string());
    let comparison = |condition: &Condition| {
        let length = if wide { SeccompCmpArgLen::Qword } else { SeccompCmpArgLen::Dword };
        let operator = match condition.comparison {
            Comparison::Ne => SeccompCmpOp::Ne,
            Comparison::Lt => SeccompCmpOp::Lt,
            Comparison::Le => SeccompCmpOp::Le,
            Comparison::Eq => SeccompCmpOp::Eq,
            Comparison::Ge => SeccompCmpOp::Ge,
            Comparison::Gt => SeccompCmpOp::Gt,
            Comparison::Masked(mask) => SeccompCmpOp::MaskedEq(mask),
        };
        SeccompCondition::new(condition.index, length, operator, condition.value)
    };
    let conditions = conditions.iter().map(comparison).collect::<std::result::Result<_, _>>().map_err(refuse)?;
    SeccompRule::new(conditions).map(BpfProgram::from).map_err(refuse)
}
