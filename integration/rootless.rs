//! A caller without privileges: id maps by helpers, cgroups with and without delegation, and every refusal, which says
//! what would have to change. The other tests show, run as such a user, that all else is as for root.

use crate::harness::{Bundle, Outcome, Snapshot, caller, entering, is_peer, needs_user, test_cgroup};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The unchanged template of `spec --rootless`, but for the terminal.
fn template() -> Bundle {
    let mut bundle = Bundle::new();
    let scratch = tempfile::tempdir().unwrap();
    bundle.invoke(&["spec", "--rootless", "-b", scratch.path().to_str().unwrap()]).run().ok();
    bundle.config = serde_json::from_str(&fs::read_to_string(scratch.path().join("config.json")).unwrap()).unwrap();
    bundle.set("/process/terminal", json!(false));
    bundle
}

/// Asserts that `attempt` fails with all of `texts` and leaves nothing.
#[track_caller]
fn refused(bundle: &Bundle, texts: &[&str], attempt: impl FnOnce() -> Outcome) {
    bundle.warm_up();
    let before = Snapshot::of(bundle);
    let mut done = attempt().exits(1);
    for text in texts {
        done = done.says(text);
    }
    before.assert_unchanged(bundle);
}

/// As [`refused`], for a `run` with `value` at `pointer` of the config.
#[track_caller]
fn refused_with(pointer: &str, value: Value, texts: &[&str]) {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.warm_up();
    let before = Snapshot::of(&bundle);
    bundle.set(pointer, value);
    let mut done = bundle.run().exits(1);
    for text in texts {
        done = done.says(text);
    }
    before.assert_unchanged(&bundle);
}

fn ids(host: u32, size: u32) -> Value {
    json!([{"containerID": 0, "hostID": host, "size": size}])
}

fn directory(cgroup: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(cgroup.trim_start_matches('/'))
}

#[test]
fn the_template_runs_without_helpers() {
    if !needs_user("the template of spec --rootless") {
        return;
    }
    let mut bundle = template();
    bundle.args(&["/probe", "report"]);
    let empty = bundle.logs().join("empty");
    fs::create_dir(&empty).unwrap();
    let done = bundle.start_with("run", &[]).env("PATH", &empty).run().ok().quiet();
    let seen = crate::harness::Report::parse(&done);
    assert_eq!(seen.json["uid_map"].as_str().unwrap().split_whitespace().collect::<Vec<_>>()[2], "1");
    assert_eq!(seen.json["setgroups"], "deny", "CVE-2014-8989");
    assert_eq!(seen.numbers("Uid"), [0; 4]);
    seen.assert_mount("/dev/pts", "devpts", &["nosuid", "noexec"]);
    seen.assert_mount("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]);
    seen.assert_mount("/sys/fs/cgroup", "cgroup2", &["ro"]);
}

/// CVE-2023-25809: what is bound with /sys may not be the host's cgroups, open for writing.
#[test]
fn cgroups_below_a_bound_sys_cannot_be_written() {
    if !needs_user("cgroups below a bound /sys") {
        return;
    }
    for namespace in [true, false] {
        let mut bundle = template();
        if !namespace {
            bundle.without_namespace("cgroup");
        }
        let script = "find /sys/fs/cgroup -name cgroup.procs | while read f; do (echo 1 > $f) && echo open: $f; done; \
                      mkdir /sys/fs/cgroup/x && echo made; echo done";
        let done = bundle.script(script).run().ok();
        assert_eq!(done.stdout, "done\n", "cgroup namespace: {namespace}");
    }
}

#[test]
fn helpers_map_what_subuid_gives() {
    if !needs_user("newuidmap and newgidmap") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1001}));
    let seen = bundle.report();
    assert_eq!(seen.json["uid_map"].as_str().unwrap().lines().count(), 2);
    assert_eq!(seen.json["gid_map"].as_str().unwrap().lines().count(), 2);
    assert_eq!(seen.json["setgroups"], "allow");
    assert_eq!((seen.numbers("Uid"), seen.numbers("Gid")), (vec![1000; 4], vec![1001; 4]));
}

#[test]
fn ids_that_subuid_does_not_give_are_refused_with_the_missing_line() {
    if !needs_user("ids of somebody else") {
        return;
    }
    let name = caller::name();
    for (field, file, helper) in
        [("uidMappings", "/etc/subuid", "newuidmap: uid range"), ("gidMappings", "/etc/subgid", "newgidmap: gid range")]
    {
        let line = format!("{name}:77777:10");
        let texts = [&format!("linux.{field}"), helper, "not allowed", file, line.as_str()];
        refused_with(&format!("/linux/{field}"), ids(77777, 10), &texts);
    }
    let root = format!("{name}:0:1");
    refused_with("/linux/uidMappings", ids(0, 1), &["linux.uidMappings", &root]);
}

#[test]
fn helpers_that_are_missing_or_broken_are_named() {
    if !needs_user("missing helpers") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    let bin = bundle.logs().join("bin");
    fs::create_dir(&bin).unwrap();
    refused(&bundle, &["newuidmap is not in PATH", "package uidmap"], || {
        bundle.start_with("run", &[]).env("PATH", &bin).run()
    });
    symlink("/usr/bin/newuidmap", bin.join("newuidmap")).unwrap();
    refused(&bundle, &["linux.gidMappings", "newgidmap is not in PATH"], || {
        bundle.start_with("run", &[]).env("PATH", &bin).run()
    });
    let script = "#!/bin/sh\necho out of order today >&2\nexit 3\n";
    fs::write(bin.join("newgidmap"), script).unwrap();
    fs::set_permissions(bin.join("newgidmap"), PermissionsExt::from_mode(0o755)).unwrap();
    refused(&bundle, &["newgidmap: exit status 3: out of order today"], || {
        bundle.start_with("run", &[]).env("PATH", &bin).run()
    });
    // Setuid programs have no effect there.
    refused(&bundle, &["linux.uidMappings", "newuidmap", "no_new_privs"], || {
        bundle.start_with("run", &[]).under(&["setpriv", "--no-new-privs"]).run()
    });
}

/// A helper that hangs (on a name service that does not answer) keeps nobody waiting.
#[test]
fn a_hanging_helper_can_be_interrupted() {
    if !needs_user("a hanging helper") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.warm_up();
    let before = Snapshot::of(&bundle);
    let (bin, entered) = (bundle.logs().join("bin"), bundle.logs().join("entered"));
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("newuidmap"), format!("#!/bin/sh\n/bin/touch {}\n/bin/sleep 100\n", entered.display())).unwrap();
    fs::set_permissions(bin.join("newuidmap"), PermissionsExt::from_mode(0o755)).unwrap();
    let run = bundle.start_with("run", &[]).env("PATH", &bin).spawn();
    crate::harness::wait_until("the helper runs", || entered.exists());
    run.signal(nix::sys::signal::Signal::SIGTERM);
    run.wait().exits(1).says("newuidmap: interrupted by a signal");
    before.assert_unchanged(&bundle);
}

#[test]
fn demands_on_the_config() {
    if !needs_user("demands on the config of a user") {
        return;
    }
    let mut root_config = Bundle::new();
    root_config.args(&["/bin/true"]).without_namespace("user");
    root_config
        .run()
        .exits(1)
        .says("linux.namespaces: rootless container requires user namespaces")
        .says("spec --rootless");
    let mut joining = Bundle::new();
    joining.namespace("mount", Some("/proc/self/ns/mnt".as_ref())).args(&["/bin/true"]);
    joining.run().exits(1).says("linux.namespaces: a mount namespace that exists can be joined by root alone");
    refused_with("/linux/uidMappings", json!([]), &["linux.uidMappings", "no uid mappings found"]);
    refused_with("/linux/gidMappings", json!([]), &["linux.gidMappings", "no gid mappings found"]);
    refused_with("/process/user/additionalGids", json!([5]), &["process.user.additionalGids", "rootless container"]);
    refused_with("/linux/netDevices", json!({"eth0": {}}), &["linux.netDevices"]);
    refused_with("/process/oomScoreAdj", json!(-500), &["process.oomScoreAdj", "only CAP_SYS_RESOURCE may lower it"]);
    let disk = json!([{"path": "/dev/onggi-disk", "type": "b", "major": 7, "minor": 0}]);
    refused_with("/linux/devices", disk, &["linux.devices[0]", "/dev/onggi-disk", "no such file"]);
    let idmap = json!([{"destination": "/data", "source": "/tmp", "options": ["bind"], "uidMappings": ids(0, 1), "gidMappings": ids(0, 1)}]);
    refused_with("/mounts", idmap, &["mounts[0].uidMappings"]);
}

#[test]
fn mounts_that_a_user_cannot_have() {
    if !needs_user("mounts of a user") {
        return;
    }
    for (option, field) in [("gid=70000", "linux.gidMappings"), ("uid=70000", "linux.uidMappings")] {
        let mount = json!([{"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": [option]}]);
        refused_with("/mounts", mount, &["mounts[0].options", &format!("cannot specify {option} mount option"), field]);
    }
    for (fstype, namespace) in [("proc", "pid"), ("mqueue", "ipc")] {
        let mut bundle = Bundle::new();
        bundle.without_namespace(namespace).args(&["/bin/true"]);
        let destination = if fstype == "proc" { "/proc" } else { "/data" };
        bundle.set("/mounts", json!([{"destination": destination, "type": fstype, "source": fstype}]));
        bundle.run().exits(1).says("mounts[0].type").says(&format!("without a {namespace} namespace"));
    }
}

#[test]
fn raising_the_oom_score_needs_nobody() {
    let mut bundle = Bundle::new();
    bundle.set("/process/oomScoreAdj", json!(500)).args(&["/bin/cat", "/proc/self/oom_score_adj"]);
    assert_eq!(bundle.run().ok().stdout, "500\n");
}

/// Below a cgroup of the user's: path given, relative, none at all.
#[test]
fn delegated_cgroups() {
    if !needs_user("delegated cgroups") {
        return;
    }
    let own = test_cgroup();
    for path in [Some(format!("{own}/{{}}/deep")), Some("{}".to_owned()), None] {
        let mut bundle = Bundle::new();
        bundle.by_hand();
        if let Some(path) = &path {
            bundle.set("/linux/cgroupsPath", json!(path.replace("{}", &bundle.id)));
        }
        bundle.args(&["/bin/sleep", "100"]);
        bundle.start_with("run", &["-d"]).run().ok().quiet();
        let found = fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid())).unwrap();
        assert!(found.contains(&format!("0::{own}/{}", bundle.id)), "{path:?}: {found}");
        bundle.verb("delete", &["--force"]).ok();
        let left = directory(&format!("{own}/{}", bundle.id));
        if left.exists() {
            // The level above the container's own stays, as for root.
            fs::remove_dir(left).unwrap();
        }
    }
}

/// A cgroup that nobody has delegated: every row of what may be asked for.
#[test]
fn cgroups_without_delegation() {
    if !needs_user("cgroups without delegation") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.by_hand();
    let closed = format!("{}/{}-closed", test_cgroup(), bundle.id);
    let inner = directory(&closed).join("caller");
    fs::create_dir_all(&inner).unwrap();
    // The owner's write permission is what counts, for the caller has no capabilities.
    let close = |mode| fs::set_permissions(directory(&closed), PermissionsExt::from_mode(mode)).unwrap();
    close(0o555);
    let enter = entering(&inner);
    bundle.script("cat /proc/self/cgroup").without_namespace("cgroup");
    let run = |bundle: &Bundle, flag: &str| {
        bundle.save();
        let run =
            bundle.invoke(&[&format!("--rootless={flag}"), "run", "-b", bundle.path().to_str().unwrap(), &bundle.id]);
        run.under(&["sh", "-c", &enter, "-"]).run()
    };
    for flag in ["auto", "true"] {
        let done = run(&bundle, flag).ok().quiet();
        assert!(done.stdout.contains(&format!("0::{closed}/caller\n")), "in the caller's own cgroup: {done}");
    }
    run(&bundle, "false").exits(1).says("unable to apply cgroup configuration").says("permission denied");
    bundle.set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 2_097_152}]));
    let phrase = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
    run(&bundle, "auto").exits(1).says(phrase).says("permission denied");
    let named = json!(format!("{closed}/{}", bundle.id));
    bundle.unset("/linux/resources").set("/linux/cgroupsPath", named);
    run(&bundle, "auto").exits(1).says("unable to apply cgroup configuration").says("permission denied");
    close(0o755);
    assert!(!directory(&closed).join(&bundle.id).exists());
    fs::remove_dir(&inner).unwrap();
    fs::remove_dir(directory(&closed)).unwrap();
}

/// Cgroups can be made, but no process may be started there: the caller's own lies outside of what was delegated.
#[test]
fn a_cgroup_that_cannot_be_entered() {
    if !needs_user("a cgroup that can't be entered") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.by_hand();
    let shared = format!("{}/{}-shared", test_cgroup(), bundle.id);
    let inner = directory(&shared).join("caller");
    fs::create_dir_all(&inner).unwrap();
    fs::set_permissions(directory(&shared).join("cgroup.procs"), PermissionsExt::from_mode(0o444)).unwrap();
    let enter = entering(&inner);
    bundle.script("cat /proc/self/cgroup; exec sleep 100").without_namespace("cgroup");
    let done = bundle.start_with("run", &["-d"]).under(&["sh", "-c", &enter, "-"]).run().ok().quiet();
    crate::harness::wait_until("it runs", || done.stdout_now().contains(&format!("0::{shared}/caller\n")));
    assert!(!directory(&shared).join(&bundle.id).exists(), "what could not be used is gone");
    // It has none, and one of this name may be another's: it must not be killed or removed.
    fs::create_dir(directory(&shared).join(&bundle.id)).unwrap();
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
    bundle.verb("delete", &[]).ok();
    fs::remove_dir(directory(&shared).join(&bundle.id)).unwrap();
    let named = json!(format!("{shared}/{}", bundle.id));
    bundle.set("/linux/cgroupsPath", named);
    let failed = bundle.start_with("run", &["-d"]).under(&["sh", "-c", &enter, "-"]).run().exits(1);
    failed.says("unable to apply cgroup configuration").says("delegated to that user");
    assert!(!directory(&shared).join(&bundle.id).exists());
    fs::remove_dir(&inner).unwrap();
    fs::remove_dir(directory(&shared)).unwrap();
}

#[test]
fn without_cgroup_and_pid_namespace_there_is_a_warning() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.without_namespace("pid").args(&["/bin/true"]);
    bundle.save();
    let path = bundle.path().to_str().unwrap();
    let run = || bundle.invoke(&["--cgroup-manager", "disabled", "run", "-b", path, &bundle.id]).run();
    run().ok().says("level=warning").says("Such configuration is strongly discouraged");
}

/// The default of --root: in the runtime directory, or nowhere.
#[test]
fn the_default_root_is_the_runtime_directory() {
    if !needs_user("the state directory of a user") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "ran"]);
    bundle.save();
    let runtime_dir = bundle.path().join("run");
    fs::create_dir(&runtime_dir).unwrap();
    fs::set_permissions(&runtime_dir, PermissionsExt::from_mode(0o700)).unwrap();
    let run = |directory: Option<&Path>| {
        let mut command = std::process::Command::new(crate::harness::binary());
        command.args(["run", "-b"]).arg(bundle.path()).arg(&bundle.id);
        match directory {
            Some(directory) => command.env("XDG_RUNTIME_DIR", directory),
            None => command.env_remove("XDG_RUNTIME_DIR"),
        };
        crate::harness::Invocation::new(&bundle.logs(), command).run()
    };
    assert_eq!(run(Some(&runtime_dir)).ok().stdout, "ran\n");
    let mode = fs::metadata(runtime_dir.join("onggi")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o1700, "for the user alone, and cleaners of old files keep away");
    if !Path::new("/run/onggi").exists() {
        run(None).exits(1).says("/run/onggi").says("XDG_RUNTIME_DIR is not set");
    }
    run(Some(Path::new("/tmp"))).exits(1).says("not writable by others");
    run(Some(Path::new("/"))).exits(1).says("belongs to user 0");
    fs::remove_dir(runtime_dir.join("onggi")).unwrap();
    symlink("/tmp", runtime_dir.join("onggi")).unwrap();
    run(Some(&runtime_dir)).exits(1).says("symbolic links");
}

/// Root of a user namespace, as podman and rootlesskit call a runtime: a container with and without another one in it.
#[test]
fn root_of_a_user_namespace() {
    for nested in [false, true] {
        let mut bundle = Bundle::new();
        // Whose config is that of root.
        bundle.without_namespace("user").unset("/linux/uidMappings").unset("/linux/gidMappings");
        let pts = bundle.mount_index("/dev/pts");
        bundle.set(&format!("/mounts/{pts}/options"), json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666"]));
        if nested {
            bundle.namespace("user", None);
            bundle.set("/linux/uidMappings", ids(0, 1)).set("/linux/gidMappings", ids(0, 1));
        }
        bundle.args(&["/probe", "report", "--stat", "/dev/null"]);
        let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"];
        let done = bundle.start_with("run", &[]).under(&wrapper).run().ok();
        let seen = crate::harness::Report::parse(&done);
        assert_eq!(seen.numbers("Uid"), [0; 4], "nested: {nested}");
        assert_eq!(seen.json["stat"]["/dev/null"]["rdev"], "1:3", "bound, since no node could be made");
    }
}

/// As below Podman without privileges: our own PID namespace belongs to a user namespace above, so that whoever has joined
/// the container's can't go back.
#[test]
fn exec_by_root_of_a_user_namespace() {
    let mut bundle = Bundle::new();
    bundle.without_namespace("user").unset("/linux/uidMappings").unset("/linux/gidMappings");
    let pts = bundle.mount_index("/dev/pts");
    bundle.set(&format!("/mounts/{pts}/options"), json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666"]));
    bundle.args(&["/probe", "sleep", "1000"]).save();
    // What is to run is `onggi --root DIRECTORY run ...`.
    let id = &bundle.id;
    let verb = "\"$1\" \"$2\" \"$3\"";
    let script = format!("\"$@\" && {verb} exec {id} /probe report; is=$?; {verb} delete --force {id}; exit $is");
    let wrapper =
        ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-c", &script, "-"];
    let done = bundle.start_with("run", &["--detach"]).under(&wrapper).run().ok();
    let seen = crate::harness::Report::parse(&done);
    assert_ne!(seen.json["pid"], 1);
}
