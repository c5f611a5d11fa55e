//! The five capability sets. Spec: config.md, Linux Process, capabilities; capabilities(7).

use super::Input;
use crate::error::{Context, Error, Result, errno_text};
use crate::sys::Errno;
use crate::sys::clone::InChild;
use crate::sys::this_process::{self, CapabilitySets};
use oci_spec::runtime::{Capabilities as Names, LinuxCapabilities};

/// The five sets of the process, bit n for capability number n.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// What no execve can go beyond.
    pub bounding: u64,
    /// What permission checks look at.
    pub effective: u64,
    /// What programs with inheritable file capabilities may keep.
    pub inheritable: u64,
    /// What may become effective.
    pub permitted: u64,
    /// What survives the execve of an ordinary program by another user than root.
    pub ambient: u64,
    /// What may be in the bounding set before [`Capabilities::drop_bounding`].
    present: u64,
}

/// Plans `process.capabilities`. An absent block clears all five sets: what nobody granted is not there (runc would
/// leave the caller's).
///
/// Capabilities that this kernel or this caller lacks are left out and named in a warning, as runc does: engines send
/// the lists of newer kernels. Likewise ambient ones that are not both permitted and inheritable.
///
/// # Errors
/// An effective capability that is not permitted, an inheritable one outside bounding: capset(2) would refuse both.
pub fn plan(block: Option<&LinuxCapabilities>, input: &Input<'_>, warnings: &mut Vec<String>) -> Result<Capabilities> {
    // Whoever makes or joins a user namespace has every capability there is, whatever the caller had.
    let inside = input.user_namespace;
    let grantable = if inside { u64::MAX } else { input.host.bounding & input.host.permitted };
    let present = if inside { u64::MAX } else { input.host.bounding };
    let mut unavailable = 0;
    let mut set = |names: &Option<Names>| {
        let asked = mask(names.as_ref());
        unavailable |= asked & !grantable;
        asked & grantable
    };
    let sets = match block {
        None => Capabilities { present, ..Capabilities::default() },
        Some(block) => Capabilities {
            bounding: set(block.bounding()),
            effective: set(block.effective()),
            inheritable: set(block.inheritable()),
            permitted: set(block.permitted()),
            ambient: set(block.ambient()),
            present,
        },
    };
    if unavailable != 0 {
        warnings.push(format!("ignoring unknown or unavailable capabilities: [{}]", names_of(unavailable).join(" ")));
    }
    refuse(sets.effective & !sets.permitted, "effective", "must be in permitted, too")?;
    refuse(sets.inheritable & !sets.bounding, "inheritable", "must be in bounding, too")?;
    // The kernel's rule; see `PR_CAP_AMBIENT_RAISE`.
    let raisable = sets.permitted & sets.inheritable;
    warnings.extend(numbers_of(sets.ambient & !raisable).map(|number| not_raised(number, Errno::EPERM)));
    Ok(Capabilities { ambient: sets.ambient & raisable, ..sets })
}

fn not_raised(number: u8, why: Errno) -> String {
    format!("can't raise ambient capability {}: {}", this_process::capability_name(number), errno_text(why))
}

fn mask(names: Option<&Names>) -> u64 {
    // The display form of oci-spec lacks the prefix.
    let numbers =
        names.into_iter().flatten().filter_map(|name| this_process::capability_number(&format!("CAP_{name}")));
    numbers.fold(0, |mask, number| mask | 1 << number)
}

fn numbers_of(mask: u64) -> impl Iterator<Item = u8> {
    (0..64).filter(move |number| mask >> number & 1 == 1)
}

fn names_of(mask: u64) -> Vec<String> {
    numbers_of(mask).map(this_process::capability_name).collect()
}

fn refuse(wrong: u64, set: &str, rule: &str) -> Result<()> {
    match names_of(wrong).first() {
        None => Ok(()),
        Some(name) => Err(Error::config(format!("process.capabilities.{set}"), format!("{name} {rule}"))),
    }
}

impl Capabilities {
    /// Takes out of the bounding set what is not wanted there. Before the change of ids, which takes CAP_SETPCAP away.
    pub fn drop_bounding(&self, me: &InChild) -> Result<()> {
        for number in numbers_of(self.present & !self.bounding) {
            match this_process::drop_bounding(me, number) {
                // The first number that the kernel lacks: it has no higher one.
                Err(error) if error.is(Errno::EINVAL) => break,
                result => result.context("drop capability (process.capabilities.bounding)")?,
            }
        }
        Ok(())
    }

    /// Has the permitted set survive a change of user ids, or no longer.
    pub fn keep(&self, me: &InChild, keep: bool) -> Result<()> {
        this_process::set_keepcaps(me, keep)
    }

    /// Sets the other four sets, ambient last because it must lie within permitted and inheritable. After the change
    /// of ids. Ambient capabilities that the kernel refuses come back as warnings.
    ///
    /// With `keep_filter_right` CAP_SYS_ADMIN, which the seccomp filter needs when new privileges are not forbidden,
    /// stays until [`Capabilities::settle`].
    pub fn apply(&self, me: &InChild, keep_filter_right: bool) -> Result<Vec<String>> {
        self.set(me, if keep_filter_right { SYS_ADMIN } else { 0 })?;
        // Without inheritable ones capset(2) has cleared the caller's.
        if self.inheritable != 0 {
            this_process::clear_ambient(me)?;
        }
        let mut warnings = Vec::new();
        for number in numbers_of(self.ambient) {
            if let Err(error) = this_process::raise_ambient(me, number) {
                warnings.push(not_raised(number, error.errno().unwrap_or(Errno::EINVAL)));
            }
        }
        Ok(warnings)
    }

    /// Gives up what [`Capabilities::apply`] kept for the filter. This is the one system call beside execve that the
    /// filter may see; none where the container has CAP_SYS_ADMIN anyway.
    pub fn settle(&self, me: &InChild) -> Result<()> {
        if self.effective & self.permitted & SYS_ADMIN != 0 { Ok(()) } else { self.set(me, 0) }
    }

    fn set(&self, me: &InChild, more: u64) -> Result<()> {
        let sets = CapabilitySets {
            effective: self.effective | more,
            permitted: self.permitted | more,
            inheritable: self.inheritable,
        };
        this_process::capset(me, sets).context("set capabilities (process.capabilities)")
    }
}

/// CAP_SYS_ADMIN as a mask.
const SYS_ADMIN: u64 = 1 << 21;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::process::tests::{host, input};

    const KILL: u64 = 1 << 5;
    const BPF: u64 = 1 << 39;

    fn check(block: &str, inside: bool, expected: std::result::Result<[u64; 5], &str>, warned: &[&str]) {
        let host = crate::host::Host { bounding: (1 << 39) - 1, permitted: (1 << 39) - 1, ..host() };
        let input = Input { user_namespace: inside, ..input(&host) };
        let mut warnings = Vec::new();
        let block: Option<LinuxCapabilities> = serde_json::from_str(block).unwrap();
        let planned = plan(block.as_ref(), &input, &mut warnings)
            .map(|sets| [sets.bounding, sets.effective, sets.inheritable, sets.permitted, sets.ambient])
            .map_err(|error| error.to_string());
        assert_eq!(planned, expected.map_err(str::to_owned), "{block:?}");
        assert_eq!(warnings, warned);
    }

    #[test]
    fn sets() {
        let bpf = r#"{"bounding":["CAP_KILL","CAP_BPF"],"permitted":["CAP_BPF","CAP_KILL"],"effective":["CAP_KILL"],
            "ambient":["CAP_KILL"],"inheritable":["CAP_KILL"]}"#;
        check("null", false, Ok([0; 5]), &[]);
        check("{}", false, Ok([0; 5]), &[]);
        let warning = "ignoring unknown or unavailable capabilities: [CAP_BPF]";
        check(bpf, false, Ok([KILL, KILL, KILL, KILL, KILL]), &[warning]);
        check(bpf, true, Ok([KILL | BPF, KILL, KILL, KILL | BPF, KILL]), &[]);
        let ambient = r#"{"bounding":["CAP_KILL"],"permitted":["CAP_KILL"],"ambient":["CAP_KILL"]}"#;
        let warning = "can't raise ambient capability CAP_KILL: operation not permitted";
        check(ambient, false, Ok([KILL, 0, 0, KILL, 0]), &[warning]);
        let ambient = r#"{"bounding":["CAP_KILL"],"inheritable":["CAP_KILL"],"ambient":["CAP_KILL"]}"#;
        check(ambient, false, Ok([KILL, 0, KILL, 0, 0]), &[warning]);
        let text = "config.json: process.capabilities.effective: CAP_KILL must be in permitted, too";
        check(r#"{"effective":["CAP_KILL"]}"#, false, Err(text), &[]);
        let text = "config.json: process.capabilities.inheritable: CAP_KILL must be in bounding, too";
        check(r#"{"inheritable":["CAP_KILL"]}"#, false, Err(text), &[]);
    }

    #[test]
    fn every_name_that_can_be_read_has_its_number() {
        for number in 0..=40 {
            let name = this_process::capability_name(number);
            let names: Names = serde_json::from_str(&format!("[\"{name}\"]")).unwrap();
            assert_eq!(mask(Some(&names)), 1 << number, "{name}");
        }
    }
}
