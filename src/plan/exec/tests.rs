//! What flags, files and the container's config make of the process, field by field.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::idmap::IdMap;
use crate::process::affinity::Affinity;
use crate::process::tests::host;
use serde_json::{Map, Value, json};

/// A process block that says something of everything.
fn own() -> Value {
    json!({
        "args": ["/bin/init"], "terminal": true, "cwd": "/srv", "env": ["A=1", "B=2"],
        "user": {"uid": 1, "gid": 2, "umask": 7, "additionalGids": [3]},
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 9, "soft": 8}],
        "noNewPrivileges": true, "apparmorProfile": "theirs", "selinuxLabel": "a:b:c:s0", "oomScoreAdj": 5,
        "scheduler": {"policy": "SCHED_BATCH", "nice": 1},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "0", "final": "0"},
    })
}

fn process(block: &Value) -> Process {
    serde_json::from_value(block.clone()).unwrap()
}

/// The keys in which `process` differs from `base`, with its own values.
fn differences(base: &Process, process: &Process) -> Value {
    let object = |process| serde_json::to_value(process).unwrap().as_object().unwrap().clone();
    let (base, mut now) = (object(base), object(process));
    let gone = base.keys().filter(|key| !now.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let gone: Map<_, _> = gone.collect();
    now.retain(|key, value| base.get(key) != Some(value));
    now.extend(gone);
    now.into()
}

fn change(set: impl FnOnce(&mut Changes)) -> Changes {
    let mut changes = Changes { args: vec!["true".to_owned()], ..Changes::default() };
    set(&mut changes);
    changes
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

fn check_flags(set: impl FnOnce(&mut Changes), expected: &Value) {
    let (base, mut warnings) = (process(&own()), Vec::new());
    let mut plain = base.clone();
    plain.set_args(Some(texts(&["true"]))).set_terminal(Some(false));
    let changed = changed(base, &change(set), &mut warnings).unwrap();
    assert_eq!(&differences(&plain, &changed), expected);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn flags_change_the_containers_process() {
    check_flags(|_| (), &json!({}));
    check_flags(|it| it.args = texts(&["ls", ""]), &json!({"args": ["ls", ""]}));
    check_flags(|it| it.terminal = true, &json!({"terminal": true}));
    check_flags(|it| it.cwd = Some("/x".into()), &json!({"cwd": "/x"}));
    // Which of two counts is decided where all variables are.
    check_flags(|it| it.env = texts(&["B=3", "C=x,y"]), &json!({"env": ["A=1", "B=2", "B=3", "C=x,y"]}));
    let user = |uid: u32, gid: u32, groups: &[u32]| json!({"user": {"uid": uid, "gid": gid, "umask": 7, "additionalGids": groups}});
    check_flags(|it| it.user = Some("5".to_owned()), &user(5, 2, &[3]));
    check_flags(|it| it.user = Some("5:6".to_owned()), &user(5, 6, &[3]));
    check_flags(|it| it.additional_gids = vec![7, 3], &user(1, 2, &[3, 7, 3]));
    check_flags(|it| it.no_new_privileges = Some(false), &json!({"noNewPrivileges": false}));
    check_flags(|it| it.apparmor = Some("mine".to_owned()), &json!({"apparmorProfile": "mine"}));
    check_flags(|it| it.selinux = Some("d:e:f:s0".to_owned()), &json!({"selinuxLabel": "d:e:f:s0"}));
}

fn check_refused(set: impl FnOnce(&mut Changes), expected: &str) {
    let error = changed(process(&own()), &change(set), &mut Vec::new()).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidArgument, expected));
}

#[test]
fn flags_that_are_refused() {
    check_refused(|it| it.args.clear(), "exec args cannot be empty");
    for user in ["", "root", "-1", "4294967296", "1.5", " 1", ":5"] {
        let uid = user.split(':').next().unwrap();
        let expected = format!("bad uid: {uid:?}: --user takes numbers, as UID:GID");
        check_refused(|it| it.user = Some(user.to_owned()), &expected);
    }
    for gid in ["", "wheel", "-1", "1:2"] {
        let expected = format!("bad gid: {gid:?}: --user takes numbers, as UID:GID");
        check_refused(|it| it.user = Some(format!("5:{gid}")), &expected);
    }
    for gid in [-1, i64::from(u32::MAX) + 1] {
        let expected = format!("additional-gids must be a positive number {gid}");
        check_refused(|it| it.additional_gids = vec![1, gid], &expected);
    }
    for variable in ["NAME", "=value"] {
        let error = changed(process(&own()), &change(|it| it.env = texts(&["C=1", variable])), &mut Vec::new());
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(&format!("--env {variable}: ")), "{error}");
    }
}

fn check_capabilities(block: &Value, added: &[&str], expected: &Value) {
    let mut process = process(&json!({"cwd": "/", "user": {"uid": 0, "gid": 0}, "capabilities": block}));
    let mut warnings = Vec::new();
    add_capabilities(&mut process, &texts(added), &mut warnings);
    let mut sets = serde_json::to_value(process.capabilities()).unwrap();
    for set in sets.as_object_mut().into_iter().flat_map(Map::values_mut) {
        set.as_array_mut().into_iter().for_each(|names| names.sort_by_key(Value::to_string));
    }
    assert_eq!(&sets, expected, "{block} with {added:?}");
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// CVE-2022-29162: never the inheritable set.
#[test]
fn capabilities_are_added() {
    let three = |names: Value| json!({"bounding": names, "effective": names, "permitted": names});
    check_capabilities(&Value::Null, &[], &Value::Null);
    check_capabilities(&Value::Null, &["CAP_KILL"], &three(json!(["CAP_KILL"])));
    check_capabilities(&three(json!(["CAP_FOWNER"])), &["CAP_KILL"], &three(json!(["CAP_FOWNER", "CAP_KILL"])));
    check_capabilities(&three(json!(["CAP_KILL"])), &["CAP_KILL", "CAP_KILL"], &three(json!(["CAP_KILL"])));
    let mut five = three(json!([]));
    five["inheritable"] = json!([]);
    let mut expected = three(json!(["CAP_KILL"]));
    (expected["inheritable"], expected["ambient"]) = (json!([]), json!(["CAP_KILL"]));
    check_capabilities(&five, &["CAP_KILL"], &expected);
    (five["inheritable"], five["ambient"]) = (json!(["CAP_FOWNER"]), json!(["CAP_FOWNER"]));
    expected["inheritable"] = json!(["CAP_FOWNER"]);
    expected["ambient"] = json!(["CAP_FOWNER", "CAP_KILL"]);
    check_capabilities(&five, &["CAP_KILL"], &expected);

    let mut warnings = Vec::new();
    add_capabilities(&mut process(&own()), &texts(&["CAP_X", "CAP_KILL", "y"]), &mut warnings);
    assert_eq!(warnings, ["ignoring unknown or unavailable capabilities: [CAP_X y]"]);
}

/// What a block of its own says, or leaves out, of each field.
#[test]
fn a_block_is_completed_from_the_container() {
    let container = process(&own());
    let bare = json!({"args": ["x"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
    let filled = |key: &str| container_value(&container, key);
    let mut expected: Map<String, Value> =
        ["capabilities", "rlimits", "apparmorProfile", "selinuxLabel", "oomScoreAdj", "scheduler", "ioPriority"]
            .into_iter()
            .chain(["execCPUAffinity"])
            .map(|key| (key.to_owned(), filled(key)))
            .collect();
    expected.insert("user".to_owned(), json!({"uid": 0, "gid": 0, "umask": 7}));
    let check = |block: &Value, expected: &Map<String, Value>| {
        let block = process(block);
        assert_eq!(differences(&block, &completed(block.clone(), &container)), Value::Object(expected.clone()));
    };
    check(&bare, &expected);
    // As good as left out.
    for (key, empty) in [("rlimits", json!([])), ("apparmorProfile", json!("")), ("selinuxLabel", json!(""))] {
        let mut block = bare.clone();
        block[key] = empty;
        check(&block, &expected);
    }
    // What is there stays, if it is less than the container's.
    let mut user = bare["user"].clone();
    user["umask"] = json!(0);
    for (key, value) in [
        ("capabilities", json!({})),
        ("rlimits", json!([{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}])),
        ("apparmorProfile", json!("mine")),
        ("selinuxLabel", json!("d:e:f:s0")),
        ("oomScoreAdj", json!(0)),
        ("scheduler", json!({"policy": "SCHED_OTHER"})),
        ("ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0})),
        ("execCPUAffinity", json!({"initial": "1"})),
        ("user", user),
    ] {
        let (mut block, mut expected) = (bare.clone(), expected.clone());
        block[key] = value;
        expected.remove(key);
        check(&block, &expected);
    }
}

fn container_value(container: &Process, key: &str) -> Value {
    serde_json::to_value(container).unwrap()[key].clone()
}

/// What [`plan`] makes of `container`, a config.json; `set` changes the rest of its input.
fn planned(container: &Value, file: Option<&Value>, target: &Target, set: impl FnOnce(&mut Input<'_>)) -> Result<Plan> {
    planned_with(&change(|_| ()), container, file, target, set)
}

fn planned_with(
    changes: &Changes,
    container: &Value,
    file: Option<&Value>,
    target: &Target,
    set: impl FnOnce(&mut Input<'_>),
) -> Result<Plan> {
    let host = host();
    let file = file.map(process);
    let mut input = Input {
        container: &serde_json::from_value(container.clone()).unwrap(),
        file: file.as_ref().map(|file| (file, "/tmp/p.json")),
        changes,
        host: &host,
        id: &ContainerId::parse("c1").unwrap(),
        target,
        keyring: true,
        inherited: Inherited::default(),
        detached: false,
        console_socket: false,
    };
    set(&mut input);
    plan(&input)
}

/// A config.json without labels, which this host has no module for.
fn config() -> Value {
    let mut process = own();
    for key in ["apparmorProfile", "selinuxLabel"] {
        process.as_object_mut().unwrap().remove(key);
    }
    json!({"ociVersion": "1.0.0", "process": process})
}

#[test]
fn plans() {
    let here = Target::default();
    let plan = planned(&config(), None, &here, |_| ()).unwrap();
    assert_eq!((plan.process.identity.uid, plan.process.identity.umask), (1, 7));
    assert!(plan.process.no_new_privileges && plan.process.keyring.is_some() && plan.process.terminal.is_none());
    assert!(plan.seccomp.is_none() && plan.warnings.is_empty());
    assert!(plan.affinities.initial.is_some() && matches!(plan.affinities.last, Affinity::Only(_)));
    assert!(planned(&config(), None, &here, |input| input.keyring = false).unwrap().process.keyring.is_none());

    // Of the file alone: privileges, groups, environment. Of the container alone: filter and personality.
    let mut container = config();
    container["linux"] = json!({"seccomp": {"defaultAction": "SCMP_ACT_LOG"}, "personality": {"domain": "LINUX32"}});
    let file = json!({"args": ["x"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
    let plan = planned(&container, Some(&file), &here, |_| ()).unwrap();
    assert!(plan.seccomp.is_some() && format!("{:?}", plan.process.scheduling).contains("personality: Some("));
    assert!(!plan.process.no_new_privileges);
    assert_eq!(plan.process.identity.groups, Some(Vec::new()));
    assert_eq!(plan.process.environment.variables(), [] as [&str; 0]);
}

#[test]
fn refusals() {
    let here = Target::default();
    let check = |container: &Value, file: Option<&Value>, target: &Target, expected: &str| {
        let error = planned(container, file, target, |_| ()).unwrap_err().to_string();
        assert_eq!(error, expected);
    };
    let bare = json!({"ociVersion": "1.0.0"});
    check(&bare, None, &here, "config.json: process: is not set: give the whole process with --process FILE");
    assert!(planned(&bare, Some(&config()["process"]), &here, |_| ()).is_ok());
    let mut file = own();
    file["cwd"] = json!("srv");
    let said = "--process /tmp/p.json: process.cwd: ";
    let error = planned(&config(), Some(&file), &here, |_| ()).unwrap_err().to_string();
    assert!(error.starts_with(said), "{error}");
    // Only the ids that the container's user namespace has.
    let mapped = |first| {
        let map = vec![IdMap { container: first, host: 100_000, size: 5 }];
        Target { kinds: CloneFlags::USER, uid_map: map.clone(), gid_map: map }
    };
    assert!(planned(&config(), None, &mapped(0), |_| ()).is_ok());
    let unmapped = "process.user.uid: cannot setuid to unmapped uid 1 in user namespace";
    check(&config(), None, &mapped(10), unmapped);
}

#[test]
fn terminals() {
    let here = Target::default();
    let check = |terminal: bool, detached: bool, socket: bool, expected: Option<&str>| {
        let changes = change(|it| it.terminal = terminal);
        let planned = planned_with(&changes, &config(), None, &here, |input| {
            (input.detached, input.console_socket) = (detached, socket);
        });
        let told = planned.err().map(|error| error.to_string());
        assert_eq!(told.is_some(), expected.is_some(), "{terminal} {detached} {socket}: {told:?}");
        assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()));
    };
    check(false, false, false, None);
    check(false, true, false, None);
    check(true, false, false, None);
    check(true, true, true, None);
    check(true, true, false, Some("process.terminal"));
    check(true, false, true, Some("console socket"));
    check(false, true, true, Some("console socket"));
}

/// Where the root of the mount namespace is not the container's.
#[test]
fn roots() {
    let check = |namespaces: Value, kinds: CloneFlags, inner: bool| {
        let mut container = config();
        container["linux"] = json!({"namespaces": namespaces});
        let target = Target { kinds, ..Target::default() };
        let plan = planned(&container, None, &target, |_| ()).unwrap();
        assert_eq!(plan.inner_root, inner, "{container}");
    };
    check(json!([{"type": "mount"}]), CloneFlags::MOUNT, false);
    check(json!([{"type": "mount", "path": ""}]), CloneFlags::MOUNT, false);
    check(json!([{"type": "mount", "path": "/proc/9/ns/mnt"}]), CloneFlags::MOUNT, true);
    check(json!([{"type": "pid", "path": "/proc/9/ns/pid"}]), CloneFlags::MOUNT.with(CloneFlags::PID), true);
    check(json!([]), CloneFlags::default(), true);
}
