//! Annotations `org.systemd.property.NAME`: properties of the container's unit, chosen by the config. Pure.
//!
//! systemd runs as root on the host, and some of its properties start programs or other units, or end the machine
//! (CVE-2024-3154). So there is a list of those that concern this unit alone, and all others are refused.

use super::properties::{Property, Value};
use crate::error::{Error, Result};
use std::collections::HashMap;

const PREFIX: &str = "org.systemd.property.";

/// What a property holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    /// `i`
    I32,
    /// `t`; with `Sec` for `USec` at its end, a number of seconds.
    U64,
    Text,
    Texts,
}

/// What a config may set. CRI-O sets the first two and the time for stopping; runc's documentation shows CollectMode.
const ALLOWED: [(&str, Kind); 14] = [
    ("After", Kind::Texts),
    ("DefaultDependencies", Kind::Bool),
    ("Before", Kind::Texts),
    ("CollectMode", Kind::Text),
    ("Description", Kind::Text),
    ("FinalKillSignal", Kind::I32),
    ("KillSignal", Kind::I32),
    ("ManagedOOMMemoryPressure", Kind::Text),
    ("ManagedOOMSwap", Kind::Text),
    ("PartOf", Kind::Texts),
    ("RuntimeMaxUSec", Kind::U64),
    ("SendSIGHUP", Kind::Bool),
    ("SendSIGKILL", Kind::Bool),
    ("TimeoutStopUSec", Kind::U64),
];

/// The properties that `annotations` ask for, by name.
///
/// # Errors
/// `InvalidConfig`, with the annotation, for a property that is not allowed or a value not of its type.
pub(super) fn plan(annotations: Option<&HashMap<String, String>>) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    for (key, text) in annotations.into_iter().flatten() {
        if let Some(name) = key.strip_prefix(PREFIX) {
            properties.push(property(name, text).map_err(|why| Error::config(format!("annotations[{key:?}]"), why))?);
        }
    }
    properties.sort_by_key(|property| property.name);
    Ok(properties)
}

fn property(name: &str, text: &str) -> std::result::Result<Property, String> {
    let is = |known: &str| known == name;
    let exact = ALLOWED.iter().find(|(known, _)| is(known)).map(|found| (found, false));
    let in_seconds = |known: &str| known.strip_suffix("USec").is_some_and(|stem| is(&format!("{stem}Sec")));
    let seconds = || ALLOWED.iter().find(|(known, _)| in_seconds(known)).map(|found| (found, true));
    let Some(((name, kind), seconds)) = exact.or_else(seconds) else {
        let names = ALLOWED.map(|(name, _)| name).join(", ");
        return Err(format!("is not among the properties that a config may set ({names}): remove it"));
    };
    let text = text.trim();
    let value = match kind {
        Kind::Bool => boolean(text).map(Value::Bool),
        Kind::I32 => number(text).and_then(|digits| digits.parse().ok()).map(Value::I32),
        Kind::U64 if seconds => number(text).and_then(microseconds).map(Value::U64),
        Kind::U64 => number(text).and_then(|digits| digits.parse().ok()).map(Value::U64),
        Kind::Text => whole_string(text).map(Value::Text),
        Kind::Texts => strings(text).map(Value::Texts),
    };
    let wanted = match kind {
        Kind::Bool => "true or false",
        Kind::I32 => "a number such as 15",
        Kind::U64 if seconds => "a number of seconds such as 5 or 0.5",
        Kind::U64 => "a number such as uint64 5000000",
        Kind::Text => "a string in quotes such as 'text'",
        Kind::Texts => "a list of strings in quotes such as ['a.service']",
    };
    let value = value.ok_or_else(|| format!("{text:?} is not {wanted} in GVariant's notation"))?;
    Ok(Property::new(name, value))
}

fn boolean(text: &str) -> Option<bool> {
    match text.strip_prefix("boolean ").or_else(|| text.strip_prefix("@b ")).unwrap_or(text).trim() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// The digits of a number, whatever type it is said to be of: what counts is the property's.
fn number(text: &str) -> Option<&str> {
    const TYPES: [&str; 18] = [
        "byte", "int16", "uint16", "int32", "uint32", "handle", "int64", "uint64", "double", "@y", "@n", "@q", "@i",
        "@u", "@h", "@x", "@t", "@d",
    ];
    let digits = match text.split_once(' ') {
        Some((kind, digits)) if TYPES.contains(&kind) => digits.trim_start(),
        Some(_) => return None,
        None => text,
    };
    digits.starts_with(|c: char| c.is_ascii_digit()).then_some(digits)
}

/// Seconds, with a fraction perhaps, as µs.
fn microseconds(seconds: &str) -> Option<u64> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if fraction.len() > 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction)
}

fn whole_string(text: &str) -> Option<String> {
    let text = text.strip_prefix("@s ").unwrap_or(text).trim_start();
    string(text).filter(|(_, rest)| rest.is_empty()).map(|(string, _)| string)
}

fn strings(text: &str) -> Option<Vec<String>> {
    let text = text.strip_prefix("@as ").unwrap_or(text).trim_start();
    let mut rest = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    let mut list = Vec::new();
    while !rest.is_empty() {
        let (item, after) = string(rest)?;
        list.push(item);
        rest = after.trim_start();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',')?.trim_start();
            if rest.is_empty() {
                return None;
            }
        }
    }
    Some(list)
}

/// A string in single or double quotes at the beginning of `text`, and what follows it.
fn string(text: &str) -> Option<(String, &str)> {
    let mut letters = text.char_indices();
    let (_, quote) = letters.next().filter(|(_, quote)| matches!(quote, '\'' | '"'))?;
    let mut string = String::new();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next()?.1 {
                'n' => string.push('\n'),
                't' => string.push('\t'),
                plain @ ('\\' | '\'' | '"') => string.push(plain),
                _ => return None,
            },
            letter if letter == quote => return Some((string, &text[at + 1..])),
            // D-Bus has no place for it.
            '\0' => return None,
            letter => string.push(letter),
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Value, plan};
    use std::collections::HashMap;

    fn check(name: &str, text: &str, expected_name: &str, expected: Value) {
        let annotations = HashMap::from([(format!("org.systemd.property.{name}"), text.to_owned())]);
        let made = plan(Some(&annotations)).unwrap();
        assert_eq!((made[0].name, &made[0].value), (expected_name, &expected), "{name}: {text}");
    }

    fn check_refused(name: &str, text: &str, phrase: &str) {
        let key = format!("org.systemd.property.{name}");
        let annotations = HashMap::from([(key.clone(), text.to_owned())]);
        let error = plan(Some(&annotations)).unwrap_err().to_string();
        assert!(error.contains(&format!("config.json: annotations[{key:?}]: ")) && error.contains(phrase), "{error}");
    }

    #[test]
    fn values() {
        check("TimeoutStopUSec", "uint64 123456789", "TimeoutStopUSec", Value::U64(123_456_789));
        check("TimeoutStopUSec", "@t 5", "TimeoutStopUSec", Value::U64(5));
        check("TimeoutStopUSec", "5", "TimeoutStopUSec", Value::U64(5));
        check("TimeoutStopSec", "int32 5", "TimeoutStopUSec", Value::U64(5_000_000));
        check("RuntimeMaxSec", "double 1.25", "RuntimeMaxUSec", Value::U64(1_250_000));
        check("CollectMode", "'inactive-or-failed'", "CollectMode", Value::Text("inactive-or-failed".to_owned()));
        check("Description", r#"@s "it's \"me\"""#, "Description", Value::Text(r#"it's "me""#.to_owned()));
        check("DefaultDependencies", "true", "DefaultDependencies", Value::Bool(true));
        check("SendSIGHUP", "boolean false", "SendSIGHUP", Value::Bool(false));
        check("KillSignal", "15", "KillSignal", Value::I32(15));
        check(
            "After",
            "['crio.service', \"b.mount\"]",
            "After",
            Value::Texts(vec!["crio.service".into(), "b.mount".into()]),
        );
        check("Before", "@as []", "Before", Value::Texts(Vec::new()));
    }

    #[test]
    fn odd_values() {
        check_refused("TimeoutStopUSec", "'5'", "is not a number");
        check_refused("TimeoutStopUSec", "-5", "is not a number");
        check_refused("TimeoutStopUSec", "uint64 5 6", "is not a number");
        check_refused("TimeoutStopUSec", "1.5", "is not a number");
        check_refused("TimeoutStopSec", "1.1234567", "a number of seconds");
        check_refused("CollectMode", "inactive", "a string in quotes");
        check_refused("CollectMode", "'inactive", "a string in quotes");
        check_refused("CollectMode", "'inactive' x", "a string in quotes");
        check_refused("CollectMode", r"'\x'", "a string in quotes");
        check_refused("DefaultDependencies", "'true'", "true or false");
        check_refused("After", "'a.service'", "a list of strings");
        check_refused("After", "['a.service',]", "a list of strings");
        check_refused("After", "['a.service' 'b.service']", "a list of strings");
        check_refused("KillSignal", "99999999999", "a number such as 15");
    }

    /// Each would reach beyond the container.
    #[test]
    fn not_allowed() {
        let names = [
            "ExecStart",
            "ExecStop",
            "ExecStopPost",
            "OnFailure",
            "Wants",
            "Requires",
            "BindsTo",
            "Conflicts",
            "Upholds",
            "FailureAction",
            "SuccessAction",
            "JobTimeoutAction",
            "PIDs",
            "Slice",
            "Delegate",
            "DeviceAllow",
            "DevicePolicy",
            "MemoryMax",
            "User",
            "KillMode",
            "RefuseManualStop",
            "timeoutStopUSec",
            "TimeoutStop",
            "Sec",
            "",
        ];
        for name in names {
            check_refused(name, "'/bin/touch /pwned'", "is not among the properties that a config may set");
        }
    }

    #[test]
    fn others_are_left_alone() {
        let annotations = HashMap::from([("org.criu.config".to_owned(), "x".to_owned())]);
        assert_eq!((plan(Some(&annotations)).unwrap(), plan(None).unwrap()), (Vec::new(), Vec::new()));
    }
}
