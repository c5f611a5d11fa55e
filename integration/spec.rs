//! `spec`: the template, and that it runs unchanged.

use crate::harness::{Bundle, Invocation, Pty, caller, is_peer, needs_root, template};
use serde_json::{Value, json};
use std::fs;

#[test]
fn writes_the_template_and_prints_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let done = Invocation::runtime(dir.path(), ["spec"]).current_dir(dir.path()).run().ok().quiet();
    assert_eq!(done.stdout, "");
    let text = fs::read_to_string(dir.path().join("config.json")).unwrap();
    assert!(text.starts_with("{\n\t\"ociVersion\""), "indented by tabs");
    Invocation::runtime(dir.path(), ["spec"])
        .current_dir(dir.path())
        .run()
        .exits(1)
        .says("File config.json exists. Remove it first");
    assert_eq!(fs::read_to_string(dir.path().join("config.json")).unwrap(), text, "the existing file is unharmed");
}

#[test]
fn writes_into_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    Invocation::runtime(dir.path(), ["spec", "--bundle", dir.path().to_str().unwrap()]).run().ok();
    assert!(dir.path().join("config.json").exists());
    let missing = dir.path().join("missing");
    Invocation::runtime(dir.path(), ["spec", "-b", missing.to_str().unwrap()])
        .run()
        .exits(1)
        .says("no such file or directory");
}

#[test]
fn template_has_what_users_of_runc_expect() {
    let config: Value = serde_json::from_str(template()).unwrap();
    assert_eq!(config["process"]["terminal"], true);
    assert_eq!(config["process"]["args"], json!(["sh"]));
    assert_eq!(config["process"]["cwd"], "/");
    assert_eq!(config["process"]["noNewPrivileges"], true);
    assert_eq!(config["process"]["rlimits"], json!([{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]));
    let three = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    for set in ["bounding", "effective", "permitted"] {
        assert_eq!(config["process"]["capabilities"][set], three, "{set}");
    }
    assert_eq!(config["root"], json!({"path": "rootfs", "readonly": true}));
    let destinations: Vec<_> =
        config["mounts"].as_array().unwrap().iter().map(|m| m["destination"].as_str().unwrap()).collect();
    assert_eq!(destinations, ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"]);
    let mut kinds: Vec<_> =
        config["linux"]["namespaces"].as_array().unwrap().iter().map(|n| n["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["cgroup", "ipc", "mount", "network", "pid", "uts"]);
    assert_eq!(config["linux"]["resources"]["devices"], json!([{"allow": false, "access": "rwm"}]));
    assert_eq!(config["linux"]["readonlyPaths"].as_array().unwrap().len(), 5);
    if !is_peer() {
        assert_eq!(config["hostname"], "onggi");
    }
}

#[test]
fn rootless_template_maps_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    Invocation::runtime(dir.path(), ["spec", "--rootless"]).current_dir(dir.path()).run().ok();
    let config: Value = serde_json::from_str(&fs::read_to_string(dir.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["linux"]["uidMappings"], json!([{"containerID": 0, "hostID": caller::uid(), "size": 1}]));
    assert_eq!(config["linux"]["gidMappings"], json!([{"containerID": 0, "hostID": caller::gid(), "size": 1}]));
    assert!(config["linux"].get("resources").is_none());
    let kinds: Vec<_> =
        config["linux"]["namespaces"].as_array().unwrap().iter().map(|n| n["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"user") && !kinds.contains(&"network"), "{kinds:?}");
    assert!(!config["mounts"].to_string().contains("gid=5"));
}

/// The whole template, not a byte changed, as a person would try it first: a shell in a terminal.
#[test]
fn unchanged_template_is_interactive() {
    if !needs_root("the unchanged template", "users have that of spec --rootless") {
        return;
    }
    let bundle = Bundle::new();
    fs::write(bundle.path().join("config.json"), template()).unwrap();
    let mut pty = Pty::new(33, 101);
    let args = ["run", "--bundle", bundle.path().to_str().unwrap(), &bundle.id];
    let run = bundle
        .invoke(&args)
        .under(&["setsid", "--ctty", "--wait"])
        .stdio(pty.stdio(), pty.stdio(), pty.stdio())
        .spawn();
    pty.close_slave();
    pty.expect("# ");
    pty.send("echo sum=$((40+2)) && tty && stty size && hostname && id -u\n");
    pty.expect("sum=42");
    pty.expect("/dev/pts/0");
    pty.expect("33 101");
    pty.expect(if is_peer() { "runc" } else { "onggi" });
    pty.send("exit 9\n");
    pty.rest();
    run.wait().exits(9);
}

/// The template with nothing changed but `terminal`, as a script would use it.
#[test]
fn template_without_terminal_runs_a_shell_on_stdin() {
    let bundle = Bundle::new();
    let done = bundle.start_with("run", &[]).stdin_text("echo $((6*7)); exit 5\n").run().exits(5);
    assert_eq!(done.stdout, "42\n");
}

/// What the probe sees is what the template asked for.
#[test]
fn template_is_what_the_process_sees() {
    let mut bundle = Bundle::new();
    let seen = bundle.report_with(&["--stat", "/dev/console"]);
    let expected = crate::harness::capability_mask(bundle.get("/process/capabilities/bounding"));
    for (set, mask) in [("CapBnd", expected), ("CapPrm", expected), ("CapEff", expected), ("CapInh", 0), ("CapAmb", 0)]
    {
        assert_eq!(seen.capabilities(set), mask, "{set}");
    }
    assert_eq!(seen.json["pid"], 1);
    assert_eq!(seen.json["cwd"], "/");
    assert_eq!(seen.status("NoNewPrivs"), "1");
    assert_eq!(seen.status("Seccomp"), "0");
    assert_eq!(seen.status("Umask"), "0022");
    assert_eq!(seen.json["limits"]["Max open files"], json!(["1024", "1024"]));
    assert_eq!(seen.json["cgroup"], "0::/");
    assert_eq!(seen.descriptors(), ["0", "1", "2"]);
    assert_eq!(seen.json["interfaces"]["lo"], true, "lo is up");
    seen.assert_mount("/", "", &["ro"]);
    seen.assert_mount("/proc", "proc", &["rw"]);
    seen.assert_mount("/dev", "tmpfs", &["nosuid", "size=65536k", "mode=755"]);
    // The kernel shows it as the initial user namespace sees it.
    let group = format!("gid={}", caller::on_host(5));
    seen.assert_mount("/dev/pts", "devpts", &["nosuid", "noexec", &group, "mode=620", "ptmxmode=666"]);
    seen.assert_mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "size=65536k"]);
    seen.assert_mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
    seen.assert_mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
    seen.assert_mount("/sys/fs/cgroup", "cgroup2", &["nosuid", "noexec", "nodev", "relatime", "ro"]);
    assert_eq!(seen.json["stat"]["/dev/console"]["errno"], 2, "no terminal, no console");
}
