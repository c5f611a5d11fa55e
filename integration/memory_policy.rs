//! `linux.memoryPolicy`.

use crate::harness::{Bundle, Snapshot, skip};
use serde_json::{Value, json};
use std::path::Path;

/// A bundle with the policy, or `None` where the kernel has no nodes of memory.
fn bundle(what: &str, policy: Value) -> Option<Bundle> {
    if !Path::new("/proc/self/numa_maps").exists() {
        skip(what, "the kernel has no memory policies");
        return None;
    }
    let mut bundle = Bundle::new();
    bundle.set("/linux/memoryPolicy", policy);
    Some(bundle)
}

/// What proc(5) shows for memory that has no policy but the process's own.
const SHOW: [&str; 2] = ["head", "-n1"];

/// The program has the policy, whose name is what proc(5) begins with, and maybe flags and nodes.
pub fn check(policy: &Value, name: &str) {
    let Some(mut bundle) = bundle("memory_policy", policy.clone()) else { return };
    bundle.args(&[SHOW[0], SHOW[1], "/proc/self/numa_maps"]);
    let done = bundle.run();
    if done.stderr.contains("or too old a kernel") {
        return skip("memory_policy", &format!("the kernel doesn't know {policy}"));
    }
    let shown = done.ok().stdout;
    assert!(shown.contains(&format!(" {name}")), "{policy} is not {name}: {shown}");
}

#[test]
fn a_process_that_joins_has_it_too() {
    let Some(mut bundle) = bundle("memory_policy", json!({"mode": "MPOL_BIND", "nodes": "0"})) else { return };
    bundle.asleep();
    let shown = bundle.exec(&[], &[SHOW[0], SHOW[1], "/proc/self/numa_maps"]).ok().stdout;
    assert!(shown.contains(" bind:0 "), "{shown}");
}

#[test]
fn what_cannot_be_had_is_refused_and_leaves_nothing() {
    let cases = [
        (json!({}), "linux.memoryPolicy.mode"),
        (json!({"mode": "MPOL_FOO"}), "linux.memoryPolicy.mode"),
        (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_FOO"]}), "linux.memoryPolicy.flags"),
        (json!({"mode": "MPOL_BIND", "nodes": "a"}), "linux.memoryPolicy.nodes: invalid memory policy node"),
        (json!({"mode": "MPOL_DEFAULT", "nodes": "0"}), "mode requires 0 nodes but got 1"),
        // There is no such node; only the kernel knows.
        (json!({"mode": "MPOL_BIND", "nodes": "1000"}), "linux.memoryPolicy"),
    ];
    for (policy, says) in cases {
        let Some(mut bundle) = bundle("memory_policy", policy) else { return };
        bundle.args(&["/bin/true"]);
        let before = Snapshot::of(&bundle);
        bundle.run().exits(1).says(says);
        before.assert_unchanged(&bundle);
    }
}
