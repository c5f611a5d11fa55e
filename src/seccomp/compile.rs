//! From verdicts to the BPF program: a section for each audit architecture, in it a balanced search over ranges of
//! numbers, at its leaves the checks of arguments. Pure.

use super::abi::{Abi, SKIPPED, X32_BIT};
use super::assembler::{Assembler, IF_AT_LEAST, IF_EQUAL, LOAD, Label, RETURN, Target};
use super::profile::{Comparison, Condition, Profile};
use super::verdicts::{Alternative, Table, Verdict};
use crate::error::{Error, Result};
use crate::sys::seccomp::MAX_INSTRUCTIONS;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule, sock_filter,
};

// Offsets in `struct seccomp_data` of linux/seccomp.h:
//     int nr; __u32 arch; __u64 instruction_pointer; __u64 args[6];
/// Offset of `nr`.
const NUMBER: u32 = 0;
/// Offset of `arch`.
const ARCH: u32 = 4;

/// The instructions at the start of each rule that seccompiler makes: a jump into it and one past it, for chains of
/// rules of its own. We enter a rule where it starts to compare.
const RULE_ENTRY: usize = 2;

/// What to do about a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome<'a> {
    /// The same for all arguments.
    Return(u32),
    /// By the arguments, which are compared as 64 bits when `wide` and as 32 otherwise.
    Check { alternatives: &'a [Alternative], wide: bool },
}

/// The numbers from `first` to the next range's, or to the end of all.
#[derive(Debug, Clone, Copy)]
struct Range<'a> {
    first: u32,
    outcome: Outcome<'a>,
}

/// Compiles the verdicts of `profile`.
///
/// # Errors
/// `InvalidConfig` when the program would be longer than the kernel takes.
pub(super) fn compile(profile: &Profile<'_>, tables: &[Table]) -> Result<Vec<sock_filter>> {
    let mut writer =
        Writer::new(profile.default_returns, tables.first().is_none_or(|table| table.abi.is_little_endian()));
    let mut sections: Vec<(u32, Label)> = Vec::new();
    // The native section is put last and so lies first, in the dispatcher's reach.
    for table in tables.iter().rev() {
        let audit = table.abi.audit();
        if sections.iter().all(|(known, _)| *known != audit) {
            let of_section = tables.iter().filter(|other| other.abi.audit() == audit);
            let ranges = section(profile, of_section);
            sections.push((audit, writer.section(&ranges)?));
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
fn section<'a>(profile: &Profile<'_>, tables: impl Iterator<Item = &'a Table>) -> Vec<Range<'a>> {
    let mut ranges = vec![Range { first: 0, outcome: Outcome::Return(profile.default_returns) }];
    let mut last = None;
    for table in tables {
        push_table(&mut ranges, profile, table);
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
fn push_table<'a>(ranges: &mut Vec<Range<'a>>, profile: &Profile<'_>, table: &'a Table) {
    let wide = table.abi.is_wide();
    let end = table.verdicts.len().max(table.newer);
    for (number, at) in (table.abi.base()..).zip(0..=end) {
        let outcome = match table.verdicts.get(at).and_then(Option::as_ref) {
            None => Outcome::Return(profile.returns_without_rule(table, at)),
            Some(Verdict::Always(returns)) => Outcome::Return(*returns),
            Some(Verdict::When(alternatives)) => Outcome::Check { alternatives, wide },
        };
        push(ranges, number, outcome);
    }
}

/// Adds a range, unless it only continues the one before it, which goes if nothing of it is left.
fn push<'a>(ranges: &mut Vec<Range<'a>>, first: u32, outcome: Outcome<'a>) {
    match ranges.last_mut() {
        Some(before) if before.outcome == outcome => {}
        Some(before) if before.first == first => before.outcome = outcome,
        _ => ranges.push(Range { first, outcome }),
    }
}

/// Writes the parts of the program, the last one first.
struct Writer<'a> {
    program: Assembler,
    default_returns: u32,
    /// The byte order of the machine.
    little_endian: bool,
    /// The checks of arguments that were written already: calls and ABIs share them.
    checks: Vec<(Outcome<'a>, Label)>,
}

impl<'a> Writer<'a> {
    fn new(default_returns: u32, little_endian: bool) -> Self {
        Self { program: Assembler::default(), default_returns, little_endian, checks: Vec::new() }
    }

    /// The search of one audit architecture.
    fn section(&mut self, ranges: &[Range<'a>]) -> Result<Label> {
        let start = self.tree(ranges)?;
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

    /// A balanced search for the number's range. One number amid a range takes one comparison instead of two.
    fn tree(&mut self, ranges: &[Range<'a>]) -> Result<Target> {
        match ranges {
            [] => Ok(Target::Return(self.default_returns)),
            [one] => self.outcome(one.outcome),
            [around, one, after] if around.outcome == after.outcome && one.first + 1 == after.first => {
                let no = self.outcome(around.outcome)?;
                let yes = self.outcome(one.outcome)?;
                Ok(Target::At(self.program.branch(IF_EQUAL, one.first, yes, no)))
            }
            _ => {
                // An odd number on the left: where two outcomes alternate it ends as it began, and threes fit in it.
                let (below, above) = ranges.split_at((ranges.len() / 2) | 1);
                let pivot = above.first().map_or(0, |range| range.first);
                let yes = self.tree(above)?;
                let no = self.tree(below)?;
                Ok(Target::At(self.program.branch(IF_AT_LEAST, pivot, yes, no)))
            }
        }
    }

    fn outcome(&mut self, outcome: Outcome<'a>) -> Result<Target> {
        let (alternatives, wide) = match outcome {
            Outcome::Return(value) => return Ok(Target::Return(value)),
            Outcome::Check { alternatives, wide } => (alternatives, wide),
        };
        if let Some((_, label)) = self.checks.iter().find(|(known, _)| *known == outcome) {
            return Ok(Target::At(*label));
        }
        let label = self.check(alternatives, wide)?;
        self.checks.push((outcome, label));
        Ok(Target::At(label))
    }

    /// seccompiler loads the halves of arguments where a little-endian machine has them.
    fn in_byte_order(&self, instruction: sock_filter) -> sock_filter {
        const HALF: u32 = 4;
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

fn comparisons(conditions: &[Condition], wide: bool) -> Result<BpfProgram> {
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
