//! Bad input to every verb: a clear error that names field or file, and nothing left behind. A bad config.json is the
//! matter of `bad_json.rs`, bad values in it that of `bad_values.rs`, `bad_mounts.rs` and `bad_limits.rs`.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{Bundle, ConsoleSocket, Invocation, Outcome, Snapshot, is_peer, needs_root, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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

/// A command line that makes no sense is refused before anything else is looked at.
#[test]
fn wrong_uses_of_create() {
    let bundle = sleeping();
    bundle.save();
    let (dir, id) = (bundle.path().to_str().unwrap(), bundle.id.as_str());
    for (words, says) in [
        (vec!["craete", "-b", dir, id], "craete"),
        (vec!["create", "--bogus", "-b", dir, id], "flag provided but not defined: -bogus"),
        (vec!["create", "-b", dir], "\"create\" requires exactly 1 argument(s)"),
        (vec!["create", "-b", dir, id, id], "\"create\" requires exactly 1 argument(s)"),
        (vec!["create", id, "-b"], "flag needs an argument"),
        (vec!["create", "--preserve-fds", "-1", "-b", dir, id], "preserve-fds"),
        (vec!["create", "--preserve-fds", "x", "-b", dir, id], "preserve-fds"),
        (vec!["--log-format", "x", "create", "-b", dir, id], "invalid log-format: x"),
        (vec!["--log", "/no/such/log", "create", "-b", dir, id], "/no/such/log: no such file or directory"),
        (vec!["--root", "/", "create", "-b", dir, id], "Option --root argument should not be set to /"),
        (vec!["--root", "/..//.", "create", "-b", dir, id], "Option --root argument should not be set to /"),
        (vec!["--rootless", "maybe", "create", "-b", dir, id], "invalid --rootless: maybe"),
    ] {
        refused(&bundle, &[says], || bundle.onggi(&words));
    }
    assert!(is_peer() || !bundle.state_root().exists(), "refused before anything is made");
}

#[test]
fn invalid_ids() {
    let bundle = sleeping();
    bundle.save();
    let long = "x".repeat(256);
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
    assert!(!bundle.state_root().exists(), "no state root for an id that can't be");
}

/// As many bytes as a file's name may have; one more is told by the number.
#[test]
fn the_longest_id() {
    let mut bundle = sleeping();
    bundle.id = format!("{}{}", bundle.id, "x".repeat(255 - bundle.id.len()));
    bundle.by_hand();
    bundle.create().ok();
    assert_eq!(bundle.status(), "created");
    bundle.verb("delete", &["--force"]).ok();
    bundle.id.push('x');
    if !is_peer() {
        refused(&bundle, &["invalid container ID format: 256 characters, at most 255 are allowed"], || bundle.create());
    }
}

#[test]
fn id_in_use() {
    let bundle = sleeping();
    bundle.create().ok();
    refused(&bundle, &["container with given ID already exists"], || bundle.create());
    refused(&bundle, &["container with given ID already exists"], || bundle.run());
    assert_eq!(bundle.status(), "created");
}

/// Starts the container and waits until its program runs, which is seen by the name of the process.
fn start(bundle: &Bundle) {
    let name = format!("/proc/{}/comm", bundle.pid());
    let before = fs::read_to_string(&name).unwrap();
    bundle.verb("start", &[]).ok();
    wait_until("the program runs", || fs::read_to_string(&name).unwrap() != before);
}

#[test]
fn verbs_in_the_wrong_state() {
    let bundle = sleeping();
    bundle.create().ok();
    start(&bundle);
    refused(&bundle, &["cannot start an already running container"], || bundle.verb("start", &[]));
    refused(&bundle, &["that is not stopped: running"], || bundle.verb("delete", &[]));
    assert_eq!(bundle.status(), "running");
    let init = format!("/proc/{}", bundle.pid());
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    wait_until("init is reaped", || !Path::new(&init).exists());
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

/// What can't be reached is told before anything is made.
#[test]
fn sockets_and_descriptors_that_are_not_there() {
    let mut bundle = sleeping();
    let missing = bundle.path().join("missing.sock");
    let missing = missing.to_str().unwrap();
    let file = bundle.path().join("config.json");
    let file = file.to_str().unwrap();
    for (flags, says) in [
        (["--pidfd-socket", missing], vec!["--pidfd-socket", "missing.sock", "no such file or directory"]),
        (["--pidfd-socket", file], vec!["--pidfd-socket", "config.json", "connection refused"]),
        (["--preserve-fds", "300"], vec!["unable to stat preserved-fd"]),
        (["--console-socket", missing], vec!["cannot use console socket"]),
    ] {
        refused(&bundle, &says, || bundle.start_with("create", &flags).run().exits(1));
    }
    bundle.set("/process/terminal", json!(true));
    for (flags, says) in [
        (vec![], vec!["process.terminal: cannot allocate tty if onggi will detach without setting console socket"]),
        (vec!["--console-socket", missing], vec!["--console-socket", "missing.sock", "no such file or directory"]),
        (vec!["--console-socket", file], vec!["--console-socket", "config.json", "connection refused"]),
    ] {
        refused(&bundle, &says, || bundle.start_with("create", &flags).run().exits(1));
    }
    assert!(is_peer() || !bundle.state_root().exists(), "refused before anything is made");
    bundle.set("/process/terminal", json!(false)).create().ok();
}

/// Who listens hears of the end.
#[test]
fn sockets_are_closed_when_the_container_fails() {
    let mut bundle = sleeping();
    let console = ConsoleSocket::new(&bundle.logs());
    let console_path = console.path.to_str().unwrap().to_owned();
    bundle.set("/process/terminal", json!(true)).mount("/data", "nosuchfs", "x", &[]);
    let create = |flag: &str, path: &str| bundle.start_with("create", &[flag, path]).run();
    refused(&bundle, &["mounts[7].type"], || create("--console-socket", &console_path));
    let (payload, descriptors) = console.receive();
    assert!(payload.is_empty() && descriptors.is_empty(), "a terminal of no container");

    bundle.set("/process/terminal", json!(false));
    let create = |flag: &str, path: &str| bundle.start_with("create", &[flag, path]).run();
    refused(&bundle, &["mounts[7].type"], || create("--pidfd-socket", &console_path));
    let (payload, descriptors) = console.receive();
    assert!(payload.is_empty() && descriptors.is_empty(), "a pidfd of no container");
}

/// Written last of all: what fails then is undone as a whole.
#[test]
fn a_pid_file_that_cannot_be_written() {
    let mut bundle = sleeping();
    let (place, hooks) = (bundle.path().join("pid"), bundle.logs().join("hooks"));
    fs::create_dir(&place).unwrap();
    let script = format!("echo poststop >> {}", hooks.display());
    bundle.set("/hooks/poststop", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    for (verb, flag) in [("create", None), ("run", Some("-d"))] {
        let mut flags = vec!["--pid-file", place.to_str().unwrap()];
        flags.extend(flag);
        refused(&bundle, &["--pid-file ", "is a directory"], || bundle.start_with(verb, &flags).run().exits(1));
    }
    assert_eq!(fs::read_to_string(hooks).unwrap(), "poststop\npoststop\n");
    bundle.create().ok();
}

/// What the kernel says of the container's cgroup, by file, without what is only measured.
fn limits(bundle: &Bundle) -> BTreeMap<String, String> {
    let measured = ["stat", "events", "peak", "current", "pressure", "procs", "threads", "local", "numa_stat"];
    let files = fs::read_dir(directory(&cgroup_of(bundle))).unwrap().flatten();
    let files = files.filter(|file| file.file_type().unwrap().is_file());
    let named = files.map(|file| (file.file_name().into_string().unwrap(), file.path()));
    let limits = named.filter(|(name, _)| !measured.iter().any(|word| name.ends_with(word)));
    limits.filter_map(|(name, path)| Some((name, fs::read_to_string(path).ok()?))).collect()
}

/// All that can be known of a container from outside.
fn known(bundle: &Bundle) -> (Value, BTreeMap<String, String>, String) {
    // The program and since when it runs.
    let stat = fs::read_to_string(format!("/proc/{}/stat", bundle.pid())).unwrap();
    let stat: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (bundle.state(), limits(bundle), stat[19].to_owned())
}

/// Commands that fail leave a created, running or paused container as it was.
#[test]
fn failed_commands_leave_the_container_as_it_was() {
    let bundle = sleeping();
    bundle.create().ok();
    let pid_file = bundle.path().join("pid");
    let pid_file = pid_file.to_str().unwrap();
    for status in ["created", "running", "paused"] {
        match status {
            "running" => start(&bundle),
            "paused" => drop(bundle.verb("pause", &[]).ok()),
            _ => {}
        }
        let before = known(&bundle);
        let id = bundle.id.as_str();
        let mut failing = vec![
            vec!["exec", "--pid-file", pid_file, id, "/no/such/program"],
            vec!["exec", "--pid-file", pid_file, id, "nosuchprogram"],
            vec!["exec", "--pid-file", pid_file, "--cwd", "/no/such", id, "true"],
            vec!["exec", "--pid-file", pid_file, "-d", "--user", "4294967295", id, "true"],
            vec!["exec", "--pid-file", pid_file, "--user", "name", id, "true"],
            vec!["exec", "--additional-gids", "-1", id, "true"],
            vec!["exec", "--cgroup", "no/such", id, "true"],
            vec!["exec", "--cgroup", "../..", id, "true"],
            vec!["exec", "--process", "/no/such", id],
            vec!["exec", "--preserve-fds", "300", id, "true"],
            vec!["exec", "--pid-file", "/no/such/pid", id, "true"],
            vec!["exec", "--pidfd-socket", "/no/such.sock", id, "true"],
            vec!["exec", "-t", "-d", id, "true"],
            vec!["exec", id],
            vec!["kill", id, "NOSUCH"],
            vec!["kill", id, "4711"],
            vec!["kill", id, "-3"],
            vec!["update", "--cpu-idle", "2", id],
            vec!["update", "--memory", "5X", id],
            vec!["update", "--resources", "/no/such", id],
            vec!["delete", id],
            vec!["create", "-b", bundle.path().to_str().unwrap(), id],
            vec!["run", "-b", bundle.path().to_str().unwrap(), id],
            vec!["events", "--interval", "0s", id],
        ];
        if status == "created" {
            // It need not be forced.
            failing.retain(|command| command[0] != "delete");
        } else {
            failing.push(vec!["start", id]);
        }
        if status == "paused" {
            failing.push(vec!["pause", id]);
        } else {
            failing.push(vec!["resume", id]);
        }
        for command in failing {
            refused(&bundle, &[], || bundle.onggi(&command));
            assert_eq!(known(&bundle), before, "{status}: {command:?}");
        }
        // The first of the two is valid, and could be written.
        for request in ["{", "[]", "{\"unified\": {\"cgroup.max.depth\": \"5\", \"cgroup.max.descendants\": \"some\"}}"]
        {
            refused(&bundle, &[], || {
                bundle.invoke(&["update", "--resources", "-", id]).stdin_text(request).run().exits(1)
            });
            assert_eq!(known(&bundle), before, "{status}: {request}");
        }
    }
    bundle.verb("resume", &[]).ok();
    bundle.exec(&[], &["true"]).ok();
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
    write("fine", "#!/bin/sh\n");
    // The most that one argument may have is 128 KiB (execve(2)).
    let long = "x".repeat(200_000);
    for (program, argument, says) in [
        ("/data/wrong", "", "no such file or directory"),
        ("/data/format", "", "exec format error"),
        ("/data/fine", long.as_str(), "argument list too long"),
    ] {
        bundle.args(&[program, argument]);
        refused(&bundle, &[&format!("exec {program}: {says}")], || bundle.run().exits(255));
        let created = bundle.create().ok();
        bundle.verb("start", &[]);
        bundle.wait_stopped();
        if !is_peer() {
            assert_eq!(bundle.status(), "stopped");
            assert_eq!(
                created.stderr_now().trim(),
                format!("exec {program}: {says}"),
                "one line on the container's stderr"
            );
        }
        bundle.verb("delete", &[]).ok();
    }
}
