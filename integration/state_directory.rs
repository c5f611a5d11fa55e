//! What lies in the state directory, and what commands make of one that is damaged, old, or somebody else's.

use crate::harness::{Bundle, Snapshot, caller, is_peer, needs_root, remove_cgroup, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

fn sleeper() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.asleep();
    bundle
}

fn record(bundle: &Bundle) -> PathBuf {
    bundle.state_root().join(&bundle.id).join("state.json")
}

/// Rewrites the record as `change` says.
fn rewrite(bundle: &Bundle, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let mut value: Value = serde_json::from_str(&fs::read_to_string(record(bundle)).unwrap()).unwrap();
    change(value.as_object_mut().unwrap());
    fs::write(record(bundle), value.to_string()).unwrap();
}

/// Byte for byte what callers parse.
#[test]
fn documents() {
    let mut bundle = Bundle::new();
    bundle.set("/annotations/a", json!("b/\u{e4}\"")).args(&["/bin/sleep", "1000"]);
    bundle.create().ok();
    let (pid, created) = (bundle.pid(), bundle.state()["created"].as_str().unwrap().to_owned());
    let (dir, root, id) = (bundle.path().display(), bundle.rootfs(), &bundle.id);
    let root = root.display();
    let version = bundle.state()["ociVersion"].as_str().unwrap().to_owned();
    let text = format!(
        "{{\n  \"ociVersion\": \"{version}\",\n  \"id\": \"{id}\",\n  \"pid\": {pid},\n  \"status\": \"created\",\n  \
         \"bundle\": \"{dir}\",\n  \"rootfs\": \"{root}\",\n  \"created\": \"{created}\",\n  \"annotations\": {{\n    \
         \"a\": \"b/\u{e4}\\\"\"\n  }},\n  \"owner\": \"\"\n}}"
    );
    assert_eq!(bundle.verb("state", &[]).ok().quiet().stdout, text);
    let owner = caller::name();
    let text = format!(
        "[{{\"ociVersion\":\"{version}\",\"id\":\"{id}\",\"pid\":{pid},\"status\":\"created\",\"bundle\":\"{dir}\",\
         \"rootfs\":\"{root}\",\"created\":\"{created}\",\"annotations\":{{\"a\":\"b/\u{e4}\\\"\"}},\"owner\":\"{owner}\"}}]\n"
    );
    assert_eq!(bundle.onggi(&["list", "--format", "json"]).ok().quiet().stdout, text);
    let wide = |cell: &str| format!("{cell:<0$}", (cell.len() + 3).max(12));
    let cells = |cells: [&str; 5], width: [&str; 5]| -> String {
        cells.iter().zip(width).map(|(cell, widest)| format!("{cell:<0$}", wide(widest).len())).collect()
    };
    let (pid, dir) = (pid.to_string(), dir.to_string());
    let row = [id.as_str(), &pid, "created", &dir, &created];
    let head = cells(["ID", "PID", "STATUS", "BUNDLE", "CREATED"], row);
    let text = format!("{head}OWNER\n{}{owner}\n", cells(row, row));
    assert_eq!(bundle.onggi(&["list"]).ok().quiet().stdout, text);
    let day = created.split_once('T').unwrap();
    assert!(day.0.len() == 10 && day.1.ends_with('Z') && day.1.len() > 9, "RFC 3339 in UTC: {created}");
}

/// Containers live on while onggi is upgraded, and downgraded again.
#[test]
fn records_of_other_versions() {
    if is_peer() {
        return;
    }
    let newer = |record: &mut serde_json::Map<String, Value>| {
        record.insert("version".into(), json!(4711));
        record.insert("future".into(), json!({"a": [1, null]}));
    };
    let older = |record: &mut serde_json::Map<String, Value>| {
        let needed = ["version", "id", "bundle", "rootfs", "created", "phase", "pid", "start_time", "cgroup"];
        record.retain(|key, _| needed.contains(&key.as_str()));
    };
    for change in [newer, older] {
        let bundle = sleeper();
        bundle.verb("delete", &["-f"]).ok();
        bundle.create().ok();
        rewrite(&bundle, change);
        let before = fs::read_to_string(record(&bundle)).unwrap();
        assert_eq!(bundle.status(), "created");
        bundle.verb("start", &[]).ok().quiet();
        assert_eq!(bundle.status(), "running");
        assert_eq!(bundle.exec(&[], &["echo", "in"]).ok().stdout, "in\n");
        bundle.verb("pause", &[]).ok();
        bundle.verb("resume", &[]).ok();
        assert_eq!(fs::read_to_string(record(&bundle)).unwrap(), before, "nobody rewrites it");
        bundle.kill("KILL").ok();
        bundle.wait_stopped();
        bundle.verb("delete", &[]).ok().quiet();
    }
}

/// A directory without a record that can be read is no container, and in the way of the next one until it is deleted.
#[test]
fn leftovers() {
    for text in [None, Some(""), Some("{"), Some("[]"), Some("{\"id\": 7}")] {
        for force in [false, true] {
            let mut bundle = Bundle::new();
            bundle.args(&["/bin/sleep", "1000"]);
            bundle.warm_up();
            let before = Snapshot::of(&bundle);
            let directory = bundle.state_root().join(&bundle.id);
            fs::create_dir(&directory).unwrap();
            if let Some(text) = text {
                fs::write(directory.join("state.json"), text).unwrap();
            }
            for verb in ["state", "start", "kill", "pause", "resume", "ps", "events"] {
                bundle.verb(verb, &[]).exits(1).says("container does not exist");
            }
            bundle.exec(&[], &["true"]).exits(255).says("container does not exist");
            bundle.create().exits(1).says("container with given ID already exists");
            let done = bundle.verb("delete", if force { &["--force"] } else { &[] });
            if force {
                done.ok().quiet();
            } else {
                done.exits(1).says("container does not exist");
            }
            before.assert_unchanged(&bundle);
        }
    }
}

#[test]
fn list_skips_what_it_can_not_load() {
    let bundle = sleeper();
    let root = bundle.state_root();
    fs::create_dir(root.join("broken")).unwrap();
    fs::write(root.join("broken/state.json"), "{").unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    // No ids, and so nobody's containers.
    fs::create_dir(root.join("not an id")).unwrap();
    fs::write(root.join("file"), "").unwrap();
    let mut unreadable = vec!["broken", "empty"];
    if caller::is_rootless() {
        fs::create_dir(root.join("closed")).unwrap();
        fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        unreadable.insert(1, "closed");
    } else {
        fs::create_dir(root.join("foreign")).unwrap();
        chown(root.join("foreign"), Some(1000), Some(1000)).unwrap();
        unreadable.push("foreign");
    }
    let done = bundle.onggi(&["list", "-q"]).ok();
    assert_eq!(done.stdout, format!("{}\n", bundle.id));
    if !is_peer() {
        let told: Vec<_> = done.stderr.lines().map(|line| line.split(": ").next().unwrap()).collect();
        let expected: Vec<_> = unreadable.iter().map(|id| format!("load container {id}")).collect();
        assert_eq!(told, expected, "{done}");
    }
}

/// The record of another user's container names processes and hooks of that user's choice.
#[test]
fn of_another_user() {
    if !needs_root("a state directory of another user", "it is to be given away") || is_peer() {
        return;
    }
    let bundle = sleeper();
    let directory = bundle.state_root().join(&bundle.id);
    chown(&directory, Some(1000), Some(1000)).unwrap();
    for verb in ["state", "kill", "start", "pause", "ps"] {
        bundle.verb(verb, &[]).exits(1).says("container belongs to user 1000");
    }
    bundle.verb("delete", &["--force"]).exits(1).says("container belongs to user 1000");
    chown(&directory, Some(0), Some(0)).unwrap();
    assert_eq!(bundle.status(), "running");
}

/// After a reboot pid and start time may be those of another process.
#[test]
fn of_another_boot() {
    if is_peer() {
        return;
    }
    let bundle = sleeper();
    let (init, group) = (bundle.pid(), crate::cgroup::directory(&bundle_cgroup(&bundle)));
    rewrite(&bundle, |record| {
        record.insert("boot_id".into(), json!("00000000-0000-4000-8000-000000000000"));
        record.insert("cgroup".into(), json!("/onggi-test-no-such-cgroup"));
    });
    assert_eq!(bundle.status(), "stopped");
    bundle.kill("KILL").exits(1).says("container not running");
    bundle.verb("delete", &[]).ok().quiet();
    assert!(fs::metadata(format!("/proc/{init}")).is_ok(), "whoever has the pid now lives on");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), nix::sys::signal::Signal::SIGKILL).unwrap();
    // Which the container had, and no record names any more.
    remove_cgroup(&group);
}

/// Others may not look in, and the gate is there only before the start.
#[test]
fn modes_and_names() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]);
    let created = bundle.start_with("create", &[]).under(&["sh", "-c", "umask 0; exec \"$@\"", "-"]);
    created.env("NOTIFY_SOCKET", "/run/nobody.sock").run().ok();
    let names = || {
        let directory = bundle.state_root().join(&bundle.id);
        let mut found: Vec<_> = fs::read_dir(directory).unwrap().flatten().collect();
        found.sort_by_key(fs::DirEntry::file_name);
        let mode = |entry: &fs::DirEntry| entry.metadata().unwrap().permissions().mode() & 0o7777;
        let shown = |entry: &fs::DirEntry| format!("{} {:o}", entry.file_name().display(), mode(entry));
        found.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["config.json 600", "exec.fifo 600", "notify 755", "state.json 600"]);
    let mode = fs::metadata(bundle.state_root().join(&bundle.id)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o700);
    bundle.verb("start", &[]).ok();
    assert_eq!(names(), ["config.json 600", "notify 755", "state.json 600"]);
}

/// What is left of a container without a PID namespace when its first process has gone.
#[test]
fn what_outlives_init_is_killed() {
    for (verb, flags) in [("kill", &["KILL"][..]), ("delete", &[])] {
        let mut bundle = Bundle::new();
        bundle.without_namespace("pid").args(&["/bin/true"]);
        bundle.run().ok();
        let before = Snapshot::of(&bundle);
        bundle.script("sleep 1000 & echo up");
        bundle.start_with("run", &["-d"]).run().ok();
        bundle.wait_stopped();
        let group = crate::cgroup::directory(&bundle_cgroup(&bundle));
        let populated = || fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty());
        assert!(populated());
        let args = [&[verb, bundle.id.as_str()], flags].concat();
        bundle.onggi(&args).ok().quiet();
        wait_until("they end", || !populated());
        bundle.verb("delete", &["--force"]).ok();
        before.assert_unchanged(&bundle);
    }
}

/// Where the record has it: there is no process to ask.
fn bundle_cgroup(bundle: &Bundle) -> String {
    let value: Value = serde_json::from_str(&fs::read_to_string(record(bundle)).unwrap()).unwrap();
    value["cgroup"].as_str().unwrap().to_owned()
}

#[test]
fn a_failed_create_leaves_an_existing_pid_file() {
    let mut bundle = Bundle::new();
    let file = bundle.logs().join("pid");
    fs::write(&file, "old").unwrap();
    bundle.args(&["/no/such/program"]);
    bundle.start_with("create", &["--pid-file", file.to_str().unwrap()]).run().exits(1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    assert!(!bundle.logs().join(".pid").exists());
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.start_with("create", &["--pid-file", file.to_str().unwrap()]).run().ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), bundle.pid().to_string());
}

/// The last step, and all before it is undone.
#[test]
fn a_pid_file_that_can_not_be_written() {
    for (verb, flags) in [("create", &[][..]), ("run", &["-d"]), ("run", &[])] {
        let mut bundle = Bundle::new();
        let (target, note) = (bundle.logs().join("dir"), bundle.logs().join("poststop"));
        fs::create_dir(&target).unwrap();
        fs::write(target.join("x"), "").unwrap();
        bundle.args(&["/bin/sleep", "1000"]);
        bundle.warm_up();
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("touch {}", note.display())]});
        bundle.set("/hooks/poststop", json!([hook]));
        let before = Snapshot::of(&bundle);
        let flags = [&["--pid-file", target.to_str().unwrap()][..], flags].concat();
        bundle.start_with(verb, &flags).run().exits(1).says("pid-file").says("is a directory");
        before.assert_unchanged(&bundle);
        assert!(note.exists() && !bundle.logs().join(".dir").exists(), "{verb}");
    }
}
