//! Bad input to every verb: a clear error that names field or file, and nothing left behind. Bad values inside
//! config.json are in `bad_values.rs`.

use crate::harness::{Bundle, Invocation, Outcome, Snapshot, is_peer, needs_root};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Runs what `act` does and asserts that it failed, said all of `says`, and left the host as it was.
#[track_caller]
pub fn refused(bundle: &Bundle, says: &[&str], act: impl FnOnce() -> Outcome) {
    let before = Snapshot::of(bundle);
    let mut done = act().fails();
    if !is_peer() {
        for line in done.stderr.lines() {
            assert!(!line.contains("panicked"), "{done}");
        }
    }
    for text in says {
        done = done.says(text);
    }
    before.assert_unchanged(bundle);
    drop(done);
}

fn sleeping() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle
}

#[test]
fn missing_bundle() {
    let bundle = sleeping();
    let missing = bundle.path().join("missing");
    refused(&bundle, &["missing", "no such file or directory"], || {
        bundle.onggi(&["create", "--bundle", missing.to_str().unwrap(), &bundle.id])
    });
}

#[test]
fn missing_config() {
    let bundle = sleeping();
    refused(&bundle, &["config.json"], || bundle.onggi(&["create", "-b", bundle.path().to_str().unwrap(), &bundle.id]));
}

/// With the line and the column.
#[test]
fn broken_config() {
    let bundle = sleeping();
    let create = || bundle.onggi(&["create", "-b", bundle.path().to_str().unwrap(), &bundle.id]);
    for (text, place) in [
        ("{\n  \"ociVersion\": \"1.0.2\",\n  \"process\": {]\n}", "line 3 column 15"),
        ("", "line 1 column 0"),
        ("{\n\"process\": {\"args\": [1]}}", "line 2"),
        ("[1, 2]", "line 1"),
        ("{\"ociVersion\":", "line 1"),
        ("{\"ociVersion\": \"1.0.2\", \"process\": {\"user\": {\"uid\": \"root\"}}}", "line 1"),
    ] {
        fs::write(bundle.path().join("config.json"), text).unwrap();
        refused(&bundle, &["config.json", place], create);
    }
    fs::write(bundle.path().join("config.json"), "null").unwrap();
    refused(&bundle, &["config.json"], create);
    fs::write(bundle.path().join("config.json"), b"{\"\xff\xfe\": 1}").unwrap();
    refused(&bundle, &["config.json"], create);
}

#[test]
fn deeply_nested_and_huge_configs() {
    let bundle = sleeping();
    let create = || bundle.onggi(&["create", "-b", bundle.path().to_str().unwrap(), &bundle.id]);
    fs::write(bundle.path().join("config.json"), "[".repeat(200_000)).unwrap();
    refused(&bundle, &["config.json"], create);
    fs::write(bundle.path().join("config.json"), format!("{{\"x\": {}1{}}}", "[".repeat(5000), "]".repeat(5000)))
        .unwrap();
    refused(&bundle, &["config.json"], create);
    fs::remove_file(bundle.path().join("config.json")).unwrap();
    fs::create_dir(bundle.path().join("config.json")).unwrap();
    refused(&bundle, &["config.json"], create);
    fs::remove_dir(bundle.path().join("config.json")).unwrap();
}

#[test]
fn invalid_ids() {
    let bundle = sleeping();
    bundle.save();
    let long = "x".repeat(2000);
    for id in ["..", ".", "a/b", "/", "a b", "ä", "../x", "a\nb", long.as_str()] {
        for verb in ["create", "run"] {
            let says = if id == long { "" } else { "invalid container ID format" };
            refused(&bundle, &[says], || bundle.onggi(&[verb, "-b", bundle.path().to_str().unwrap(), "--", id]));
        }
    }
    refused(&bundle, &["container id cannot be empty"], || {
        bundle.onggi(&["create", "-b", bundle.path().to_str().unwrap(), ""])
    });
    for verb in ["state", "start", "kill", "delete"] {
        for id in ["..", "a/b", "../../etc", ""] {
            refused(&bundle, &[], || bundle.onggi(&[verb, id]));
        }
    }
    if !is_peer() {
        for id in [".hidden", "..x"] {
            refused(&bundle, &["invalid container ID format"], || {
                bundle.onggi(&["create", "-b", bundle.path().to_str().unwrap(), id])
            });
        }
    }
    assert!(fs::metadata(bundle.state_root()).is_err() || fs::read_dir(bundle.state_root()).unwrap().next().is_none());
}

#[test]
fn id_in_use() {
    let bundle = sleeping();
    bundle.create().ok();
    refused(&bundle, &["container with given ID already exists"], || bundle.create());
    refused(&bundle, &["container with given ID already exists"], || bundle.run());
    assert_eq!(bundle.status(), "created");
}

#[test]
fn verbs_in_the_wrong_state() {
    let bundle = sleeping();
    bundle.create().ok();
    bundle.verb("start", &[]).ok();
    refused(&bundle, &["cannot start an already running container"], || bundle.verb("start", &[]));
    refused(&bundle, &["that is not stopped: running"], || bundle.verb("delete", &[]));
    assert_eq!(bundle.status(), "running");
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    refused(&bundle, &["container not running"], || bundle.kill("TERM"));
    refused(&bundle, &["cannot start a container that has stopped"], || bundle.verb("start", &[]));
    assert_eq!(bundle.status(), "stopped");
}

#[test]
fn unwritable_root() {
    let bundle = sleeping();
    bundle.save();
    let logs = bundle.logs();
    fs::write(logs.join("file"), "").unwrap();
    let dir = bundle.path().to_str().unwrap();
    for (root, says) in [("/proc/nowhere", "/proc/nowhere"), (logs.join("file").to_str().unwrap(), "file")] {
        refused(&bundle, &[says], || {
            Invocation::runtime(&logs, ["--root", root, "create", "-b", dir, &bundle.id]).run()
        });
    }
    if !needs_root("a state directory on a read-only file system", "it has to be mounted") {
        return;
    }
    // In a mount namespace of its own.
    let wrapper = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o ro x /mnt && exec \"$@\"", "-"];
    refused(&bundle, &["read-only file system"], || {
        Invocation::runtime(&logs, ["--root", "/mnt/state", "create", "-b", dir, &bundle.id]).under(&wrapper).run()
    });
}

#[test]
fn pid_file_in_a_missing_directory() {
    let bundle = sleeping();
    let file = bundle.path().join("no/such/dir/pid");
    for (verb, flag) in [("create", None), ("run", Some("-d"))] {
        let mut flags = vec!["--pid-file", file.to_str().unwrap()];
        flags.extend(flag);
        refused(&bundle, &["no/such/dir/pid", "no such file or directory"], || bundle.start_with(verb, &flags).run());
    }
}

#[test]
fn failing_and_slow_hooks() {
    let mut bundle = sleeping();
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/false"}]));
    refused(&bundle, &["createRuntime hook #0", "exit status 1"], || bundle.create());
    refused(&bundle, &["createRuntime hook #0", "exit status 1"], || bundle.run());
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/sleep", "args": ["sleep", "30"], "timeout": 1}]));
    refused(&bundle, &["timeout of 1.0s"], || bundle.create());
}

#[test]
fn programs_that_cannot_be_run() {
    let mut bundle = Bundle::new();
    fs::write(bundle.rootfs().join("data/plain"), "not a program\n").unwrap();
    fs::write(bundle.rootfs().join("data/noexec"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(bundle.rootfs().join("data/noexec"), fs::Permissions::from_mode(0o644)).unwrap();
    for (args, says) in [
        (json!(["nosuchprogram"]), vec!["exec: \"nosuchprogram\": executable file not found in $PATH"]),
        (
            json!(["/no/such/program"]),
            vec!["exec: \"/no/such/program\": stat /no/such/program: no such file or directory"],
        ),
        (json!(["/data/noexec"]), vec!["exec: \"/data/noexec\": permission denied"]),
        (json!(["/etc"]), vec!["exec: \"/etc\": is a directory", "permission denied"]),
        (json!(["/etc/passwd/x"]), vec!["not a directory"]),
        (json!([""]), vec![]),
    ] {
        bundle.set("/process/args", args);
        // Already at create: engines turn the text into their own exit status.
        refused(&bundle, &says, || bundle.create());
        refused(&bundle, &says, || bundle.run().exits(1));
    }
}

/// Only execve(2) itself can tell; `create` has returned by then.
#[test]
fn programs_that_the_kernel_refuses() {
    let mut bundle = Bundle::new();
    let write = |name: &str, text: &str| {
        let path = bundle.rootfs().join("data").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("wrong", "#!/no/such/interpreter\n");
    write("format", "no program at all\n");
    for (program, says) in [("/data/wrong", "no such file or directory"), ("/data/format", "exec format error")] {
        bundle.args(&[program]);
        refused(&bundle, &[&format!("exec {program}: {says}")], || bundle.run().exits(255));
        let created = bundle.create().ok();
        bundle.verb("start", &[]);
        bundle.wait_stopped();
        if !is_peer() {
            assert_eq!(
                created.stderr_now().trim(),
                format!("exec {program}: {says}"),
                "one line on the container's stderr"
            );
        }
        bundle.verb("delete", &[]).ok();
    }
}
