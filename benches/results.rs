//! What `make bench` measured, as docs/performance/results.json holds it: written by `compare`, read by `report`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One run of the benches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Where it was measured: processor, kernel and the like.
    pub machine: BTreeMap<String, String>,
    /// The version of each runtime, in its own words.
    pub versions: BTreeMap<String, String>,
    /// How often each runtime ran for a time of `run` and `exec`.
    pub rounds: usize,
    /// Why something could not be measured.
    pub remarks: Vec<String>,
    /// The numbers.
    pub measures: Vec<Measure>,
    /// The kernel and the versions in the test machine, where some of the numbers are from.
    #[serde(skip)]
    pub test_machine: Vec<String>,
}

/// One number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The command, or what was done: `run`, `lifecycle`, `throughput-8`.
    pub what: String,
    /// The config: `spec`, `docker`, `host`.
    pub config: String,
    /// What was measured: `wall_ms`, `system_calls`.
    pub quantity: String,
    /// Whose number it is.
    pub runtime: String,
    /// The number; of several the median.
    pub value: f64,
    /// A quarter of them is below the first and above the second. The value itself where there was but one.
    pub quartiles: (f64, f64),
}

impl Results {
    /// As JSON, one measure a line.
    #[allow(dead_code, reason = "`compare` writes")]
    pub fn to_json(&self) -> serde_json::Result<String> {
        let whole = serde_json::to_string_pretty(&Self { measures: Vec::new(), ..self.clone() })?;
        let lines: serde_json::Result<Vec<String>> =
            self.measures.iter().map(|it| serde_json::to_string(it).map(|line| format!("    {line}"))).collect();
        Ok(whole.replace("\"measures\": []", &format!("\"measures\": [\n{}\n  ]", lines?.join(",\n"))) + "\n")
    }

    /// Takes along what was measured in the test machine, with that machine under a name of its own.
    #[allow(dead_code, reason = "`report` reads")]
    pub fn join(&mut self, other: Self) {
        self.remarks.extend(other.remarks.into_iter().map(|remark| format!("in the test machine {remark}")));
        self.measures.extend(other.measures);
        self.test_machine =
            other.machine.get("kernel").cloned().into_iter().chain(other.versions.into_values()).collect();
    }

    /// The value of one measure, if there is one.
    pub fn find(&self, what: &str, config: &str, quantity: &str, runtime: &str) -> Option<f64> {
        let wanted = (what, config, quantity, runtime);
        let named = |it: &&Measure| (&*it.what, &*it.config, &*it.quantity, &*it.runtime) == wanted;
        self.measures.iter().find(named).map(|it| it.value)
    }
}
