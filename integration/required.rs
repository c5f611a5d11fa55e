//! Every property of config.json that the specification calls REQUIRED: without it the container is refused by the
//! field's name; or, as engines know it from runc, a number that is missing is zero, and a truth value false.

use crate::harness::{Bundle, is_peer};
use serde_json::{Value, json};

/// Where an object goes, an object that is right, and the keys that it must have.
type Row<'a> = (&'a str, Value, &'a [&'a str]);

fn table() -> Vec<Row<'static>> {
    let rule = json!({"names": ["getcwd"], "action": "SCMP_ACT_ALLOW"});
    let argument = json!({"index": 0, "value": 1, "op": "SCMP_CMP_EQ"});
    let filter = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    vec![
        ("", Value::Null, &["root"]),
        ("/root", Value::Null, &["path"]),
        ("/mounts/0", Value::Null, &["destination"]),
        ("/process", Value::Null, &["cwd", "args"]),
        ("/process/rlimits/0", json!({"type": "RLIMIT_CORE", "soft": 0, "hard": 0}), &["type"]),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER"}), &["policy"]),
        ("/hooks/poststop/0", json!({"path": "/bin/true"}), &["path"]),
        ("/linux/namespaces/0", Value::Null, &["type"]),
        ("/linux/devices/0", json!({"type": "p", "path": "/dev/x"}), &["type", "path"]),
        ("/linux/resources/hugepageLimits/0", json!({"pageSize": "2MB", "limit": 0}), &["pageSize"]),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_LOCAL"}), &["mode"]),
        ("/linux/personality", json!({"domain": "LINUX"}), &["domain"]),
        ("/linux/seccomp", filter(rule.clone()), &["defaultAction"]),
        ("/linux/seccomp/syscalls/0", rule, &["names", "action"]),
        ("/linux/seccomp/syscalls/0/args/0", argument, &["index", "value", "op"]),
    ]
}

/// Puts `value` at `pointer`, in lists and objects that may have to be made.
fn put(bundle: &mut Bundle, pointer: &str, value: Value) {
    let mut at = &mut bundle.config;
    for name in pointer.split('/').skip(1) {
        if at.is_null() {
            *at = if name == "0" { json!([null]) } else { json!({}) };
        }
        at = match at {
            Value::Array(list) => &mut list[0],
            object => &mut object[name],
        };
    }
    *at = value;
}

#[test]
fn every_required_property() {
    let mut wrong = Vec::new();
    for (pointer, object, keys) in table() {
        for key in keys {
            let mut bundle = Bundle::new();
            bundle.args(&["/bin/true"]);
            if pointer.starts_with("/linux/seccomp/") {
                put(&mut bundle, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}));
                let rule = json!({"names": ["getcwd"], "action": "SCMP_ACT_ALLOW"});
                put(&mut bundle, "/linux/seccomp/syscalls/0", rule);
            }
            if !object.is_null() {
                put(&mut bundle, pointer, object.clone());
            }
            let whole = bundle.config.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            assert!(whole.remove(*key).is_some(), "{pointer}/{key}");
            let done = bundle.run();
            let is_refused = done.status.code() == Some(1) && (done.stderr.contains(key) || is_peer());
            if !is_refused {
                wrong.push(format!("{pointer}/{key}: {done}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn numbers_that_are_missing_are_zero() {
    let mut bundle = Bundle::new();
    bundle.set("/process/user", json!({})).set("/process/rlimits", json!([{"type": "RLIMIT_CORE"}]));
    bundle.set("/linux/resources/devices", json!([{"access": "rwm"}]));
    bundle.unset("/ociVersion");
    let seen = bundle.report();
    assert_eq!((seen.numbers("Uid"), seen.numbers("Gid")), (vec![0; 4], vec![0; 4]));
    assert_eq!(seen.json["limits"]["Max core file size"], json!(["0", "0"]));
    // A map of nothing is none.
    for (field, key) in [("uidMappings", "size"), ("gidMappings", "size")] {
        let mut bundle = Bundle::new();
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 10}]);
        bundle.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        bundle.unset(&format!("/linux/{field}/0/{key}")).args(&["/bin/true"]);
        bundle.run().exits(1).says(field);
    }
}
