//! What real engines hand to a runtime: the configs in `configs/`, captured from Docker and Podman.
//!
//! Adapted as little as possible: root, bind sources and cgroup are ours, the engine's own `prestart` hook is
//! dropped, and what this machine cannot grant is taken out with a line that says so. The values taken out are
//! tried as well: they must give an error that names the field.

use crate::cgroup::{cgroup_of, directory};
use crate::harness::{
    Bundle, Report, apparmor_profile, caller, capability_mask, has_apparmor, is_rootless, needs, skip, test_cgroup,
};
use nix::sys::stat::makedev;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const CONFIGS: [(&str, &str); 4] = [
    ("docker-run", include_str!("configs/docker-run.json")),
    ("docker-limits", include_str!("configs/docker-limits.json")),
    ("docker-privileged", include_str!("configs/docker-privileged.json")),
    ("podman-run", include_str!("configs/podman-run.json")),
];

/// A bundle with a busybox root and this config, with paths of our own.
fn captured(name: &str) -> Bundle {
    let (_, text) = CONFIGS.iter().find(|(known, _)| *known == name).expect("a captured config");
    let mut bundle = Bundle::new();
    let group = match bundle.get("/linux/cgroupsPath").clone() {
        Value::Null => json!(format!("{}/{}", test_cgroup(), bundle.id)),
        of_systemd => of_systemd,
    };
    bundle.config = caller::adapted(serde_json::from_str(text).expect("JSON"));
    bundle.set("/root/path", json!("rootfs")).unset("/hooks");
    if is_rootless() && !bundle.get("/process/user/additionalGids").is_null() {
        skip(&format!("{name}: additionalGids"), "needs root: no user may drop or add groups");
        bundle.unset("/process/user/additionalGids");
    }
    if is_rootless() {
        // Of groups that the user namespace knows, and devices that the host has.
        let ping = "/linux/sysctl/net.ipv4.ping_group_range";
        if !bundle.get(ping).is_null() {
            bundle.set(ping, json!("0 65535"));
        }
        if let Some(devices) = bundle.config["linux"]["devices"].as_array_mut() {
            devices.retain(is_the_hosts);
        }
    }
    bundle.set("/linux/cgroupsPath", group);
    let sources = bundle.path().join("sources");
    fs::create_dir(&sources).unwrap();
    for mount in bundle.config["mounts"].as_array_mut().unwrap() {
        let Some(source) = mount["source"].as_str().filter(|source| source.starts_with('/')) else { continue };
        let own = sources.join(Path::new(source).file_name().unwrap());
        if ["shm", "tmp"].iter().any(|dir| own.ends_with(dir)) {
            fs::create_dir(&own).unwrap();
        } else {
            fs::write(&own, format!("{name}\n")).unwrap();
        }
        mount["source"] = json!(own);
    }
    bundle
}

/// Whether the host has this device under these numbers, which some drivers are given anew on each host.
fn is_the_hosts(device: &Value) -> bool {
    let wanted = makedev(device["major"].as_u64().unwrap_or(0), device["minor"].as_u64().unwrap_or(0));
    fs::metadata(device["path"].as_str().unwrap()).is_ok_and(|found| found.rdev() == wanted)
}

/// Takes out what this machine cannot grant.
fn adapted(name: &str) -> Bundle {
    let mut bundle = captured(name);
    let note = |what: &str, why: &str| skip(&format!("{name}: {what}"), why);
    if bundle.get("/process/apparmorProfile").as_str().is_some_and(|profile| profile != "unconfined") {
        // The engine's own profile is loaded by the engine only.
        match apparmor_profile(&format!("{name}: apparmorProfile")) {
            Some(profile) => bundle.set("/process/apparmorProfile", json!(profile)),
            None => bundle.unset("/process/apparmorProfile"),
        };
    }
    for (field, controller) in [("memory", "memory"), ("cpu", "cpu"), ("pids", "pids")] {
        if !bundle.get(&format!("/linux/resources/{field}")).is_null()
            && !needs(controller, &format!("{name}: linux.resources.{field}"))
        {
            bundle.unset(&format!("/linux/resources/{field}"));
        }
    }
    let limits = bundle.config["process"]["rlimits"].as_array_mut();
    for limit in limits.into_iter().flatten() {
        let hard = own_hard_limit(limit["type"].as_str().unwrap());
        if limit["hard"].as_u64().unwrap() > hard {
            limit["hard"] = json!(hard);
            limit["soft"] = json!(limit["soft"].as_u64().unwrap().min(hard));
            note(limit["type"].as_str().unwrap(), "more than our own hard limit, and no CAP_SYS_RESOURCE");
        }
    }
    bundle
}

/// The highest value we may set: our own hard limit without CAP_SYS_RESOURCE.
fn own_hard_limit(kind: &str) -> u64 {
    let resource_capability = 1_u64 << 24;
    if own_capabilities("CapEff") & resource_capability != 0 {
        return u64::MAX;
    }
    let title = match kind {
        "RLIMIT_NOFILE" => "Max open files",
        "RLIMIT_NPROC" => "Max processes",
        other => panic!("no captured config sets {other}"),
    };
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with(title)).unwrap();
    line[title.len()..].split_whitespace().nth(1).unwrap().parse().unwrap_or(u64::MAX)
}

fn own_capabilities(set: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix(&format!("{set}:"))).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

/// Runs the probe under the adapted config and compares everything the config says with what it saw.
fn compare(name: &str) -> (Bundle, Report) {
    let mut bundle = adapted(name);
    let sysctls: Vec<String> =
        bundle.get("/linux/sysctl").as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
    let options: Vec<&str> = sysctls.iter().flat_map(|key| ["--sysctl", key.as_str()]).collect();
    let seen = bundle.report_with(&options);
    for (key, set) in [
        ("bounding", "CapBnd"),
        ("effective", "CapEff"),
        ("permitted", "CapPrm"),
        ("inheritable", "CapInh"),
        ("ambient", "CapAmb"),
    ] {
        let asked = capability_mask(bundle.get(&format!("/process/capabilities/{key}")));
        // A new user namespace has them all.
        let grantable = if is_rootless() { u64::MAX } else { own_capabilities("CapBnd") };
        assert_eq!(seen.capabilities(set), asked & grantable, "{name}: {set}");
    }
    let mut env: Vec<&str> =
        bundle.get("/process/env").as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect();
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push("HOME=/root");
    }
    let mut got = seen.env();
    env.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, env, "{name}");
    assert_eq!(seen.json["uname"]["nodename"], *bundle.get("/hostname"), "{name}");
    assert_eq!(seen.json["cgroup"], "0::/", "{name}");
    assert_eq!(seen.descriptors(), ["0", "1", "2"], "{name}");
    assert_eq!(seen.status("Seccomp"), if bundle.get("/linux/seccomp").is_null() { "0" } else { "2" }, "{name}");
    assert_eq!(seen.status("NoNewPrivs"), "0", "{name}");
    for (key, value) in bundle.get("/linux/sysctl").as_object().into_iter().flatten() {
        assert_eq!(
            seen.json["sysctl"][key].as_str().unwrap().replace('\t', " "),
            value.as_str().unwrap(),
            "{name}: {key}"
        );
    }
    for mount in bundle.get("/mounts").as_array().unwrap() {
        compare_mount(name, &seen, mount);
    }
    for limit in bundle.get("/process/rlimits").as_array().into_iter().flatten() {
        let title = if limit["type"] == "RLIMIT_NOFILE" { "Max open files" } else { "Max processes" };
        assert_eq!(seen.json["limits"][title], json!([limit["soft"].to_string(), limit["hard"].to_string()]), "{name}");
    }
    (bundle, seen)
}

fn compare_mount(name: &str, seen: &Report, mount: &Value) {
    let point = mount["destination"].as_str().unwrap();
    let kind = match mount["type"].as_str().unwrap() {
        "bind" => "",
        "cgroup" => "cgroup2",
        kind => kind,
    };
    let flags = ["ro", "nosuid", "nodev", "noexec", "relatime"];
    let asked: Vec<&str> =
        mount["options"].as_array().unwrap().iter().filter_map(Value::as_str).filter(|o| flags.contains(o)).collect();
    assert!(seen.mount(point).is_some(), "{name}: nothing on {point}");
    seen.assert_mount(point, kind, &asked);
}

#[test]
fn docker_run() {
    let (mut bundle, _) = compare("docker-run");
    holds_paths(&mut bundle);
    bundle.args(&["/bin/true"]);
    bundle.run().ok();
}

#[test]
fn docker_limits() {
    let (mut bundle, _) = compare("docker-limits");
    holds_paths(&mut bundle);
    bundle.script("echo shared > /data/file; cat /etc/resolv.conf");
    assert_eq!(bundle.run().ok().stdout, "docker-limits\n");
    assert_eq!(fs::read_to_string(bundle.path().join("sources/tmp/file")).unwrap(), "shared\n");
}

#[test]
fn docker_limits_enforced() {
    if !["memory", "cpu", "pids"].into_iter().all(|controller| needs(controller, "docker-limits enforcement")) {
        return;
    }
    let mut bundle = adapted("docker-limits");
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    let group = directory(&cgroup_of(&bundle));
    let value = |file: &str| fs::read_to_string(group.join(file)).unwrap().trim().to_owned();
    assert_eq!(value("memory.max"), "67108864");
    assert_eq!(value("memory.swap.max"), "67108864");
    assert_eq!(value("cpu.max"), "50000 100000");
    assert_eq!(value("pids.max"), "50");
    bundle.verb("delete", &["-f"]).ok();
    let started = bundle.probe(&["fork-many", "80", "100"])["started"].as_u64().unwrap();
    assert!((1..50).contains(&started), "{started} of 80 started under a limit of 50");
    // 200 MB into 64 of memory and 64 of swap.
    bundle.args(&["/bin/tail", "-c", "200000000", "/dev/zero"]);
    bundle.run().exits(137);
}

#[test]
fn docker_privileged() {
    let (mut bundle, seen) = compare("docker-privileged");
    assert_eq!(seen.status("Seccomp"), "0");
    let mut args = vec!["stat".to_owned()];
    let devices = bundle.get("/linux/devices").as_array().unwrap().clone();
    args.extend(devices.iter().map(|device| device["path"].as_str().unwrap().to_owned()));
    let stats = bundle.probe(&args.iter().map(String::as_str).collect::<Vec<_>>());
    for device in &devices {
        let (path, found) = (&device["path"], &stats[device["path"].as_str().unwrap()]);
        if path == "/dev/ptmx" {
            continue;
        }
        assert_eq!(found["rdev"], format!("{}:{}", device["major"], device["minor"]), "{path}");
        if !is_rootless() {
            assert_eq!((&found["uid"], &found["gid"]), (&device["uid"], &device["gid"]), "{path}");
            assert_eq!(found["mode"], device["fileMode"].as_u64().unwrap() & 0o777, "{path}");
        }
    }
    bundle.script("mkdir /mnt && mount -t tmpfs x /mnt && echo mounted; cat /dev/kmsg > /dev/null & sleep 0.1; true");
    assert!(bundle.run().ok().stdout.starts_with("mounted\n"), "privileged may mount");
}

#[test]
fn podman_run() {
    let (mut bundle, seen) = compare("podman-run");
    assert_eq!(seen.status("Umask"), "0022");
    holds_paths(&mut bundle);
    bundle.args(&["/bin/cat", "/run/.containerenv"]);
    assert_eq!(bundle.run().ok().stdout, "podman-run\n");
}

/// Masked and read-only paths of the config, by the attempt.
fn holds_paths(bundle: &mut Bundle) {
    let list = |bundle: &Bundle, key: &str| -> Vec<String> {
        let paths = bundle.get(&format!("/linux/{key}")).as_array().unwrap();
        paths.iter().map(|path| path.as_str().unwrap().to_owned()).collect()
    };
    let readonly = list(bundle, "readonlyPaths");
    let mut args = vec!["open-write"];
    args.extend(readonly.iter().map(String::as_str));
    for (path, outcome) in bundle.probe(&args).as_object().unwrap() {
        assert!(["EROFS", "ENOENT", "EACCES"].contains(&outcome.as_str().unwrap()), "{path}: {outcome}");
    }
    let masked = list(bundle, "maskedPaths").join(" ");
    bundle.script(&format!("for path in {masked}; do if test -d $path; then ls -A $path; elif test -e $path; then head -c 1 $path; fi; done"));
    assert_eq!(bundle.run().ok().stdout, "", "masked paths show nothing");
}

/// Docker's and Podman's profiles, by what they forbid and allow to a root of their capabilities.
#[test]
fn seccomp_profiles_forbid_what_they_should() {
    for (name, denied) in [("docker-run", "EPERM"), ("podman-run", "ENOSYS")] {
        let mut bundle = adapted(name);
        let seen = bundle.probe(&[
            "syscalls",
            "mount",
            "kexec_load",
            "bpf",
            "keyctl",
            "getpid",
            "mkdir",
            "socket-vsock",
            "socket-unix",
            "personality-query",
            "personality-odd",
            "unshare-user",
        ]);
        for call in ["getpid", "socket-unix", "personality-query"] {
            assert_eq!(seen[call], "ok", "{name}: {call}");
        }
        assert_eq!(seen["mkdir"], "EFAULT", "{name}: allowed, fails on its null pointer");
        assert_eq!(seen["personality-odd"], denied, "{name}: {seen}");
        // Podman's profile lets mount(2) and user namespaces through, and leaves them to the capabilities.
        let forbidden: &[&str] =
            if name == "docker-run" { &["kexec_load", "bpf", "mount", "unshare-user"] } else { &["kexec_load", "bpf"] };
        for call in forbidden {
            assert!(["EPERM", "ENOSYS"].contains(&seen[call].as_str().unwrap()), "{name}: {call} {}", seen[call]);
        }
    }
}

/// The values that had to be taken out, one at a time.
#[test]
fn what_this_machine_cannot_grant_is_refused_by_name() {
    let mut tried = 0;
    if !has_apparmor() {
        let mut bundle = adapted("docker-run");
        bundle.set("/process/apparmorProfile", json!("docker-default")).args(&["/bin/echo", "ran"]);
        assert_eq!(bundle.run().exits(1).says("process.apparmorProfile").says("docker-default").stdout, "");
        tried += 1;
    }
    if own_hard_limit("RLIMIT_NOFILE") < 1_048_576 {
        let mut bundle = adapted("podman-run");
        let limits = captured("podman-run").get("/process/rlimits").clone();
        bundle.set("/process/rlimits", limits).args(&["/bin/echo", "ran"]);
        assert_eq!(bundle.run().exits(1).says("process.rlimits[0]").says("RLIMIT_NOFILE").stdout, "");
        tried += 1;
    }
    let available = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
    for (name, field) in
        [("docker-limits", "memory"), ("docker-limits", "cpu"), ("docker-limits", "pids"), ("podman-run", "pids")]
    {
        if available.split_whitespace().any(|controller| controller == field) {
            continue;
        }
        let mut bundle = adapted(name);
        let value = captured(name).get(&format!("/linux/resources/{field}")).clone();
        bundle.set(&format!("/linux/resources/{field}"), value).args(&["/bin/echo", "ran"]);
        assert_eq!(bundle.run().exits(1).says(&format!("linux.resources.{field}")).stdout, "", "{name}");
        tried += 1;
    }
    if tried == 0 {
        skip("refusal of what cannot be granted", "this machine grants everything that the captured configs ask for");
    }
}
