//! Names of signals, as people and engines write them.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::str::FromStr;

/// Second names of signals, as the C library and kill(1) know them.
const ALIASES: [(&str, i32); 3] = [("SIGCLD", libc::SIGCHLD), ("SIGIOT", libc::SIGABRT), ("SIGPOLL", libc::SIGIO)];

/// The number of the signal that `text` names: a decimal number of any size (the kernel judges it), or a name in any
/// case with or without `SIG`, also `RTMIN+n` and `RTMAX-n`. `None` for anything else.
pub fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Some(*number);
    }
    match nix::sys::signal::Signal::from_str(&name) {
        Ok(signal) => Some(signal as i32),
        Err(_) => real_time(&name),
    }
}

/// What the C library calls `signal`, in lower case, such as `bad system call`; for people only.
pub fn describe(signal: i32) -> String {
    // SAFETY: takes a number, any of them, and gives a C string.
    let text = unsafe { libc::strsignal(signal) };
    if text.is_null() {
        return "unknown signal".to_owned();
    }
    // SAFETY: not null, so a C string; for the numbers without a text it is changed by the next call, which no other
    // thread can make, as we have none.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().to_ascii_lowercase()
}

/// `SIGRTMIN`, `SIGRTMIN+n`, `SIGRTMAX`, `SIGRTMAX-n`, counted as the C library does (it keeps two for itself).
fn real_time(name: &str) -> Option<i32> {
    let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let number = if let Some(rest) = name.strip_prefix("SIGRTMIN") {
        first + distance(rest, '+')?
    } else {
        last - distance(name.strip_prefix("SIGRTMAX")?, '-')?
    };
    (first..=last).contains(&number).then_some(number)
}

fn distance(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let digits = text.strip_prefix(sign)?;
    // The first character is looked at because parse() would take a second sign.
    if digits.starts_with(|c: char| c.is_ascii_digit()) { digits.parse::<u8>().ok().map(i32::from) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<i32>) {
        assert_eq!(number(text), expected, "{text:?}");
    }

    #[test]
    fn names_and_numbers() {
        check("9", Some(9));
        check("0", Some(0));
        check("-9", Some(-9));
        check("1234", Some(1234));
        check("KILL", Some(9));
        check("sigkill", Some(9));
        check("SigTerm", Some(15));
        check("IOT", Some(6));
        check("CLD", Some(17));
        check("SIGRTMIN", Some(34));
        check("RTMIN+3", Some(37));
        check("rtmax-1", Some(63));
        check("SIGRTMAX", Some(64));
    }

    #[test]
    fn descriptions() {
        assert_eq!(describe(9), "killed");
        assert_eq!(describe(31), "bad system call");
        assert_eq!(describe(-1), "unknown signal -1");
    }

    #[test]
    fn nonsense() {
        check("", None);
        check("BOGUS", None);
        check("SIG", None);
        check("SIGRTMIN+31", None);
        check("SIGRTMIN-1", None);
        check("SIGRTMAX-31", None);
        check("RTMIN++1", None);
        check("9x", None);
    }
}
