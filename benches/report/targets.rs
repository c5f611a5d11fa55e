//! What onggi must reach, and whether it does.

use crate::results::Results;

/// What a number is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// The floor's.
    Floor,
    /// crun's: the current one where it was had, else Debian's.
    Crun,
    /// Our own of another measure.
    Own(&'static str),
    /// Nothing: the number itself counts.
    Nothing,
}

/// One line of the targets.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// In words.
    pub title: &'static str,
    /// The measure, as [`Results::find`] has it.
    pub measure: (&'static str, &'static str, &'static str),
    /// What it is compared with.
    pub against: Against,
    /// What must be reached.
    pub limit: f64,
    /// What would be fine.
    pub stretch: Option<f64>,
    /// Whether more is better.
    pub more: bool,
}

/// How a target was met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Reached, the stretch perhaps as well.
    Met,
    /// Measured, and not reached.
    Missed,
    /// There is no such measure.
    NotMeasured,
}

const fn most(
    title: &'static str,
    measure: (&'static str, &'static str, &'static str),
    against: Against,
    limit: f64,
    stretch: Option<f64>,
) -> Target {
    Target { title, measure, against, limit, stretch, more: false }
}

const fn least(
    title: &'static str,
    measure: (&'static str, &'static str, &'static str),
    against: Against,
    limit: f64,
    stretch: Option<f64>,
) -> Target {
    Target { title, measure, against, limit, stretch, more: true }
}

use Against::{Crun, Floor, Nothing, Own};

/// All of them.
pub const TARGETS: &[Target] = &[
    most("run, CPU, spec", ("run", "spec", "cpu_ms"), Floor, 1.2, None),
    most("run, CPU, spec", ("run", "spec", "cpu_ms"), Crun, 0.44, Some(0.36)),
    most("run, CPU, Docker-like", ("run", "docker", "cpu_ms"), Floor, 1.2, None),
    most("run, CPU, Docker-like", ("run", "docker", "cpu_ms"), Crun, 0.39, Some(0.33)),
    most("run, wall, spec", ("run", "spec", "wall_ms"), Floor, 1.2, None),
    most("run, wall, spec", ("run", "spec", "wall_ms"), Crun, 0.50, None),
    most("run, wall, Docker-like", ("run", "docker", "wall_ms"), Floor, 1.2, None),
    most("run, wall, Docker-like", ("run", "docker", "wall_ms"), Crun, 0.45, None),
    most("create + start + delete, wall, spec", ("lifecycle", "spec", "wall_ms"), Floor, 1.3, None),
    most("create + start + delete, wall, spec", ("lifecycle", "spec", "wall_ms"), Crun, 0.40, None),
    most("create + start + delete, wall, Docker-like", ("lifecycle", "docker", "wall_ms"), Floor, 1.3, None),
    most("create + start + delete, wall, Docker-like", ("lifecycle", "docker", "wall_ms"), Crun, 0.40, None),
    most("exec, wall, spec", ("exec", "spec", "wall_ms"), Floor, 1.35, None),
    most("exec, wall, spec", ("exec", "spec", "wall_ms"), Crun, 0.40, Some(0.33)),
    most("exec, wall, Docker-like", ("exec", "docker", "wall_ms"), Floor, 1.35, None),
    most("exec, wall, Docker-like", ("exec", "docker", "wall_ms"), Crun, 0.40, Some(0.33)),
    most("state, CPU", ("state", "spec", "cpu_ms"), Crun, 0.30, None),
    most("kill, CPU", ("kill", "spec", "cpu_ms"), Crun, 0.30, None),
    most("system calls of run, spec", ("run", "spec", "system_calls"), Nothing, 330.0, None),
    most("system calls of run, Docker-like", ("run", "docker", "system_calls"), Nothing, 380.0, None),
    most("system calls of exec, spec", ("exec", "spec", "system_calls"), Nothing, 140.0, None),
    most("page faults of run, spec", ("run", "spec", "least_page_faults"), Nothing, 150.0, None),
    most("page faults of run, Docker-like", ("run", "docker", "least_page_faults"), Nothing, 150.0, None),
    most("normal grace periods of any command", ("any", "any", "normal_grace_periods"), Nothing, 0.0, None),
    most("peak RSS, KiB", ("create", "spec", "peak_rss_kib"), Nothing, 1.8e6 / 1024.0, Some(1.2e6 / 1024.0)),
    most("peak RSS", ("create", "spec", "peak_rss_kib"), Crun, 0.45, None),
    most("binary, bytes", ("binary", "", "bytes"), Nothing, 3e6, Some(1.7e6)),
    least("containers a second, 8 at a time, spec", ("throughput-8", "spec", "per_second"), Floor, 0.82, None),
    least("containers a second, 8 at a time, spec", ("throughput-8", "spec", "per_second"), Crun, 1.9, Some(2.4)),
    least("containers a second, 8 at a time, Docker-like", ("throughput-8", "docker", "per_second"), Floor, 0.82, None),
    least(
        "containers a second, 8 at a time, Docker-like",
        ("throughput-8", "docker", "per_second"),
        Crun,
        1.9,
        Some(2.4),
    ),
    most("lowest memory.max, KiB", ("memory-limit", "spec", "kib"), Nothing, 320.0, Some(200.0)),
    most(
        "run with 400 more host mounts, wall",
        ("run-400-mounts", "spec", "wall_ms"),
        Own("run-few-mounts"),
        1.1,
        None,
    ),
];

/// The crun to compare with.
pub fn crun(results: &Results) -> &'static str {
    if results.versions.contains_key("current_crun") { "current_crun" } else { "crun" }
}

impl Target {
    /// What counts: the number, or its ratio to the other.
    pub fn value(&self, results: &Results) -> Option<f64> {
        let (what, config, quantity) = self.measure;
        let ours = if what == "any" {
            let all = results.measures.iter().filter(|it| it.runtime == "onggi" && it.quantity == quantity);
            all.map(|it| it.value).reduce(f64::max)?
        } else {
            results.find(what, config, quantity, "onggi")?
        };
        let other = match self.against {
            Nothing => return Some(ours),
            Floor => results.find(what, config, quantity, "floor")?,
            Crun => results.find(what, config, quantity, crun(results))?,
            Own(other) => results.find(other, config, quantity, "onggi")?,
        };
        Some(ours / other)
    }

    /// Whether it is met.
    pub fn verdict(&self, results: &Results) -> Verdict {
        match self.value(results) {
            None => Verdict::NotMeasured,
            Some(value) if self.reaches(value, self.limit) => Verdict::Met,
            Some(_) => Verdict::Missed,
        }
    }

    /// Whether `value` is as good as `limit`.
    pub fn reaches(&self, value: f64, limit: f64) -> bool {
        if self.more { value >= limit } else { value <= limit }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::results::Measure;

    fn results(values: &[(&str, &str, f64)]) -> Results {
        let measure = |(what, runtime, value): &(&str, &str, f64)| Measure {
            what: (*what).into(),
            config: "spec".into(),
            quantity: "wall_ms".into(),
            runtime: (*runtime).into(),
            value: *value,
            quartiles: (*value, *value),
        };
        Results { measures: values.iter().map(measure).collect(), ..Results::default() }
    }

    fn check(target: &Target, values: &[(&str, &str, f64)], expected: Verdict) {
        assert_eq!(target.verdict(&results(values)), expected, "{target:?} {values:?}");
    }

    #[test]
    fn verdicts() {
        let floor = most("", ("run", "spec", "wall_ms"), Floor, 1.5, None);
        check(&floor, &[("run", "onggi", 3.0), ("run", "floor", 2.0)], Verdict::Met);
        check(&floor, &[("run", "onggi", 3.1), ("run", "floor", 2.0)], Verdict::Missed);
        check(&floor, &[("run", "onggi", 3.0), ("run", "crun", 2.0)], Verdict::NotMeasured);
        let rate = least("", ("run", "spec", "wall_ms"), Crun, 1.9, None);
        check(&rate, &[("run", "onggi", 2.0), ("run", "crun", 1.0)], Verdict::Met);
        check(&rate, &[("run", "onggi", 1.8), ("run", "crun", 1.0)], Verdict::Missed);
        let own = most("", ("many", "spec", "wall_ms"), Own("few"), 1.1, None);
        check(&own, &[("many", "onggi", 2.0), ("few", "onggi", 1.0)], Verdict::Missed);
        let any = most("", ("any", "any", "wall_ms"), Nothing, 0.0, None);
        check(&any, &[("a", "onggi", 0.0), ("b", "onggi", 1.0)], Verdict::Missed);
        check(&any, &[("a", "onggi", 0.0), ("b", "crun", 1.0)], Verdict::Met);
    }
}
