//! Counts against their limits: what continuous integration fails on.

use crate::Done;
use crate::results::Results;
use serde::Deserialize;
use std::collections::BTreeMap;

/// benches/limits.json.
#[derive(Debug, Deserialize)]
struct Limits {
    /// By how much more of a quantity there may be where the binary has this C library in place of musl.
    glibc: BTreeMap<String, f64>,
    /// The limits by names: see [`value`].
    #[serde(flatten)]
    counts: BTreeMap<String, f64>,
}

impl Limits {
    /// The limits for the binary with `library`.
    fn with(text: &str, library: &str) -> Done<BTreeMap<String, f64>> {
        let Self { glibc, mut counts } = serde_json::from_str(text)?;
        if library == "glibc" {
            for (name, limit) in &mut counts {
                *limit += name.rsplit(' ').next().and_then(|quantity| glibc.get(quantity)).unwrap_or(&0.0);
            }
            println!("gate: WARNING: this binary has glibc, not musl: the limits are those with {glibc:?} more");
        } else if library != "musl" {
            return Err(format!("no limits are known with the C library {library}").into());
        }
        Ok(counts)
    }
}

/// Prints each count beside its limit for the binary with that C library.
///
/// # Errors
/// Names each count that is above its limit or was not taken.
pub fn judge(results: &Results, limits: &str, library: &str) -> Done<()> {
    let limits = Limits::with(limits, library)?;
    println!("| count | measured | limit |\n|---|---:|---:|");
    for (name, limit) in &limits {
        let value = value(results, name)?.map_or("not counted".into(), |value| value.to_string());
        println!("| {name} | {value} | {limit} |");
    }
    for remark in &results.remarks {
        println!("gate: WARNING: {remark}");
    }
    let wrong = failures(results, &limits)?;
    if wrong.is_empty() {
        return Ok(());
    }
    let advice = "do less, or raise the limit in benches/limits.json and say why in the commit";
    Err(format!("{}: {advice}", wrong.join("; ")).into())
}

/// The count that a limit names: `COMMAND CONFIG QUANTITY`, or `binary bytes`.
fn value(results: &Results, name: &str) -> Done<Option<f64>> {
    match name.split(' ').collect::<Vec<_>>()[..] {
        [what, config, quantity] => Ok(results.find(what, config, quantity, "onggi")),
        [what, quantity] => Ok(results.find(what, "", quantity, "onggi")),
        _ => Err(format!("{name:?} in limits.json: want COMMAND CONFIG QUANTITY").into()),
    }
}

/// What is above its limit, or was not counted for no known reason.
fn failures(results: &Results, limits: &BTreeMap<String, f64>) -> Done<Vec<String>> {
    let mut wrong = Vec::new();
    for (name, limit) in limits {
        match value(results, name)? {
            Some(value) if value > *limit => wrong.push(format!("{name}: {value}, the limit is {limit}")),
            Some(_) => {}
            // Said above.
            None if name.ends_with("grace_periods") && !results.remarks.is_empty() => {}
            None => wrong.push(format!("{name}: not counted")),
        }
    }
    Ok(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::results::Measure;

    fn check(remarks: &[&str], expected: &[&str]) {
        let measure = |what: &str, config: &str, quantity: &str, value: f64| Measure {
            what: what.into(),
            config: config.into(),
            quantity: quantity.into(),
            runtime: "onggi".into(),
            value,
            quartiles: (value, value),
        };
        let results = Results {
            remarks: remarks.iter().map(|&it| it.into()).collect(),
            measures: vec![measure("run", "spec", "system_calls", 300.0), measure("binary", "", "bytes", 7.0)],
            ..Results::default()
        };
        let limits = r#"{"run spec system_calls": 299, "run spec normal_grace_periods": 0, "binary bytes": 7}"#;
        assert_eq!(failures(&results, &serde_json::from_str(limits).unwrap()).unwrap(), expected);
    }

    #[test]
    fn each_library_has_its_limits() {
        let text = r#"{"glibc": {"system_calls": 5}, "run spec system_calls": 299, "run spec forks": 1}"#;
        let with = |library: &str| Limits::with(text, library).map(|limits| limits.into_values().collect::<Vec<_>>());
        assert_eq!(with("musl").unwrap(), [1.0, 299.0]);
        assert_eq!(with("glibc").unwrap(), [1.0, 304.0]);
        assert!(with("").is_err());
    }

    #[test]
    fn above_the_limit_and_not_counted() {
        let above = "run spec system_calls: 300, the limit is 299";
        check(&[], &["run spec normal_grace_periods: not counted", above]);
        check(&["no trace"], &[above]);
        assert!(failures(&Results::default(), &BTreeMap::from([("x".to_owned(), 1.0)])).is_err());
    }
}
