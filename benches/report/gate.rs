//! Counts against their limits: what continuous integration fails on.

use crate::Done;
use crate::results::Results;
use std::collections::BTreeMap;

/// Prints each count beside its limit.
///
/// # Errors
/// Names each count that is above its limit or was not taken.
pub fn judge(results: &Results, limits: &str) -> Done<()> {
    let limits: BTreeMap<String, f64> = serde_json::from_str(limits)?;
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
    fn above_the_limit_and_not_counted() {
        let above = "run spec system_calls: 300, the limit is 299";
        check(&[], &["run spec normal_grace_periods: not counted", above]);
        check(&["no trace"], &[above]);
        assert!(failures(&Results::default(), &BTreeMap::from([("x".to_owned(), 1.0)])).is_err());
    }
}
