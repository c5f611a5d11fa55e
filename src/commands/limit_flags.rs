//! The flags of `update` that set limits: a flag stands for a field of `linux.resources`.

use crate::error::{Error, ErrorKind, Result};
use serde_json::{Value, json};

/// A value, or what is wrong with it.
type Bare<T> = std::result::Result<T, String>;

/// A flag for one limit, which stands for one field of `linux.resources`.
#[derive(Debug)]
pub struct LimitFlag {
    /// As typed.
    pub name: &'static str,
    /// What its value is, for the help.
    pub placeholder: &'static str,
    /// What it does, for the help.
    pub help: &'static str,
    /// Whether the help is silent about it.
    pub hidden: bool,
    /// How its value is written.
    kind: Kind,
    /// The part of `linux.resources` and its field.
    pub field: (&'static str, &'static str),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Number,
    /// Bytes, with or without a suffix, or -1 for no limit.
    Size,
    Text,
}

impl LimitFlag {
    const fn new(name: &'static str, kind: Kind, field: (&'static str, &'static str), help: &'static str) -> Self {
        let placeholder = match kind {
            Kind::Number => "N",
            Kind::Size => "BYTES",
            Kind::Text => "LIST",
        };
        Self { name, placeholder, help, hidden: help.is_empty(), kind, field }
    }

    /// What `text`, the flag's value, is in JSON.
    ///
    /// # Errors
    /// `InvalidArgument` with the flag's name.
    pub fn value(&self, text: &str) -> Result<Value> {
        let value = match self.kind {
            Kind::Text => Ok(json!(text)),
            Kind::Size if text == "-1" => Ok(json!(-1)),
            Kind::Size => bytes(text).map(|bytes| json!(bytes)),
            Kind::Number => number(text),
        };
        value.map_err(|message| {
            Error::new(ErrorKind::InvalidArgument, format!("invalid value for {}: {message}", self.name))
        })
    }
}

/// The flags of `update` that set limits; those without help do nothing on cgroup v2.
pub const LIMIT_FLAGS: [LimitFlag; 16] = [
    LimitFlag::new("blkio-weight", Kind::Number, ("blockIO", "weight"), "share of the disks, 10 to 1000"),
    LimitFlag::new("cpu-period", Kind::Number, ("cpu", "period"), "period of the quota, in microseconds"),
    LimitFlag::new("cpu-quota", Kind::Number, ("cpu", "quota"), "CPU time in a period, in microseconds, or -1"),
    LimitFlag::new("cpu-burst", Kind::Number, ("cpu", "burst"), "unused CPU time to carry over, in microseconds"),
    LimitFlag::new("cpu-share", Kind::Number, ("cpu", "shares"), "share of the CPUs, 2 to 262144"),
    LimitFlag::new("cpu-idle", Kind::Number, ("cpu", "idle"), "1: run only when nobody else wants the CPU; 0"),
    LimitFlag::new("cpu-rt-period", Kind::Number, ("cpu", "realtimePeriod"), ""),
    LimitFlag::new("cpu-rt-runtime", Kind::Number, ("cpu", "realtimeRuntime"), ""),
    LimitFlag::new("cpuset-cpus", Kind::Text, ("cpu", "cpus"), "CPUs to use, such as 0-2,5"),
    LimitFlag::new("cpuset-mems", Kind::Text, ("cpu", "mems"), "memory nodes to use"),
    LimitFlag::new("memory", Kind::Size, ("memory", "limit"), "memory, such as 512M, or -1 for no limit"),
    LimitFlag::new("memory-reservation", Kind::Size, ("memory", "reservation"), "memory not to be reclaimed, or -1"),
    LimitFlag::new("memory-swap", Kind::Size, ("memory", "swap"), "memory and swap together, or -1"),
    LimitFlag::new("kernel-memory", Kind::Size, ("memory", "kernel"), ""),
    LimitFlag::new("kernel-memory-tcp", Kind::Size, ("memory", "kernelTCP"), ""),
    LimitFlag::new("pids-limit", Kind::Number, ("pids", "limit"), "number of processes, or -1 for no limit"),
];

fn number(text: &str) -> Bare<Value> {
    let signed = text.parse::<i64>().map(|number| json!(number));
    let number = signed.or_else(|_| text.parse::<u64>().map(|number| json!(number)));
    number.map_err(|_| format!("{text:?} is not a whole number"))
}

/// A number of bytes with a suffix of Docker's: `b`, `k`, `m`, `g`, `t` or `p`, in either case, perhaps with `b` or `ib`
/// after it, all counted in 1024. Fractions are rounded down.
fn bytes(text: &str) -> Bare<i64> {
    let wrong = || format!("invalid size: '{text}'");
    let end = text.rfind(|letter: char| letter.is_ascii_digit() || letter == '.').map_or(0, |at| at + 1);
    let (number, suffix) = text.split_at(end);
    let suffix = suffix.strip_prefix(' ').unwrap_or(suffix).to_ascii_lowercase();
    let scale = match suffix.trim_end_matches("ib").trim_end_matches('b') {
        "" if suffix.len() < 2 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(format!("invalid suffix: '{suffix}'")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(wrong());
    }
    let unit = 1_i128 << (10 * scale);
    let number = |digits: &str| if digits.is_empty() { Ok(0) } else { digits.parse::<i128>() };
    let whole = number(whole).ok().and_then(|whole| whole.checked_mul(unit)).ok_or_else(wrong)?;
    // Nine digits are finer than any byte of use.
    let fraction = &fraction[..fraction.len().min(9)];
    let part = number(fraction).map_err(|_| wrong())? * unit / 10_i128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    i64::try_from(whole.saturating_add(part)).map_err(|_| wrong())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::bundle;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", 0),
            ("67108864", 67_108_864),
            ("50M", 52_428_800),
            ("50m", 52_428_800),
            ("50mb", 52_428_800),
            ("50MiB", 52_428_800),
            ("50 M", 52_428_800),
            ("7b", 7),
            ("7B", 7),
            ("1k", 1024),
            ("2G", 2 << 30),
            ("1t", 1 << 40),
            ("1P", 1 << 50),
            ("1.5k", 1536),
            (".5g", 1 << 29),
            ("1.9", 1),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "M",
            "-5",
            "-1M",
            "5X",
            "5kk",
            "5bb",
            "5ibb",
            "5ib",
            "1.2.3",
            ".",
            "9223372036854775808",
            "9P9",
            "1e3",
            "8192P",
        ] {
            assert!(bytes(text).is_err(), "{text}: {:?}", bytes(text));
        }
        assert_eq!(bytes("5X"), Err("invalid suffix: 'x'".to_owned()));
    }

    #[test]
    fn numbers() {
        assert_eq!(number("18446744073709551615"), Ok(json!(u64::MAX)));
        assert_eq!(number("-1"), Ok(json!(-1)));
        for text in ["", "5k", "1.5", "0x5", "18446744073709551616"] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_flag_is_a_field() {
        for flag in &LIMIT_FLAGS {
            let (part, key) = flag.field;
            let request = json!({part: {key: flag.value("1").unwrap()}});
            let (resources, warnings) = bundle::resources(request.to_string().as_bytes()).unwrap();
            assert!(warnings.is_empty(), "{}: {warnings:?}", flag.name);
            assert_eq!(serde_json::to_value(resources).unwrap(), request, "{}", flag.name);
            if !matches!(flag.kind, Kind::Text) {
                assert_eq!(flag.value("-1").unwrap(), -1, "{}", flag.name);
                let error = flag.value("x").unwrap_err().to_string();
                assert!(error.starts_with(&format!("invalid value for {}: ", flag.name)), "{error}");
            }
        }
    }
}
