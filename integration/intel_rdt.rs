//! `linux.intelRdt`, as far as a machine without a resctrl filesystem can tell; what is done with one is proven by the
//! unit tests of `src/intel_rdt`.

use crate::harness::Moment::Validation;
use crate::harness::{check_refusals, skip};
use serde_json::json;
use std::fs;

/// Whether no resctrl filesystem is mounted here.
fn is_without() -> bool {
    let with = fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - resctrl ");
    if with {
        skip("intel_rdt", "a resctrl filesystem is mounted");
    }
    !with
}

#[test]
fn refused_where_no_resctrl_is_mounted() {
    if !is_without() {
        return;
    }
    let says: &[&str] = &["linux.intelRdt: ", "is not enabled: no resctrl filesystem is mounted"];
    check_refusals(
        |b| b,
        &[
            (|b| b.set("/linux/intelRdt", json!({})), Validation, says),
            (|b| b.set("/linux/intelRdt", json!({"closID": "/"})), Validation, says),
            (|b| b.set("/linux/intelRdt", json!({"schemata": ["L3:0=f"]})), Validation, says),
            (|b| b.set("/linux/intelRdt", json!({"enableMonitoring": true})), Validation, says),
        ],
    );
}

#[test]
fn what_makes_no_sense_is_refused_by_its_field() {
    check_refusals(
        |b| b,
        &[
            (
                |b| b.set("/linux/intelRdt", json!({"closID": "a/b"})),
                Validation,
                &["linux.intelRdt.closID: \"a/b\" is not the name of a group"],
            ),
            (
                |b| b.set("/linux/intelRdt", json!({"memBwSchema": "20"})),
                Validation,
                &["linux.intelRdt.memBwSchema: \"20\" is not a line that starts with \"MB:\""],
            ),
            (
                |b| b.set("/linux/intelRdt", json!({"schemata": ["L3:0=f", "a\nb"]})),
                Validation,
                &["linux.intelRdt.schemata[1]: has a newline"],
            ),
            (|b| b.set("/linux/intelRdt", json!({"schemata": "L3"})), Validation, &["linux.intelRdt.schemata"]),
            (|b| b.set("/linux/intelRdt", json!("L3")), Validation, &["linux.intelRdt"]),
        ],
    );
}
