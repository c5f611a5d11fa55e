//! The tables, as Markdown.

use crate::results::Results;
use crate::targets::{Against, TARGETS, Target, Verdict, crun};
use std::fmt::Write as _;

/// Columns, in this order; those without numbers are left out.
const RUNTIMES: [&str; 8] =
    ["floor", "onggi", "onggi-readonly", "onggi-memfd", "crun", "runc", "current_runc", "current_youki"];

/// A quantity in words, and its digits behind the point.
fn words(quantity: &str) -> (&str, usize) {
    match quantity {
        "cpu_ms" => ("CPU ms", 2),
        "wall_ms" => ("wall ms", 2),
        "per_second" => ("containers a second", 0),
        "page_faults" | "least_page_faults" => ("page faults", 0),
        "system_calls" => ("system calls", 0),
        "normal_grace_periods" => ("normal grace periods", 0),
        "expedited_grace_periods" => ("expedited grace periods", 0),
        "peak_rss_kib" => ("peak RSS, KiB", 0),
        "rss_kib" => ("RSS, KiB", 0),
        "cgroup_kib" => ("memory of its cgroup, KiB", 0),
        "kib" => ("lowest memory.max, KiB", 0),
        "private_kib" => ("of it private, KiB", 0),
        other => (other, 0),
    }
}

/// A config in words.
fn config_words(config: &str) -> String {
    match config {
        "docker" => "Docker-like".into(),
        "host" => "host cgroup namespace".into(),
        "vm-cgroupfs" => "cgroupfs driver".into(),
        "vm-systemd" => "systemd driver".into(),
        other => other.replace("masks-", "masked paths: ").replace("binds-", "bind mounts: "),
    }
}

/// One row for each measure that `wanted` picks, one column for each runtime that has one of them.
fn table(results: &Results, wanted: impl Fn(&str, &str, &str) -> bool) -> String {
    let mut rows: Vec<(&str, &str, &str)> = Vec::new();
    for it in &results.measures {
        let key = (&*it.what, &*it.config, &*it.quantity);
        if wanted(key.0, key.1, key.2) && !rows.contains(&key) {
            rows.push(key);
        }
    }
    let has = |runtime: &&str| rows.iter().any(|row| results.find(row.0, row.1, row.2, runtime).is_some());
    let columns: Vec<&str> = RUNTIMES.into_iter().filter(has).collect();
    let titles: Vec<String> = columns.iter().map(|it| it.replace("current_", "current ")).collect();
    let mut text = format!("| | | {} |\n|---|---|{}\n", titles.join(" | "), "---:|".repeat(columns.len()));
    for (what, config, quantity) in rows {
        let (quantity_words, digits) = words(quantity);
        let what_words = if config.is_empty() { what.into() } else { format!("{what}, {}", config_words(config)) };
        let _ = write!(text, "| {what_words} | {quantity_words} |");
        for runtime in &columns {
            match results.find(what, config, quantity, runtime) {
                Some(value) => {
                    let _ = write!(text, " {value:.digits$} |");
                }
                None => text.push_str(" |"),
            }
        }
        text.push('\n');
    }
    text
}

/// CPU and wall times of the commands.
pub fn times(results: &Results) -> String {
    table(results, |what, config, quantity| {
        matches!(quantity, "cpu_ms" | "wall_ms") && !config.contains('-') && !what.contains("-mounts")
    })
}

/// Containers a second.
pub fn throughput(results: &Results) -> String {
    table(results, |_, _, quantity| quantity == "per_second")
}

/// What noise can't move.
pub fn counts(results: &Results) -> String {
    const COUNTS: [&str; 7] = [
        "system_calls",
        "forks",
        "execs",
        "least_page_faults",
        "normal_grace_periods",
        "expedited_grace_periods",
        "bytes",
    ];
    table(results, |_, config, quantity| COUNTS.contains(&quantity) && !config.starts_with("vm-"))
}

/// The same in the test machine, and what that is.
pub fn drivers(results: &Results) -> String {
    let counts = table(results, |_, config, quantity| config.starts_with("vm-") && !quantity.ends_with("kib"));
    format!("{}.\n\n{counts}", results.test_machine.join(", "))
}

/// Memory of the runtime and of a created container.
pub fn memory(results: &Results) -> String {
    table(results, |_, _, quantity| quantity.ends_with("kib"))
}

/// `run` with many host mounts, masked paths and bind mounts.
pub fn growth(results: &Results) -> String {
    table(results, |what, config, quantity| {
        matches!(quantity, "cpu_ms" | "wall_ms") && (config.contains('-') || what.contains("-mounts"))
    })
}

/// The targets with their verdicts.
pub fn targets(results: &Results) -> String {
    targets_among(results, TARGETS)
}

/// The same of those that were measured.
pub fn measured_targets(results: &Results) -> String {
    let measured: Vec<Target> = TARGETS.iter().filter(|it| it.value(results).is_some()).copied().collect();
    targets_among(results, &measured)
}

fn targets_among(results: &Results, targets: &[Target]) -> String {
    let mut text = "| | measured | of | target | stretch | |\n|---|---:|---|---:|---:|---|\n".to_owned();
    for target in targets {
        let number = |value: f64| number(target, value);
        let sign = if target.more { ">=" } else { "<=" };
        let against = match target.against {
            Against::Floor => "the floor",
            Against::Crun => crun(results),
            Against::Own(_) => "without",
            Against::Nothing => "",
        };
        let value = target.value(results);
        let verdict = match (target.verdict(results), value, target.stretch) {
            (Verdict::Met, Some(value), Some(stretch)) if target.reaches(value, stretch) => "met, and the stretch",
            (Verdict::Met, ..) => "met",
            (Verdict::Missed, ..) => "**missed**",
            (Verdict::NotMeasured, ..) => "not measured",
        };
        let _ = writeln!(
            text,
            "| {} | {} | {against} | {sign} {} | {} | {verdict} |",
            target.title,
            value.map_or_else(String::new, number),
            number(target.limit),
            target.stretch.map_or_else(String::new, number),
        );
    }
    text
}

fn number(target: &Target, value: f64) -> String {
    let digits = if target.against == Against::Nothing { 0 } else { 2 };
    format!("{value:.digits$}")
}

/// The few lines of the README.
pub fn short(results: &Results) -> String {
    let rows = [
        ("run", "spec"),
        ("run", "docker"),
        ("lifecycle", "spec"),
        ("lifecycle", "docker"),
        ("exec", "spec"),
        ("exec", "docker"),
    ];
    let mut text = "| wall ms | onggi | crun | runc |\n|---|---:|---:|---:|\n".to_owned();
    for (what, config) in rows {
        let title = what.replace("lifecycle", "create + start + delete");
        let _ = write!(text, "| {title}, {} |", config_words(config));
        for runtime in ["onggi", "crun", "runc"] {
            let value = results.find(what, config, "wall_ms", runtime);
            let _ = write!(text, " {} |", value.map_or_else(String::new, |value| format!("{value:.1}")));
        }
        text.push('\n');
    }
    text
}

/// The machine and the versions, in a sentence.
pub fn machine(results: &Results) -> String {
    let of = |name: &str| results.machine.get(name).map_or("unknown", String::as_str);
    let versions: Vec<&str> = results.versions.values().map(String::as_str).collect();
    let remarks: String = results.remarks.iter().map(|it| format!(" {it}.")).collect();
    format!(
        "{}: {} processors ({}), {}, {}; {}. Medians of {} interleaved rounds.{remarks}\n",
        of("kind"),
        of("processors"),
        of("processor"),
        of("memory"),
        of("kernel"),
        versions.join(", "),
        results.rounds,
    )
}
