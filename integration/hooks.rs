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

/// What a program of that name says of itself is `argv[0]`.
#[test]
fn argv_0_is_the_path_where_nothing_is_given() {
    for (args, name) in [(None, "/bin/sh"), (Some(json!([])), "/bin/sh"), (Some(json!(["other"])), "other")] {
        for kind in ["createRuntime", "createContainer"] {
            let mut bundle = Bundle::new();
            let mut hook = json!({"path": "/bin/sh"});
            if let Some(args) = &args {
                hook["args"] = args.clone();
            }
            bundle.args(&["/bin/true"]).set(&format!("/hooks/{kind}"), json!([hook]));
            // It takes the state on its stdin for a script, and says by its own name in which line the fault is.
            bundle.create().exits(1).says(&format!("stdout: , stderr: {name}: 1: "));
        }
    }
}

/// Absent: ours on the host, nothing in the container before the pivot, the process's after it. Empty: nothing. Given:
/// that and no more.
#[test]
fn environments() {
    let kinds = [OUTSIDE.as_slice(), &["createContainer", "startContainer"]].concat();
    for (env, expected) in [(None, None), (Some(json!([])), Some("")), (Some(json!(["A=1", "B="])), Some("A=1,B="))] {
        let mut bundle = Bundle::new();
        bundle.set("/root/readonly", json!(false)).args(&["/bin/true"]);
        bundle.set("/process/env", json!(["PATH=/bin", "HOME=/h", "IN=side"]));
        for &kind in &kinds {
            let file = match kind {
                "startContainer" => "/data/env".to_owned(),
                _ => record(&bundle, kind).display().to_string(),
            };
            // As it was given, without what a shell adds to it.
            let script = format!("exec 9< /proc/self/environ; cat <&9 > {file}; true");
            let mut hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
            if let Some(env) = &env {
                hook["env"] = env.clone();
            }
            bundle.set(&format!("/hooks/{kind}"), json!([hook]));
        }
        bundle.start_with("run", &[]).env("OUT", "side").run().ok();
        for &kind in &kinds {
            let path = match kind {
                "startContainer" => bundle.rootfs().join("data/env"),
                _ => record(&bundle, kind),
            };
            let seen = fs::read_to_string(path).unwrap();
            let mut seen: Vec<&str> = seen.split_terminator('\0').collect();
            seen.sort_unstable();
            let seen = seen.join(",");
            match (kind, expected) {
                (_, Some(expected)) => assert_eq!(seen, expected, "{kind}"),
                ("createContainer", None) => assert_eq!(seen, ""),
                ("startContainer", None) => assert_eq!(seen, "HOME=/h,IN=side,PATH=/bin"),
                _ => assert!(seen.contains("OUT=side") && !seen.contains("IN=side"), "{kind}: {seen}"),
            }
        }
    }
}

/// Where `start` and `delete` were called, and inside where the process is to be.
#[test]
fn working_directories() {
    let mut bundle = Bundle::new();
    for kind in OUTSIDE {
        recording(&mut bundle, kind, "pwd");
    }
    bundle.set("/root/readonly", json!(false)).set("/process/cwd", json!("/data")).args(&["/bin/sleep", "1000"]);
    bundle.set("/hooks/startContainer", json!([{"path": "/bin/sh", "args": ["sh", "-c", "pwd > inside"]}]));
    let logs = bundle.logs();
    bundle.start_with("create", &[]).current_dir(&logs).run().ok();
    bundle.invoke(&["start", &bundle.id]).current_dir(&logs).run().ok();
    let inside = || fs::read_to_string(bundle.rootfs().join("data/inside")).is_ok_and(|text| text == "/data\n");
    wait_until("startContainer has run there", inside);
    bundle.invoke(&["delete", "--force", &bundle.id]).current_dir(&logs).run().ok();
    let seen = |kind: &str| PathBuf::from(fs::read_to_string(record(&bundle, kind)).unwrap().trim_end());
    for kind in ["prestart", "createRuntime"] {
        assert_eq!(seen(kind), bundle.path(), "{kind}");
    }
    for kind in ["poststart", "poststop"] {
        assert_eq!(seen(kind), logs, "{kind}");
    }
}

/// Its path is the container's, and it has what the program has but for the descriptors that are kept for that.
#[test]
fn start_container_hooks_are_inside() {
    let mut bundle = Bundle::new();
    bundle.set("/root/readonly", json!(false)).args(&["/bin/ls", "/proc/self/fd"]);
    let script = "ls /proc/self/fd; id -u; hostname";
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).set("/hostname", json!("inner"));
    fs::set_permissions(bundle.rootfs().join("data"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let script = format!("({script}) > /data/seen");
    bundle.set("/hooks/startContainer", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    let open = ["bash", "-c", "exec 3</etc/passwd 4</etc/passwd 7</etc; exec \"$@\"", "-"];
    let done = bundle.start_with("run", &["--preserve-fds", "2"]).under(&open).run().ok();
    assert_eq!(done.stdout, "0\n1\n2\n3\n4\n5\n", "the program has them");
    let seen = fs::read_to_string(bundle.rootfs().join("data/seen")).unwrap();
    assert!(seen.starts_with("0\n1\n2\n3\n1000\ninner\n"), "{seen}");
}

#[test]
fn other_commands_run_none() {
    let mut bundle = Bundle::new();
    for kind in OUTSIDE {
        recording(&mut bundle, kind, "echo");
    }
    recording(&mut bundle, "createContainer", "echo");
    bundle.asleep();
    let count = || {
        let kinds = OUTSIDE.iter().chain(&["createContainer"]);
        kinds.map(|kind| fs::read_to_string(record(&bundle, kind)).unwrap_or_default().len()).collect::<Vec<_>>()
    };
    let before = count();
    assert_eq!(before, [1, 1, 1, 0, 1]);
    bundle.exec(&[], &["true"]).ok();
    bundle.verb("pause", &[]).ok();
    bundle.verb("resume", &[]).ok();
    bundle.onggi(&["update", "--resources", "-", &bundle.id]).fails();
    bundle.invoke(&["update", "--resources", "-", &bundle.id]).stdin_text("{}").run().ok();
    bundle.verb("state", &[]).ok();
    bundle.verb("ps", &[]).ok();
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    assert_eq!(count(), before);
}

/// What a hook prints is nobody's output.
#[test]
fn their_output_is_theirs() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "mine"]);
    for kind in OUTSIDE.iter().chain(&["createContainer"]) {
        bundle.set(&format!("/hooks/{kind}"), json!([hook("echo loud; echo louder >&2")]));
    }
    bundle.set("/hooks/startContainer", json!([{"path": "/bin/echo", "args": ["echo", "loud"]}]));
    assert_eq!(bundle.run().ok().quiet().stdout, "mine\n");
}

/// Whatever we hold back ourselves.
#[test]
fn no_signal_is_blocked_in_them() {
    let mut bundle = Bundle::new();
    bundle.set("/root/readonly", json!(false)).args(&["/bin/true"]);
    for kind in OUTSIDE.into_iter().chain(["createContainer"]) {
        recording(&mut bundle, kind, "grep SigBlk /proc/self/status");
    }
    let inside = json!({"path": "/bin/sh", "args": ["sh", "-c", "grep SigBlk /proc/self/status > /data/seen"]});
    bundle.set("/hooks/startContainer", json!([inside]));
    bundle.run().ok();
    let files = OUTSIDE.into_iter().chain(["createContainer"]).map(|kind| record(&bundle, kind));
    for file in files.chain([bundle.rootfs().join("data/seen")]) {
        assert_eq!(fs::read_to_string(&file).unwrap(), "SigBlk:\t0000000000000000\n", "{}", file.display());
    }
}
