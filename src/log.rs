//! Messages for people and engines: `--log`, `--log-format`, `--debug`.
//!
//! containerd's shim looks for the last line of level `error`; Podman reads the whole file as one JSON object. So the
//! error is logged once, and when a command fails with a JSON log file, that line is the only one: warnings wait until
//! the command has come to its end, and are dropped if it failed. Elsewhere they are written before the error, which
//! they may explain.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::clock;
use serde::Serialize;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `time="…" level=error msg="…"`
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    Json,
}

impl Format {
    /// The value of `--log-format`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Error::new(ErrorKind::InvalidArgument, format!("invalid log-format: {text}"))),
        }
    }
}

/// Where messages go: a file, or stderr.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    format: Format,
    debug: bool,
    warnings: RefCell<Vec<String>>,
}

impl Log {
    /// Opens `path` for appending, or uses stderr. Lines of concurrent runtimes don't mix: each is one write(2).
    ///
    /// # Errors
    /// One that names `path`; its parent directory is not made.
    pub fn open(path: Option<&Path>, format: Format, debug: bool) -> Result<Self> {
        let open = |path: &Path| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o644)
                .open(path)
                .map_err(|error| Error::io(format!("open {}", path.display()), &error).context("--log"))
        };
        let file = path.map(open).transpose()?;
        Ok(Self { file, format, debug, warnings: RefCell::default() })
    }

    /// Something the user asked for could not be done fully. Written by [`Log::settle`] or [`Log::fail`].
    pub fn warning(&self, message: &str) {
        self.warnings.borrow_mut().push(message.to_owned());
    }

    /// A line for developers, written at once with `--debug`.
    pub fn debug(&self, message: &str) {
        if self.debug {
            self.write("debug", message);
        }
    }

    /// The command succeeded, or a foreground `run` has come so far that it can: writes the warnings.
    pub fn settle(&self) {
        for warning in self.warnings.take() {
            self.write("warning", &warning);
        }
    }

    /// The command failed: one line, and the bare text on stderr when lines go to a file, because engines match on
    /// captured output too.
    pub fn fail(&self, message: &str) {
        if self.file.is_none() || self.format == Format::Text {
            self.settle();
        }
        self.write("error", message);
        if self.file.is_some() {
            let _ = std::io::stderr().write_all(format!("{message}\n").as_bytes());
        }
    }

    /// A log that can't be written must not change what the command does, so failures are ignored.
    fn write(&self, level: &str, message: &str) {
        let line = line(self.format, level, message, &clock::now_seconds());
        let _ = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

/// One message as JSON; the keys are in alphabetical order as logrus writes them.
#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: &'a str,
}

fn line(format: Format, level: &str, message: &str, time: &str) -> String {
    match format {
        Format::Text => format!("time={} level={level} msg={}\n", quoted(time), quoted(message)),
        Format::Json => {
            // A struct of strings always has a JSON text.
            let mut line = serde_json::to_string(&Line { level, msg: message, time }).unwrap_or_default();
            line.push('\n');
            line
        }
    }
}

/// `text` as a Go string literal (strconv.Quote), which readers of runc's text log expect.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            // Writing to a String never fails.
            c if c.is_ascii_control() => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(format: Format, message: &str, expected: &str) {
        assert_eq!(line(format, "error", message, "2026-01-02T03:04:05Z"), expected);
    }

    #[test]
    fn lines() {
        check(Format::Text, "a b", "time=\"2026-01-02T03:04:05Z\" level=error msg=\"a b\"\n");
        check(
            Format::Text,
            "say \"x\\\"\n\u{1}\u{7f}\u{85}é",
            "time=\"2026-01-02T03:04:05Z\" level=error msg=\"say \\\"x\\\\\\\"\\n\\x01\\x7f\\u0085é\"\n",
        );
        check(
            Format::Json,
            "exec: \"x\"\n",
            "{\"level\":\"error\",\"msg\":\"exec: \\\"x\\\"\\n\",\"time\":\"2026-01-02T03:04:05Z\"}\n",
        );
        assert_eq!(Format::parse("yaml").unwrap_err().to_string(), "invalid log-format: yaml");
    }

    fn levels_in_file(name: &str, format: Format, act: impl FnOnce(&Log)) -> Vec<String> {
        let path = std::env::temp_dir().join(format!("onggi-log-{name}-{}", std::process::id()));
        act(&Log::open(Some(&path), format, false).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let level = |line: &str| {
            ["warning", "error", "debug"].iter().find(|level| line.contains(*level)).map(|s| (*s).to_owned())
        };
        text.lines().filter_map(level).collect()
    }

    #[test]
    fn a_failure_is_one_line_of_json() {
        let act = |log: &Log| {
            log.warning("w");
            log.debug("d");
            log.fail("e");
        };
        assert_eq!(levels_in_file("json", Format::Json, act), ["error"]);
        assert_eq!(levels_in_file("text", Format::Text, act), ["warning", "error"]);
    }

    #[test]
    fn warnings_of_a_success() {
        let act = |log: &Log| {
            log.warning("w");
            log.settle();
            log.settle();
        };
        assert_eq!(levels_in_file("success", Format::Json, act), ["warning"]);
        let missing = Log::open(Some(Path::new("/nonexistent/log")), Format::Text, false);
        assert_eq!(missing.unwrap_err().to_string(), "--log: open /nonexistent/log: no such file or directory");
    }
}
