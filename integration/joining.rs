//! `linux.namespaces[].path`: the namespaces of another container, in every combination, as the containers of a pod have
//! them.

use crate::harness::{Bundle, Report, caller, is_peer, is_rootless, needs_root, rounds};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Config name and name in `/proc/PID/ns`; a user can't join the first.
const KINDS: [(&str, &str); 7] = [
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("ipc", "ipc"),
    ("network", "net"),
    ("pid", "pid"),
    ("time", "time"),
    ("uts", "uts"),
];

fn kinds() -> &'static [(&'static str, &'static str)] {
    if is_rootless() { &KINDS[1..] } else { &KINDS }
}

/// Has the container a user namespace of its own, as all of a user's have.
fn map(bundle: &mut Bundle) {
    if !is_rootless() {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map).namespace("user", None);
    }
}

/// A container that sleeps in new namespaces of every kind, for others to join.
fn donor(has_user_namespace: bool) -> Bundle {
    let mut bundle = Bundle::new();
    bundle.namespace("time", None).set("/linux/timeOffsets", json!({"boottime": {"secs": 1000}}));
    bundle.set("/hostname", json!("donor"));
    // In a mount namespace of a user namespace procfs can only be mounted where another is in full view.
    bundle.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
    if has_user_namespace {
        map(&mut bundle);
    }
    bundle.asleep();
    bundle
}

fn file(donor: &Bundle, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/ns/{name}", donor.pid()))
}

fn link(donor: &Bundle, name: &str) -> Value {
    json!(fs::read_link(file(donor, name)).unwrap())
}

/// Runs a container for each subset of `kinds`, which are the donor's; the others are new. `prepare` does the rest.
fn check_all(what: &str, donor: &Bundle, kinds: &[(&str, &str)], prepare: impl Fn(&mut Bundle, &[&str])) {
    let mut bundle = Bundle::new();
    let good = bundle.config.clone();
    let subsets = 1_usize << kinds.len();
    let step = subsets.div_ceil(rounds(what, subsets));
    // The last one is all of them.
    for subset in (0..subsets).rev().step_by(step) {
        let joined = |index: usize| subset & (1 << index) != 0;
        bundle.config.clone_from(&good);
        bundle.set("/hostname", json!("own"));
        let mut names = Vec::new();
        for (index, (kind, name)) in kinds.iter().enumerate() {
            let path = joined(index).then(|| file(donor, name));
            bundle.namespace(kind, path.as_deref());
            if path.is_some() {
                names.push(*kind);
            }
        }
        if names.contains(&"uts") {
            bundle.unset("/hostname");
        }
        prepare(&mut bundle, &names);
        if subset.count_ones() % 2 == 1 {
            // The order in the list is nobody's concern.
            bundle.config["linux"]["namespaces"].as_array_mut().unwrap().reverse();
        }
        let told = format!("{what}: joined {names:?}");
        println!("{told}");
        let seen = bundle.report();
        for (index, (kind, name)) in kinds.iter().enumerate() {
            check_one(&seen, donor, name, joined(index), &format!("{told}: {kind}"));
        }
        let is_new = |kind: &str| !names.contains(&kind);
        let entries = bundle.get("/linux/namespaces").as_array().unwrap();
        let joins_time = entries.iter().any(|entry| entry["type"] == "time" && !entry["path"].is_null());
        assert_eq!(seen.json["uname"]["nodename"], if is_new("uts") { "own" } else { "donor" }, "{told}");
        assert_eq!(seen.json["pid"] == 1, is_new("pid"), "{told}");
        let offsets = seen.json["timens_offsets"].as_str().unwrap();
        assert_eq!(offsets.contains("1000"), joins_time, "{told}: {offsets}");
    }
    assert_eq!(donor.status(), "running", "{what}");
}

fn check_one(seen: &Report, donor: &Bundle, name: &str, joined: bool, told: &str) {
    let found = &seen.json["namespaces"][name];
    assert_eq!(*found == link(donor, name), joined, "{told}: {found}");
    let own = json!(fs::read_link(format!("/proc/self/ns/{name}")).unwrap());
    assert_ne!(*found, own, "{told}");
    if !joined {
        assert_eq!(seen.json["owners"][name], seen.json["namespaces"]["user"], "{told}: its owner");
    }
}

/// What the owner of a namespace alone may mount is bound or left out, for a container that joins it and is no owner.
fn bind_what_shows(bundle: &mut Bundle, names: &[&str]) {
    for name in names {
        if *name == "cgroup" {
            bundle.without_mount("/sys/fs/cgroup");
        }
        caller::bind_what_shows(name, &mut bundle.config);
    }
}

#[test]
fn all_but_the_user_namespace() {
    if needs_root("namespaces of a container without a user namespace", "all containers of a user have one") {
        check_all("no user namespace", &donor(false), kinds(), |_, _| {});
    }
}

#[test]
fn with_the_user_namespace() {
    let donor = donor(true);
    // For a user the time namespace is joined, or the host's.
    let without_time: Vec<_> = kinds().iter().copied().filter(|(kind, _)| !is_rootless() || *kind != "time").collect();
    check_all("the same user namespace", &donor, &without_time, |bundle, names| {
        bundle.namespace("user", Some(&file(&donor, "user")));
        if is_rootless() && names.len() % 2 == 0 {
            bundle.namespace("time", Some(&file(&donor, "time")));
        }
    });
}

/// Those of the host's user namespace, by who is privileged there, for a container with a new one.
#[test]
fn with_a_new_user_namespace() {
    if !needs_root("namespaces of the host's user namespace", "a user may not join them") {
        return;
    }
    let donor = donor(false);
    check_all("a new user namespace", &donor, &KINDS[1..], |bundle, names| {
        map(bundle);
        bind_what_shows(bundle, names);
    });
}

#[test]
fn with_the_user_namespace_of_a_third() {
    if !needs_root("namespaces of the host's user namespace", "a user may not join them") {
        return;
    }
    let (donor, third) = (donor(false), donor(true));
    check_all("the user namespace of a third", &donor, &KINDS[1..], |bundle, names| {
        bundle.namespace("user", Some(&file(&third, "user")));
        bind_what_shows(bundle, names);
    });
}

/// Who has joined a user namespace goes on as a process of another number, and asks for its clocks by that one, however
/// late the first one tells of it.
#[test]
fn clocks_are_those_of_the_process_that_goes_on() {
    if !needs_root("a new time namespace beside a user namespace that is joined", "a user can't have both") {
        return;
    }
    let donor = donor(true);
    let mut bundle = Bundle::new();
    bundle.namespace("user", Some(&file(&donor, "user"))).namespace("time", None);
    bundle.set("/linux/timeOffsets", json!({"boottime": {"secs": 2000}})).args(&["/probe", "report"]);
    let late = ["strace", "-f", "-o", "/dev/null", "-e", "trace=clone3", "-e", "inject=clone3:delay_exit=300000"];
    let seen = Report::parse(&bundle.start_with("run", &[]).under(&late).run().ok());
    assert!(seen.json["timens_offsets"].as_str().unwrap().contains("2000"));
}

/// Whoever is no owner, neither before nor after it joins a user namespace.
#[test]
fn those_of_somebody_else_are_refused() {
    let donor = donor(true);
    let tried = if is_rootless() { kinds() } else { &KINDS[..1] };
    for (kind, name) in tried {
        let mut bundle = Bundle::new();
        bundle.unset("/hostname").args(&["/bin/true"]);
        map(&mut bundle);
        bind_what_shows(&mut bundle, &[kind]);
        bundle.namespace(kind, Some(&file(&donor, name)));
        let done = bundle.run().exits(1).fails();
        if !is_peer() {
            assert!(done.stderr.contains("namespace"), "{kind}: {done}");
        }
    }
}

#[test]
fn files_of_the_wrong_kind_are_refused() {
    let donor = donor(true);
    let all = [&KINDS[..], &[("user", "user")]].concat();
    for (kind, _) in &all {
        for (other, name) in all.iter().filter(|(other, _)| other != kind) {
            // A user can't join any mount namespace, which is told first.
            if is_rootless() && *kind == "mount" {
                continue;
            }
            let mut bundle = Bundle::new();
            bundle.unset("/hostname").args(&["/bin/true"]).namespace(kind, Some(&file(&donor, name)));
            let done = bundle.run().exits(1).fails();
            if !is_peer() {
                done.says("config.json: linux.namespaces[").says(&format!("is not a {kind} namespace"));
            }
            assert!(!bundle.state_root().join(&bundle.id).exists(), "{kind} from {other}");
        }
    }
}

/// As engines keep the namespaces of a pod: by a mount of each file, when the process that made them is gone.
#[test]
fn kept_by_a_mount() {
    if !needs_root("mounts of namespace files", "a user may not mount on the host") {
        return;
    }
    let donor = donor(true);
    let mut bundle = Bundle::new();
    // Systemd removes a cgroup with its last process, and with it what there is to be mounted in its namespace.
    bundle.unset("/hostname").without_mount("/sys/fs/cgroup");
    let kept: Vec<(&str, &str)> = [&KINDS[1..], &[("user", "user")]].concat();
    // The end of its init process is the end of a PID namespace.
    let kept: Vec<_> = kept.into_iter().filter(|(kind, _)| *kind != "pid").collect();
    let mut script = "set -e".to_owned();
    for (kind, name) in &kept {
        let place = bundle.path().join(name);
        fs::write(&place, "").unwrap();
        script += &format!("; mount --bind {} {}", file(&donor, name).display(), place.display());
        bundle.namespace(kind, Some(&place));
    }
    let links: Vec<Value> = kept.iter().map(|(_, name)| link(&donor, name)).collect();
    script += &format!("; kill -9 {}; exec \"$@\"", donor.pid());
    bundle.args(&["/probe", "report"]);
    let wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "-"];
    let done = bundle.start_with("run", &[]).under(&wrapper).run().ok();
    let seen = Report::parse(&done);
    for ((kind, name), link) in kept.iter().zip(links) {
        assert_eq!(seen.json["namespaces"][name], link, "{kind}");
    }
    assert_eq!(seen.json["uname"]["nodename"], "donor");
}

/// One that the runtime is in already.
#[test]
fn the_callers_own() {
    if !needs_root("the caller's own namespaces", "a user may not join them") {
        return;
    }
    for (kind, name) in &KINDS[1..] {
        let mut bundle = Bundle::new();
        bundle.unset("/hostname").namespace(kind, Some(format!("/proc/self/ns/{name}").as_ref()));
        let seen = bundle.report();
        let own = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_eq!(seen.json["namespaces"][name], json!(own), "{kind}");
    }
    let mut bundle = Bundle::new();
    bundle.namespace("user", Some("/proc/self/ns/user".as_ref())).args(&["/bin/true"]);
    let done = bundle.run().exits(1).fails();
    if !is_peer() {
        done.says("config.json: linux.namespaces[").says("leave the entry out");
    }
}
