//! `list`: table, JSON and ids alone.

use crate::harness::{Bundle, Outcome, caller};
use serde_json::json;
use std::fs;

/// Two more ids on the bundle's own state root; with one config.json, so that it may not name the cgroup.
fn two_containers() -> (Bundle, [String; 2]) {
    let mut bundle = Bundle::new();
    bundle.by_hand().args(&["/bin/sleep", "100"]).set("/annotations/k", json!("v"));
    bundle.save();
    let ids = [format!("{}b", bundle.id), format!("{}a", bundle.id)];
    for id in &ids {
        bundle.invoke(&["create", "-b", bundle.path().to_str().unwrap(), id]).run().ok();
    }
    bundle.invoke(&["start", &ids[0]]).run().ok();
    (bundle, ids)
}

fn list(bundle: &Bundle, flags: &[&str]) -> Outcome {
    let mut args = vec!["list"];
    args.extend(flags);
    bundle.onggi(&args)
}

fn clean(bundle: &Bundle, ids: &[String]) {
    for id in ids {
        bundle.onggi(&["delete", "-f", id]).ok();
    }
}

#[test]
fn table() {
    let (bundle, ids) = two_containers();
    let text = list(&bundle, &[]).ok().stdout;
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(rows.len(), 3, "{text}");
    assert_eq!((rows[1][0], rows[1][2]), (ids[1].as_str(), "created"), "sorted by id");
    assert_eq!((rows[2][0], rows[2][2]), (ids[0].as_str(), "running"));
    assert_eq!(rows[1][3], bundle.path().to_str().unwrap());
    assert_eq!(rows[1][5], caller::name());
    let column = text.find("PID").unwrap();
    assert!(text.lines().all(|line| line[..column].ends_with("   ")), "columns are three spaces apart:\n{text}");
    clean(&bundle, &ids);
}

#[test]
fn as_json() {
    let (bundle, ids) = two_containers();
    let done = list(&bundle, &["--format", "json"]).ok();
    assert!(done.stdout.ends_with("]\n") && done.stdout.lines().count() == 1, "one line: {done}");
    let found = done.json();
    assert_eq!(found.as_array().unwrap().len(), 2);
    assert_eq!(
        (&found[0]["id"], &found[0]["status"], &found[0]["owner"]),
        (&json!(ids[1]), &json!("created"), &json!(caller::name()))
    );
    assert_eq!(found[1]["annotations"]["k"], "v");
    clean(&bundle, &ids);
}

#[test]
fn quiet() {
    let (bundle, ids) = two_containers();
    assert_eq!(list(&bundle, &["-q"]).ok().stdout, format!("{}\n{}\n", ids[1], ids[0]));
    clean(&bundle, &ids);
}

#[test]
fn with_nothing_to_list() {
    let bundle = Bundle::new();
    fs::create_dir(bundle.state_root()).unwrap();
    let table = list(&bundle, &[]).ok().stdout;
    assert_eq!(table.split_whitespace().collect::<Vec<_>>(), ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(list(&bundle, &["-f", "json"]).ok().stdout.trim_end(), "null");
    assert_eq!(list(&bundle, &["-q"]).ok().stdout, "");
}

#[test]
fn refuses_a_bad_format_and_a_missing_root() {
    let bundle = Bundle::new();
    list(&bundle, &[]).exits(1).fails();
    fs::create_dir(bundle.state_root()).unwrap();
    list(&bundle, &["--format", "yaml"]).exits(1).says("invalid format option");
}

#[test]
fn goes_on_after_an_entry_it_cannot_load() {
    let (bundle, ids) = two_containers();
    fs::create_dir(bundle.state_root().join("broken")).unwrap();
    fs::write(bundle.state_root().join("broken/state.json"), "{").unwrap();
    let done = list(&bundle, &["-q"]).ok();
    assert!(ids.iter().all(|id| done.stdout.contains(id.as_str())), "{done}");
    done.says("load container broken");
    clean(&bundle, &ids);
}
