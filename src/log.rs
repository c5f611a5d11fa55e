//! Messages for people and engines: `--log`, `--log-format`, `--log-level`, `--debug`.
//!
//! containerd's shim looks for the last line of level `error`; Podman reads the whole file as one JSON object. So the
//! error is logged once, and when a command fails with a JSON log file, that line is the only one: warnings wait until
//! the command has come to its end, and are dropped if it failed. Elsewhere they are written before the error, which
//! they may explain.

mod sink;

use crate::error::{Error, ErrorKind, Result};
use serde::Serialize;
use sink::Sink;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;

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

/// How much a message matters, and how much is written: a level and those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Why the command failed.
    Error,
    /// What could not be had.
    #[default]
    Warning,
    /// For developers.
    Debug,
}

impl Level {
    /// The value of `--log-level`. There are no messages of level `info`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "error" => Ok(Self::Error),
            "warning" | "warn" | "info" => Ok(Self::Warning),
            "debug" => Ok(Self::Debug),
            _ => {
                let message = format!("invalid log-level: {text}: use error, warning, info or debug");
                Err(Error::new(ErrorKind::InvalidArgument, message))
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Debug => "debug",
        }
    }

    /// The number that syslog(3) has for it.
    fn severity(self) -> u32 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Debug => 7,
        }
    }
}

/// Where messages go, and which.
#[derive(Debug, Default)]
pub struct Log {
    sink: Sink,
    format: Format,
    level: Level,
    warnings: RefCell<Vec<String>>,
}

impl Log {
    /// Opens what `--log` says, or uses stderr.
    ///
    /// # Errors
    /// One that names the file or the socket.
    pub fn open(destination: Option<&OsStr>, format: Format, level: Level) -> Result<Self> {
        let sink = destination.map_or(Ok(Sink::Stderr), Sink::open)?;
        Ok(Self { sink, format, level, warnings: RefCell::default() })
    }

    /// Something the user asked for could not be done fully. Written by [`Log::settle`] or [`Log::fail`].
    pub fn warning(&self, message: &str) {
        self.warnings.borrow_mut().push(message.to_owned());
    }

    /// A line for developers, written at once.
    pub fn debug(&self, message: &str) {
        self.write(Level::Debug, message);
    }

    /// The command succeeded, or a foreground `run` has come so far that it can: writes the warnings.
    pub fn settle(&self) {
        for warning in self.warnings.take() {
            self.write(Level::Warning, &warning);
        }
    }

    /// The command failed: one line, and the bare text on stderr when lines go elsewhere, because engines match on
    /// captured output too.
    pub fn fail(&self, message: &str) {
        let is_parsed_whole = matches!(self.sink, Sink::File(_)) && self.format == Format::Json;
        if !is_parsed_whole {
            self.settle();
        }
        self.write(Level::Error, message);
        if !matches!(self.sink, Sink::Stderr) {
            let _ = std::io::stderr().write_all(format!("{message}\n").as_bytes());
        }
    }

    fn write(&self, level: Level, message: &str) {
        if level <= self.level {
            self.sink.write(self.format, level, message);
        }
    }
}

/// One message as JSON; the keys are in alphabetical order as logrus writes them.
#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: &'a str,
}

fn line(format: Format, level: Level, message: &str, time: &str) -> String {
    let level = level.name();
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
        assert_eq!(line(format, Level::Error, message, "2026-01-02T03:04:05Z"), expected);
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

    #[test]
    fn levels() {
        for (text, level) in [("error", Level::Error), ("warn", Level::Warning), ("debug", Level::Debug)] {
            assert_eq!(Level::parse(text).unwrap(), level);
        }
        let refusal = Level::parse("loud").unwrap_err().to_string();
        assert_eq!(refusal, "invalid log-level: loud: use error, warning, info or debug");
        let act = |log: &Log| {
            log.debug("debug");
            log.warning("warning");
            log.fail("error");
        };
        for (level, written) in [
            (Level::Error, &["error"][..]),
            (Level::Warning, &["warning", "error"]),
            (Level::Debug, &["debug", "warning", "error"]),
        ] {
            assert_eq!(levels_in_file(level.name(), Format::Text, level, act), written);
        }
    }

    fn levels_in_file(name: &str, format: Format, level: Level, act: impl FnOnce(&Log)) -> Vec<String> {
        let path = std::env::temp_dir().join(format!("onggi-log-{name}-{}", std::process::id()));
        act(&Log::open(Some(path.as_os_str()), format, level).unwrap());
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
        assert_eq!(levels_in_file("json", Format::Json, Level::Warning, act), ["error"]);
        assert_eq!(levels_in_file("text", Format::Text, Level::Warning, act), ["warning", "error"]);
    }

    #[test]
    fn warnings_of_a_success() {
        let act = |log: &Log| {
            log.warning("w");
            log.settle();
            log.settle();
        };
        assert_eq!(levels_in_file("success", Format::Json, Level::Warning, act), ["warning"]);
        let missing = Log::open(Some(OsStr::new("file:/nonexistent/log")), Format::Text, Level::Warning);
        assert_eq!(missing.unwrap_err().to_string(), "--log: open /nonexistent/log: no such file or directory");
    }
}
