//! From rules to one verdict for each system call number of each ABI, with libseccomp's way to settle rules that meet.

use super::abi::{Abi, Call};
use super::profile::{Comparison, Condition, Profile, Rule};
use super::tables::Multiplexer;
use crate::error::{Error, Result};
use std::collections::BTreeSet;

// Actions as linux/seccomp.h numbers them (`SECCOMP_RET_*`).
/// The part of a returned value that is the action (`SECCOMP_RET_ACTION_FULL`).
const ACTION: u32 = 0xffff_0000;
/// The call is executed.
const ALLOW: u32 = 0x7fff_0000;
/// The call is executed and logged.
const LOG: u32 = 0x7ffc_0000;
/// The agent answers.
pub(super) const NOTIFY: u32 = 0x7fc0_0000;

/// About as many numbers as an ABI has.
const KNOWN: usize = 512;

/// What becomes of one system call number.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Returns this, whatever the arguments.
    Always(u32),
    /// The first alternative that holds decides, or else the profile's default.
    When(Vec<Alternative>),
}

/// Conditions that hold together, and what the call returns then. Those that say the same are equal, whatever rule does.
#[derive(Debug, Clone)]
pub(super) struct Alternative {
    /// The conditions.
    pub(super) conditions: Conditions,
    /// The value for the kernel.
    pub(super) returns: u32,
    /// The rule that says so, by its place in the profile, and the call that it names.
    pub(super) origin: (usize, Call),
}

/// At least one condition, on each argument at most one, in the arguments' order. Nearly always it is a single one, and
/// takes no memory of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Conditions {
    first: Condition,
    others: Box<[Condition]>,
}

/// The verdicts under one ABI.
#[derive(Debug)]
pub(super) struct Table {
    /// The ABI.
    pub(super) abi: Abi,
    /// By number, less the ABI's base. What has none gets the profile's default, or is newer than the profile.
    pub(super) verdicts: Vec<Option<Verdict>>,
    /// The numbers from here on, less the base, are newer than every call that the profile names, even if only in a rule
    /// without effect. 0 when it names none of this ABI, so that nothing is known of these.
    pub(super) newer: usize,
}

/// The verdicts of all ABIs of a profile, and the names that none of this machine's ABIs knows.
#[derive(Debug)]
pub(super) struct Verdicts {
    /// In the order of the profile's ABIs, the native one first.
    pub(super) tables: Vec<Table>,
    /// Sorted.
    pub(super) unknown: BTreeSet<String>,
}

impl Verdicts {
    /// Looks all names up and settles what rules say about the same call.
    ///
    /// # Errors
    /// `InvalidConfig` when the same condition has two actions.
    pub(super) fn new(profile: &Profile<'_>, warnings: &mut Vec<String>) -> Result<Self> {
        let table = |abi: &Abi| Table { abi: *abi, verdicts: Vec::with_capacity(KNOWN), newer: 0 };
        let mut verdicts = Self { tables: profile.abis.iter().map(table).collect(), unknown: BTreeSet::new() };
        let mut coarse = BTreeSet::new();
        for (at, rule) in profile.rules.iter().enumerate() {
            // As in runc a rule that says what happens anyway is no rule, but its calls count as known to the profile.
            let matters = rule.returns != profile.default_returns;
            for name in rule.names {
                let Some(call) = Call::named(name) else {
                    verdicts.unknown.insert(name.clone());
                    continue;
                };
                for table in &mut verdicts.tables {
                    table.note(call);
                    if matters {
                        table.add(at, rule, call)?;
                    }
                    if matters && table.abi == Abi::X86 && rule.has_conditions() {
                        coarse.extend(call.multiplexed(table.abi).map(|(number, _)| (number, name.as_str())));
                    }
                }
            }
        }
        verdicts.tables.iter_mut().try_for_each(Table::settle)?;
        // Where none of these is named they are as all others of ARM.
        verdicts.tables.retain(|table| table.abi != Abi::ArmPrivate || table.newer > 0);
        verdicts.warn(&coarse, warnings);
        Ok(verdicts)
    }

    /// Those of one ABI.
    pub(super) fn of(&self, abi: Abi) -> Option<&Table> {
        self.tables.iter().find(|table| table.abi == abi)
    }

    /// Whether read(2) by onggi itself is executed, whatever its arguments are: at once or after the agent's word.
    pub(super) fn lets_read(&self, profile: &Profile<'_>) -> bool {
        let passes = |returns: u32| matches!(returns & ACTION, ALLOW | LOG | NOTIFY);
        let number = Call::named("read").and_then(|read| read.number(Abi::NATIVE));
        let (Some(table), Some(number)) = (self.of(Abi::NATIVE), number) else { return false };
        match table.verdicts.get(number).and_then(Option::as_ref) {
            Some(Verdict::Always(returns)) => passes(*returns),
            Some(Verdict::When(alternatives)) => {
                passes(profile.default_returns) && alternatives.iter().all(|one| passes(one.returns))
            }
            None => passes(profile.returns_without_rule(table, number)),
        }
    }

    /// socketcall(2) and ipc(2) get their arguments in memory, where a filter can't look.
    fn warn(&self, coarse: &BTreeSet<(usize, &str)>, warnings: &mut Vec<String>) {
        let Some(table) = self.of(Abi::X86) else { return };
        let ipc = Call::named(Multiplexer::Ipc.name()).and_then(|ipc| ipc.number(Abi::X86));
        for (number, name) in coarse {
            if matches!(table.verdicts.get(*number), Some(Some(Verdict::When(_)))) {
                let by = if ipc == Some(*number) { Multiplexer::Ipc } else { Multiplexer::Socketcall }.name();
                warnings.push(format!(
                    "linux.seccomp: conditions on arguments of {name} can't be checked for 32-bit programs that use {by}"
                ));
            }
        }
    }
}

impl Table {
    /// Notes that the profile names a call.
    fn note(&mut self, call: Call) {
        let end = call.number(self.abi).map_or(0, |number| number + 1);
        self.newer = self.newer.max(end);
    }

    /// Adds what the rule at place `at` of the profile says about a call.
    fn add(&mut self, at: usize, rule: &Rule<'_>, call: Call) -> Result<()> {
        let (number, multiplexed) = (call.number(self.abi), call.multiplexed(self.abi));
        for conditions in rule.alternatives(self.abi) {
            if let Some((multiplexer, value)) = multiplexed {
                // The first argument tells the call. Conditions on the others stay, as in libseccomp.
                let tells = Condition { index: 0, comparison: Comparison::Eq, value };
                let others = conditions.clone().filter(|one| one.index != 0);
                self.claim(multiplexer, std::iter::once(tells).chain(others), rule.returns, (at, call))?;
            }
            if let Some(number) = number {
                self.claim(number, conditions, rule.returns, (at, call))?;
            }
        }
        Ok(())
    }

    /// A rule without conditions wins over all with, whatever the order, and over later ones without. Podman's profile
    /// names setns in two rules without conditions and depends on this.
    fn claim(
        &mut self,
        number: usize,
        conditions: impl Iterator<Item = Condition>,
        returns: u32,
        origin: (usize, Call),
    ) -> Result<()> {
        if self.verdicts.len() <= number {
            self.verdicts.resize(number + 1, None);
        }
        let verdict = &mut self.verdicts[number];
        if matches!(verdict, Some(Verdict::Always(_))) {
            return Ok(());
        }
        let Some(conditions) = Conditions::new(conditions) else {
            if let Some(Verdict::When(alternatives)) = verdict {
                settle(self.abi, number, alternatives)?;
            }
            *verdict = Some(Verdict::Always(returns));
            return Ok(());
        };
        let alternative = Alternative { conditions, returns, origin };
        match verdict {
            Some(Verdict::When(alternatives)) => alternatives.push(alternative),
            _ => *verdict = Some(Verdict::When(vec![alternative])),
        }
        Ok(())
    }

    /// Settles what the rules say about each call, when all are known.
    fn settle(&mut self) -> Result<()> {
        for (number, verdict) in self.verdicts.iter_mut().enumerate() {
            if let Some(Verdict::When(alternatives)) = verdict {
                settle(self.abi, number, alternatives)?;
            }
        }
        Ok(())
    }
}

/// Drops the alternatives of a number that say again what an earlier one says. The same conditions twice are an error when
/// they return different things.
fn settle(abi: Abi, number: usize, alternatives: &mut Vec<Alternative>) -> Result<()> {
    // Those of the same conditions stay in their order, so that the earliest is kept.
    alternatives.sort_by(|one, other| one.conditions.cmp(&other.conditions));
    let mut neighbours = alternatives.iter().zip(alternatives.iter().skip(1));
    let clash = neighbours.find(|(one, next)| one.conditions == next.conditions && one.returns != next.returns);
    if let Some((_, Alternative { origin: (at, call), .. })) = clash {
        let multiplexed = call.number(abi) != Some(number);
        let place = if multiplexed { ", where socketcall and ipc take it without its arguments," } else { "" };
        let name = call.name();
        let message = format!("{name} under {abi:?}{place} has another action for the same condition already");
        return Err(Error::config(format!("linux.seccomp.syscalls[{at}]"), message));
    }
    alternatives.dedup_by(|next, one| one.conditions == next.conditions);
    alternatives.sort_by_key(|one| one.origin.0);
    Ok(())
}

impl PartialEq for Alternative {
    fn eq(&self, other: &Self) -> bool {
        self.returns == other.returns && self.conditions == other.conditions
    }
}

impl Conditions {
    /// None when there are none.
    pub(super) fn new(mut conditions: impl Iterator<Item = Condition>) -> Option<Self> {
        Some(Self { first: conditions.next()?, others: conditions.collect() })
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Condition> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The condition, if it is the only one.
    pub(super) fn only(&self) -> Option<&Condition> {
        self.others.is_empty().then_some(&self.first)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxSeccomp;

    /// A rule in short form: name, action, and index, operator, value of each argument.
    type Short<'a> = (&'a str, &'a str, &'a [(usize, &'a str, u64)]);

    fn verdicts(rules: &[Short<'_>]) -> (Result<Verdicts>, Vec<String>) {
        let rules: Vec<_> = rules
            .iter()
            .map(|(name, action, args)| {
                let args: Vec<_> = args
                    .iter()
                    .map(|(index, op, value)| {
                        serde_json::json!({"index": index, "value": value, "op": format!("SCMP_CMP_{op}")})
                    })
                    .collect();
                serde_json::json!({"names": [name], "action": format!("SCMP_ACT_{action}"), "args": args})
            })
            .collect();
        let spec = serde_json::json!({
            "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": rules,
        });
        let spec: LinuxSeccomp = serde_json::from_value(spec).unwrap();
        let mut warnings = Vec::new();
        (Verdicts::new(&Profile::on(Abi::NATIVE, &spec).unwrap(), &mut warnings), warnings)
    }

    #[test]
    fn a_rule_without_conditions_wins() {
        let check = |rules: &[Short<'_>], expected: u32| {
            let verdicts = verdicts(rules).0.unwrap();
            assert_eq!(verdicts.tables[0].verdicts[0], Some(Verdict::Always(expected)), "{rules:?}");
        };
        check(&[("read", "ALLOW", &[])], ALLOW);
        check(&[("read", "ALLOW", &[]), ("read", "LOG", &[(0, "EQ", 1)])], ALLOW);
        check(&[("read", "LOG", &[(0, "EQ", 1)]), ("read", "ALLOW", &[])], ALLOW);
        check(&[("read", "ALLOW", &[]), ("read", "LOG", &[])], ALLOW);
        check(&[("read", "ERRNO", &[]), ("read", "ALLOW", &[])], ALLOW);
    }

    #[test]
    fn the_same_condition_with_two_actions_is_refused() {
        let check = |rules: &[Short<'_>], expected: &str| {
            let error = verdicts(rules).0.unwrap_err();
            assert_eq!(error.to_string(), format!("config.json: linux.seccomp.syscalls[1]: {expected}"));
        };
        check(
            &[("read", "ALLOW", &[(0, "EQ", 1), (1, "LT", 2)]), ("read", "LOG", &[(1, "LT", 2), (0, "EQ", 1)])],
            "read under X86_64 has another action for the same condition already",
        );
        check(
            &[("read", "ALLOW", &[(0, "EQ", 1)]), ("read", "LOG", &[(0, "EQ", 1 << 32 | 1)])],
            "read under X86 has another action for the same condition already",
        );
        check(
            &[("socket", "ALLOW", &[(0, "NE", 40)]), ("socket", "LOG", &[(0, "EQ", 40)])],
            "socket under X86, where socketcall and ipc take it without its arguments, \
             has another action for the same condition already",
        );
        assert!(verdicts(&[("read", "LOG", &[(0, "EQ", 1)]), ("read", "LOG", &[(0, "EQ", 1)])]).0.is_ok());
    }

    #[test]
    fn a_multiplexed_call_is_told_by_its_first_argument() {
        let (verdicts_, warnings) = verdicts(&[("socket", "ALLOW", &[(0, "NE", 40)])]);
        let tells = Condition { index: 0, comparison: Comparison::Eq, value: 1 };
        let conditions = Conditions::new([tells].into_iter()).unwrap();
        let origin = (0, Call::named("socket").unwrap());
        let expected = Verdict::When(vec![Alternative { conditions, returns: ALLOW, origin }]);
        assert_eq!(verdicts_.unwrap().tables[1].verdicts[102], Some(expected));
        let warning = "conditions on arguments of socket can't be checked for 32-bit programs that use socketcall";
        assert_eq!(warnings, [format!("linux.seccomp: {warning}")]);
        let (_, none) = verdicts(&[("socket", "ALLOW", &[(0, "NE", 40)]), ("socketcall", "ALLOW", &[])]);
        assert!(none.is_empty());
    }

    #[test]
    fn unknown_names_are_collected_and_skipped() {
        let (verdicts, _) = verdicts(&[("no_such", "ALLOW", &[]), ("close", "ERRNO", &[]), ("a_b", "LOG", &[])]);
        let verdicts = verdicts.unwrap();
        assert_eq!(verdicts.unknown.iter().map(String::as_str).collect::<Vec<_>>(), ["a_b", "no_such"]);
        assert_eq!(
            (&verdicts.tables[0].verdicts[..], verdicts.tables[0].newer),
            (&[][..], 4),
            "a rule without effect still names close"
        );
    }
}
