//! Finds, reads and checks a bundle's config.json.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::Errno;
use oci_spec::runtime::{Capability, Spec};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest config.json that is read, in bytes. Engines write some tens of kilobytes.
const LARGEST_CONFIG: u64 = 16 << 20;

/// A bundle whose config.json has been read. What the values mean is for `plan` to judge.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The bundle's directory, absolute, without links.
    pub dir: PathBuf,
    /// config.json.
    pub spec: Spec,
    /// What was left out because it can't be honoured.
    pub warnings: Vec<String>,
}

impl Bundle {
    /// Reads `config.json` in `dir`, which is relative to the caller's working directory.
    ///
    /// # Errors
    /// `NotFound` when the directory or the file is missing; `InvalidConfig` with line and column, or with the field.
    pub fn load(dir: &Path) -> Result<Self> {
        let dir = std::fs::canonicalize(dir).map_err(|error| from_io(format!("chdir {}", dir.display()), &error))?;
        let path = dir.join("config.json");
        let (spec, warnings) = parse(&read(&path)?).map_err(|error| error.context(path.display().to_string()))?;
        check_version(spec.version())?;
        Ok(Self { dir, spec, warnings })
    }
}

fn from_io(doing: String, error: &std::io::Error) -> Error {
    Error::sys(doing, Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            ErrorKind::NotFound,
            format!("JSON specification file config.json not found: {}", path.display()),
        ),
        _ => from_io(format!("read {}", path.display()), &error),
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut data = Vec::with_capacity(usize::try_from(size.min(LARGEST_CONFIG)).unwrap_or(0) + 1);
    let read = file.take(LARGEST_CONFIG + 1).read_to_end(&mut data).map_err(failed)?;
    if read as u64 > LARGEST_CONFIG {
        let message = format!("{}: larger than {} MiB", path.display(), LARGEST_CONFIG >> 20);
        return Err(Error::new(ErrorKind::InvalidConfig, message));
    }
    Ok(data)
}

fn parse(data: &[u8]) -> Result<(Spec, Vec<String>)> {
    let error = match typed(data) {
        Ok(spec) => return Ok((spec, Vec::new())),
        Err(error) => error,
    };
    if matches!(value(data), Some(Value::Null)) {
        return Err(Error::new(ErrorKind::InvalidConfig, "config cannot be null"));
    }
    without_unknown_capabilities(data)
        .unwrap_or_else(|| Err(error))
        .map_err(|error| Error::new(ErrorKind::InvalidConfig, error.to_string()))
}

/// What follows the JSON value is not looked at, as in runc.
fn typed(data: &[u8]) -> serde_json::Result<Spec> {
    Spec::deserialize(&mut serde_json::Deserializer::from_slice(data))
}

fn value(data: &[u8]) -> Option<Value> {
    Value::deserialize(&mut serde_json::Deserializer::from_slice(data)).ok()
}

/// The specification wants unknown capabilities to be a warning, but the type of config.json refuses them: reads it
/// again without them. `None` when there are none, so that they are not what is wrong.
fn without_unknown_capabilities(data: &[u8]) -> Option<serde_json::Result<(Spec, Vec<String>)>> {
    let mut config = value(data)?;
    let mut unknown = BTreeSet::new();
    let sets = config.pointer_mut("/process/capabilities")?.as_object_mut()?;
    for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
        let Some(Value::Array(names)) = sets.get_mut(set) else { continue };
        names.retain(|name| {
            let bad = name.is_string() && Capability::deserialize(name).is_err();
            if bad && let Some(name) = name.as_str() {
                unknown.insert(name.to_owned());
            }
            !bad
        });
    }
    if unknown.is_empty() {
        return None;
    }
    let spec = Spec::deserialize(&config).map_err(|error| typed(&blanked(data, &unknown)).err().unwrap_or(error));
    let names = unknown.into_iter().collect::<Vec<_>>().join(" ");
    Some(spec.map(|spec| (spec, vec![format!("ignoring unknown or unavailable capabilities: [{names}]")])))
}

/// `data` with a known name in place of the unknown ones: parsing it shows the next error with its line and column,
/// which a [`Value`] no longer has.
fn blanked(data: &[u8], unknown: &BTreeSet<String>) -> Vec<u8> {
    let text = String::from_utf8_lossy(data).into_owned();
    unknown.iter().fold(text, |text, name| text.replace(&format!("\"{name}\""), "\"CAP_CHOWN\"")).into_bytes()
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

    fn check(config: &str, expected: std::result::Result<&[&str], &str>) {
        let found = parse(config.as_bytes()).map(|(_, warnings)| warnings).map_err(|error| error.to_string());
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
        check("{\n  \"root\": {\n", Err("EOF while parsing an object at line 3 column 0"));
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
        let (spec, _) = parse(config("").as_bytes()).unwrap();
        let capabilities = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert_eq!(capabilities.bounding().clone().unwrap().into_iter().collect::<Vec<_>>(), [Capability::Kill]);
        assert!(capabilities.ambient().clone().unwrap().is_empty());
        check(&config(",\n\"hostname\": 5"), Err("invalid type: integer `5`, expected a string at line 4 column 13"));
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
        let text = Bundle::load(Path::new("/nonexistent/b")).unwrap_err().to_string();
        assert_eq!(text, "chdir /nonexistent/b: no such file or directory");
        let text = Bundle::load(Path::new("/proc")).unwrap_err().to_string();
        assert_eq!(text, "JSON specification file config.json not found: /proc/config.json");
    }
}
