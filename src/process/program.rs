//! The program: its arguments and where it lies. Spec: config.md, Process, args.

use super::env::Environment;
use crate::error::{Error, ErrorKind, Result, errno_text};
use crate::sys::clone::InChild;
use crate::sys::fs;
use crate::sys::this_process::Execution;
use crate::sys::{Errno, this_process};
use std::ffi::CString;
use std::path::Path;

/// What to execute. By default nothing, for a container without `process`, which waits at its gate until it is ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Program {
    /// `args[0]`, which is looked up.
    name: String,
    args: Vec<CString>,
}

/// The file that [`Program::find`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable(CString);

/// Plans `process.args`.
///
/// # Errors
/// No args, or one with a NUL byte.
pub fn plan(args: Option<&Vec<String>>) -> Result<Program> {
    let args = args.map(Vec::as_slice).unwrap_or_default();
    let Some(name) = args.first() else {
        return Err(Error::config("process.args", "args must not be empty"));
    };
    let with_zero = |index| Error::config(format!("process.args[{index}]"), "contains a NUL byte");
    let strings = args.iter().enumerate().map(|(index, arg)| CString::new(arg.as_str()).map_err(|_| with_zero(index)));
    Ok(Program { name: name.clone(), args: strings.collect::<Result<_>>()? })
}

/// Why a candidate is not the one to execute.
enum Unfit {
    Directory,
    Forbidden,
    Missing(Errno),
}

impl Program {
    /// Looks up `args[0]` as the container's user, who must be allowed to execute it: a name with a slash as it is,
    /// relative to the working directory, another one in PATH. After the change of ids and the real closing of
    /// descriptors, through which a path like `/proc/self/fd/7/x` would lead outside (CVE-2024-21626).
    ///
    /// # Errors
    /// The texts that engines turn into the statuses 126 and 127.
    pub fn find(&self, _: &InChild, environment: &Environment) -> Result<Executable> {
        if self.args.is_empty() {
            return Ok(Executable(CString::default()));
        }
        let refuse = |kind, why: &str| Err(Error::new(kind, format!("exec: \"{}\": {why}", self.name)));
        if !self.name.contains('/') {
            let found = self.candidates(environment).find(|path| fit(path).is_ok());
            return found.map_or_else(
                || refuse(ErrorKind::NotFound, "executable file not found in $PATH"),
                |path| self.executable(path),
            );
        }
        match fit(&self.name) {
            Ok(()) => self.executable(self.name.clone()),
            // Both phrases: Docker looks for the first, Podman for the second.
            Err(Unfit::Directory) => refuse(ErrorKind::Denied, "is a directory: permission denied"),
            Err(Unfit::Forbidden) => refuse(ErrorKind::Denied, "permission denied"),
            Err(Unfit::Missing(errno)) => {
                let why = format!("stat {}: {}", self.name, errno_text(errno));
                refuse(ErrorKind::NotFound, &why)
            }
        }
    }

    /// The paths to try, in order. An empty element of PATH is not the working directory.
    fn candidates<'a>(&'a self, environment: &'a Environment) -> impl Iterator<Item = String> + 'a {
        let dirs = environment.get("PATH").unwrap_or_default().split(':').filter(|dir| !dir.is_empty());
        let dirs = dirs.filter(|_| !self.name.is_empty());
        dirs.map(|dir| format!("{}/{}", dir.trim_end_matches('/'), self.name))
    }

    fn executable(&self, path: String) -> Result<Executable> {
        let refuse = |_| Error::new(ErrorKind::NotFound, format!("exec: \"{}\": contains a NUL byte", self.name));
        CString::new(path).map(Executable).map_err(refuse)
    }

    /// Lays out all that execve(2) reads.
    pub fn prepare(&self, executable: Executable, environment: Vec<CString>) -> Execution {
        Execution::new(executable.0, self.args.clone(), environment)
    }
}

/// Whether `path` is a regular file that the effective user may execute.
fn fit(path: &str) -> std::result::Result<(), Unfit> {
    let missing = |error: Error| Unfit::Missing(error.errno().unwrap_or(Errno::ENOENT));
    let stat = fs::stat_followed(Path::new(path)).map_err(missing)?;
    if stat.is_dir() {
        return Err(Unfit::Directory);
    }
    let path = CString::new(path).map_err(|_| Unfit::Missing(Errno::EINVAL))?;
    // Root may execute what has any x bit, which the kernel checks; a device or socket is not executable to anyone.
    if !stat.is_file() || this_process::check_executable(&path).is_err() {
        return Err(Unfit::Forbidden);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::process::env;
    use crate::process::fds::Inherited;

    fn check(args: Option<Vec<String>>, expected: &str) {
        assert_eq!(plan(args.as_ref()).unwrap_err().to_string(), format!("config.json: {expected}"));
    }

    #[test]
    fn args() {
        check(None, "process.args: args must not be empty");
        check(Some(Vec::new()), "process.args: args must not be empty");
        check(Some(vec!["a".into(), "b\0".into()]), "process.args[1]: contains a NUL byte");
    }

    #[test]
    fn candidates_come_from_the_last_path() {
        let program = plan(Some(&vec!["sh".to_owned()])).unwrap();
        let variables = ["PATH=/x".to_owned(), "PATH=/usr/bin::/bin/:rel".to_owned()];
        let environment = env::plan(&variables, &[], Inherited::default()).unwrap();
        assert_eq!(program.candidates(&environment).collect::<Vec<_>>(), ["/usr/bin/sh", "/bin/sh", "rel/sh"]);
        assert_eq!(program.candidates(&Environment::default()).count(), 0);
    }

    #[test]
    fn what_is_fit() {
        assert!(fit("/bin/sh").is_ok());
        assert!(matches!(fit("/etc"), Err(Unfit::Directory)));
        assert!(matches!(fit("/etc/passwd"), Err(Unfit::Forbidden)));
        assert!(matches!(fit("/dev/null"), Err(Unfit::Forbidden)));
        assert!(matches!(fit("/nowhere/at/all"), Err(Unfit::Missing(Errno::ENOENT))));
    }
}
