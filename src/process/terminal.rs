//! The terminal of the process, from the container's own devpts. Spec: config.md, Process, terminal and consoleSize.

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clone::InChild;
use crate::sys::fs::{self, DeviceNumber, magic};
use crate::sys::this_process::{self, Stdio};
use crate::sys::tty::{self, WindowSize};
use oci_spec::runtime::Process;
use std::os::fd::{AsFd, OwnedFd};

/// The multiplexer that makes pseudo-terminals.
const PTMX: DeviceNumber = DeviceNumber { major: 5, minor: 2 };

/// The inode number that devpts gives its `ptmx` (`fs/devpts/inode.c`); a node made by hand has another.
const PTMX_INODE: u64 = 2;

/// The major number of every pseudo-terminal's inner end.
const PEER_MAJOR: u64 = 136;

/// The terminal to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    size: Option<WindowSize>,
    /// Who owns it.
    uid: u32,
    /// Whether what it prints goes through another terminal.
    relayed: bool,
}

/// A pseudo-terminal of the container.
#[derive(Debug)]
pub struct Pty {
    /// The outer end, for whoever relays.
    pub master: OwnedFd,
    /// The inner end, the container's.
    pub peer: OwnedFd,
}

/// Plans `process.terminal` and `process.consoleSize`, which counts with both numbers above zero only.
///
/// # Errors
/// A console beyond 65535 lines or columns.
pub fn plan(process: &Process) -> Result<Option<Terminal>> {
    if !process.terminal().unwrap_or(false) {
        return Ok(None);
    }
    let size = process.console_size().filter(|size| size.height() != 0 && size.width() != 0);
    let narrow = |number: u64, field: &str| {
        let refusal = || Error::config(format!("process.consoleSize.{field}"), format!("{number} is beyond 65535"));
        u16::try_from(number).map_err(|_| refusal())
    };
    let size = match size {
        None => None,
        Some(size) => {
            Some(WindowSize { rows: narrow(size.height(), "height")?, columns: narrow(size.width(), "width")? })
        }
    };
    Ok(Some(Terminal { size, uid: process.user().uid(), relayed: false }))
}

impl Terminal {
    /// Has it made for being relayed to another terminal of size `outer`: that one adds the carriage returns, and its
    /// size counts, unless it has none. Made so from the start: the program may print, or look, at once.
    pub fn relay_to(&mut self, outer: WindowSize) {
        self.relayed = true;
        if outer.rows != 0 && outer.columns != 0 {
            self.size = Some(outer);
        }
    }

    /// Makes the terminal from `ptmx`, the container's `/dev/pts/ptmx` opened for reading and writing. Nothing in the
    /// container is trusted to be what its name says (CVE-2025-52565).
    pub fn open(&self, _: &InChild, ptmx: OwnedFd) -> Result<Pty> {
        let found = fs::stat(&ptmx)?;
        let genuine = found.is_char(PTMX.major, PTMX.minor) && found.inode == PTMX_INODE && on_devpts(&ptmx)?;
        if !genuine {
            return refuse("/dev/pts/ptmx is not the multiplexer of a devpts");
        }
        tty::unlock(&ptmx)?;
        let peer = tty::open_peer(&ptmx)?;
        let number = tty::number(&ptmx)?;
        if !fs::stat(&peer)?.is_char(PEER_MAJOR, number.into()) || !on_devpts(&peer)? {
            return refuse("the peer of the pseudo-terminal is not one of a devpts");
        }
        if let Some(size) = self.size {
            tty::set_window_size(&ptmx, size).context("set console size (process.consoleSize)")?;
        }
        if self.relayed {
            tty::clear_onlcr(&ptmx)?;
        }
        // The group stays: devpts sets it by its option gid, usually to "tty".
        fs::chown(&peer, Some(self.uid), None).context("give the terminal to process.user.uid")?;
        Ok(Pty { master: ptmx, peer })
    }
}

impl Pty {
    /// Makes the peer our controlling terminal and standard descriptors. We must lead a session by now, one without
    /// a terminal.
    pub fn attach(&self, me: &InChild) -> Result<()> {
        tty::set_controlling(me, &self.peer)?;
        for target in [Stdio::Stdin, Stdio::Stdout, Stdio::Stderr] {
            this_process::dup2(me, &self.peer, target)?;
        }
        Ok(())
    }
}

fn on_devpts(fd: impl AsFd) -> Result<bool> {
    Ok(fs::filesystem_magic(fd)? == magic::DEVPTS)
}

fn refuse<T>(text: &str) -> Result<T> {
    Err(Error::new(ErrorKind::Denied, text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(fields: &str, expected: std::result::Result<Option<Option<(u16, u16)>>, &str>) {
        let process = format!(r#"{{"user":{{"uid":7,"gid":8}},"cwd":"/"{fields}}}"#);
        let process: Process = serde_json::from_str(&process).unwrap();
        let planned = plan(&process).map_err(|error| error.to_string());
        let planned = planned.map(|it| it.map(|terminal| terminal.size.map(|size| (size.rows, size.columns))));
        assert_eq!(planned, expected.map_err(str::to_owned));
    }

    #[test]
    fn sizes() {
        check("", Ok(None));
        check(r#","terminal":false,"consoleSize":{"height":1,"width":2}"#, Ok(None));
        check(r#","terminal":true"#, Ok(Some(None)));
        check(r#","terminal":true,"consoleSize":{"height":25,"width":80}"#, Ok(Some(Some((25, 80)))));
        check(r#","terminal":true,"consoleSize":{"height":25,"width":0}"#, Ok(Some(None)));
        check(
            r#","terminal":true,"consoleSize":{"height":25,"width":65536}"#,
            Err("config.json: process.consoleSize.width: 65536 is beyond 65535"),
        );
    }
}
