//! A container whose config lists no mount namespace: its mounts are the host's, while it is there.

use crate::harness::{Bundle, MountNamespace, Pty, Snapshot, is_peer, is_rootless, needs_root, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Takes the mount namespace from `bundle`, and has `host` be the host's.
pub fn adapt(bundle: &mut Bundle, host: &MountNamespace) {
    bundle.without_namespace("mount").unset("/linux/maskedPaths").unset("/linux/readonlyPaths");
    bundle.always_under(host.entering());
}

/// A bundle whose host is `host`.
pub fn bundle(host: &MountNamespace) -> Bundle {
    let mut bundle = Bundle::new();
    adapt(&mut bundle, host);
    bundle
}

/// A host, unless we are none that can have such containers, or another runtime, which leaves its mounts, is under test.
fn host() -> Option<MountNamespace> {
    let can = needs_root("a container without a mount namespace", "users need a user namespace, and that one");
    (can && !is_peer()).then(MountNamespace::new)
}

fn hook(script: &str) -> Value {
    json!([{"path": "/bin/sh", "args": ["sh", "-ec", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}])
}

fn own(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_string_lossy().into_owned()
}

/// Something mounted at `path`, by its line in the table without numbers and propagation.
fn source(host: &MountNamespace, path: &Path) -> Vec<String> {
    let last = |line: &String| line.rsplit(' ').nth(1).unwrap().to_owned();
    let at = |line: &&String| line.split(' ').nth(4) == path.to_str();
    host.mounts().iter().filter(at).map(last).collect()
}

#[test]
fn its_life() {
    let Some(host) = host() else { return };
    let mut bundle = bundle(&host);
    let (before, snapshot) = (host.mounts(), Snapshot::of(&bundle));
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.create().ok();
    let (root, mounts) = (bundle.rootfs(), host.mounts());
    // The directory itself is first: the holder, and the container's root on it.
    let expected = ["", "", "proc", "dev", "dev/pts", "dev/shm", "dev/mqueue", "sys", "sys/fs/cgroup"];
    assert_eq!(host.points(&root), expected.map(|below| root.join(below).components().collect::<PathBuf>()));
    assert_eq!(mounts[..before.len()], before, "the host's own are as they were");
    // From the host one sees what the container has.
    assert_eq!(host.sh(&bundle.logs(), &format!("stat -c %t:%T {}/dev/null", root.display())), "1:3\n");
    bundle.verb("start", &[]).ok();

    let seen = bundle.exec_report(&[]);
    assert_eq!(seen.json["namespaces"]["mnt"], json!(fs::read_link(host.file("ns/mnt")).unwrap()));
    assert_eq!(seen.json["namespaces"]["pid"], json!(fs::read_link(format!("/proc/{}/ns/pid", bundle.pid())).unwrap()));
    let listed = bundle.exec(&[], &["/bin/ls", "/"]).ok().stdout;
    assert!(listed.contains("probe\n") && !listed.contains("boot\n"), "{listed}");
    assert_eq!(bundle.exec(&["--cwd", "/data"], &["/bin/sh", "-c", "pwd; cd ../..; pwd"]).ok().stdout, "/data\n/\n");
    assert!(bundle.verb("ps", &[]).ok().stdout.contains("sleep 1000"));
    // From elsewhere on the machine as well.
    bundle.always_under(Vec::new());
    let elsewhere = bundle.exec(&[], &["/bin/ls", "/"]).ok().stdout;
    assert_eq!(elsewhere, listed);
    bundle.always_under(host.entering());

    assert_eq!(host.mounts(), mounts, "exec mounts nothing");
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    assert_eq!(host.mounts(), mounts, "until it is deleted");
    bundle.verb("delete", &[]).ok();
    assert_eq!(host.mounts(), before);
    snapshot.assert_unchanged(&bundle);
}

/// As the validation suite of the specification asks for: each namespace is the runtime's.
#[test]
fn with_no_namespaces_at_all() {
    let Some(host) = host() else { return };
    for list in [json!([]), Value::Null] {
        let mut bundle = bundle(&host);
        let before = host.mounts();
        bundle.set("/linux/namespaces", list).unset("/hostname");
        let seen = bundle.report();
        for name in ["cgroup", "ipc", "net", "pid", "time", "user", "uts"] {
            assert_eq!(seen.json["namespaces"][name], own(name), "{name}");
        }
        assert_eq!(seen.json["namespaces"]["mnt"], json!(fs::read_link(host.file("ns/mnt")).unwrap()));
        bundle.asleep();
        assert_eq!(bundle.exec(&[], &["/bin/cat", "/etc/group"]).ok().stdout, "root:x:0:\ntty:x:5:\nuser:x:1000:\n");
        assert_eq!(bundle.exec_report(&[]).json["namespaces"], seen.json["namespaces"]);
        bundle.verb("delete", &["--force"]).ok();
        assert_eq!(host.mounts(), before);
    }
}

#[test]
fn what_is_in_it_is_as_ever() {
    let Some(host) = host() else { return };
    let mut bundle = bundle(&host);
    fs::write(bundle.path().join("file"), "of the bundle\n").unwrap();
    bundle.mount("/late/file", "bind", "file", &["bind", "ro"]).mount("/data", "tmpfs", "tmpfs", &["ro", "size=4k"]);
    bundle.set("/root/readonly", json!(true)).set("/process/cwd", json!("/made/for/cwd"));
    bundle.set("/linux/devices", json!([{"path": "/dev/deep/fuse", "type": "c", "major": 10, "minor": 229}]));
    let before = host.mounts();
    bundle.script(
        "pwd; cat /late/file; touch /x || echo closed; touch /data/x || touch /late/file || test -c /dev/deep/fuse",
    );
    let done = bundle.run().ok();
    assert_eq!(done.stdout, "/made/for/cwd\nof the bundle\nclosed\n", "{done}");
    assert_eq!(host.mounts(), before, "gone after run");
    bundle.start_with("run", &["--no-pivot"]).run().ok();
    assert_eq!(host.mounts(), before, "there is no pivot to do without");
    bundle.start_with("run", &["--keep"]).run().ok();
    assert_ne!(host.mounts(), before, "kept with the state");
    bundle.verb("delete", &[]).ok();
    assert_eq!(host.mounts(), before);
}

#[test]
fn hooks() {
    let Some(host) = host() else { return };
    let mut bundle = bundle(&host);
    let (root, logs) = (bundle.rootfs(), bundle.logs());
    fs::write(logs.join("extra"), "extra\n").unwrap();
    for name in ["runtime", "container"] {
        fs::write(root.join("data").join(name), "").unwrap();
    }
    let mount = |target: String| format!("mount --bind {}/extra {target}", logs.display());
    bundle.set("/hooks/createRuntime", hook(&mount(format!("{}/data/runtime", root.display()))));
    bundle.set("/hooks/createContainer", hook(&format!("test -c dev/null; {}", mount("data/container".into()))));
    bundle.set("/hooks/startContainer", hook("test -x /probe; echo started > /dev/shm/started"));
    bundle.args(&["/bin/cat", "/data/runtime", "/data/container", "/dev/shm/started"]);
    let before = host.mounts();
    assert_eq!(bundle.run().ok().stdout, "extra\nextra\nstarted\n");
    assert_eq!(host.mounts(), before);
}

#[test]
fn nothing_stays_of_one_that_failed() {
    let Some(host) = host() else { return };
    type Change = fn(&mut Bundle) -> &mut Bundle;
    let changes: [(&str, Change); 7] = [
        ("a source that is missing", |b| b.mount("/data", "bind", "/no/such/file", &["bind"])),
        ("a mount at the end", |b| b.mount("/data", "tmpfs", "tmpfs", &["size=many"])),
        ("createRuntime", |b| b.set("/hooks/createRuntime", hook("exit 3"))),
        ("createContainer", |b| b.set("/hooks/createContainer", hook("exit 3"))),
        ("the program", |b| b.args(&["/no/such/program"])),
        ("the directory", |b| b.set("/process/cwd", json!("/bin/busybox"))),
        ("poststart", |b| b.set("/hooks/poststart", hook("exit 3"))),
    ];
    for (what, change) in changes {
        for verb in ["create", "run"] {
            let mut bundle = bundle(&host);
            bundle.args(&["/bin/sleep", "1000"]);
            change(&mut bundle);
            if (what, verb) == ("poststart", "create") {
                continue;
            }
            let (before, snapshot) = (host.mounts(), Snapshot::of(&bundle));
            bundle.start_with(verb, &[]).run().fails();
            assert_eq!(host.mounts(), before, "{what}: {verb}");
            snapshot.assert_unchanged(&bundle);
        }
    }
}

#[test]
fn refused_with_a_user_namespace() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.without_namespace("mount").unset("/linux/maskedPaths").unset("/linux/readonlyPaths").args(&["/bin/true"]);
    if !is_rootless() {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map).namespace("user", None);
    }
    let snapshot = Snapshot::of(&bundle);
    bundle.run().exits(1).says("linux.namespaces: a container with a user namespace can't mount anything");
    snapshot.assert_unchanged(&bundle);
}

/// Its own root on top of which it would lie for ever.
#[test]
fn the_hosts_root_is_refused() {
    let Some(host) = host() else { return };
    let mut bundle = bundle(&host);
    bundle.set("/root/path", json!("/")).args(&["/bin/true"]);
    let (before, snapshot) = (host.mounts(), Snapshot::of(&bundle));
    bundle.run().exits(1).says("invalid rootfs: / is the host's root");
    assert_eq!(host.mounts(), before);
    snapshot.assert_unchanged(&bundle);
}

/// `rootfsPropagation` is about the container's root; a mount that is to be a peer of the host's takes nothing of the
/// host's away when it goes.
#[test]
fn mounts_of_the_host_stay_as_they_are() {
    let Some(host) = host() else { return };
    let mut bundle = bundle(&host);
    let volume = bundle.path().join("volume");
    let mounts = "for name in outer inner x; do mkdir -p $at; mount -t tmpfs $name $at; at=$at/sub; done";
    host.sh(&bundle.logs(), &format!("at={}; {mounts}", volume.display()));
    // A root filesystem with mounts of its own.
    host.sh(&bundle.logs(), &format!("mount -t tmpfs below {}/data", bundle.rootfs().display()));
    let before = host.mounts();
    for options in [&["rbind"][..], &["rbind", "rshared"], &["rbind", "rslave"]] {
        bundle.config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/run");
        bundle.mount("/run", "bind", "volume", options);
        for propagation in
            ["", "rslave", "slave", "rprivate", "private", "rshared", "shared", "unbindable", "runbindable"]
        {
            bundle.set("/linux/rootfsPropagation", json!(propagation));
            let told = format!("{options:?} {propagation}");
            bundle.script("cut -d ' ' -f 4- /proc/self/mountinfo");
            bundle.create().ok();
            let during = host.mounts();
            assert_eq!(during[..before.len()], before, "{told}");
            assert_eq!(source(&host, &bundle.rootfs().join("run/sub/sub")), ["x"], "{told}");
            let top = during.iter().rfind(|line| line.split(' ').nth(4) == bundle.rootfs().to_str()).unwrap();
            assert_eq!(top.contains(" shared:"), propagation.ends_with("shared"), "{told}: {top}");
            assert_eq!(top.contains(" unbindable "), propagation.ends_with("unbindable"), "{told}: {top}");
            bundle.verb("delete", &[]).ok();
            assert_eq!(host.mounts(), before, "{told}");
        }
    }
}

/// In namespaces that the host's mounts travel to the directory alone is mounted on itself, and that goes as well.
#[test]
fn other_mount_namespaces_get_nothing_of_it() {
    let Some(host) = host() else { return };
    let followers = [host.follower("slave"), host.follower("unchanged")];
    let mut bundle = bundle(&host);
    host.sh(&bundle.logs(), &format!("mount -t tmpfs below {}/data", bundle.rootfs().display()));
    let tables = || followers.iter().map(MountNamespace::mounts).collect::<Vec<_>>();
    let before = tables();
    bundle.asleep();
    let root = bundle.rootfs();
    for follower in &followers {
        assert_eq!(follower.points(&root), [root.join("data"), root.clone()]);
    }
    bundle.verb("delete", &["--force"]).ok();
    assert_eq!(tables(), before);

    // While the host mounts something below it, by another path.
    bundle.asleep();
    let alias = bundle.path().join("alias");
    fs::create_dir(&alias).unwrap();
    let script = format!("cd {}; mount --bind . alias; mount -t tmpfs x alias/rootfs/tmp", bundle.path().display());
    host.sh(&bundle.logs(), &script);
    bundle.verb("delete", &["--force"]).ok();
    for follower in &followers {
        assert_eq!(follower.points(&root), [root.join("data"), root.join("tmp")]);
    }
}

#[test]
fn only_what_is_its_own_is_unmounted() {
    let Some(host) = host() else { return };
    let mut bundle = bundle(&host);
    let (logs, root) = (bundle.logs(), bundle.rootfs().display().to_string());
    let before = host.mounts();
    bundle.asleep();
    host.sh(&logs, &format!("mount -t tmpfs over {root}"));
    let done = bundle.verb("delete", &["--force"]).exits(1);
    done.says("something else is mounted over the container's root filesystem").says(&format!("unmount {root}"));
    host.sh(&logs, &format!("umount {root}"));
    bundle.verb("delete", &["--force"]).ok();
    assert_eq!(host.mounts(), before);

    // Gone already, and the place taken by another, with the number of one that is gone.
    bundle.asleep();
    host.sh(&logs, &format!("umount -l {root}; umount -l {root}; mount -t tmpfs other {root}"));
    let with_other = host.mounts();
    bundle.verb("delete", &["--force"]).ok();
    assert_eq!(host.mounts(), with_other);
    host.sh(&logs, &format!("umount {root}"));

    // The upper one alone.
    bundle.asleep();
    host.sh(&logs, &format!("umount -l {root}"));
    bundle.verb("delete", &["--force"]).ok();
    assert_eq!(host.mounts(), before);
}

/// Whoever may rename the bundle can't lead `delete` elsewhere, nor hide the mounts from it.
#[test]
fn the_path_may_lead_elsewhere_by_then() {
    let Some(host) = host() else { return };
    let mut bundle = bundle(&host);
    let (deep, moved, other) =
        (bundle.path().join("deep"), bundle.path().join("moved"), bundle.path().join("other/rootfs"));
    fs::create_dir(&deep).unwrap();
    fs::create_dir_all(&other).unwrap();
    fs::rename(bundle.rootfs(), deep.join("rootfs")).unwrap();
    bundle.set("/root/path", json!("deep/rootfs"));
    host.sh(&bundle.logs(), &format!("mount -t tmpfs other {}", other.display()));
    let before = host.mounts();
    bundle.asleep();
    fs::rename(&deep, &moved).unwrap();
    symlink("other", &deep).unwrap();
    assert_eq!(host.points(&moved).len(), 9);
    bundle.verb("delete", &["--force"]).ok();
    assert_eq!(host.mounts(), before);
}

fn rewrite(bundle: &Bundle, change: impl FnOnce(&mut Value)) {
    let path = bundle.state_root().join(&bundle.id).join("state.json");
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut record);
    fs::write(&path, record.to_string()).unwrap();
}

/// Before Linux 6.8 the number of a mount may have become another's.
#[test]
fn without_unique_numbers_the_place_counts() {
    let Some(host) = host() else { return };
    let mut bundle = bundle(&host);
    let before = host.mounts();
    bundle.asleep();
    rewrite(&bundle, |record| {
        for mount in record["host_mounts"].as_array_mut().unwrap() {
            mount["unique"] = Value::Null;
        }
    });
    bundle.verb("delete", &["--force"]).ok();
    assert_eq!(host.mounts(), before);

    bundle.asleep();
    let (volume, root) = (bundle.path().join("volume"), bundle.rootfs().display().to_string());
    fs::create_dir(&volume).unwrap();
    let script = format!("umount -l {root}; umount -l {root}; mount -t tmpfs other {}", volume.display());
    host.sh(&bundle.logs(), &script);
    let with_other = host.mounts();
    let number: u64 = with_other.last().unwrap().split(' ').next().unwrap().parse().unwrap();
    rewrite(&bundle, |record| record["host_mounts"] = json!([{"id": number}]));
    bundle.verb("delete", &["--force"]).ok();
    assert_eq!(host.mounts(), with_other);
}

#[test]
fn of_another_boot() {
    let Some(host) = host() else { return };
    let mut bundle = bundle(&host);
    bundle.asleep();
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    let during = host.mounts();
    rewrite(&bundle, |record| record["boot_id"] = json!("00000000-0000-4000-8000-000000000000"));
    bundle.verb("delete", &[]).ok();
    assert_eq!(host.mounts(), during, "these are another's");
}

#[test]
fn with_a_terminal() {
    let Some(host) = host() else { return };
    let mut bundle = bundle(&host);
    bundle.set("/process/terminal", json!(true));
    bundle.script("stat -c '%t:%T' /dev/console; echo via tty > /dev/tty; tty; exit 7");
    let before = host.mounts();
    let (mut pty, run) = Pty::control(bundle.start_with("run", &[]));
    let shown = pty.rest();
    run.wait().exits(7);
    for word in ["88:0", "via tty", "/dev/pts/0"] {
        assert!(shown.contains(word), "{shown}");
    }
    assert_eq!(host.mounts(), before);
}

/// After `create`, `run` or onggi itself was killed there is the record.
#[test]
fn of_a_runtime_that_was_killed() {
    let Some(host) = host() else { return };
    let mut bundle = bundle(&host);
    bundle.args(&["/bin/sleep", "1000"]);
    let before = host.mounts();
    let running = bundle.start_with("run", &[]).spawn();
    wait_until("its mounts are there", || host.points(&bundle.rootfs()).len() == 9);
    running.signal(nix::sys::signal::Signal::SIGKILL);
    assert_ne!(host.mounts(), before);
    bundle.verb("delete", &["--force"]).ok();
    assert_eq!(host.mounts(), before);
}
