//! `hooks`: all six kinds, when they run, where, with what, and what their failure does.

use crate::harness::{Bundle, Snapshot, is_peer, needs_root, patience, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// A hook that runs a shell script of the host.
fn hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]})
}

/// The file that a hook of `kind` writes.
fn record(bundle: &Bundle, name: &str) -> PathBuf {
    bundle.logs().join(name)
}

/// Lets the hooks of `kind` append to one file what `what` prints.
fn recording(bundle: &mut Bundle, kind: &str, what: &str) {
    let file = record(bundle, kind);
    bundle.set(&format!("/hooks/{kind}/-"), hook(&format!("{what} >> {}", file.display())));
}

const OUTSIDE: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];

#[test]
fn each_kind_gets_the_state_on_stdin() {
    let mut bundle = Bundle::new();
    for kind in OUTSIDE {
        recording(&mut bundle, kind, "cat");
    }
    // Before pivot_root the host's files are still in view.
    recording(&mut bundle, "createContainer", "cat");
    bundle.set("/hooks/startContainer", json!([{"path": "/bin/sh", "args": ["sh", "-c", "cat > /data/state"]}]));
    bundle.set("/root/readonly", json!(false)).set("/annotations/a.b", json!("c/d")).args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    let pid = bundle.pid();
    bundle.verb("start", &[]).ok();
    wait_until("startContainer has run", || {
        fs::read_to_string(bundle.rootfs().join("data/state")).is_ok_and(|text| text.ends_with('}'))
    });
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok();

    let state = |name: &str| -> Value {
        let text = fs::read_to_string(record(&bundle, name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!text.contains('\n') && !text.contains("\\/"), "compact, slashes unescaped: {text}");
        serde_json::from_str(&text).unwrap()
    };
    for (kind, status) in [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ] {
        let seen = state(kind);
        assert_eq!((&seen["id"], &seen["status"]), (&json!(bundle.id), &json!(status)), "{kind}");
        assert_eq!((&seen["bundle"], &seen["annotations"]["a.b"]), (&json!(bundle.path()), &json!("c/d")), "{kind}");
    }
    for kind in ["prestart", "createRuntime", "poststart"] {
        assert_eq!(state(kind)["pid"], pid, "{kind}: the pid outside");
    }
    assert_eq!(state("createContainer")["pid"], 1, "the pid inside");
    if !is_peer() {
        assert!(state("poststop").get("pid").is_none());
    }
    let inside: Value = serde_json::from_str(&fs::read_to_string(bundle.rootfs().join("data/state")).unwrap()).unwrap();
    assert_eq!((&inside["status"], &inside["pid"]), (&json!("created"), &json!(1)));
}

#[test]
fn they_run_in_order_at_their_time() {
    let mut bundle = Bundle::new();
    let file = record(&bundle, "order");
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        for number in 1..=2 {
            bundle.set(&format!("/hooks/{kind}/-"), hook(&format!("echo {kind}{number} >> {}", file.display())));
        }
    }
    bundle.args(&["/bin/sleep", "100"]);
    let order =
        || fs::read_to_string(&file).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    bundle.create().ok();
    let created =
        ["prestart1", "prestart2", "createRuntime1", "createRuntime2", "createContainer1", "createContainer2"];
    assert_eq!(order(), created);
    bundle.verb("start", &[]).ok();
    assert_eq!(order()[6..], ["poststart1", "poststart2"]);
    bundle.verb("delete", &["--force"]).ok();
    assert_eq!(order()[8..], ["poststop1", "poststop2"]);
}

#[test]
fn namespaces_and_directories() {
    let mut bundle = Bundle::new();
    let see = "echo $(readlink /proc/self/ns/net /proc/self/ns/mnt) $PWD";
    for kind in OUTSIDE {
        recording(&mut bundle, kind, see);
    }
    recording(&mut bundle, "createContainer", see);
    bundle.args(&["/bin/true"]);
    bundle.start_with("run", &[]).current_dir(&bundle.logs()).run().ok();
    let own = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_string_lossy().into_owned();
    let seen = |kind: &str| -> Vec<String> {
        fs::read_to_string(record(&bundle, kind)).unwrap().split_whitespace().map(str::to_owned).collect()
    };
    for kind in OUTSIDE {
        assert_eq!(seen(kind)[..2], [own("net"), own("mnt")], "{kind} runs outside");
    }
    assert_eq!(seen("createRuntime")[2], bundle.path().to_str().unwrap());
    assert_ne!(seen("createContainer")[0], own("net"));
    assert_ne!(seen("createContainer")[1], own("mnt"));
    assert_eq!(seen("createContainer")[2], bundle.rootfs().to_str().unwrap());
}

/// What CDI and NVIDIA setups do: find mounts and devices made, and add to them before the pivot.
#[test]
fn hooks_can_mount_into_the_container() {
    if !needs_root("hooks that mount into the container", "the init process is hidden from users") {
        return;
    }
    let mut bundle = Bundle::new();
    fs::write(bundle.logs().join("extra"), "extra\n").unwrap();
    fs::write(bundle.rootfs().join("data/runtime"), "").unwrap();
    fs::write(bundle.rootfs().join("data/container"), "").unwrap();
    let (extra, root) = (bundle.logs().join("extra"), bundle.rootfs());
    let pid = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')";
    let enter = format!("{pid}; nsenter -t $pid -m mount --bind {} {}/data/runtime", extra.display(), root.display());
    bundle.set("/hooks/createRuntime", json!([hook(&enter)]));
    bundle.set(
        "/hooks/createContainer",
        json!([hook(&format!("test -c dev/null && mount --bind {} data/container", extra.display()))]),
    );
    bundle.args(&["/bin/cat", "/data/runtime", "/data/container"]);
    assert_eq!(bundle.run().ok().stdout, "extra\nextra\n");
}

#[test]
fn arguments_environment_and_descriptors() {
    let mut bundle = Bundle::new();
    let script = |kind: &str| {
        let file = record(&bundle, kind).display().to_string();
        format!(
            "(tr '\\0' '\\n' < /proc/self/cmdline; echo env:; tr '\\0' '\\n' < /proc/self/environ; echo fds:; ls /proc/self/fd) > {file}"
        )
    };
    let kinds = ["createRuntime", "createContainer", "poststart", "poststop"];
    let hooks: Vec<_> = kinds
        .iter()
        .map(|kind| json!([{"path": "/bin/sh", "args": ["zero", "-c", script(kind), "extra"], "env": ["ONLY=this"]}]))
        .collect();
    for (kind, hook) in kinds.iter().zip(hooks) {
        bundle.set(&format!("/hooks/{kind}"), hook);
    }
    bundle.args(&["/bin/true"]);
    let leaky = ["sh", "-c", "exec 7</etc/passwd 8</etc; exec \"$@\"", "-"];
    bundle.start_with("run", &[]).under(&leaky).env("LEAK", "x").run().ok();
    for kind in kinds {
        let seen = fs::read_to_string(record(&bundle, kind)).unwrap();
        assert!(seen.starts_with("zero\n-c\n"), "{kind}: argv[0] as given: {seen}");
        let (_, rest) = seen.split_once("env:\n").unwrap();
        let (env, descriptors) = rest.split_once("fds:\n").unwrap();
        assert!(!env.contains("LEAK") && env.contains("ONLY=this"), "{kind}: {env}");
        let numbers: Vec<&str> = descriptors.split_whitespace().collect();
        assert_eq!(numbers, ["0", "1", "2", "3"], "{kind}: the last is the directory that ls has open");
    }
}

/// CVE-2025-23266: the container's environment never reaches a program of the host.
#[test]
fn process_env_is_not_for_hooks() {
    let mut bundle = Bundle::new();
    for kind in ["createRuntime", "createContainer", "poststop"] {
        let file = record(&bundle, kind).display().to_string();
        bundle.set(
            &format!("/hooks/{kind}"),
            json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("tr '\\0' '\\n' < /proc/self/environ > {file}")]}]),
        );
    }
    bundle.set("/process/env", json!(["PATH=/bin", "LD_PRELOAD=/evil.so"])).args(&["/bin/true"]);
    bundle.run().ok();
    for kind in ["createRuntime", "createContainer", "poststop"] {
        assert!(!fs::read_to_string(record(&bundle, kind)).unwrap().contains("LD_PRELOAD"), "{kind}");
    }
}

#[test]
fn failure_before_start_undoes_the_create_and_runs_poststop() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/sleep", "100"]);
        recording(&mut bundle, "poststop", "echo ran");
        bundle.set(
            &format!("/hooks/{kind}"),
            json!([
                hook("true"),
                hook("echo to out; echo to err >&2; exit 3"),
                hook(&format!("echo x > {}", record(&bundle, "third").display()))
            ]),
        );
        let before = Snapshot::of(&bundle);
        let done = bundle.create().exits(1).says(&format!("{kind} hook #1")).says("exit status 3").says("to out");
        done.says("to err");
        before.assert_unchanged(&bundle);
        assert!(!record(&bundle, "third").exists(), "{kind}: the rest is skipped");
        assert!(record(&bundle, "poststop").exists(), "{kind}: poststop runs");
    }
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.set(
        "/hooks/createRuntime",
        json!([{"path": "/bin/sh", "args": ["sh", "-c", "sleep 5000; true"], "timeout": 1}]),
    );
    let before = Snapshot::of(&bundle);
    let start = std::time::Instant::now();
    bundle.create().exits(1).says("hook ran past specified timeout of 1.0s");
    assert!(start.elapsed() < patience(10), "{:?}", start.elapsed());
    if !is_peer() {
        // runc kills the hook alone; what the hook started lives on there.
        before.assert_unchanged(&bundle);
    }
}

#[test]
fn a_missing_hook_program_is_a_failure() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]).set("/hooks/createRuntime", json!([{"path": "/no/such/hook"}]));
    let before = Snapshot::of(&bundle);
    bundle.create().exits(1).says("createRuntime hook #0").says("no such file or directory");
    before.assert_unchanged(&bundle);
}

#[test]
fn relative_paths_and_zero_timeouts_are_refused() {
    if is_peer() {
        return;
    }
    for (hook, says) in [
        (json!({"path": "bin/true"}), "path"),
        (json!({"path": "/bin/true", "timeout": 0}), "timeout"),
        (json!({"path": "/bin/true", "timeout": -1}), "timeout"),
    ] {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/true"]).set("/hooks/poststop", json!([hook]));
        bundle.create().exits(1).says("hooks.poststop[0]").says(says);
    }
}

#[test]
fn start_container_failure_ends_the_container_with_255() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "ran"]).set("/hooks/startContainer", json!([{"path": "/bin/false"}]));
    let done = bundle.run().exits(255).says("startContainer hook #0");
    assert_eq!(done.stdout, "");
}

#[test]
fn poststart_failure_stops_the_container() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]).set("/hooks/poststart", json!([hook("exit 4")]));
    bundle.create().ok();
    bundle.verb("start", &[]).exits(1).says("poststart hook #0");
    if !is_peer() {
        let done = bundle.verb("state", &[]);
        assert!(!done.status.success() || done.json()["status"] == "stopped", "{done}");
    }
}

#[test]
fn poststop_failure_is_a_warning_and_the_others_run() {
    if is_peer() {
        return; // An error in runc, although everything is gone.
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    let file = record(&bundle, "second");
    bundle.set("/hooks/poststop", json!([hook("exit 5"), hook(&format!("echo x > {}", file.display()))]));
    bundle.start_with("run", &["-d"]).run().ok();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok().says("level=warning");
    assert!(file.exists());
}

#[test]
fn a_hook_need_not_read_its_stdin() {
    let mut bundle = Bundle::new();
    // Longer than a pipe holds.
    for number in 0..200 {
        bundle.set(&format!("/annotations/key{number}"), json!("x".repeat(1000)));
    }
    bundle.args(&["/bin/true"]).set("/hooks/createRuntime", json!([{"path": "/bin/true"}]));
    bundle.run().ok();
}

/// The one that waits for a hook can be interrupted, and leaves nothing.
#[test]
fn a_signal_ends_the_waiting_for_a_hook() {
    if is_peer() {
        return;
    }
    for (verb, kind) in [
        ("create", "prestart"),
        ("create", "createRuntime"),
        ("create", "createContainer"),
        ("run", "createRuntime"),
        ("run", "createContainer"),
        ("run", "poststart"),
    ] {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/sleep", "100"]);
        let started = record(&bundle, "started");
        let before = Snapshot::of(&bundle);
        let script = format!("trap '' TERM; touch {}; sleep 50; true", started.display());
        bundle.set(&format!("/hooks/{kind}"), json!([hook(&script)]));
        let running = bundle.start_with(verb, &[]).spawn();
        wait_until("the hook runs", || started.exists());
        let begin = std::time::Instant::now();
        running.signal(nix::sys::signal::Signal::SIGTERM);
        running.wait().exits(1).says("interrupted");
        assert!(begin.elapsed().as_secs() < 10, "{verb} {kind}: {:?}", begin.elapsed());
        before.assert_unchanged(&bundle);
    }
}

#[test]
fn a_signal_ends_the_waiting_for_a_start_container_hook() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/root/readonly", json!(false)).args(&["/bin/true"]);
    bundle.set("/hooks/startContainer", json!([{"path": "/bin/sh", "args": ["sh", "-c", "touch /data/in; sleep 50"]}]));
    let running = bundle.start_with("run", &[]).spawn();
    wait_until("the hook runs", || bundle.rootfs().join("data/in").exists());
    let before = std::time::Instant::now();
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.wait().status.code(), Some(143));
    assert!(before.elapsed().as_secs() < 10);
}

/// Its pipes may be held open, and filled, by what it leaves running.
#[test]
fn a_hook_that_leaves_a_flood_behind_is_not_waited_for() {
    for kind in ["createRuntime", "createContainer"] {
        let mut bundle = Bundle::new();
        let pid = record(&bundle, "pid");
        let script = format!("yes & echo $! > {}", pid.display());
        bundle.args(&["/bin/true"]).set(&format!("/hooks/{kind}"), json!([hook(&script)]));
        let begin = std::time::Instant::now();
        bundle.run().ok();
        assert!(begin.elapsed().as_secs() < 10, "{kind}: {:?}", begin.elapsed());
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]).set("/hooks/createRuntime", json!([{"path": "/usr/bin/yes", "timeout": 1}]));
    let begin = std::time::Instant::now();
    bundle.run().exits(1).says("ran past specified timeout");
    assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
}

/// However much it wrote, its failure arrives whole enough, and is known as a hook's: poststop hooks run.
#[test]
fn failure_of_a_talkative_create_container_hook() {
    let mut bundle = Bundle::new();
    let script = "head -c 10000000 /dev/zero; head -c 10000000 /dev/zero | tr '\\0' '\\1' >&2; exit 3";
    bundle.args(&["/bin/true"]).set("/hooks/createContainer", json!([hook(script)]));
    recording(&mut bundle, "poststop", "echo ran");
    bundle.run().exits(1).says("createContainer hook #0").says("exit status 3");
    assert!(record(&bundle, "poststop").exists() || is_peer());
}
