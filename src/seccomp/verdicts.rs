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

/// What becomes of one system call number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Returns this, whatever the arguments.
    Always(u32),
    /// The first alternative that holds decides, or else the profile's default.
    When(Vec<Alternative>),
}

/// A set of conditions that hold together, and what the call returns then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alternative {
    /// At least one, sorted.
    pub(super) conditions: Vec<Condition>,
    /// The value for the kernel.
    pub(super) returns: u32,
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
        let table = |abi: &Abi| Table { abi: *abi, verdicts: Vec::new(), newer: 0 };
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
                        let field = || format!("linux.seccomp.syscalls[{at}]");
                        table.add(call, rule).map_err(|clash| clash.error(&field(), name))?;
                    }
                    if matters && table.abi == Abi::X86 && rule.alternatives.iter().all(|one| !one.is_empty()) {
                        coarse.extend(call.multiplexed(table.abi).map(|(number, _)| (number, name.as_str())));
                    }
                }
            }
        }
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

/// The same condition with two actions.
struct Clash {
    abi: Abi,
    multiplexed: bool,
}

impl Clash {
    fn error(&self, field: &str, name: &str) -> Error {
        let place = if self.multiplexed { ", where socketcall and ipc take it without its arguments," } else { "" };
        let abi = self.abi;
        Error::config(field, format!("{name} under {abi:?}{place} has another action for the same condition already"))
    }
}

impl Table {
    /// Notes that the profile names a call.
    fn note(&mut self, call: Call) {
        let end = call.number(self.abi).map_or(0, |number| number + 1);
        self.newer = self.newer.max(end);
    }

    fn add(&mut self, call: Call, rule: &Rule<'_>) -> std::result::Result<(), Clash> {
        let abi = self.abi;
        let (number, multiplexed) = (call.number(abi), call.multiplexed(abi));
        for conditions in &rule.alternatives {
            // What always holds is no condition.
            let conditions = conditions.iter().map(|one| one.under(abi));
            let mut conditions: Vec<_> = conditions.filter(|one| one.comparison != Comparison::Masked(0)).collect();
            conditions.sort_unstable();
            let others = multiplexed.map(|(multiplexer, value)| {
                // The first argument tells the call. Conditions on the others stay, as in libseccomp.
                let mut others = vec![Condition { index: 0, comparison: Comparison::Eq, value }];
                others.extend(conditions.iter().filter(|one| one.index != 0));
                (multiplexer, others)
            });
            if let Some(number) = number {
                self.settle(number, conditions, rule.returns).map_err(|()| Clash { abi, multiplexed: false })?;
            }
            if let Some((multiplexer, others)) = others {
                self.settle(multiplexer, others, rule.returns).map_err(|()| Clash { abi, multiplexed: true })?;
            }
        }
        Ok(())
    }

    /// A rule without conditions wins over all with, whatever the order, and over later ones without. The same
    /// conditions twice are an error when they return different things. Podman's profile names setns in two rules
    /// without conditions and depends on this.
    fn settle(&mut self, number: usize, conditions: Vec<Condition>, returns: u32) -> std::result::Result<(), ()> {
        if self.verdicts.len() <= number {
            self.verdicts.resize(number + 1, None);
        }
        let verdict = &mut self.verdicts[number];
        match verdict {
            Some(Verdict::Always(_)) => {}
            _ if conditions.is_empty() => *verdict = Some(Verdict::Always(returns)),
            None => *verdict = Some(Verdict::When(vec![Alternative { conditions, returns }])),
            Some(Verdict::When(alternatives)) => {
                match alternatives.iter().find(|known| known.conditions == conditions) {
                    Some(known) if known.returns != returns => return Err(()),
                    Some(_) => {}
                    None => alternatives.push(Alternative { conditions, returns }),
                }
            }
        }
        Ok(())
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
        let conditions = vec![Condition { index: 0, comparison: Comparison::Eq, value: 1 }];
        let expected = Verdict::When(vec![Alternative { conditions, returns: ALLOW }]);
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
