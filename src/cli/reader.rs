//! Takes an argument list apart by runc's rules (those of Go's urfave/cli).

use super::definition::Flag;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What a positional argument means for the flags after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Positionals {
    /// They are flags still: `delete ID --force`.
    BetweenFlags,
    /// They are positional, too: `kill ID -9`.
    EndFlags,
}

/// The flags that were given, with their values; the last one counts.
#[derive(Debug, Default)]
pub(super) struct Flags(Vec<(&'static str, OsString)>);

impl Flags {
    fn get(&self, name: &str) -> Option<&OsString> {
        self.0.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    /// Whether a switch is on.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "true")
    }

    /// Whether a flag was given, a switch on or off.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every value of a flag that may be repeated.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let refuse = |value: &OsString| format!("invalid value {value:?} for flag -{name}: not UTF-8");
        let values = self.0.iter().filter(|(given, _)| *given == name).map(|(_, value)| value);
        values.map(|value| value.to_str().map(str::to_owned).ok_or_else(|| refuse(value))).collect()
    }

    /// A value as a path; an empty one counts as not given.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// A value as text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.to_string_lossy().into_owned())
    }
}

/// Separates flags and positional arguments. There are `--help` and `-h` in addition to those `known`.
///
/// # Errors
/// runc's text for an unknown flag, a missing value, and a switch with a value that is no boolean.
pub(super) fn read(
    known: &[Flag],
    arguments: &[OsString],
    positionals: Positionals,
) -> Result<(Flags, Vec<OsString>), String> {
    let mut flags = Flags::default();
    let mut rest = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some((name, given)) = flag(argument) else {
            if argument == "--" {
                break;
            }
            rest.push(argument.clone());
            match positionals {
                Positionals::BetweenFlags => continue,
                Positionals::EndFlags => break,
            }
        };
        let shown = name.to_string_lossy();
        if shown == "help" || shown == "h" {
            flags.0.push(("help", "true".into()));
            continue;
        }
        let found = known.iter().find(|known| known.is_named(&shown));
        let found = found.ok_or_else(|| format!("flag provided but not defined: -{shown}"))?;
        let value = match (given, found.takes_value()) {
            (Some(value), true) => value,
            (None, true) => match arguments.next() {
                Some(value) => value.clone(),
                None => return Err(format!("flag needs an argument: {}", argument.to_string_lossy())),
            },
            (Some(value), false) => boolean(&value)
                .ok_or_else(|| format!("invalid boolean value {:?} for -{shown}", value.to_string_lossy()))?
                .into(),
            (None, false) => "true".into(),
        };
        flags.0.push((found.name, value));
    }
    rest.extend(arguments.cloned());
    Ok((flags, rest))
}

/// Name and value of `-name`, `--name`, `--name=value`; none for a positional argument, which `-` is, too.
fn flag(argument: &OsStr) -> Option<(OsString, Option<OsString>)> {
    let body = argument.as_bytes().strip_prefix(b"-")?;
    let body = body.strip_prefix(b"-").unwrap_or(body);
    if body.is_empty() {
        return None;
    }
    let mut parts = body.splitn(2, |byte| *byte == b'=').map(|part| OsString::from_vec(part.to_vec()));
    Some((parts.next()?, parts.next()))
}

/// What Go's strconv.ParseBool takes.
fn boolean(text: &OsStr) -> Option<&'static str> {
    match text.as_bytes() {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some("true"),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some("false"),
        _ => None,
    }
}
