//! The environment. Spec: config.md, Process, env.

use super::fds::Inherited;
use crate::error::{Error, Result};
use crate::sys::Errno;
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access, Resolve};
use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::AsFd;

/// The container's `/etc/passwd` is not ours: more than this is not read (CVE-2026-47262).
const PASSWD_LIMIT: usize = 1 << 20;

/// The variables of the process, each `NAME=value`, without repetition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    variables: Vec<String>,
    /// How many descriptors are passed as `LISTEN_FDS`.
    listen_fds: u32,
}

/// Plans `process.env`. Of variables that occur twice the last one counts, and those `added` count more.
///
/// # Errors
/// A variable without `=` or without name, or with a NUL byte.
pub fn plan(variables: &[String], added: &[String], inherited: Inherited) -> Result<Environment> {
    let mut seen: HashSet<&str> = added.iter().filter_map(|own| own.split_once('=')).map(|own| own.0).collect();
    let mut kept = Vec::with_capacity(variables.len() + added.len());
    for (index, variable) in variables.iter().enumerate().rev() {
        let refuse = |why: &str| Error::config(format!("process.env[{index}]"), why);
        let Some((name, _)) = variable.split_once('=') else {
            return Err(refuse("invalid environment variable: missing '='"));
        };
        if name.is_empty() {
            return Err(refuse("invalid environment variable: name cannot be empty"));
        }
        if variable.contains('\0') {
            return Err(refuse("invalid environment variable: contains a NUL byte"));
        }
        let ours = inherited.listen > 0 && matches!(name, "LISTEN_FDS" | "LISTEN_PID");
        if !ours && seen.insert(name) {
            kept.push(variable.clone());
        }
    }
    kept.reverse();
    kept.extend_from_slice(added);
    Ok(Environment { variables: kept, listen_fds: inherited.listen })
}

impl Environment {
    /// The value of the variable `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .iter()
            .filter_map(|variable| variable.split_once('='))
            .find(|(own, _)| *own == name)
            .map(|it| it.1)
    }

    /// The variables, for hooks in the container.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Adds what only the container knows: HOME where it is missing or empty, from the first line of `/etc/passwd`
    /// below `root` with this uid, and the variables that tell about passed descriptors. After pivot, as root.
    /// What keeps HOME from being found is a warning, HOME being `/`.
    pub fn complete(&self, _: &InChild, root: impl AsFd, uid: u32, warnings: &mut Vec<String>) -> Self {
        let mut variables = self.variables.clone();
        if self.get("HOME").is_none_or(str::is_empty) {
            let home = passwd(root).map(|passwd| home_of(&passwd, uid)).unwrap_or_else(|error| {
                warnings.push(format!("process.env: HOME is not set and becomes /: {error}"));
                None
            });
            variables.retain(|variable| !variable.starts_with("HOME="));
            variables.push(format!("HOME={}", home.as_deref().unwrap_or("/")));
        }
        if self.listen_fds > 0 {
            // sd_listen_fds(3) wants the pid that the program has in its own namespace.
            variables.push(format!("LISTEN_FDS={}", self.listen_fds));
            variables.push(format!("LISTEN_PID={}", std::process::id()));
        }
        Self { variables, listen_fds: self.listen_fds }
    }

    /// The variables as execve(2) takes them.
    pub fn for_exec(&self) -> Vec<CString> {
        // No variable contains a NUL byte: the plan refused those, and passwd's lines were cut there.
        self.variables.iter().filter_map(|variable| CString::new(variable.as_str()).ok()).collect()
    }
}

/// The container's `/etc/passwd`, read as a file and not by NSS, which would load the container's code.
fn passwd(root: impl AsFd) -> Result<String> {
    let file = match fs::open_at(root, "etc/passwd", Access::ReadUnsure, Resolve::InRoot) {
        Err(error) if error.is(Errno::ENOENT) || error.is(Errno::ENOTDIR) => return Ok(String::new()),
        file => file?,
    };
    if !fs::stat(&file)?.is_file() {
        return Err(Error::new(crate::error::ErrorKind::Denied, "/etc/passwd is not a regular file"));
    }
    let data = fs::read_all(&file, PASSWD_LIMIT).map_err(|error| error.context("/etc/passwd"))?;
    Ok(String::from_utf8_lossy(&data).into_owned())
}

/// The sixth of `name:password:uid:gid:comment:home:shell`.
fn home_of(passwd: &str, uid: u32) -> Option<String> {
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let user = users.find(|fields| fields.get(2).is_some_and(|field| field.parse() == Ok(uid)))?;
    user.get(5).filter(|home| !home.is_empty() && !home.contains('\0')).map(|home| (*home).to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(variables: &[&str], listen: u32, expected: std::result::Result<&[&str], &str>) {
        let variables: Vec<String> = variables.iter().map(|variable| (*variable).to_owned()).collect();
        let planned = plan(&variables, &[], Inherited { listen, preserved: 0 });
        let planned = planned.map(|environment| environment.variables).map_err(|error| error.to_string());
        let expected = expected.map(|list| list.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(planned, expected.map_err(|text| format!("config.json: {text}")));
    }

    #[test]
    fn variables() {
        check(&["A=1", "B=2\n3", "C="], 0, Ok(&["A=1", "B=2\n3", "C="]));
        check(&["A=1", "B=2", "A=3=4"], 0, Ok(&["B=2", "A=3=4"]));
        check(&["LISTEN_FDS=1", "LISTEN_PID=9", "A="], 0, Ok(&["LISTEN_FDS=1", "LISTEN_PID=9", "A="]));
        check(&["LISTEN_FDS=1", "LISTEN_PID=9", "A="], 1, Ok(&["A="]));
        check(&["A=1", "B"], 0, Err("process.env[1]: invalid environment variable: missing '='"));
        check(&["=1"], 0, Err("process.env[0]: invalid environment variable: name cannot be empty"));
        check(&["A=\0"], 0, Err("process.env[0]: invalid environment variable: contains a NUL byte"));
    }

    #[test]
    fn the_first_value_found_is_the_only_one() {
        let environment = plan(&["PATHS=/x".into(), "PATH=/a:/b".into()], &[], Inherited::default()).unwrap();
        assert_eq!(environment.get("PATH"), Some("/a:/b"));
        assert_eq!(environment.get("HOME"), None);
    }

    #[test]
    fn what_is_added_counts_more() {
        let (own, added) = (["A=1", "B=2", "C=3"].map(str::to_owned), ["B=x".to_owned(), "D=y".to_owned()]);
        assert_eq!(plan(&own, &added, Inherited::default()).unwrap().variables(), ["A=1", "C=3", "B=x", "D=y"]);
    }

    #[test]
    fn homes() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbad line\n1000:x:0:0::/evil:\nu:x:1000:1000::/home/u:/bin/sh\nv:x:7:7::";
        assert_eq!(home_of(passwd, 0).as_deref(), Some("/root"));
        assert_eq!(home_of(passwd, 1000).as_deref(), Some("/home/u"));
        assert_eq!(home_of(passwd, 7), None);
        assert_eq!(home_of(passwd, 5), None);
    }

    #[test]
    fn a_passwd_that_is_no_file_is_refused_without_waiting() {
        let root = std::env::temp_dir().join(format!("onggi-env-{}", std::process::id()));
        std::fs::create_dir_all(root.join("etc")).unwrap();
        let dir = fs::open(&root, Access::Dir).unwrap();
        assert_eq!(passwd(&dir).unwrap(), "");
        let etc = fs::open(root.join("etc"), Access::Dir).unwrap();
        fs::mknod_at(&etc, "passwd", fs::NodeKind::Fifo, 0o600, fs::DeviceNumber::default()).unwrap();
        assert_eq!(passwd(&dir).unwrap_err().to_string(), "/etc/passwd is not a regular file");
        fs::unlink_at(&etc, "passwd").unwrap();
        std::fs::write(root.join("etc/passwd"), vec![b'a'; PASSWD_LIMIT + 5000]).unwrap();
        assert_eq!(passwd(&dir).unwrap_err().to_string(), "/etc/passwd: read: file too large");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
