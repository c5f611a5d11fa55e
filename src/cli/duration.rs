//! Lengths of time as Go's time.ParseDuration reads them: `5s`, `100ms`, `1h30m`, `1.5s`.

use std::time::Duration;

/// The units and their nanoseconds; µ is written with either of its two characters.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The longest that Go knows: 292 years.
const LONGEST: u128 = u64::MAX as u128 / 2;

/// Reads `text`. A negative length counts as none.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut rest = if unsigned == "0" { "0s" } else { unsigned };
    let mut sum = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|letter| !is_of_number(letter))?);
        let (unit, after) = after.split_at(after.find(is_of_number).unwrap_or(after.len()));
        let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum += scaled(number, *nanoseconds)?;
        if sum > LONGEST {
            return None;
        }
        rest = after;
    }
    let length = Duration::from_nanos(u64::try_from(sum).ok()?);
    Some(if text.starts_with('-') { Duration::ZERO } else { length })
}

fn is_of_number(letter: char) -> bool {
    letter == '.' || letter.is_ascii_digit()
}

/// The decimal fraction `number` of something that has `unit` parts, cut off below one.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    // No unit has more parts than these digits can tell apart.
    let fraction = &fraction[..fraction.len().min(15)];
    let parts = digits(fraction)? * unit / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    digits(whole)?.checked_mul(unit)?.checked_add(parts)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::time::Duration;

    #[test]
    fn lengths() {
        let check = |text: &str, nanoseconds: Option<u64>| {
            assert_eq!(parse(text), nanoseconds.map(Duration::from_nanos), "{text:?}");
        };
        check("5s", Some(5_000_000_000));
        check("100ms", Some(100_000_000));
        check("1h30m", Some(5_400_000_000_000));
        check("1.5s", Some(1_500_000_000));
        check(".5s", Some(500_000_000));
        check("1.s", Some(1_000_000_000));
        check("0.0000000019s", Some(1));
        check("0.00000000000000000001h1ns", Some(1));
        check("1us2\u{b5}s3\u{3bc}s4ns", Some(6_004));
        check("+2m", Some(120_000_000_000));
        check("-2m", Some(0));
        check("0", Some(0));
        check("-0", Some(0));
        check("0s", Some(0));
        check("0s5s", Some(5_000_000_000));
        check("9223372036854775807ns", Some(9_223_372_036_854_775_807));
        let malformed = ["", "+", "5", "s", ".s", "5 s", "5S", "1.2.3s", "1d", "5s3", "--5s", "1e3s", "0x1s", "5s "];
        let too_long = ["9223372036854775808ns", "2562048h", "99999999999999999999999999999999999999999h"];
        for text in malformed.into_iter().chain(too_long) {
            check(text, None);
        }
    }
}
