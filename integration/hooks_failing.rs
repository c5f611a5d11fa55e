//! Hooks that fail: by status, signal, time or absence; what is undone, what is said, and which others still run.

use crate::harness::{Bundle, Outcome, Snapshot, is_peer, patience, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const BEFORE_START: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

fn shell(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
}

fn note(bundle: &Bundle) -> PathBuf {
    bundle.logs().join("poststop")
}

/// A container that would sleep, with poststop hooks that count themselves.
fn container() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.warm_up();
    let script = format!("echo x >> {}", note(&bundle).display());
    bundle.set("/hooks/poststop", json!([shell(&script)]));
    bundle
}

fn poststops(bundle: &Bundle) -> usize {
    fs::read_to_string(note(bundle)).map_or(0, |text| text.lines().count())
}

/// Asserts that nothing is left, and that poststop hooks have run once, or not at all.
#[track_caller]
fn undone(bundle: &Bundle, before: &Snapshot, hooks_reached: bool) {
    before.assert_unchanged(bundle);
    if !is_peer() {
        assert_eq!(poststops(bundle), usize::from(hooks_reached));
    }
}

#[test]
fn ways_to_fail() {
    let file = |bundle: &Bundle, mode: u32| {
        let path = bundle.logs().join("hook");
        fs::write(&path, "#!/nowhere\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        path
    };
    for kind in BEFORE_START {
        let ways: [(&str, Value, &str); 5] = [
            ("a status", shell("exit 255"), "exit status 255"),
            ("a signal", shell("kill -TERM $$"), "killed by signal 15"),
            ("nothing there", json!({"path": "/no/such"}), "no such file or directory"),
            ("no right", json!({"path": file(&container(), 0o644)}), ""),
            ("a directory", json!({"path": "/etc"}), "permission denied"),
        ];
        for (way, mut hook, says) in ways {
            let mut bundle = container();
            if way == "no right" {
                hook["path"] = json!(file(&bundle, 0o644));
            }
            bundle.set(&format!("/hooks/{kind}"), json!([shell("true"), hook]));
            let before = Snapshot::of(&bundle);
            let done = bundle.create().exits(1).says(&format!("error running {kind} hook #1: ")).says(says);
            assert_eq!(done.stdout, "", "{kind} {way}");
            undone(&bundle, &before, true);
        }
    }
}

/// What comes after hooks that went well is undone with poststop hooks, what comes before without.
#[test]
fn poststop_runs_when_hooks_were_reached() {
    for kind in BEFORE_START {
        let mut bundle = container();
        bundle.set(&format!("/hooks/{kind}"), json!([shell("true")])).args(&["/no/such/program"]);
        let before = Snapshot::of(&bundle);
        bundle.create().exits(1).says("/no/such/program");
        undone(&bundle, &before, true);

        let mut bundle = container();
        bundle.set(&format!("/hooks/{kind}"), json!([shell("true")])).mount("/data", "nosuchfs", "none", &[]);
        let before = Snapshot::of(&bundle);
        bundle.create().exits(1).says("nosuchfs");
        undone(&bundle, &before, false);
    }
}

/// With all that it started.
#[test]
fn time_limits() {
    // Enough for the hook to come so far that it has children.
    let limit = (patience(1).as_secs() / 2).max(1);
    let started = |bundle: &Bundle| bundle.logs().join("started");
    // Known by how long it sleeps: where hooks run in the container's PID namespace, it has another pid for them.
    let length = |bundle: &Bundle| 5000.to_string() + &bundle.id.replace(|char: char| !char.is_ascii_digit(), "");
    let hook = |bundle: &Bundle| {
        let length = length(bundle);
        let mut hook = shell(&format!("sleep {length} & touch {}; sleep {length}", started(bundle).display()));
        hook["timeout"] = json!(limit);
        hook
    };
    let gone = |bundle: &Bundle| {
        assert!(started(bundle).exists());
        let line = format!("sleep\0{}\0", length(bundle));
        let sleeps =
            |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).is_ok_and(|read| read == line.as_bytes());
        wait_until("the hook's children end", || is_peer() || !fs::read_dir("/proc").unwrap().flatten().any(sleeps));
    };
    let text = |kind: &str| format!("error running {kind} hook #0: hook ran past specified timeout of {limit}.0s");
    for kind in ["prestart", "createRuntime", "createContainer", "poststart"] {
        let mut bundle = container();
        bundle.set(&format!("/hooks/{kind}"), json!([hook(&bundle)]));
        let before = Snapshot::of(&bundle);
        let begin = std::time::Instant::now();
        bundle.start_with("run", &["-d"]).run().exits(1).says(&text(kind));
        assert!(begin.elapsed() < patience(10), "{kind}: {:?}", begin.elapsed());
        gone(&bundle);
        undone(&bundle, &before, true);
    }
    let mut bundle = container();
    bundle.set("/hooks/poststop/0", hook(&bundle));
    bundle.start_with("run", &["-d"]).run().ok();
    let done = bundle.verb("delete", &["-f"]);
    if !is_peer() {
        done.ok().says(&text("poststop"));
    }
    gone(&bundle);
}

#[test]
fn a_start_container_hook_runs_inside_and_out_of_time() {
    let mut bundle = container();
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "sleep 5000"], "timeout": 1});
    bundle.set("/hooks/startContainer", json!([hook]));
    let created = bundle.create().ok();
    bundle.verb("start", &[]).ok();
    bundle.wait_stopped();
    let told = created.stderr_now();
    assert!(is_peer() || told.contains("startContainer hook #0: hook ran past specified timeout of 1.0s"), "{told}");
    bundle.verb("delete", &[]).ok();
    assert_eq!(poststops(&bundle), 1);
}

/// `start` has returned before: the text is on the container's stderr.
#[test]
fn start_container_after_create() {
    let mut bundle = container();
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo said; echo told >&2; exit 4"]});
    bundle.args(&["/bin/echo", "ran"]).set("/hooks/startContainer", json!([hook]));
    let created = bundle.create().ok();
    bundle.verb("start", &[]).ok();
    bundle.wait_stopped();
    assert_eq!(created.stdout_now(), "");
    let told = created.stderr_now();
    let text = "error running startContainer hook #0: exit status 4, stdout: said, stderr: told\n";
    assert!(is_peer() || told.ends_with(text), "{told}");
    bundle.verb("delete", &[]).ok();
}

#[test]
fn poststart() {
    let failing = |flags: &[&str]| -> (Bundle, Snapshot, Outcome) {
        let mut bundle = container();
        let skipped = bundle.logs().join("skipped");
        bundle.set("/hooks/poststart", json!([shell("exit 4"), shell(&format!("touch {}", skipped.display()))]));
        let before = Snapshot::of(&bundle);
        let done =
            bundle.start_with("run", flags).run().exits(1).says("error running poststart hook #0: exit status 4");
        assert!(!skipped.exists());
        (bundle, before, done)
    };
    for flags in [&[][..], &["-d"]] {
        let (bundle, before, _) = failing(flags);
        undone(&bundle, &before, true);
    }
    let mut bundle = container();
    bundle.set("/hooks/poststart", json!([shell("exit 4")]));
    bundle.create().ok();
    bundle.verb("start", &[]).exits(1).says("error running poststart hook #0: exit status 4");
    if !is_peer() {
        assert_eq!(bundle.status(), "stopped", "what is left is for `delete`");
        assert_eq!(poststops(&bundle), 0);
    }
    bundle.verb("delete", &["-f"]).ok();
    assert_eq!(poststops(&bundle), 1);
}

/// A container that cannot be is no reason to leave poststop hooks out, nor are they to stop each other.
#[test]
fn poststop_itself() {
    if is_peer() {
        return; // An error in runc, although everything is gone.
    }
    for flags in [&[][..], &["-d"]] {
        let mut bundle = container();
        bundle.args(&["/bin/true"]);
        let before = Snapshot::of(&bundle);
        bundle.set("/hooks/poststop/-", shell("exit 9"));
        let counting = bundle.get("/hooks/poststop/0").clone();
        bundle.set("/hooks/poststop/-", counting);
        let mut done = bundle.start_with("run", flags).run().ok();
        if !flags.is_empty() {
            bundle.wait_stopped();
            done = bundle.verb("delete", &[]).ok();
        }
        done.says("level=warning").says("error running poststop hook #1: exit status 9");
        before.assert_unchanged(&bundle);
        assert_eq!(poststops(&bundle), 2);
    }
}
