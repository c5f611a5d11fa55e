//! From the profile in config.json to rules that are valid: everything is checked here, nothing is looked up.

use super::abi::Abi;
use super::verdicts::{NOTIFY, Table};
use crate::error::{Error, Result};
use crate::sys::Errno;
use crate::sys::seccomp::FilterFlags;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use seccompiler::SeccompAction;
use std::path::PathBuf;

/// The largest errno that the kernel hands to a program (`MAX_ERRNO` in linux/err.h).
const MAX_ERRNO: u32 = 4095;
/// The largest message to a tracer (`SECCOMP_RET_DATA` in linux/seccomp.h).
const MAX_TRACE_DATA: u32 = 0xffff;
/// The number of arguments in `struct seccomp_data`.
const ARGUMENTS: u8 = 6;

/// A profile that is valid. A `u32` named "returns" is what the program returns to the kernel: `SECCOMP_RET_*` and data.
#[derive(Debug)]
pub(super) struct Profile<'a> {
    /// What a call returns that no rule matches.
    pub(super) default_returns: u32,
    /// What a call returns that is newer than every call named in the profile.
    pub(super) newer_returns: u32,
    /// The ABIs by which calls are possible, the native one first; all others kill.
    pub(super) abis: Vec<Abi>,
    /// The rules in the profile's order.
    pub(super) rules: Vec<Rule<'a>>,
    /// How to install the program.
    pub(super) flags: FilterFlags,
    /// Who answers notifications, if some rule makes any.
    pub(super) listener: Option<Listener>,
}

/// Who is told of calls with `SCMP_ACT_NOTIFY` and answers in the kernel's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The agent's stream socket, absolute.
    pub path: PathBuf,
    /// What the agent gets to read beside the container's state.
    pub metadata: String,
}

/// One entry of `linux.seccomp.syscalls`.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    /// The names of the calls it is for.
    pub(super) names: &'a [String],
    /// What these calls return when one of the alternatives holds.
    pub(super) returns: u32,
    /// What is asked of the arguments, in their order.
    conditions: Vec<Condition>,
    /// Some argument occurs twice: then each condition is an alternative, and else they hold together. Docker's old
    /// profiles depend on this reading of runc's.
    repeats: bool,
}

/// A comparison of one argument, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Condition {
    /// The argument, 0 to 5.
    pub(super) index: u8,
    /// How to compare.
    pub(super) comparison: Comparison,
    /// What to compare with.
    pub(super) value: u64,
}

/// How an argument is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Comparison {
    /// argument != value
    Ne,
    /// argument < value
    Lt,
    /// argument <= value
    Le,
    /// argument == value
    Eq,
    /// argument >= value
    Ge,
    /// argument > value
    Gt,
    /// (argument & mask) == (value & mask): bits of the value outside the mask do not count, as in libseccomp
    Masked(u64),
}

impl Condition {
    /// The condition that `arg` asks for; none on an argument that no system call has.
    fn new(arg: &LinuxSeccompArg) -> Option<Self> {
        let index = u8::try_from(arg.index()).ok().filter(|index| *index < ARGUMENTS)?;
        let (comparison, value) = match arg.op() {
            Operator::ScmpCmpNe => (Comparison::Ne, arg.value()),
            Operator::ScmpCmpLt => (Comparison::Lt, arg.value()),
            Operator::ScmpCmpLe => (Comparison::Le, arg.value()),
            Operator::ScmpCmpEq => (Comparison::Eq, arg.value()),
            Operator::ScmpCmpGe => (Comparison::Ge, arg.value()),
            Operator::ScmpCmpGt => (Comparison::Gt, arg.value()),
            Operator::ScmpCmpMaskedEq => (Comparison::Masked(arg.value()), arg.value_two().unwrap_or(0)),
        };
        Some(Self { index, comparison, value })
    }

    /// The condition as it is checked under `abi`, in a form that is equal for equal conditions.
    fn under(self, abi: Abi) -> Self {
        let width = if abi.is_wide() { u64::MAX } else { u64::from(u32::MAX) };
        match self.comparison {
            Comparison::Masked(mask) => {
                let mask = mask & width;
                Self { comparison: Comparison::Masked(mask), value: self.value & mask, ..self }
            }
            _ => Self { value: self.value & width, ..self },
        }
    }
}

impl Profile<'_> {
    /// What a call returns that no rule names, of a table's ABI and without its base.
    pub(super) fn returns_without_rule(&self, table: &Table, number: usize) -> u32 {
        // On s390 a call whose number is too large for the instruction comes as number 0, and glibc looks by it for what
        // the kernel has.
        let large = number == 0 && matches!(table.abi, Abi::S390 | Abi::S390x);
        // A profile that names no call of this ABI at all does not know it; as in runc its default holds.
        let newer = table.newer > 0 && (large || number >= table.newer);
        if newer { self.newer_returns } else { self.default_returns }
    }
}

impl<'a> Profile<'a> {
    /// Checks a profile for a machine whose native ABI is `native`.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the field.
    pub(super) fn on(native: Abi, spec: &'a LinuxSeccomp) -> Result<Self> {
        let syscalls = spec.syscalls().as_deref().unwrap_or_default();
        let default_returns = default_returns(spec)?;
        let listener = listener(spec, syscalls)?;
        let mut rules = Vec::with_capacity(syscalls.len());
        for (at, syscall) in syscalls.iter().enumerate() {
            rules.push(Rule::new(at, syscall)?);
        }
        let abis = abis(native, spec.architectures().as_deref().unwrap_or_default());
        let newer_returns = newer_returns(spec.default_action(), default_returns);
        Ok(Self { default_returns, newer_returns, abis, rules, flags: flags(spec, listener.is_some()), listener })
    }
}

/// The native ABI and what else the profile lists. No kernel runs programs of the other byte order: libseccomp refuses
/// to have both in one filter, here those are left out.
fn abis(native: Abi, architectures: &[Arch]) -> Vec<Abi> {
    let mut others: Vec<_> = architectures.iter().map(|arch| Abi::named(*arch)).filter(|abi| *abi != native).collect();
    if others.contains(&Abi::Arm) || native == Abi::Arm {
        others.push(Abi::ArmPrivate);
    }
    others.retain(|abi| abi.is_little_endian() == native.is_little_endian());
    others.sort_unstable();
    others.dedup();
    std::iter::once(native).chain(others).collect()
}

impl<'a> Rule<'a> {
    fn new(at: usize, syscall: &'a LinuxSyscall) -> Result<Self> {
        // Made for an error alone: in a large profile the names of fields would take as long as all else.
        let field = || format!("linux.seccomp.syscalls[{at}]");
        if syscall.action() == Action::ScmpActNotify && syscall.names().iter().any(|name| name == "write") {
            let message = "SCMP_ACT_NOTIFY cannot be used for the write syscall: engines and agents count on that";
            return Err(Error::config(format!("{}.action", field()), message));
        }
        let returns = returns(syscall.action(), syscall.errno_ret(), || format!("{}.errnoRet", field()))?;
        let args = syscall.args().as_deref().unwrap_or_default();
        let mut conditions = Vec::with_capacity(args.len());
        for (at, arg) in args.iter().enumerate() {
            conditions.push(Condition::new(arg).ok_or_else(|| {
                let last = ARGUMENTS - 1;
                let message = format!("a system call has {ARGUMENTS} arguments, 0 to {last}, not {}", arg.index());
                Error::config(format!("{}.args[{at}].index", field()), message)
            })?);
        }
        conditions.sort_by_key(|condition| condition.index);
        let repeats = !conditions.is_sorted_by(|one, next| one.index < next.index);
        Ok(Self { names: syscall.names(), returns, conditions, repeats })
    }

    /// Whether the rule looks at arguments.
    pub(super) fn has_conditions(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// The alternatives under `abi`: conditions that hold together, in the order of the arguments, on each at most one.
    /// What always holds is no condition; an alternative without any always holds.
    pub(super) fn alternatives(&self, abi: Abi) -> impl Iterator<Item = impl Iterator<Item = Condition> + Clone> {
        let all = self.conditions.as_slice();
        let (single, together) = if self.repeats { (all, None) } else { (&[][..], Some(all)) };
        single.chunks(1).chain(together).map(move |conditions| {
            let conditions = conditions.iter().map(move |one| one.under(abi));
            conditions.filter(|one| one.comparison != Comparison::Masked(0))
        })
    }
}

fn default_returns(spec: &LinuxSeccomp) -> Result<u32> {
    let action = spec.default_action();
    if action == Action::ScmpActNotify {
        return Err(Error::config("linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action"));
    }
    returns(action, spec.default_errno_ret(), || "linux.seccomp.defaultErrnoRet".to_owned())
}

/// What the program returns for an action. As in runc `errnoRet` is EPERM when absent, and has no meaning beside actions
/// other than ERRNO and TRACE.
fn returns(action: Action, errno_ret: Option<u32>, field: impl FnOnce() -> String) -> Result<u32> {
    let data = |max: u32| {
        let data = errno_ret.unwrap_or(Errno::EPERM as u32);
        if data > max {
            return Err(Error::config(field(), format!("{data} is too large, at most {max} is possible")));
        }
        Ok(data)
    };
    Ok(u32::from(match action {
        Action::ScmpActKill | Action::ScmpActKillThread => SeccompAction::KillThread,
        Action::ScmpActKillProcess => SeccompAction::KillProcess,
        Action::ScmpActTrap => SeccompAction::Trap,
        Action::ScmpActErrno => SeccompAction::Errno(data(MAX_ERRNO)?),
        Action::ScmpActTrace => SeccompAction::Trace(data(MAX_TRACE_DATA)?),
        Action::ScmpActLog => SeccompAction::Log,
        Action::ScmpActAllow => SeccompAction::Allow,
        Action::ScmpActNotify => return Ok(NOTIFY),
    }))
}

/// The socket of the agent, which profiles with a rule that notifies must name. Without such a rule it has no meaning.
fn listener(spec: &LinuxSeccomp, syscalls: &[LinuxSyscall]) -> Result<Option<Listener>> {
    let metadata = spec.listener_metadata().clone().unwrap_or_default();
    let path = spec.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty());
    let notifies = syscalls.iter().position(|syscall| syscall.action() == Action::ScmpActNotify);
    match (path, notifies) {
        (None, Some(at)) => {
            let message = format!("is not set, but syscalls[{at}] has SCMP_ACT_NOTIFY: name the socket of the agent");
            Err(Error::config("linux.seccomp.listenerPath", message))
        }
        (None, None) if !metadata.is_empty() => {
            Err(Error::config("linux.seccomp.listenerMetadata", "has no effect without listenerPath"))
        }
        (Some(path), Some(_)) if !path.is_absolute() => {
            let message = format!("{} is not absolute: the socket is looked up on the host", path.display());
            Err(Error::config("linux.seccomp.listenerPath", message))
        }
        (path, _) => Ok(path.filter(|_| notifies.is_some()).map(|path| Listener { path: path.clone(), metadata })),
    }
}

/// Calls newer than the profile look absent, so that libraries take their fallbacks; EPERM would not do. Not so where the
/// default lets calls through, tracers included, as in runc.
fn newer_returns(default: Action, default_returns: u32) -> u32 {
    match default {
        Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace => default_returns,
        _ => u32::from(SeccompAction::Errno(Errno::ENOSYS as u32)),
    }
}

/// The flags to install with. TSYNC has no meaning for a process of one thread, WAIT_KILLABLE_RECV none without a
/// listener.
fn flags(spec: &LinuxSeccomp, notifies: bool) -> FilterFlags {
    let always = if notifies { FilterFlags::NEW_LISTENER } else { FilterFlags::NONE };
    let Some(flags) = spec.flags() else { return always.with(FilterFlags::SPEC_ALLOW) };
    flags.iter().fold(always, |all, flag| {
        all.with(match flag {
            Flag::SeccompFilterFlagLog => FilterFlags::LOG,
            Flag::SeccompFilterFlagSpecAllow => FilterFlags::SPEC_ALLOW,
            Flag::SeccompFilterFlagWaitKillableRecv if notifies => FilterFlags::WAIT_KILLABLE_RECV,
            Flag::SeccompFilterFlagTsync | Flag::SeccompFilterFlagWaitKillableRecv => FilterFlags::NONE,
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn parse(json: &str) -> LinuxSeccomp {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn refuses_naming_the_field() {
        let check = |json: &str, kind: ErrorKind, expected: &str| {
            let error = Profile::on(Abi::NATIVE, &parse(json)).unwrap_err();
            assert_eq!(error.to_string(), format!("config.json: linux.seccomp.{expected}"));
            assert_eq!(error.kind(), kind, "{json}");
        };
        let rule = |rule: &str| {
            let fine = r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW"}"#;
            format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{fine}, {{"names": ["read"], {rule}}}]}}"#)
        };
        let bad = ErrorKind::InvalidConfig;
        check(
            r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#,
            bad,
            "defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
        );
        check(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}"#,
            bad,
            "defaultErrnoRet: 4096 is too large, at most 4095 is possible",
        );
        check(
            &rule(r#""action": "SCMP_ACT_TRACE", "errnoRet": 65536"#),
            bad,
            "syscalls[1].errnoRet: 65536 is too large, at most 65535 is possible",
        );
        check(
            &rule(r#""action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]"#),
            bad,
            "syscalls[1].args[0].index: a system call has 6 arguments, 0 to 5, not 6",
        );
        let notify = rule(r#""action": "SCMP_ACT_NOTIFY""#);
        check(
            &notify,
            bad,
            "listenerPath: is not set, but syscalls[1] has SCMP_ACT_NOTIFY: name the socket of the agent",
        );
        let path = |path: &str| notify.replace("\"syscalls\"", &format!("\"listenerPath\": \"{path}\", \"syscalls\""));
        check(&path("agent"), bad, "listenerPath: agent is not absolute: the socket is looked up on the host");
        check(
            &path("/agent").replace("read", "write"),
            bad,
            "syscalls[1].action: SCMP_ACT_NOTIFY cannot be used for the write syscall: engines and agents count on that",
        );
        check(
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}"#,
            bad,
            "listenerMetadata: has no effect without listenerPath",
        );
    }

    #[test]
    fn actions_become_return_values() {
        let check = |action: &str, errno_ret: Option<u32>, default: u32, newer: u32| {
            let errno_ret = errno_ret.map_or(String::new(), |errno| format!(r#", "defaultErrnoRet": {errno}"#));
            let spec = parse(&format!(r#"{{"defaultAction": "SCMP_ACT_{action}"{errno_ret}}}"#));
            let profile = Profile::on(Abi::NATIVE, &spec).unwrap();
            assert_eq!((profile.default_returns, profile.newer_returns), (default, newer), "{action}");
        };
        let enosys = 0x5_0026;
        check("KILL", None, 0, enosys);
        check("KILL_THREAD", Some(7), 0, enosys);
        check("KILL_PROCESS", None, 0x8000_0000, enosys);
        check("TRAP", None, 0x3_0000, enosys);
        check("ERRNO", None, 0x5_0001, enosys);
        check("ERRNO", Some(38), enosys, enosys);
        check("TRACE", None, 0x7ff0_0001, 0x7ff0_0001);
        check("TRACE", Some(5000), 0x7ff0_1388, 0x7ff0_1388);
        check("LOG", None, 0x7ffc_0000, 0x7ffc_0000);
        check("ALLOW", Some(5000), 0x7fff_0000, 0x7fff_0000);
    }

    #[test]
    fn architectures_always_have_the_native_one_and_none_of_the_other_byte_order() {
        let check = |architectures: &str, expected: &[Abi]| {
            let spec = parse(&format!(r#"{{"defaultAction": "SCMP_ACT_KILL"{architectures}}}"#));
            assert_eq!(Profile::on(Abi::NATIVE, &spec).unwrap().abis, expected, "{architectures}");
        };
        check("", &[Abi::X86_64]);
        check(r#", "architectures": []"#, &[Abi::X86_64]);
        check(r#", "architectures": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_X86"]"#, &[Abi::X86_64, Abi::X86, Abi::Aarch64]);
        check(r#", "architectures": ["SCMP_ARCH_S390X", "SCMP_ARCH_ARM"]"#, &[Abi::X86_64, Abi::Arm, Abi::ArmPrivate]);
        check(
            r#", "architectures": ["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32"]"#,
            &[Abi::X86_64, Abi::X86, Abi::X32],
        );
    }

    #[test]
    fn flags_are_spec_allow_when_absent() {
        let check = |flags: &str, expected: FilterFlags| {
            let spec = parse(&format!(r#"{{"defaultAction": "SCMP_ACT_KILL"{flags}}}"#));
            assert_eq!(Profile::on(Abi::NATIVE, &spec).unwrap().flags, expected, "{flags}");
        };
        check("", FilterFlags::SPEC_ALLOW);
        check(r#", "flags": []"#, FilterFlags::NONE);
        check(r#", "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]"#, FilterFlags::LOG);
        check(r#", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#, FilterFlags::NONE);
        let notify = r#", "listenerPath": "/a", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]"#;
        let with_listener = |more: &str| format!("{notify}{more}");
        check(&with_listener(""), FilterFlags::NEW_LISTENER.with(FilterFlags::SPEC_ALLOW));
        check(
            &with_listener(r#", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#),
            FilterFlags::NEW_LISTENER.with(FilterFlags::WAIT_KILLABLE_RECV),
        );
    }

    #[test]
    fn a_repeated_argument_makes_alternatives() {
        let check = |args: &[(u64, u64)], expected: &[&[(u8, u64)]]| {
            let args: Vec<_> = args
                .iter()
                .map(|(index, value)| serde_json::json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"}))
                .collect();
            let rule = serde_json::json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": args});
            let syscall = serde_json::from_value(rule).unwrap();
            let rule = Rule::new(0, &syscall).unwrap();
            let alternatives = rule.alternatives(Abi::NATIVE).map(|one| one.map(|it| (it.index, it.value)).collect());
            assert_eq!(alternatives.collect::<Vec<Vec<_>>>(), expected);
        };
        check(&[], &[&[]]);
        check(&[(1, 7), (0, 8)], &[&[(0, 8), (1, 7)]]);
        check(&[(0, 7), (1, 8), (0, 9)], &[&[(0, 7)], &[(0, 9)], &[(1, 8)]]);
    }
}
