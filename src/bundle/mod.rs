//! Finds, reads and checks a bundle's config.json.

mod locate;
mod repair;
mod resources;

pub use resources::resources;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::Errno;
use crate::sys::fs::{self, Access};
use oci_spec::runtime::{Process, Spec};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The largest config.json that is read, in bytes. Engines write some tens of kilobytes.
const LARGEST_CONFIG: usize = 16 << 20;

/// A bundle whose config.json has been read. What the values mean is for `plan` to judge.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The bundle's directory, absolute, without links.
    pub dir: PathBuf,
    /// config.json. Boxed, as are all values on the way here: each copy of one would be two pages more of stack.
    pub spec: Box<Spec>,
    /// The same as it was read, to be kept with the container.
    pub text: Vec<u8>,
    /// What was left out because it can't be honoured.
    pub warnings: Vec<String>,
}

impl Bundle {
    /// Reads `config` (config.json) in `dir`, which is relative to the caller's working directory.
    ///
    /// # Errors
    /// `NotFound` when the directory or the file is missing; `InvalidConfig` with line and column, or with the field.
    pub fn load(dir: &Path, config: &Path) -> Result<Self> {
        let dir = fs::canonical(dir)?;
        let path = dir.join(config);
        let text = read(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::new(
                ErrorKind::NotFound,
                format!("JSON specification file {} not found: {}", config.display(), path.display()),
            ),
            _ => error,
        })?;
        let (spec, warnings) =
            parse(&text, allows_no_process).map_err(|error| error.context(path.display().to_string()))?;
        check_version(spec.version())?;
        Ok(Self { dir, spec, text, warnings })
    }
}

/// The config.json of a container that exists, as it was when the container was made.
#[derive(Debug, Clone)]
pub struct Kept {
    /// config.json.
    pub spec: Box<Spec>,
    /// What was left out because it can't be honoured.
    pub warnings: Vec<String>,
}

impl Kept {
    /// Reads a [`Bundle::text`] again.
    ///
    /// # Errors
    /// `InvalidConfig` with the field, where another version of onggi could read it.
    pub fn parse(text: &[u8]) -> Result<Self> {
        parse(text, allows_no_process).map(|(spec, warnings)| Self { spec, warnings })
    }
}

/// A `process` block in a file of its own.
#[derive(Debug, Clone)]
pub struct ProcessFile {
    /// The block.
    pub process: Process,
    /// What was left out because it can't be honoured.
    pub warnings: Vec<String>,
}

impl ProcessFile {
    /// Reads the block in the file `path`, which may be a pipe. Without `user` it means root, as in runc.
    ///
    /// # Errors
    /// `InvalidConfig` with the field.
    pub fn load(path: &Path) -> Result<Self> {
        /// config.json as far as it matters here. `Option` as in [`Spec`], whose code for it this is then: 14 KB.
        #[derive(Deserialize)]
        struct Config {
            process: Option<Process>,
        }
        let text = read(path)?;
        let refuse = |why: String| Error::new(ErrorKind::InvalidConfig, why);
        let mut block = Value::deserialize(&mut serde_json::Deserializer::from_slice(&text))
            .map_err(|error| explained(&text, &error))?;
        let no_object = || refuse("a process is a JSON object".to_owned());
        let fields = block.as_object_mut().ok_or_else(no_object)?;
        fields.entry("user").or_insert_with(|| serde_json::json!({"uid": 0, "gid": 0}));
        let config = serde_json::json!({ "process": block }).to_string();
        let (config, warnings) = parse(config.as_bytes(), |_: &Config| false).map_err(without_position)?;
        Ok(Self { process: config.process.ok_or_else(no_object)?, warnings })
    }
}

/// The same without line and column, which are those of a text of our own that nobody sees.
fn without_position(error: Error) -> Error {
    let told = error.to_string();
    Error::new(error.kind(), told.split(" at line ").next().unwrap_or(&told))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: Error| error.phrased(format!("read {}", path.display()));
    let file = fs::open(path, Access::Read).map_err(failed)?;
    fs::read_sized(&file, LARGEST_CONFIG).map_err(|error| match error.errno() {
        Some(Errno::EFBIG) => {
            let message = format!("{}: larger than {} MiB", path.display(), LARGEST_CONFIG >> 20);
            Error::new(ErrorKind::InvalidConfig, message)
        }
        _ => failed(error),
    })
}

/// Reads what is valid as it stands, and looks a second, slower time at what is not, or `is_odd`.
fn parse<T: DeserializeOwned>(data: &[u8], is_odd: impl Fn(&T) -> bool) -> Result<(Box<T>, Vec<String>)> {
    match typed(data) {
        Ok(read) if is_odd(&read) => repaired(data).unwrap_or(Ok((read, Vec::new()))),
        Ok(read) => Ok((read, Vec::new())),
        Err(error) => repaired(data).unwrap_or_else(|| Err(explained(data, &error))),
    }
}

/// Whether `pids.limit` is 0 or, which the types don't tell apart, absent.
fn allows_no_process(spec: &Spec) -> bool {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    resources.and_then(|resources| *resources.pids()).is_some_and(|pids| pids.limit() == 0)
}

/// What follows the JSON value is not looked at, as in runc.
fn typed<T: DeserializeOwned>(data: &[u8]) -> serde_json::Result<Box<T>> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(data)).map(Box::new)
}

/// Reads config.json again without what may be ignored; `None` when there is no such thing in it.
fn repaired<T: DeserializeOwned>(data: &[u8]) -> Option<Result<(Box<T>, Vec<String>)>> {
    let mut config = Value::deserialize(&mut serde_json::Deserializer::from_slice(data)).ok()?;
    if config.is_null() {
        return Some(Err(Error::new(ErrorKind::InvalidConfig, "config cannot be null")));
    }
    let warnings = repair::repair(&mut config)?;
    Some(understood(&config).map(|spec| (spec, warnings)))
}

/// The types for a JSON value; an error names the field.
fn understood<T: DeserializeOwned>(value: &Value) -> Result<Box<T>> {
    let text = value.to_string();
    // By the parser for bytes, which is there already: one more for each type would be another 200 KB of program.
    typed(text.as_bytes()).map_err(|error| without_position(explained(text.as_bytes(), &error)))
}

/// The parser's error with the field that it had reached, in a line that one can read however long both are.
fn explained(data: &[u8], error: &serde_json::Error) -> Error {
    /// What of a field and of the whole is told, in bytes.
    const LONGEST_FIELD: usize = 300;
    const LONGEST: usize = 1000;
    // Of UTF-8 and of both kinds of UTF-16.
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
    if marks.iter().any(|mark| data.starts_with(mark)) {
        return Error::new(ErrorKind::InvalidConfig, "begins with a byte order mark: write UTF-8 without one");
    }
    let mut field = locate::locate(data, error.line(), error.column());
    let text = error.to_string();
    if let Some(missing) = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        let dot = if field.is_empty() { "" } else { "." };
        field = format!("{field}{dot}{missing}");
    }
    if field.len() > LONGEST_FIELD {
        field.truncate(field.floor_char_boundary(LONGEST_FIELD));
        field.push_str("...");
    }
    let told = if field.is_empty() { text } else { format!("{field}: {text}") };
    Error::new(ErrorKind::InvalidConfig, told).shortened(LONGEST)
}

/// The specification is compatible within a major version. Absent or odd versions are let through, as in runc.
fn check_version(version: &str) -> Result<()> {
    let Some((major, _)) = version.split_once('.') else { return Ok(()) };
    match major.parse::<u64>() {
        Ok(major) if major != 1 => Err(Error::config(
            "ociVersion",
            format!("{version} is not supported; onggi follows version 1 of the runtime specification"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use oci_spec::runtime::Capability;

    fn check(config: &str, expected: std::result::Result<&[&str], &str>) {
        let found = parse(config.as_bytes(), allows_no_process)
            .map(|(_, warnings)| warnings)
            .map_err(|error| error.to_string());
        let expected = expected.map(|list| list.iter().map(|s| (*s).to_owned()).collect()).map_err(str::to_owned);
        assert_eq!(found, expected, "{config}");
    }

    #[test]
    fn whole_configs() {
        check("{}", Ok(&[]));
        check(r#"{"ociVersion": "1.0.0", "unknown": [1], "process": null}"#, Ok(&[]));
        check("{} trailing", Ok(&[]));
        check(" null\n", Err("config cannot be null"));
        check("", Err("EOF while parsing a value at line 1 column 0"));
        check("\u{feff}{}", Err("begins with a byte order mark: write UTF-8 without one"));
        check("{\n  \"root\": {\n", Err("root: EOF while parsing an object at line 3 column 0"));
    }

    #[test]
    fn unknown_capabilities() {
        let process = r#""user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"]"#;
        let config = |rest: &str| {
            format!(
                "{{\"process\": {{{process}, \"capabilities\": {{\n\"bounding\": [\"CAP_KILL\", \"CAP_FOO\"],\n\"ambient\": [\"CAP_FOO\", \"CAP_BAR\"]}}}}{rest}}}"
            )
        };
        check(&config(""), Ok(&["ignoring unknown or unavailable capabilities: [CAP_BAR CAP_FOO]"]));
        let (spec, _) = parse(config("").as_bytes(), allows_no_process).unwrap();
        let capabilities = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert_eq!(capabilities.bounding().clone().unwrap().into_iter().collect::<Vec<_>>(), [Capability::Kill]);
        assert!(capabilities.ambient().clone().unwrap().is_empty());
        check(&config(",\n\"hostname\": 5"), Err("hostname: invalid type: integer `5`, expected a string"));
    }

    #[test]
    fn errors_name_the_field() {
        let linux = |linux: &str| format!("{{\n\"linux\": {{{linux}}}}}");
        let text = "linux.namespaces[1].type: unknown variant `x`, expected one of `mount`, `cgroup`, `uts`, `ipc`, \
                    `user`, `pid`, `network`, `time` at line 2 column 54";
        check(&linux(r#""namespaces": [{"type": "pid"}, {"type": "x"}]"#), Err(text));
        let text = "process.cwd: missing field `cwd` at line 1 column 45";
        check(r#"{"process": {"user": {"uid": 0, "gid": 0}}}  "#, Err(&text.replace("45", "42")));
    }

    #[test]
    fn errors_are_short() {
        let told = |config: &str| parse::<Spec>(config.as_bytes(), allows_no_process).unwrap_err().to_string();
        let nested = told(&"{\"root\": ".repeat(10_000));
        assert!(nested.starts_with("root.root.root") && nested.contains("...: ") && nested.len() < 500, "{nested}");
        let long =
            told(&format!("{{\"process\": {{\"cwd\": \"/\", \"user\": {{\"uid\": \"{}\"}}}}}}", "x".repeat(1 << 20)));
        assert!(long.starts_with("process.user.uid: invalid type: string \"xxx") && long.len() <= 1000, "{long}");
    }

    #[test]
    fn scheduler_flags_are_spelled_as_specified() {
        for flag in [
            "SCHED_FLAG_RESET_ON_FORK",
            "SCHED_FLAG_RECLAIM",
            "SCHED_FLAG_DL_OVERRUN",
            "SCHED_FLAG_KEEP_POLICY",
            "SCHED_FLAG_KEEP_PARAMS",
            "SCHED_FLAG_UTIL_CLAMP_MIN",
            "SCHED_FLAG_UTIL_CLAMP_MAX",
        ] {
            let process = r#""user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"]"#;
            let scheduler = format!(r#""scheduler": {{"policy": "SCHED_OTHER", "flags": ["{flag}"]}}"#);
            check(&format!("{{\"process\": {{{process}, {scheduler}}}}}"), Ok(&[]));
        }
    }

    #[test]
    fn what_means_nothing_here_is_not_read() {
        check(r#"{"vm": {"odd": 1}, "windows": 7, "linux": {"seccomp": {}}}"#, Ok(&[]));
        let text = "linux.seccomp.syscalls[0].action: missing field `action` at line 1 column 52";
        check(r#"{"linux": {"seccomp": {"syscalls": [{"names": ["x"]}]}}}"#, Err(text));
    }

    #[test]
    fn an_absent_limit_of_processes_is_none() {
        for (pids, expected) in [("{}", None), (r#"{"limit": null}"#, None), (r#"{"limit": 0}"#, Some(0))] {
            let config = format!(r#"{{"linux": {{"resources": {{"pids": {pids}}}}}}}"#);
            let (spec, _) = parse(config.as_bytes(), allows_no_process).unwrap();
            let resources = spec.linux().as_ref().unwrap().resources().clone().unwrap();
            assert_eq!(resources.pids().map(|pids| pids.limit()), expected, "{pids}");
        }
    }

    #[test]
    fn versions() {
        for version in ["", "1.0.0", "1.3.0-dev", "abc", "x.y", "2"] {
            assert!(check_version(version).is_ok(), "{version}");
        }
        for version in ["2.0.0", "0.9.1"] {
            let text = check_version(version).unwrap_err().to_string();
            assert!(text.starts_with("config.json: ociVersion: "), "{text}");
        }
    }

    #[test]
    fn missing() {
        let text = Bundle::load(Path::new("/nonexistent/b"), Path::new("x")).unwrap_err().to_string();
        assert_eq!(text, "chdir /nonexistent/b: no such file or directory");
        let text = Bundle::load(Path::new("/proc"), Path::new("config.json")).unwrap_err().to_string();
        assert_eq!(text, "JSON specification file config.json not found: /proc/config.json");
    }
}
