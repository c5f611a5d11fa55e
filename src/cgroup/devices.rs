//! Device rules: `linux.resources.devices` as the list of exceptions that cgroup v1 would have kept. Pure.
//!
//! The rules follow runc, which follows cgroup v1: they work one after the other on a default and exceptions to it.
//! Where cgroup v1 would ignore a rule because the exceptions can't say it, the rule is refused; where they can (a
//! wildcard takes back what earlier rules gave to devices that it stands for), it counts.

use super::program;
use crate::error::{Error, Result};
use crate::sys::{Errno, bpf};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The program that decides which devices the container may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(super) instructions: Vec<bpf::Instruction>,
    /// Going on without it is right when we may not load it: see [`plan`].
    optional: bool,
}

impl Program {
    /// Going on without it is right when we lack the privilege, and only then.
    fn passes(&self, error: &Error) -> bool {
        self.optional && (error.is(Errno::EPERM) || error.is(Errno::EACCES))
    }
}

/// Makes `program` the one that guards the cgroup directory on our behalf, for as long as that exists; with `None` it
/// has none. Programs of others (systemd's) stay. An earlier one of ours decides until the moment that this one does.
pub(super) fn guard(cgroup: BorrowedFd<'_>, program: Option<&Program>) -> Result<()> {
    let guarded = match program {
        Some(program) => replace(cgroup, program),
        None => match bpf::attached_device_programs(cgroup) {
            // What we may not even look at we have not attached either.
            Err(error) if error.is(Errno::EPERM) || error.is(Errno::EACCES) => Ok(()),
            earlier => earlier.and_then(|earlier| detach(cgroup, &earlier)),
        },
    };
    match guarded {
        Err(error) if program.is_some_and(|program| program.passes(&error)) => Ok(()),
        result => result.map_err(|error| error.context("device rules (linux.resources.devices)")),
    }
}

fn replace(cgroup: BorrowedFd<'_>, program: &Program) -> Result<()> {
    /// Somebody else may replace or detach the earlier one at the same time.
    const ATTEMPTS: usize = 8;
    let loaded = bpf::load_device_program(&program.instructions)?;
    let mut attempt = 1;
    loop {
        let earlier = bpf::attached_device_programs(cgroup)?;
        match bpf::attach_device_program(cgroup, &loaded, earlier.first()) {
            Err(error) if error.is(Errno::ENOENT) && attempt < ATTEMPTS => attempt += 1,
            // Of several all have to allow, so that the others go last.
            result => return result.and_then(|()| detach(cgroup, earlier.get(1..).unwrap_or_default())),
        }
    }
}

fn detach(cgroup: BorrowedFd<'_>, programs: &[OwnedFd]) -> Result<()> {
    programs.iter().try_for_each(|program| match bpf::detach_device_program(cgroup, program) {
        Err(error) if error.is(Errno::ENOENT) => Ok(()),
        result => result,
    })
}

/// The program for the rules in `list`, or `None` when they allow everything.
///
/// In a user namespace nobody may load programs; but there the kernel lets nobody make device nodes either, so the
/// container has only those that the config gives it.
///
/// # Errors
/// `InvalidConfig` for more rules than the kernel takes.
pub(super) fn plan(list: &List, rootless: bool) -> Result<Option<Program>> {
    if list.exceptions.len() > MOST_EXCEPTIONS {
        return Err(refused("", format!("more than {MOST_EXCEPTIONS} different devices")));
    }
    if list.allow && list.exceptions.is_empty() {
        return Ok(None);
    }
    Ok(Some(Program { instructions: program::compile(list)?, optional: rootless }))
}

/// More than this the kernel's verifier does not follow (it keeps at most 8192 branches in mind).
const MOST_EXCEPTIONS: usize = 4096;

/// What runc allows after all rules of the config, so that it can't be denied.
const DEFAULTS: [(Device, Access); 12] = [
    (Device { kind: Kind::Char, major: None, minor: None }, Access::MKNOD),
    (Device { kind: Kind::Block, major: None, minor: None }, Access::MKNOD),
    (Device::char(1, 3), Access::ALL),
    (Device::char(1, 5), Access::ALL),
    (Device::char(1, 7), Access::ALL),
    (Device::char(1, 8), Access::ALL),
    (Device::char(1, 9), Access::ALL),
    (Device::char(5, 0), Access::ALL),
    (Device::char(5, 1), Access::ALL),
    (Device::char(5, 2), Access::ALL),
    (Device { kind: Kind::Char, major: Some(136), minor: None }, Access::ALL),
    (Device::char(10, 200), Access::ALL),
];

/// The kinds of device, by the numbers that device programs see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Block = 1,
    Char = 2,
}

/// A device, or all of a kind where a number is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Device {
    pub(super) kind: Kind,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
}

impl Device {
    const fn char(major: u32, minor: u32) -> Self {
        Self { kind: Kind::Char, major: Some(major), minor: Some(minor) }
    }

    /// Whether every device that `other` stands for is one of ours.
    fn covers(&self, other: &Self) -> bool {
        let numbers = |ours: Option<u32>, other: Option<u32>| ours.is_none() || ours == other;
        self.kind == other.kind && numbers(self.major, other.major) && numbers(self.minor, other.minor)
    }

    /// Whether some device is one of ours and one of `other`'s.
    fn meets(&self, other: &Self) -> bool {
        let numbers = |ours: Option<u32>, other: Option<u32>| ours.is_none() || other.is_none() || ours == other;
        self.kind == other.kind && numbers(self.major, other.major) && numbers(self.minor, other.minor)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let kind = if self.kind == Kind::Block { 'b' } else { 'c' };
        write!(f, "{kind} {}:{}", number(self.major), number(self.minor))
    }
}

/// Ways to use a device, as a set, by the bits that device programs see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Access(pub(super) u8);

impl Access {
    pub(super) const MKNOD: Self = Self(1);
    pub(super) const READ: Self = Self(2);
    pub(super) const WRITE: Self = Self(4);
    pub(super) const ALL: Self = Self(7);

    /// Other letters than r, w and m mean nothing, as to runc: a config that it takes must not fail here.
    fn parse(letters: &str, index: usize) -> Result<Self> {
        if letters.is_empty() {
            let message = format!("device access at {index} field cannot be empty");
            return Err(refused(format!("[{index}].access"), message));
        }
        let bit = |letter| match letter {
            'm' => Self::MKNOD.0,
            'r' => Self::READ.0,
            'w' => Self::WRITE.0,
            _ => 0,
        };
        Ok(Self(letters.chars().map(bit).fold(0, |access, bit| access | bit)))
    }
}

/// The default, and the exceptions to it: what is allowed although all is denied, or denied although all is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct List {
    pub(super) allow: bool,
    pub(super) exceptions: BTreeMap<Device, Access>,
}

impl List {
    /// What `rules` make of it, one after the other, and then those that hold for every container.
    ///
    /// # Errors
    /// `InvalidConfig` for a malformed rule, and for one that takes a part out of a wildcard, which the list can't say.
    pub(super) fn of(rules: &[LinuxDeviceCgroup]) -> Result<Self> {
        let mut list = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            list.add(rule, index)?;
        }
        for (device, access) in DEFAULTS {
            list.change(true, device, access)
                .map_err(|why| refused("", format!("{device}, which is always allowed: {why}")))?;
        }
        Ok(list)
    }

    /// Applies the rule that stands at `index` in the config.
    fn add(&mut self, rule: &LinuxDeviceCgroup, index: usize) -> Result<()> {
        let access = Access::parse(rule.access().as_deref().unwrap_or_default(), index)?;
        let major = number(rule.major(), &format!("[{index}].major"))?;
        let minor = number(rule.minor(), &format!("[{index}].minor"))?;
        let kinds: &[Kind] = match rule.typ().unwrap_or_default() {
            LinuxDeviceType::A => &[Kind::Char, Kind::Block],
            LinuxDeviceType::C => &[Kind::Char],
            LinuxDeviceType::B => &[Kind::Block],
            other => {
                let message = format!("invalid cgroup device type {:?}", other.as_str());
                return Err(refused(format!("[{index}].type"), message));
            }
        };
        // A rule for all devices sets the default and ends all exceptions. To cgroup v1 and runc every rule of type
        // `a` is one, whatever its numbers and access; for us an allowing one must really say "all".
        let all = kinds.len() > 1 && major.is_none() && minor.is_none();
        if all && (!rule.allow() || access == Access::ALL) {
            *self = Self { allow: rule.allow(), exceptions: BTreeMap::new() };
            return Ok(());
        }
        for &kind in kinds {
            self.change(rule.allow(), Device { kind, major, minor }, access)
                .map_err(|why| refused(format!("[{index}]"), why))?;
        }
        Ok(())
    }

    fn change(&mut self, allow: bool, device: Device, access: Access) -> std::result::Result<(), String> {
        if allow == self.allow {
            return self.take(device, access);
        }
        if access.0 != 0 {
            self.exceptions.entry(device).or_insert(Access(0)).0 |= access.0;
        }
        Ok(())
    }

    /// Takes `access` out of the exceptions for this device and for all that it stands for. A part of what an exception
    /// stands for can't be taken out of it; cgroup v1 ignored the attempt, which is the wrong way to be told no.
    fn take(&mut self, device: Device, access: Access) -> std::result::Result<(), String> {
        let clashes = |(known, had): &(&Device, &Access)| had.0 & access.0 != 0 && device.meets(known);
        if let Some((wildcard, _)) = self.exceptions.iter().filter(clashes).find(|(known, _)| !device.covers(known)) {
            return Err(format!("cannot punch a hole for {device} in the earlier rule for {wildcard}"));
        }
        self.exceptions.retain(|known, had| {
            if device.covers(known) {
                had.0 &= !access.0;
            }
            had.0 != 0
        });
        Ok(())
    }
}

/// A device's number; absent or -1 stands for all.
fn number(number: Option<i64>, field: &str) -> Result<Option<u32>> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_| refused(field, format!("{number} is neither a device number nor -1 for all"))),
    }
}

fn refused(field: impl fmt::Display, message: impl AsRef<str>) -> Error {
    Error::config(format!("linux.resources.devices{field}"), message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Access, List, Program};
    use crate::error::Result;
    use oci_spec::runtime::LinuxDeviceCgroup;

    fn rules(rules: &[&str]) -> Vec<LinuxDeviceCgroup> {
        rules.iter().map(|rule| rule_of(rule)).collect()
    }

    /// A rule from the notation of devices.allow with a sign before it: `+ c 1:3 rwm`.
    fn rule_of(text: &str) -> LinuxDeviceCgroup {
        let words: Vec<_> = text.split([' ', ':']).collect();
        let number = |word: &str| if word == "*" { -1 } else { word.parse::<i64>().unwrap() };
        let json = serde_json::json!({"allow": words[0] == "+", "type": words[1], "major": number(words[2]),
            "minor": number(words[3]), "access": words[4]});
        serde_json::from_value(json).unwrap()
    }

    fn list_of(texts: &[&str]) -> std::result::Result<List, String> {
        let mut list = List::default();
        for (index, rule) in rules(texts).iter().enumerate() {
            list.add(rule, index).map_err(|error| error.to_string())?;
        }
        Ok(list)
    }

    fn plan(rules: &[LinuxDeviceCgroup], rootless: bool) -> Result<Option<Program>> {
        super::plan(&List::of(rules)?, rootless)
    }

    /// `expected`: the default, then the exceptions.
    fn check(texts: &[&str], allow: bool, expected: &[&str]) {
        let list = list_of(texts).unwrap();
        let letters = |access: Access| {
            [(Access::READ, 'r'), (Access::WRITE, 'w'), (Access::MKNOD, 'm')]
                .iter()
                .filter(|(bit, _)| access.0 & bit.0 != 0)
                .map(|(_, letter)| *letter)
                .collect::<String>()
        };
        let shown: Vec<_> =
            list.exceptions.iter().map(|(device, access)| format!("{device} {}", letters(*access))).collect();
        assert_eq!((list.allow, shown), (allow, expected.iter().map(|text| (*text).to_owned()).collect()), "{texts:?}");
    }

    #[test]
    fn lists() {
        check(&[], false, &[]);
        check(&["- a *:* rwm"], false, &[]);
        check(&["+ a *:* rwm"], true, &[]);
        check(&["- a *:* rwm", "+ c 1:3 rw", "+ c 1:3 m", "+ b 8:* r"], false, &["b 8:* r", "c 1:3 rwm"]);
        check(&["+ c 1:3 rwm", "- c 1:3 w"], false, &["c 1:3 rm"]);
        check(&["+ c 1:3 rwm", "- c 1:3 rwm", "- c 10:229 rwm"], false, &[]);
        check(&["+ a *:* rwm", "- c 1:3 rw", "+ c 1:3 r"], true, &["c 1:3 w"]);
        check(&["+ c 1:3 rwm", "+ a *:* rwm", "- a *:* r"], false, &[]);
        check(&["+ c 1:* r", "- c 1:3 w"], false, &["c 1:* r"]);
        check(&["+ c 1:* rw", "+ c 1:3 m", "- c 1:* w"], false, &["c 1:* r", "c 1:3 m"]);
        // More careful than cgroup v1, which would leave c 1:3 allowed and c 1:5 denied.
        check(&["+ c 1:3 rwm", "+ c 2:3 rw", "+ b 1:3 r", "- c 1:* rw"], false, &["b 1:3 r", "c 1:3 m", "c 2:3 rw"]);
        check(&["+ a *:* rwm", "- c 1:5 rw", "+ c *:5 w"], true, &["c 1:5 r"]);
        // And here, which would allow everything.
        check(&["+ a 1:3 rwm"], false, &["b 1:3 rwm", "c 1:3 rwm"]);
        check(&["+ a *:* r"], false, &["b *:* r", "c *:* r"]);
    }

    #[test]
    fn letters_that_mean_nothing() {
        check(&["+ c 1:3 rwa", "+ c 1:5 a", "- c 1:3 aw"], false, &["c 1:3 r"]);
        check(&["+ c 1:* rw", "- c 1:3 a"], false, &["c 1:* rw"]);
        check(&["+ a *:* rwma", "- c 1:3 aR", "- c 1:5 rx"], true, &["c 1:5 r"]);
        check(&["+ a *:* rwm", "- a *:* a"], false, &[]);
        check(&["+ a *:* a"], false, &[]);
    }

    #[test]
    fn holes() {
        for texts in [
            ["+ c 1:* rw", "- c 1:3 w"],
            ["+ c *:3 rw", "- c 1:3 w"],
            ["+ c *:* rw", "- c 1:3 w"],
            ["+ c *:* rw", "- c 1:* w"],
            ["+ c 1:* rw", "- c *:3 w"],
        ] {
            let error = list_of(&texts).unwrap_err();
            assert!(error.starts_with("config.json: linux.resources.devices[1]: cannot punch a hole"), "{error}");
        }
        let error = plan(&rules(&["+ a *:* rwm", "- c *:* rwm"]), false).unwrap_err().to_string();
        assert!(error.contains("c 1:3, which is always allowed: cannot punch a hole"), "{error}");
    }

    #[test]
    fn malformed() {
        for (json, message) in [
            (r#"{"allow": true, "type": "c"}"#, "[0].access: device access at 0 field cannot be empty"),
            (r#"{"allow": true, "type": "c", "access": ""}"#, "device access at 0 field cannot be empty"),
            (r#"{"allow": true, "type": "p", "access": "r"}"#, r#"[0].type: invalid cgroup device type "p""#),
            (r#"{"allow": true, "major": -2, "access": "r"}"#, "[0].major: -2"),
            (r#"{"allow": true, "minor": 4294967296, "access": "r"}"#, "[0].minor: 4294967296"),
        ] {
            let error = plan(&[serde_json::from_str(json).unwrap()], false).unwrap_err().to_string();
            assert!(error.contains(message), "{json}: {error}");
        }
    }

    #[test]
    fn programs() {
        assert_eq!(plan(&rules(&["- a *:* rwm", "+ a *:* rwm"]), false).unwrap(), None, "allows everything");
        let none = plan(&[], false).unwrap().unwrap();
        assert_eq!(none, plan(&rules(&["- a *:* rwm"]), false).unwrap().unwrap(), "the defaults only");
        let denied_default = plan(&rules(&["- a *:* rwm", "- c 1:3 rwm"]), false).unwrap().unwrap();
        assert_eq!(none, denied_default, "the defaults can't be denied");
        assert!(plan(&rules(&["+ a *:* rwm", "- c 10:229 rwm"]), true).unwrap().unwrap().optional);
    }
}
