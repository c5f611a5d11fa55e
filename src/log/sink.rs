//! Where the lines of the log go: stderr, a file, journald or the system logger.

use super::{Format, Level, line};
use crate::error::{Context, Error, Result};
use crate::sys::clock;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where systemd-journald takes fields (systemd.io, Native Journal Protocol).
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// Where whatever logger the system has takes lines (RFC 3164).
const SYSLOG_SOCKET: &str = "/dev/log";
/// The facility of programs that belong to no other, LOG_USER of syslog(3).
const FACILITY: u32 = 1 << 3;
/// Who speaks, if `--log` doesn't say.
const TAG: &str = "onggi";

/// One destination.
#[derive(Debug, Default)]
pub(super) enum Sink {
    #[default]
    Stderr,
    File(File),
    Journal {
        socket: UnixDatagram,
        tag: String,
    },
    Syslog {
        socket: UnixDatagram,
        tag: String,
    },
}

impl Sink {
    /// What `--log` says: a path, also as `file:PATH`, `journald:TAG` or `syslog:TAG`.
    ///
    /// # Errors
    /// One that names the path or the socket; the parent directory of a file is not made.
    pub(super) fn open(destination: &OsStr) -> Result<Self> {
        let after = |prefix: &str| destination.as_bytes().strip_prefix(prefix.as_bytes());
        let tag = |name: &[u8]| match String::from_utf8_lossy(name) {
            name if name.is_empty() => TAG.to_owned(),
            name => name.into_owned(),
        };
        let opened = if let Some(name) = after("journald:") {
            connect(JOURNAL_SOCKET).map(|socket| Self::Journal { socket, tag: tag(name) })
        } else if let Some(name) = after("syslog:") {
            connect(SYSLOG_SOCKET).map(|socket| Self::Syslog { socket, tag: tag(name) })
        } else {
            append(Path::new(after("file:").map_or(destination, OsStr::from_bytes))).map(Self::File)
        };
        opened.context("--log")
    }

    /// Writes one message. A log that can't be written must not change what the command does, so failures are ignored.
    pub(super) fn write(&self, format: Format, level: Level, message: &str) {
        let time = clock::now_seconds();
        let _ = match self {
            Self::Stderr => std::io::stderr().write_all(line(format, level, message, &time).as_bytes()),
            Self::File(file) => (&*file).write_all(line(format, level, message, &time).as_bytes()),
            Self::Journal { socket, tag } => socket.send(&journal_fields(tag, level, message)).map(drop),
            Self::Syslog { socket, tag } => socket.send(syslog_line(tag, level, message, &time).as_bytes()).map(drop),
        };
    }
}

/// Lines of concurrent runtimes don't mix: each is one write(2).
fn append(path: &Path) -> Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
    file.map_err(|error| Error::io(format!("open {}", path.display()), &error))
}

fn connect(path: &str) -> Result<UnixDatagram> {
    let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(path).map(|()| socket));
    connected.map_err(|error| Error::io(format!("connect to {path}"), &error).hint("is its service running?"))
}

/// The message as journald's fields: a value of several lines follows its length.
fn journal_fields(tag: &str, level: Level, message: &str) -> Vec<u8> {
    let mut fields =
        format!("PRIORITY={}\nSYSLOG_IDENTIFIER={}\n", level.severity(), tag.replace('\n', " ")).into_bytes();
    if message.contains('\n') {
        fields.extend(b"MESSAGE\n");
        fields.extend((message.len() as u64).to_le_bytes());
    } else {
        fields.extend(b"MESSAGE=");
    }
    fields.extend(message.as_bytes());
    fields.push(b'\n');
    fields
}

/// The message as a line of the BSD protocol. `time` is RFC 3339 in UTC, as musl's syslog(3) has it.
fn syslog_line(tag: &str, level: Level, message: &str, time: &str) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |at: std::ops::Range<usize>| time.get(at).and_then(|digits| digits.parse::<usize>().ok());
    let month = number(5..7).and_then(|month| MONTHS.get(month.wrapping_sub(1))).unwrap_or(&MONTHS[0]);
    let day = number(8..10).unwrap_or(1);
    let clock = time.get(11..19).unwrap_or("00:00:00");
    let (priority, pid) = (FACILITY | level.severity(), std::process::id());
    format!("<{priority}>{month} {day:>2} {clock} {tag}[{pid}]: {}", message.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_journal() {
        let text = b"PRIORITY=3\nSYSLOG_IDENTIFIER=a b\nMESSAGE=it failed\n";
        assert_eq!(journal_fields("a\nb", Level::Error, "it failed"), text);
        let text = b"PRIORITY=4\nSYSLOG_IDENTIFIER=x\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n";
        assert_eq!(journal_fields("x", Level::Warning, "a\nb"), text);
    }

    #[test]
    fn lines_of_syslog() {
        let line = |level, time| syslog_line("x", level, "a\nb", time);
        let pid = std::process::id();
        assert_eq!(line(Level::Error, "2026-01-02T03:04:05Z"), format!("<11>Jan  2 03:04:05 x[{pid}]: a b"));
        assert_eq!(line(Level::Debug, "2026-12-31T23:59:59Z"), format!("<15>Dec 31 23:59:59 x[{pid}]: a b"));
    }
}
