//! `exec` into a container that is out to get it (CVE-2016-9962, CVE-2019-5736, CVE-2024-21626 and their family).

use crate::harness::{Bundle, Invocation, Snapshot, binary, is_peer, is_rootless, patience};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Opens ten descriptors of the host without close-on-exec, then runs the rest.
const LEAKY: [&str; 4] =
    ["sh", "-c", "n=3; while [ $n -lt 10 ]; do eval \"exec $n</\"; n=$((n+1)); done; exec \"$@\"", "-"];

/// A container whose program does what `args` say, with all that a tracer would want but the right over other users.
fn hostile(args: &[&str]) -> Bundle {
    let mut bundle = Bundle::new();
    for key in ["bounding", "effective", "permitted"] {
        let capabilities = ["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_KILL"];
        bundle.set(&format!("/process/capabilities/{key}"), json!(capabilities));
    }
    bundle.args(args);
    bundle
}

/// `exec true` by a private copy of the binary.
fn exec_by(copy: &Path, bundle: &Bundle, seal: &str) -> crate::harness::Outcome {
    let mut command = Command::new(copy);
    command.arg("--root").arg(bundle.state_root()).args(["exec", &bundle.id, "/bin/true"]).env("ONGGI_SEAL", seal);
    Invocation::new(&bundle.logs(), command).run()
}

/// The binary can be opened by the container, as it may trace here, but never for writing.
#[test]
fn the_binary_is_not_overwritten() {
    for seal in ["clone", "memfd"] {
        let mut bundle = hostile(&["/probe", "hunt", &patience(2).as_secs().to_string()]);
        for key in ["bounding", "effective", "permitted"] {
            bundle.set(&format!("/process/capabilities/{key}/-"), json!("CAP_SYS_PTRACE"));
        }
        let copy = bundle.path().join("installed-runtime");
        fs::copy(binary(), &copy).unwrap();
        let content = fs::read(&copy).unwrap();
        let hunt = bundle.start_with("run", &["-d"]).run().ok();
        let mut count = 0;
        while bundle.status() == "running" {
            let done = exec_by(&copy, &bundle, seal);
            // The last one may come when the container has ended.
            assert!(done.status.success() || bundle.status() == "stopped", "{done}");
            count += 1;
        }
        assert!(count > 1, "{count} attempts");
        let seen: Value = serde_json::from_str(&hunt.stdout_now()).expect("the hunter's report");
        assert!(seen["tries"].as_u64().unwrap() > 0, "it looked at something");
        let writable: Vec<&str> = seen["writable"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(writable.iter().all(|link| !link.contains("runtime")), "{seal}: {writable:?}");
        assert_eq!(fs::read(&copy).unwrap(), content, "{seal}");
    }
}

/// Without the right to trace others the container can't look into what joins it, from the birth of that on.
#[test]
fn nothing_can_be_looked_into() {
    if is_peer() {
        return;
    }
    let mut bundle = hostile(&["/probe", "spy", &patience(3).as_secs().to_string()]);
    bundle.set("/process/user", json!({"uid": 0, "gid": 0}));
    let spy = bundle.start_with("run", &["-d"]).run().ok();
    let mut count = 0;
    while bundle.status() == "running" {
        // A program that can't be read does not become visible by being executed.
        let done = bundle.exec(&[], &["/no/such/program"]).exits(255);
        assert!(done.stderr.contains("no such file") || bundle.status() == "stopped", "{done}");
        count += 1;
    }
    let seen: Value = serde_json::from_str(&spy.stdout_now()).expect("the spy's report");
    assert!(count > 1 && seen["met"].as_u64().unwrap() > 0, "{count} attempts, {seen}");
    assert_eq!(seen["opened"], json!([]), "{seen}");
}

#[test]
fn the_binary_as_the_program() {
    for seal in ["clone", "memfd"] {
        for program in ["/proc/self/exe", "/proc/1/exe", "/evil", "/proc/self/fd/3"] {
            let mut bundle = Bundle::new();
            let copy = bundle.path().join("installed-runtime");
            fs::copy(binary(), &copy).unwrap();
            let content = fs::read(&copy).unwrap();
            fs::write(bundle.rootfs().join("evil"), "#!/proc/self/exe\n").unwrap();
            fs::set_permissions(bundle.rootfs().join("evil"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
            bundle.asleep();
            let mut command = Command::new(&copy);
            command.arg("--root").arg(bundle.state_root()).args(["exec", &bundle.id, program]).env("ONGGI_SEAL", seal);
            Invocation::new(&bundle.logs(), command).run();
            assert_eq!(fs::read(&copy).unwrap(), content, "{program} {seal}");
        }
    }
}

/// CVE-2024-21626: a working directory or a program by a descriptor that leaked.
#[test]
fn descriptors_lead_nowhere() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    for number in 3..30 {
        for suffix in ["", "/..", "/../../../../.."] {
            let cwd = format!("/proc/self/fd/{number}{suffix}");
            let exec = bundle.exec_with(&["--cwd", &cwd], &["/bin/ls", "-d", "./usr/bin"]);
            let done = exec.under(&LEAKY).run().exits(255);
            assert_eq!(done.stdout, "", "{done}");
        }
        let program = format!("/proc/self/fd/{number}/usr/bin/touch");
        bundle.exec_with(&[], &[&program, "/tmp/x"]).under(&LEAKY).run().exits(255);
    }
    let report = bundle.exec_with(&[], &["/probe", "report"]).under(&LEAKY).run().ok();
    assert_eq!(crate::harness::Report::parse(&report).descriptors(), ["0", "1", "2"]);
}

/// runc issue 3674, CVE-2025-31133: neither does the host's null device change hands, nor is another file taken for it.
#[test]
fn the_null_device() {
    let mut bundle = Bundle::new();
    // The right to unmount: a user namespace has the host's device bound over a file.
    bundle.capabilities(&["CAP_SYS_ADMIN"]).asleep();
    let before = Snapshot::of(&bundle);
    let null = || Stdio::from(fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap());
    bundle.exec_with(&["-u", "1000:1000"], &["true"]).stdio(null(), null(), null()).run().ok();
    bundle.exec_with(&["-d", "-u", "1000:1000"], &["true"]).stdio(null(), null(), null()).run().ok();
    before.assert_unchanged(&bundle);
    if is_peer() {
        return;
    }
    let uncover = if is_rootless() { "umount -l /dev/null; " } else { "" };
    bundle.exec(&[], &["/bin/sh", "-ec", &format!("{uncover}rm /dev/null; echo trap > /dev/null")]).ok();
    bundle.exec(&[], &["true"]).exits(255).says("container's /dev/null is invalid");
    bundle.exec_with(&[], &["echo", "ran"]).stdin_text("not null").run().ok();
}

/// What is no file is not waited for, nor is an endless one read (CVE-2026-47262).
#[test]
fn a_passwd_that_is_none() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    let passwd = bundle.rootfs().join("etc/passwd");
    fs::remove_file(&passwd).unwrap();
    bundle.asleep();
    bundle.exec(&[], &["true"]).ok().quiet();
    nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    bundle.exec(&[], &["true"]).ok().says("HOME is not set and becomes /");
    fs::remove_file(&passwd).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &passwd).unwrap();
    bundle.exec(&[], &["true"]).ok().says("HOME is not set and becomes /");
}

/// A procfs made of ordinary files gets none of our words (CVE-2019-16884): it is not even looked at.
#[test]
fn a_proc_that_is_none() {
    let mut bundle = Bundle::new();
    bundle.without_mount("/proc");
    for dir in ["self/ns", "self/fd", "self/attr", "1/ns"] {
        fs::create_dir_all(bundle.rootfs().join("proc").join(dir)).unwrap();
    }
    for file in ["self/oom_score_adj", "self/uid_map", "self/cgroup", "self/attr/exec", "1/cgroup"] {
        fs::write(bundle.rootfs().join("proc").join(file), "untouched").unwrap();
    }
    bundle.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
    bundle.set("/process/oomScoreAdj", json!(5)).set("/root/readonly", json!(false)).asleep();
    let before = Snapshot::of(&bundle);
    assert_eq!(bundle.exec(&[], &["echo", "ran"]).ok().stdout, "ran\n");
    before.assert_unchanged(&bundle);
    assert_eq!(fs::read_to_string(bundle.rootfs().join("proc/self/oom_score_adj")).unwrap(), "untouched");
}

/// What would be loaded by a careless joiner: the container's C library, its name service, its locale.
#[test]
fn nothing_of_the_containers_is_loaded() {
    let mut bundle = Bundle::new();
    for path in ["etc/nsswitch.conf", "etc/ld.so.preload", "etc/locale.conf"] {
        fs::write(bundle.rootfs().join(path), "/lib/evil.so\n").unwrap();
    }
    bundle.asleep();
    let trace = crate::harness::Trace::of(bundle.exec_with(&[], &["true"]), &bundle.logs(), "open,openat,openat2");
    let joined = trace.lines.iter().filter(|line| line.contains("evil") || line.contains("nsswitch"));
    assert_eq!(joined.collect::<Vec<_>>(), Vec::<&String>::new());
}

/// Killing what joins, over and over, costs the container its processes and nobody else anything.
#[test]
fn a_container_that_kills_what_joins() {
    let mut bundle = Bundle::new();
    bundle.script("while :; do kill -9 -1; done");
    bundle.start_with("run", &["-d"]).run().ok();
    let before = Snapshot::of(&bundle);
    for _ in 0..20 {
        let done = bundle.exec(&[], &["sleep", "1000"]);
        assert!([Some(137), Some(255)].contains(&done.status.code()), "{done}");
    }
    assert_eq!(bundle.status(), "running");
    before.assert_unchanged(&bundle);
}
