//! Resource limits. Spec: config.md, POSIX process, rlimits; getrlimit(2).

use crate::error::{Context, Error, Result};
use crate::sys::Errno;
use crate::sys::clone::InChild;
use crate::sys::this_process::{self, Resource};
use oci_spec::runtime::{PosixRlimit, PosixRlimitType};

/// No limit, in config.json as in the kernel.
const INFINITY: u64 = u64::MAX;

/// The limits to set, in the order of config.json.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rlimits(Vec<Rlimit>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rlimit {
    /// As config.json names it.
    name: String,
    resource: Resource,
    soft: u64,
    hard: u64,
}

/// Plans `process.rlimits`.
///
/// # Errors
/// A type listed twice, a soft limit above the hard one.
pub fn plan(limits: &[PosixRlimit]) -> Result<Rlimits> {
    let mut planned: Vec<Rlimit> = Vec::with_capacity(limits.len());
    for (index, limit) in limits.iter().enumerate() {
        let field = format!("process.rlimits[{index}]");
        let name = limit.typ().to_string();
        if planned.iter().any(|earlier| earlier.name == name) {
            return Err(Error::config(field, format!("{name} is listed twice")));
        }
        let (soft, hard) = (limit.soft(), limit.hard());
        if soft > hard {
            return Err(Error::config(field, format!("{name}: soft limit {soft} is above the hard limit {hard}")));
        }
        planned.push(Rlimit { name, resource: resource(limit.typ()), soft, hard });
    }
    Ok(Rlimits(planned))
}

fn resource(name: PosixRlimitType) -> Resource {
    match name {
        PosixRlimitType::RlimitCpu => Resource::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => Resource::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => Resource::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => Resource::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => Resource::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => Resource::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => Resource::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => Resource::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => Resource::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => Resource::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => Resource::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => Resource::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => Resource::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => Resource::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => Resource::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => Resource::RLIMIT_RTTIME,
    }
}

fn shown(limit: u64) -> String {
    if limit == INFINITY { "infinity".to_owned() } else { limit.to_string() }
}

impl Rlimits {
    /// In the parent, before the clone: raises our own hard limits where the container is to have more, which needs
    /// CAP_SYS_RESOURCE in the initial user namespace. Nothing is lowered, so we keep what we need to work.
    ///
    /// # Errors
    /// EPERM for a caller that may not have so much itself.
    pub fn raise_own(&self) -> Result<()> {
        for (index, limit) in self.0.iter().enumerate() {
            let Err((current, error)) = this_process::raise_hard_limit(limit.resource, limit.hard) else { continue };
            let doing = format!(
                "config.json: process.rlimits[{index}]: raise {} to {}, the hard limit here being {}",
                limit.name,
                shown(limit.hard),
                shown(current)
            );
            let error = error.phrased(doing);
            return Err(if error.is(Errno::EPERM) {
                error.hint("ask for less, or raise the limit of the caller")
            } else {
                error
            });
        }
        Ok(())
    }

    /// Sets the limits. Late: a low RLIMIT_NOFILE or RLIMIT_AS would bind the steps before as well.
    pub fn apply(&self, me: &InChild) -> Result<()> {
        for (index, limit) in self.0.iter().enumerate() {
            this_process::setrlimit(me, limit.resource, limit.soft, limit.hard)
                .with_context(|| format!("set {} (process.rlimits[{index}])", limit.name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(limits: &str, expected: &str) {
        let limits: Vec<PosixRlimit> = serde_json::from_str(limits).unwrap();
        let text = match plan(&limits) {
            Ok(planned) => format!("{planned:?}"),
            Err(error) => error.to_string(),
        };
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn limits() {
        check(r#"[{"type":"RLIMIT_NOFILE","soft":20,"hard":30}]"#, "resource: RLIMIT_NOFILE, soft: 20, hard: 30");
        check(r#"[{"type":"RLIMIT_AS","soft":1,"hard":18446744073709551615}]"#, "hard: 18446744073709551615");
        check(
            r#"[{"type":"RLIMIT_CPU","soft":1,"hard":1},{"type":"RLIMIT_CPU","soft":2,"hard":2}]"#,
            "process.rlimits[1]: RLIMIT_CPU is listed twice",
        );
        check(
            r#"[{"type":"RLIMIT_RTTIME","soft":2,"hard":1}]"#,
            "process.rlimits[0]: RLIMIT_RTTIME: soft limit 2 is above the hard limit 1",
        );
    }

    #[test]
    fn what_we_have_needs_no_raising() {
        let limits = [PosixRlimit::default()];
        plan(&limits).unwrap().raise_own().unwrap();
    }
}
