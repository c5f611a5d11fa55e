//! The systemd driver, against a systemd of our own that says what it is told to, and against the real one where it runs.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{
    Bundle, Invocation, Mood, Outcome, Snapshot, Systemd, bus_variable, is_peer, is_rootless, needs, needs_root, skip,
    test_slice, unit_directory, wait_until,
};
use nix::sys::signal::Signal;
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

/// The binary with `--systemd-cgroup`.
fn by_systemd(bundle: &Bundle, verb: &str, flags: &[&str]) -> Invocation {
    bundle.save();
    let mut args = vec!["--systemd-cgroup", verb, "--bundle", bundle.path().to_str().unwrap()];
    args.extend(flags);
    args.push(&bundle.id);
    bundle.invoke(&args)
}

fn sleeping() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    let path = format!("a-b.slice:x:{}", bundle.id);
    bundle.set("/linux/cgroupsPath", json!(path));
    bundle
}

fn unit(bundle: &Bundle) -> String {
    format!("x-{}.scope", bundle.id)
}

/// What an error about the bus tells to do.
fn advice() -> &'static str {
    if is_rootless() {
        "have a user manager: loginctl enable-linger, and set XDG_RUNTIME_DIR or DBUS_SESSION_BUS_ADDRESS"
    } else {
        "start systemd and dbus"
    }
}

/// A command on a container that exists; as engines do, without the flag.
fn later(systemd: &Systemd, bundle: &Bundle, args: &[&str]) -> Outcome {
    let mut args = args.to_vec();
    args.push(&bundle.id);
    systemd.with(bundle.invoke(&args)).run()
}

#[test]
fn one_call_makes_the_scope_and_later_commands_need_no_flag() {
    if is_peer() {
        return;
    }
    for mood in [Mood::Willing, Mood::Hasty] {
        let mut bundle = sleeping();
        bundle.set("/annotations", json!({"org.systemd.property.TimeoutStopSec": "int32 7"}));
        let systemd = Systemd::serve(&bundle, mood);
        let before = Snapshot::of(&bundle);
        systemd.with(by_systemd(&bundle, "create", &[])).run().ok().quiet();
        assert_eq!(systemd.methods(), ["Hello", "AddMatch", "StartTransientUnit"], "{mood:?}");
        let properties = systemd.properties();
        let pid = format!("PIDs=[uint32 {}]", bundle.pid());
        for expected in ["Slice=\"a-b.slice\"", "Delegate=true", "TimeoutStopUSec=uint64 7000000", &pid] {
            assert!(properties.iter().any(|property| property == expected), "{expected} in {properties:#?}");
        }
        // The systemd of a user may not guard devices either.
        assert_eq!(properties.iter().any(|property| property == "DevicePolicy=\"strict\""), !is_rootless());
        assert_eq!(directory(&cgroup_of(&bundle)), unit_directory(&unit(&bundle)));
        later(&systemd, &bundle, &["start"]).ok().quiet();
        assert_eq!(bundle.status(), "running");
        assert_eq!(systemd.methods(), Vec::<String>::new(), "only create and delete have something to say to it");
        later(&systemd, &bundle, &["delete", "--force"]).ok().quiet();
        let methods = systemd.methods();
        assert_eq!(methods, ["Hello", "AddMatch", "StopUnit"], "gone with its last process");
        before.assert_unchanged(&bundle);
    }
}

#[test]
fn run_leaves_nothing() {
    if is_peer() {
        return;
    }
    let mut bundle = sleeping();
    bundle.script("grep ^0:: /proc/self/cgroup; exit 7");
    let systemd = Systemd::serve(&bundle, Mood::Willing);
    let before = Snapshot::of(&bundle);
    let outcome = systemd.with(by_systemd(&bundle, "run", &[])).run().exits(7);
    assert_eq!(outcome.stdout, "0::/\n", "the cgroup namespace begins at the scope");
    before.assert_unchanged(&bundle);
}

/// hugetlb is one of the controllers that systemd does not know.
#[test]
fn limits_of_controllers_that_systemd_does_not_know() {
    if is_peer() || !needs("hugetlb", "a limit on huge pages with the systemd driver") {
        return;
    }
    let mut bundle = sleeping();
    bundle.set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]));
    let systemd = Systemd::serve(&bundle, Mood::Willing);
    systemd.with(by_systemd(&bundle, "create", &[])).run().ok();
    let limit = std::fs::read_to_string(unit_directory(&unit(&bundle)).join("hugetlb.2MB.max")).unwrap();
    assert_eq!(limit.trim(), "4194304");
    later(&systemd, &bundle, &["delete", "--force"]).ok();
}

#[test]
fn a_failed_unit_of_the_same_name_is_reset_once() {
    if is_peer() {
        return;
    }
    let bundle = sleeping();
    let systemd = Systemd::serve(&bundle, Mood::Remembering);
    systemd.with(by_systemd(&bundle, "create", &[])).run().ok();
    let expected = ["Hello", "AddMatch", "StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"];
    assert_eq!(systemd.methods(), expected);
    later(&systemd, &bundle, &["delete", "--force"]).ok();
}

#[test]
fn update_tells_systemd_and_takes_the_change_back_when_it_refuses() {
    if is_peer() || !needs("cpu", "update with the systemd driver") {
        return;
    }
    for (mood, weight) in [(Mood::Willing, "59"), (Mood::Rigid, "100")] {
        let bundle = sleeping();
        let systemd = Systemd::serve(&bundle, mood);
        systemd.with(by_systemd(&bundle, "create", &[])).run().ok();
        systemd.methods();
        let updated = later(&systemd, &bundle, &["update", "--cpu-share", "512"]);
        match mood {
            Mood::Rigid => updated.exits(1).says("of its limits: systemd refuses to change it: not you"),
            _ => updated.ok().quiet(),
        };
        assert_eq!(systemd.methods(), ["Hello", "SetUnitProperties"]);
        assert_eq!(systemd.properties(), ["CPUWeight=uint64 59"]);
        let file = unit_directory(&unit(&bundle)).join("cpu.weight");
        assert_eq!(std::fs::read_to_string(file).unwrap().trim(), weight);
        later(&systemd, &bundle, &["delete", "--force"]).ok();
    }
}

/// `create` with a systemd in this mood: exit status 1, `text` on stderr, nothing left, and what was said to systemd.
#[track_caller]
fn check_failure(mood: Mood, text: &str) -> Vec<String> {
    let bundle = sleeping();
    let systemd = Systemd::serve(&bundle, mood);
    let before = Snapshot::of(&bundle);
    systemd.with(by_systemd(&bundle, "create", &[])).run().exits(1).says(text);
    before.assert_unchanged(&bundle);
    systemd.methods()
}

#[test]
fn a_systemd_that_refuses() {
    if is_peer() {
        return;
    }
    let methods =
        check_failure(Mood::Refusing, "systemd refuses to make it: not you (org.freedesktop.DBus.Error.AccessDenied)");
    assert_eq!(methods.last().unwrap(), "StartTransientUnit", "nothing to undo");
    let methods = check_failure(Mood::Occupied, "systemd has a unit");
    assert_eq!(methods.last().unwrap(), "StartTransientUnit", "the other's unit is left alone");
    check_failure(Mood::Closed, "does not let us in");
    check_failure(Mood::Leaving, "has hung up");
}

#[test]
fn a_job_that_fails() {
    if is_peer() {
        return;
    }
    let methods = check_failure(Mood::Failing, "error creating systemd unit 'x-");
    assert!(methods.contains(&"StopUnit".to_owned()), "{methods:?}");
    check_failure(Mood::Lying, "but the container's process is in");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "not the runtime")]
fn a_systemd_that_says_nothing() {
    if is_peer() {
        return;
    }
    std::thread::scope(|tests| {
        tests.spawn(|| check_failure(Mood::Mute, "no answer within 10 s"));
        tests.spawn(|| check_failure(Mood::Silent, "no answer within 30 s"));
    });
}

#[test]
fn a_signal_ends_the_wait() {
    if is_peer() {
        return;
    }
    let bundle = sleeping();
    let systemd = Systemd::serve(&bundle, Mood::Silent);
    let before = Snapshot::of(&bundle);
    let start = Instant::now();
    let creating = systemd.with(by_systemd(&bundle, "create", &[])).spawn();
    let mut methods = Vec::new();
    wait_until("systemd is asked", || {
        methods.extend(systemd.methods());
        methods.iter().any(|method| method == "StartTransientUnit")
    });
    creating.signal(Signal::SIGINT);
    creating.wait().exits(1).says("interrupted by a signal");
    assert!(start.elapsed() < Duration::from_secs(28), "{:?}", start.elapsed());
    before.assert_unchanged(&bundle);
}

#[test]
fn no_bus() {
    if is_peer() {
        return;
    }
    let bundle = sleeping();
    let before = Snapshot::of(&bundle);
    let with = |address: &str| by_systemd(&bundle, "create", &[]).env(bus_variable(), address).run().exits(1);
    let outcome =
        with("unix:path=/nowhere/bus").says("D-Bus at /nowhere/bus: connect /nowhere/bus: no such file or directory");
    outcome.says("use the cgroupfs driver, without --systemd-cgroup, or ").says(advice());
    with("tcp:host=localhost").says(&format!("{}=tcp:host=localhost: no unix socket", bus_variable()));
    with("unix:abstract=onggi-nobody").says("D-Bus at @onggi-nobody: connect @onggi-nobody: connection refused");
    before.assert_unchanged(&bundle);
}

/// Users have none but the session's, wherever it would be.
#[test]
fn a_user_without_a_session() {
    if is_peer() {
        return;
    }
    if !is_rootless() {
        return skip("systemd for a user without a session", "needs a user without privileges: integration/as-user");
    }
    let bundle = sleeping();
    let before = Snapshot::of(&bundle);
    let create = by_systemd(&bundle, "create", &[]).env("DBUS_SESSION_BUS_ADDRESS", "");
    let outcome = create.env("XDG_RUNTIME_DIR", "/nowhere").run().exits(1);
    outcome.says("no connection to systemd: D-Bus at /nowhere/bus").says(advice());
    before.assert_unchanged(&bundle);
}

/// The real one, which root may ask itself.
#[test]
fn root_needs_no_bus() {
    let what = "systemd without a bus";
    if is_peer() || !needs_root(what, "systemd listens to root alone") {
        return;
    }
    let Some(slice) = test_slice() else {
        return skip(what, "ONGGI_TEST_DRIVER is not systemd");
    };
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]).set("/linux/resources/pids", json!({"limit": 77}));
    bundle.warm_up();
    let before = Snapshot::of(&bundle);
    let hidden = |command: Invocation| {
        let hide = "mount -t tmpfs none /run/dbus && exec \"$@\"";
        command.under(&["unshare", "--mount", "sh", "-c", hide, "-"]).run().ok().quiet()
    };
    hidden(bundle.start_with("run", &["--detach"]));
    assert!(cgroup_of(&bundle).contains(&format!("{slice}/onggi-{}.scope", bundle.id)));
    hidden(bundle.invoke(&["update", "--pids-limit", "88", &bundle.id]));
    let unit = format!("onggi-{}.scope", bundle.id);
    let limit = Command::new("systemctl").args(["show", "--property=TasksMax", &unit]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&limit.stdout), "TasksMax=88\n");
    hidden(bundle.invoke(&["delete", "--force", &bundle.id]));
    before.assert_unchanged(&bundle);
}

/// The state stays, so that `delete` can be repeated.
#[test]
fn delete_without_a_bus() {
    if is_peer() {
        return;
    }
    let bundle = sleeping();
    let systemd = Systemd::serve(&bundle, Mood::Willing);
    let before = Snapshot::of(&bundle);
    systemd.with(by_systemd(&bundle, "create", &[])).run().ok();
    let delete = bundle.invoke(&["delete", "--force", &bundle.id]);
    let outcome = delete.env(bus_variable(), "unix:path=/nowhere").run().exits(1);
    outcome.says("stop systemd unit x-").says(advice()).says(", then delete the container again");
    assert_eq!(bundle.status(), "stopped");
    later(&systemd, &bundle, &["delete"]).ok();
    before.assert_unchanged(&bundle);
}

#[test]
fn bad_configs_are_refused_before_systemd_hears_of_them() {
    if is_peer() {
        return;
    }
    let mut bundle = sleeping();
    let systemd = Systemd::serve(&bundle, Mood::Willing);
    let before = Snapshot::of(&bundle);
    let refused = |bundle: &Bundle| systemd.with(by_systemd(bundle, "create", &[])).run().exits(1);
    for (path, text) in [
        (
            "/a/b",
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead",
        ),
        ("a:b:c", "invalid slice name"),
        ("a.slice:b:../../c", "it has '/'"),
        ("a.slice:b:c.slice", "is a slice"),
    ] {
        bundle.set("/linux/cgroupsPath", json!(path));
        refused(&bundle).says("config.json: linux.cgroupsPath: ").says(text);
    }
    bundle.unset("/linux/cgroupsPath");
    for (name, value) in [
        // Would run a command on the host (CVE-2024-3154).
        ("ExecStopPost", "[('/bin/touch', ['touch', '/tmp/pwned'], false)]"),
        ("Wants", "['poweroff.target']"),
        ("PIDs", "[uint32 1]"),
        ("TimeoutStopUSec", "'soon'"),
    ] {
        bundle.set("/annotations", json!({ format!("org.systemd.property.{name}"): value }));
        refused(&bundle).says(&format!("config.json: annotations[\"org.systemd.property.{name}\"]: "));
    }
    assert_eq!(systemd.methods(), Vec::<String>::new());
    before.assert_unchanged(&bundle);
    // Without systemd they mean nothing.
    bundle.args(&["/bin/true"]);
    bundle.run().ok();
}
