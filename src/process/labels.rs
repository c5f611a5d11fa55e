//! The labels of security modules. Spec: config.md, Linux Process, apparmorProfile and selinuxLabel.

use super::Input;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::Errno;
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access, Resolve};
use oci_spec::runtime::Process;
use std::os::fd::{AsFd, OwnedFd};

/// The profile that means none; a kernel without AppArmor has nothing else.
const UNCONFINED: &str = "unconfined";

/// What the next execve confines the process to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    apparmor: Option<String>,
    selinux: Option<String>,
}

/// Plans `process.apparmorProfile` and `process.selinuxLabel`; empty ones ask for nothing. Looks at `linux.mountLabel` as
/// well, which is of the same security module.
///
/// # Errors
/// A profile or label where the kernel does not have the security module in use: a container that was to be confined
/// must not run unconfined.
pub fn plan(process: &Process, input: &Input<'_>) -> Result<Labels> {
    let host = input.host;
    let asked = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let mut apparmor = asked(process.apparmor_profile());
    let selinux = asked(process.selinux_label());
    if apparmor.is_some() && !host.apparmor() {
        apparmor = apparmor.filter(|profile| profile != UNCONFINED);
        if let Some(profile) = &apparmor {
            return unsupported(format!(
                "process.apparmorProfile: \"{profile}\" is asked for, but AppArmor is not enabled in this kernel: \
                 leave it out or enable AppArmor"
            ));
        }
    }
    if selinux.is_some() && !host.selinux() {
        let text =
            "process.selinuxLabel: selinux label is specified in config, but selinux is disabled or not supported";
        return unsupported(text.to_owned());
    }
    let of_mounts = input.linux.and_then(|linux| asked(linux.mount_label()));
    if of_mounts.is_some() && !host.selinux() {
        let text = "linux.mountLabel: a label is asked for, but SELinux is disabled or not supported: leave it out";
        return unsupported(text.to_owned());
    }
    for (field, value) in
        [("process.apparmorProfile", &apparmor), ("process.selinuxLabel", &selinux), ("linux.mountLabel", &of_mounts)]
    {
        if value.as_ref().is_some_and(|value| value.contains(['\0', '\n'])) {
            return Err(Error::config(field, "contains a NUL byte or a newline"));
        }
    }
    Ok(Labels { apparmor, selinux })
}

fn unsupported<T>(text: String) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, format!("config.json: {text}")))
}

impl Labels {
    /// Has the kernel switch profile and label at the next execve, told through `proc`, a procfs that we trust: an
    /// ordinary file in its place would swallow the words (CVE-2019-16884).
    ///
    /// # Errors
    /// ENOENT for a profile that is not loaded.
    pub fn apply(&self, _: &InChild, proc: impl AsFd) -> Result<()> {
        if let Some(profile) = &self.apparmor {
            let doing = || format!("apply AppArmor profile \"{profile}\" (process.apparmorProfile)");
            let file = apparmor_file(&proc).with_context(doing)?;
            fs::write(file, format!("exec {profile}").as_bytes()).map_err(|error| {
                let unknown = error.is(Errno::ENOENT);
                let error = error.context(doing());
                if unknown { error.hint("no such profile is loaded: see apparmor_parser(8)") } else { error }
            })?;
        }
        if let Some(label) = &self.selinux {
            let doing = || format!("apply SELinux label \"{label}\" (process.selinuxLabel)");
            let file = open(&proc, "self/attr/exec").with_context(doing)?;
            fs::write(file, label.as_bytes()).with_context(doing)?;
        }
        Ok(())
    }
}

/// AppArmor's own file (5.1), or the one that the first security module has.
fn apparmor_file(proc: impl AsFd) -> Result<OwnedFd> {
    match open(&proc, "self/attr/apparmor/exec") {
        Err(error) if error.is(Errno::ENOENT) => open(&proc, "self/attr/exec"),
        file => file,
    }
}

fn open(proc: impl AsFd, path: &str) -> Result<OwnedFd> {
    let file = fs::open_at(proc, path, Access::Write, Resolve::ProcSelf)?;
    if fs::filesystem_magic(&file)? != fs::magic::PROC {
        return Err(Error::new(ErrorKind::Denied, format!("{path} is not a file of procfs")));
    }
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::host::Host;

    type Expected<'a> = std::result::Result<(Option<&'a str>, Option<&'a str>), &'a str>;

    fn check(fields: &str, modules: bool, expected: Expected<'_>) {
        check_with("{}", fields, modules, expected);
    }

    fn check_with(linux: &str, fields: &str, modules: bool, expected: Expected<'_>) {
        let process = format!(r#"{{"user":{{"uid":0,"gid":0}},"cwd":"/"{fields}}}"#);
        let process: Process = serde_json::from_str(&process).unwrap();
        let host = Host { apparmor: modules.into(), selinux: modules.into(), ..crate::process::tests::host() };
        let linux = serde_json::from_str(linux).unwrap();
        let input = Input { linux: Some(&linux), ..crate::process::tests::input(&host) };
        match (plan(&process, &input), expected) {
            (Ok(labels), Ok(expected)) => assert_eq!((labels.apparmor.as_deref(), labels.selinux.as_deref()), expected),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (planned, expected) => panic!("{planned:?} for {expected:?}"),
        }
    }

    #[test]
    fn labels() {
        check("", false, Ok((None, None)));
        check(r#","apparmorProfile":"","selinuxLabel":"""#, false, Ok((None, None)));
        check(r#","apparmorProfile":"unconfined""#, false, Ok((None, None)));
        check(r#","apparmorProfile":"unconfined""#, true, Ok((Some("unconfined"), None)));
        check(r#","apparmorProfile":"a","selinuxLabel":"b""#, true, Ok((Some("a"), Some("b"))));
        check(r#","apparmorProfile":"docker-default""#, false, Err("process.apparmorProfile: \"docker-default\""));
        check(r#","selinuxLabel":"a:b:c""#, false, Err("selinux is disabled or not supported"));
        check_with(r#"{"mountLabel":"a:b:c"}"#, "", false, Err("linux.mountLabel: a label is asked for"));
        check_with(r#"{"mountLabel":"a:b:c"}"#, "", true, Ok((None, None)));
        check_with(r#"{"mountLabel":"a\nb"}"#, "", true, Err("linux.mountLabel: contains a NUL byte or a newline"));
        check_with(r#"{"mountLabel":""}"#, "", false, Ok((None, None)));
        check(r#","apparmorProfile":"a\nb""#, true, Err("process.apparmorProfile: contains"));
    }
}
