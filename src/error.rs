//! The one error type: what failed, on which object, why, and what kind of failure it is.
//!
//! An [`Error`] is a chain of phrases, outermost first, ending in the errno's text where there is one. It is
//! plain data, so the child can send it whole to the caller. It is logged once, in `main`.

use crate::sys::Errno;
use serde::{Deserialize, Serialize};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of failure an [`Error`] is; decides exit codes and what a caller may recover from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// A field of config.json is missing, malformed or contradicts another.
    InvalidConfig,
    /// A command line argument is malformed.
    InvalidArgument,
    /// The container, file or object named does not exist.
    NotFound,
    /// The container or object named exists already.
    AlreadyExists,
    /// The container is not in a state that allows the operation.
    WrongState,
    /// This kernel, machine or version of onggi cannot do what was asked for.
    Unsupported,
    /// The caller may not do what was asked for.
    Denied,
    /// A hook failed or ran out of time.
    Hook,
    /// The final execve failed, or a startContainer hook did: the container ends with status 255.
    Exec,
    /// A system call failed for another reason.
    System,
}

/// A failure: its kind, the chain of phrases that tells the story, and the errno at its root if any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{}", self.text())]
pub struct Error {
    kind: ErrorKind,
    /// Innermost first, so that adding context is a push.
    chain: Vec<String>,
    errno: Option<i32>,
}

impl Error {
    /// An error without an errno.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, chain: vec![message.into()], errno: None }
    }

    /// A bad value in config.json. `field` is its path, such as `mounts[3].options`.
    pub fn config(field: impl AsRef<str>, message: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::InvalidConfig, format!("config.json: {}: {}", field.as_ref(), message.as_ref()))
    }

    /// A failed system call. `call` shows the call with its arguments, such as `openat2("etc")`.
    pub fn sys(call: impl Into<String>, errno: Errno) -> Self {
        let kind = match errno {
            Errno::EPERM | Errno::EACCES => ErrorKind::Denied,
            Errno::ENOENT => ErrorKind::NotFound,
            Errno::EEXIST => ErrorKind::AlreadyExists,
            Errno::ENOSYS => ErrorKind::Unsupported,
            _ => ErrorKind::System,
        };
        Self { kind, chain: vec![call.into()], errno: Some(errno as i32) }
    }

    /// A call of the standard library that failed. `call` is as in [`Error::sys`].
    pub fn io(call: impl Into<String>, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::sys(call, Errno::from_raw(errno)),
            None => Self::new(ErrorKind::System, error.to_string()).context(call),
        }
    }

    /// The same error with a text of at most `limit` bytes, for where only so much fits.
    #[must_use]
    pub fn shortened(self, limit: usize) -> Self {
        let mut text = self.text();
        if text.len() <= limit {
            return self;
        }
        text.truncate(text.floor_char_boundary(limit.saturating_sub("...".len())));
        Self::new(self.kind, text + "...")
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether a system call failed with `errno` at the root of this error.
    pub fn is(&self, errno: Errno) -> bool {
        self.errno == Some(errno as i32)
    }

    /// The errno at the root, if a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        self.errno.map(Errno::from_raw)
    }

    /// The same error as another kind, where the caller knows better what it means.
    #[must_use]
    pub fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Replaces the call at the root by a phrase that users know, keeping kind and errno.
    #[must_use]
    pub fn phrased(mut self, phrase: impl Into<String>) -> Self {
        self.chain = vec![phrase.into()];
        self
    }

    /// The same error about a field of `file` instead of config.json; of none when that is empty.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> Self {
        if let Some(root) = self.chain.first_mut()
            && let Some(field) = root.strip_prefix("config.json: ")
        {
            *root = if file.is_empty() { field.to_owned() } else { format!("{file}: {field}") };
        }
        self
    }

    /// Says what was being done when this happened.
    #[must_use]
    pub fn context(mut self, doing: impl Into<String>) -> Self {
        self.chain.push(doing.into());
        self
    }

    /// Ends the story with advice on what to do.
    #[must_use]
    pub fn hint(mut self, advice: impl AsRef<str>) -> Self {
        let told = self.text();
        self.chain = vec![format!("{told} ({})", advice.as_ref())];
        // Its text stands before the advice already.
        self.errno = None;
        self
    }

    fn text(&self) -> String {
        let mut text = self.chain.iter().rev().map(String::as_str).collect::<Vec<_>>().join(": ");
        if let Some(errno) = self.errno() {
            text.push_str(": ");
            text.push_str(&errno_text(errno));
        }
        text
    }
}

/// What `errno` says in lower case, in the words of the GNU C library, which are what engines match on and people search for,
/// whatever library this program is linked with; nix words some otherwise.
pub fn errno_text(errno: Errno) -> String {
    let text = match errno {
        Errno::EAGAIN => "resource temporarily unavailable",
        Errno::EBADF => "bad file descriptor",
        Errno::EBADMSG => "bad message",
        Errno::EDEADLK => "resource deadlock avoided",
        Errno::EDOM => "numerical argument out of domain",
        Errno::EDQUOT => "disk quota exceeded",
        Errno::EILSEQ => "invalid or incomplete multibyte or wide character",
        Errno::EIO => "input/output error",
        Errno::ELOOP => "too many levels of symbolic links",
        Errno::ENETRESET => "network dropped connection on reset",
        Errno::ENFILE => "too many open files in system",
        Errno::ENOLCK => "no locks available",
        Errno::ENOMEM => "cannot allocate memory",
        Errno::ENOTTY => "inappropriate ioctl for device",
        Errno::EOPNOTSUPP => "operation not supported",
        Errno::ERANGE => "numerical result out of range",
        Errno::EXDEV => "invalid cross-device link",
        other => other.desc(),
    };
    text.to_lowercase()
}

/// Adds context to the error of a `Result`.
pub trait Context<T> {
    /// Says what was being done.
    fn context(self, doing: impl Into<String>) -> Result<T>;
    /// Says what was being done, made only when it failed.
    fn with_context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, doing: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.context(doing))
    }

    fn with_context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.context(doing()))
    }
}

/// Fixed phrases that engines look for in our output; see the tests before changing one.
pub mod phrase {
    /// Any command on an unknown id (containerd and Podman match `does not exist`).
    pub const NOT_EXIST: &str = "container does not exist";
    /// `kill` of a stopped container (containerd and CRI-O).
    pub const NOT_RUNNING: &str = "container not running";
    /// `create` with an id in use.
    pub const EXISTS: &str = "container with given ID already exists";
    /// An id outside the alphabet.
    pub const BAD_ID: &str = "invalid container ID format";
    /// An empty id.
    pub const EMPTY_ID: &str = "container id cannot be empty";
    /// `start` after the end.
    pub const START_STOPPED: &str = "cannot start a container that has stopped";
    /// `start` twice.
    pub const START_RUNNING: &str = "cannot start an already running container";
    /// `start` and `run` without `process` in config.json.
    pub const START_NOTHING: &str =
        "is not set, and start needs it: add it, with args, cwd and user, and make the container from that";
    /// `exec` after the end.
    pub const EXEC_STOPPED: &str = "cannot exec in a stopped container";
    /// `exec` in a frozen container.
    pub const EXEC_PAUSED: &str = "cannot exec in a paused container (use --ignore-paused to override)";
    /// `delete --force` when the init process survives SIGKILL for ten seconds.
    pub const STILL_RUNNING: &str = "container init still running";
    /// `terminal` with `create` or `--detach` but nobody to take the terminal.
    pub const NEEDS_CONSOLE_SOCKET: &str = "cannot allocate tty if onggi will detach without setting console socket";
    /// A console socket that nothing would be sent to.
    pub const USELESS_CONSOLE_SOCKET: &str = "cannot use console socket if onggi will not detach or allocate tty";
}

#[cfg(test)]
mod tests {
    use super::errno_text;
    use crate::sys::Errno;

    #[test]
    fn texts_of_errnos() {
        for (errno, text) in [
            (Errno::ENOENT, "no such file or directory"),
            (Errno::EPERM, "operation not permitted"),
            (Errno::EOPNOTSUPP, "operation not supported"),
            (Errno::ERANGE, "numerical result out of range"),
            (Errno::ELOOP, "too many levels of symbolic links"),
            (Errno::EXDEV, "invalid cross-device link"),
        ] {
            assert_eq!(errno_text(errno), text);
        }
    }
}
