//! `linux.cgroupsPath` as the systemd driver reads it: `slice:prefix:name`. Pure.

use crate::error::{Error, Result};
use std::fmt::Write as _;
use std::path::Path;

/// The field of config.json that names the unit.
const FIELD: &str = "linux.cgroupsPath";

/// The longest name of a unit (systemd's UNIT_NAME_MAX).
const LONGEST: usize = 255;

/// The unit of a container and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// The scope, such as `docker-web.scope`.
    pub(super) unit: String,
    /// The slice that it lies in, such as `system.slice`.
    pub(super) slice: String,
}

/// Reads `slice:prefix:name`. Without a path the container is `onggi-ID.scope`; without a slice it lies where services
/// (`system.slice`) or, at a user's manager, programs (`user.slice`) do.
///
/// # Errors
/// `InvalidConfig` when the path has another form or names what systemd would not take.
pub(super) fn parse(path: Option<&Path>, id: &str, user: bool) -> Result<Name> {
    let default_slice = if user { "user.slice" } else { "system.slice" };
    let wanted = match path {
        Some(path) => path.to_str().ok_or_else(|| refused("is not UTF-8"))?,
        None => "",
    };
    if wanted.is_empty() {
        let unit = checked(format!("onggi-{}.scope", escaped(id)))?;
        return Ok(Name { unit, slice: default_slice.to_owned() });
    }
    let parts: Vec<_> = wanted.split(':').collect();
    let &[slice, prefix, name] = parts.as_slice() else {
        let message = format!(
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {wanted:?} instead"
        );
        return Err(refused(&message));
    };
    if name.is_empty() {
        return Err(refused(&format!("{wanted:?} names no unit: it ends in \":NAME\"")));
    }
    if name.ends_with(".slice") {
        let message = format!("{name:?} is a slice, which holds units and no processes: choose another name");
        return Err(refused(&message));
    }
    let slice = if slice.is_empty() { default_slice } else { slice };
    check_slice(slice)?;
    let unit = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
    Ok(Name { unit: checked(unit)?, slice: slice.to_owned() })
}

/// A slice's name is its path: `a-b.slice` lies in `a.slice`. `-.slice` is the root.
fn check_slice(slice: &str) -> Result<()> {
    let stem = slice.strip_suffix(".slice").filter(|stem| *stem == "-" || stem.split('-').all(|part| !part.is_empty()));
    if stem.is_none() {
        let message = format!("invalid slice name {slice:?}: it is like a-b.slice, with a part between all dashes");
        return Err(refused(&message));
    }
    checked(slice.to_owned()).map(drop)
}

/// The alphabet and the length that systemd allows.
fn checked(unit: String) -> Result<String> {
    match unit.chars().find(|c| !is_allowed(*c)) {
        Some(odd) => Err(refused(&format!("{unit:?} is no name of a systemd unit: it has {odd:?}"))),
        None if unit.len() > LONGEST => {
            Err(refused(&format!("{unit:?} is no name of a systemd unit: it is longer than {LONGEST} bytes")))
        }
        None => Ok(unit),
    }
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@')
}

/// A container's id may have `+`, a unit's name may not; systemd's own way out is `\x2b` (systemd-escape(1)).
fn escaped(id: &str) -> String {
    let mut name = String::new();
    for c in id.chars() {
        if is_allowed(c) {
            name.push(c);
        } else {
            // Ids are ASCII, and writing to a String can't fail.
            let _ = write!(name, "\\x{:02x}", u32::from(c));
        }
    }
    name
}

fn refused(message: &str) -> Error {
    Error::config(FIELD, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::parse;
    use std::path::Path;

    fn check(path: Option<&str>, user: bool, slice: &str, unit: &str) {
        let name = parse(path.map(Path::new), "we+b", user).unwrap();
        assert_eq!((name.slice.as_str(), name.unit.as_str()), (slice, unit), "{path:?}");
    }

    #[test]
    fn names() {
        check(None, false, "system.slice", r"onggi-we\x2bb.scope");
        check(Some(""), true, "user.slice", r"onggi-we\x2bb.scope");
        check(Some("system.slice:docker:abc"), false, "system.slice", "docker-abc.scope");
        check(Some(":crio:abc"), false, "system.slice", "crio-abc.scope");
        check(Some(":libpod:abc"), true, "user.slice", "libpod-abc.scope");
        check(Some("a-b-c.slice::abc"), false, "a-b-c.slice", "abc.scope");
        check(Some("-.slice:x:y"), false, "-.slice", "x-y.scope");
    }

    #[test]
    fn bad_names() {
        for (path, phrase) in [
            (
                "/a/b",
                r#"expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/a/b" instead"#,
            ),
            ("a.slice:b", "expected cgroupsPath to be of format"),
            ("a.slice:b:c:d", "expected cgroupsPath to be of format"),
            ("a.slice:b:", "names no unit"),
            ("a.slice:b:c.slice", "is a slice"),
            ("a:b:c", "invalid slice name"),
            (".slice:b:c", "invalid slice name"),
            ("a--b.slice:b:c", "invalid slice name"),
            ("-a.slice:b:c", "invalid slice name"),
            ("a-.slice:b:c", "invalid slice name"),
            ("a/b.slice:b:c", "it has '/'"),
            ("a.slice:b:../c", "it has '/'"),
            ("a.slice:b:c d", "it has ' '"),
        ] {
            let error = parse(Some(Path::new(path)), "web", false).unwrap_err().to_string();
            assert!(error.starts_with("config.json: linux.cgroupsPath: ") && error.contains(phrase), "{path}: {error}");
        }
        let long = format!("a.slice:b:{}", "x".repeat(250));
        assert!(parse(Some(Path::new(&long)), "web", false).unwrap_err().to_string().contains("longer than 255"));
    }
}
