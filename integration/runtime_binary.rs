//! CVE-2019-5736: the runtime's own binary is never run inside from a file that can be written.

use crate::harness::{Bundle, Invocation, binary, is_peer, is_rootless, needs_root, patience};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A private copy of the binary in the bundle, and what it holds.
fn installed(bundle: &Bundle) -> (PathBuf, Vec<u8>) {
    let copy = bundle.path().join("installed-runtime");
    fs::copy(binary(), &copy).unwrap();
    let content = fs::read(&copy).unwrap();
    (copy, content)
}

/// `run` by the installed copy.
fn run(bundle: &Bundle, copy: &PathBuf, seal: Option<&str>) -> crate::harness::Outcome {
    bundle.save();
    let mut command = std::process::Command::new(copy);
    command.arg("--root").arg(bundle.state_root()).args(["run", "-b"]).arg(bundle.path()).arg(&bundle.id);
    if let Some(seal) = seal {
        command.env("ONGGI_SEAL", seal);
    }
    Invocation::new(&bundle.logs(), command).run()
}

const SEALS: [Option<&str>; 2] = [None, Some("memfd")];

#[test]
fn as_the_entry_point() {
    for seal in SEALS {
        for args in [
            vec!["/proc/self/exe"],
            vec!["/proc/self/exe", "--version"],
            vec!["/evil"],
            vec!["/proc/self/fd/3"],
            vec!["/proc/1/exe"],
        ] {
            for readonly in [true, false] {
                let mut bundle = Bundle::new();
                let (copy, content) = installed(&bundle);
                fs::write(bundle.rootfs().join("evil"), "#!/proc/self/exe\n").unwrap();
                fs::set_permissions(bundle.rootfs().join("evil"), PermissionsExt::from_mode(0o755)).unwrap();
                bundle.args(&args).set("/root/readonly", json!(readonly));
                run(&bundle, &copy, seal);
                assert_eq!(fs::read(&copy).unwrap(), content, "{args:?} {seal:?}");
            }
        }
    }
}

/// A container that opens every `/proc/PID/exe` it can, while others start in its PID namespace.
#[test]
fn by_a_neighbour_in_the_same_pid_namespace() {
    for seal in SEALS {
        let mut hunter = Bundle::new();
        let (copy, content) = installed(&hunter);
        for key in ["bounding", "effective", "permitted"] {
            hunter.set(
                &format!("/process/capabilities/{key}"),
                json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_KILL"]),
            );
        }
        hunter.args(&["/probe", "hunt", &patience(3).as_secs().to_string()]);
        let hunt = hunter.start_with("run", &["-d"]).run().ok();
        let mut prey = Bundle::new();
        prey.namespace("pid", Some(&PathBuf::from(format!("/proc/{}/ns/pid", hunter.pid())))).args(&["/bin/true"]);
        if is_rootless() {
            prey.namespace("user", Some(&PathBuf::from(format!("/proc/{}/ns/user", hunter.pid()))));
        }
        while hunter.status() == "running" {
            let done = run(&prey, &copy, seal);
            // The last one may come when the namespace has died.
            assert!(done.status.success() || hunter.status() == "stopped", "{done}");
        }
        let seen: serde_json::Value = serde_json::from_str(&hunt.stdout_now()).expect("the hunter's report");
        assert!(seen["tries"].as_u64().unwrap() > 0, "it looked at something");
        let writable: Vec<&str> =
            seen["writable"].as_array().unwrap().iter().filter_map(|link| link.as_str()).collect();
        assert!(writable.iter().all(|link| !link.contains("runtime")), "{seal:?}: {writable:?}");
        assert_eq!(fs::read(&copy).unwrap(), content, "{seal:?}");
    }
}

#[test]
fn memfd_can_be_demanded_for_every_verb_that_enters() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "sealed"]);
    let done = bundle.start_with("run", &[]).env("ONGGI_SEAL", "memfd").run().ok();
    assert_eq!(done.stdout, "sealed\n");
    bundle.args(&["/bin/sleep", "100"]);
    bundle.start_with("create", &[]).env("ONGGI_SEAL", "memfd").run().ok();
    if !is_peer() && needs_root("the program file of a created container", "the init process is hidden from users") {
        let exe = fs::read_link(format!("/proc/{}/exe", bundle.pid())).unwrap();
        assert!(exe.to_string_lossy().contains("memfd:"), "{}", exe.display());
    }
    bundle.invoke(&["start", &bundle.id]).env("ONGGI_SEAL", "memfd").run().ok();
    assert_eq!(bundle.status(), "running");
}

#[test]
fn without_a_demand_it_is_a_clone_that_nobody_can_write() {
    if !needs_root("a clone of the binary's mount", "a user gets a copy in memory") {
        return;
    }
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    let exe = format!("/proc/{}/exe", bundle.pid());
    let refused = fs::OpenOptions::new().write(true).open(&exe).unwrap_err();
    assert!([Some(30), Some(26)].contains(&refused.raw_os_error()), "EROFS or ETXTBSY: {refused}");
    // Not merely busy for as long as it runs: the mount it lies on is read-only.
    let flags = nix::sys::statvfs::statvfs(exe.as_str()).unwrap().flags();
    assert!(flags.contains(nix::sys::statvfs::FsFlags::ST_RDONLY), "{flags:?}");
}

#[test]
fn unknown_demands_are_refused() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "ran"]);
    let done = bundle.start_with("run", &[]).env("ONGGI_SEAL", "nonsense").run().exits(1).says("ONGGI_SEAL");
    assert_eq!(done.stdout, "");
}

/// Verbs that enter no container need no seal, and work where none can be made.
#[test]
fn other_verbs_do_without() {
    if is_peer() {
        return;
    }
    let bundle = Bundle::new();
    fs::create_dir(bundle.state_root()).unwrap();
    let trace = crate::harness::Trace::of(bundle.invoke(&["list"]), &bundle.logs(), "execve,execveat,memfd_create");
    let calls: Vec<&str> = trace.lines.iter().map(|line| crate::harness::Trace::call(line)).collect();
    assert_eq!(calls.iter().filter(|call| call.starts_with("exec")).count(), 1, "{calls:?}");
}
