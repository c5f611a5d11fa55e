//! `linux.cgroupsPath` and `linux.resources`: where the process is, what is enforced, what cannot be.

use crate::harness::{Bundle, Snapshot, entering, is_peer, is_rootless, needs, needs_root, test_cgroup, wait_until};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// The container's cgroup by the kernel's word, seen from the host.
pub fn cgroup_of(bundle: &Bundle) -> String {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid())).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

/// Its directory on the host.
pub fn directory(cgroup: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(cgroup.trim_start_matches('/'))
}

fn created(path: Option<&str>) -> Bundle {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.by_hand();
    if let Some(path) = path {
        let path = path.replace("ID", &bundle.id);
        bundle.set("/linux/cgroupsPath", json!(path));
    }
    bundle.create().ok();
    bundle
}

#[test]
fn absolute_relative_and_absent_paths() {
    let top = test_cgroup();
    for (path, expected) in [
        (Some(format!("{top}/ID")), format!("{top}/ID")),
        (Some(format!("{top}//deep/./ID/")), format!("{top}/deep/ID")),
        (Some("relative/ID".to_owned()), format!("{top}/relative/ID")),
        (None, format!("{top}/ID")),
        (Some("a:b:ID".to_owned()), format!("{top}/a:b:ID")),
    ] {
        let bundle = created(path.as_deref());
        assert_eq!(cgroup_of(&bundle), expected.replace("ID", &bundle.id), "{path:?}");
        bundle.verb("delete", &["-f"]).ok();
        assert!(!directory(&expected.replace("ID", &bundle.id)).exists());
        for leftover in ["deep", "relative"] {
            // Parents may be somebody else's by then: they are ours to remove.
            fs::remove_dir(directory(&format!("{top}/{leftover}"))).ok();
        }
    }
}

#[test]
fn dots_do_not_lead_out() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    let more_than_enough = "/..".repeat(30);
    let path = format!("{}{more_than_enough}/{}/{}", test_cgroup(), test_cgroup(), bundle.id);
    bundle.set("/linux/cgroupsPath", json!(path));
    bundle.create().ok();
    assert_eq!(cgroup_of(&bundle), format!("{}/{}", test_cgroup(), bundle.id));
}

#[test]
fn inside_there_is_one_directory_and_it_is_the_root() {
    let mut bundle = Bundle::new();
    bundle.script("grep ^0:: /proc/self/cgroup; find /sys/fs/cgroup -type d; cat /sys/fs/cgroup/cgroup.procs");
    assert_eq!(bundle.run().ok().stdout.lines().take(3).collect::<Vec<_>>(), ["0::/", "/sys/fs/cgroup", "1"]);
    bundle.script("mkdir /sys/fs/cgroup/x || echo closed");
    assert_eq!(bundle.run().ok().stdout, "closed\n", "read-only");
}

#[test]
fn a_used_cgroup_is_refused_and_left_alone() {
    let first = created(None);
    let mut second = Bundle::new();
    second.args(&["/bin/true"]).set("/linux/cgroupsPath", json!(cgroup_of(&first)));
    second.create().exits(1).says("container's cgroup is not empty: 1 process(es) found");
    assert_eq!(first.status(), "created");
    first.verb("start", &[]).ok();
}

#[test]
fn a_frozen_cgroup_is_refused() {
    let mut bundle = Bundle::new();
    let path = format!("{}/{}", test_cgroup(), bundle.id);
    fs::create_dir(directory(&path)).unwrap();
    fs::write(directory(&path).join("cgroup.freeze"), "1").unwrap();
    bundle.args(&["/bin/true"]).set("/linux/cgroupsPath", json!(path));
    bundle.create().exits(1).says("container's cgroup unexpectedly frozen");
    fs::write(directory(&path).join("cgroup.freeze"), "0").unwrap();
    fs::remove_dir(directory(&path)).ok();
}

#[test]
fn an_existing_empty_one_is_taken_and_removed() {
    let mut bundle = Bundle::new();
    let path = format!("{}/{}", test_cgroup(), bundle.id);
    fs::create_dir(directory(&path)).unwrap();
    bundle.args(&["/bin/true"]).set("/linux/cgroupsPath", json!(path));
    bundle.run().ok();
    assert!(!directory(&path).exists());
}

#[test]
fn a_frozen_container_is_paused_and_can_be_killed() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]);
    bundle.start_with("run", &["-d"]).run().ok();
    let group = directory(&cgroup_of(&bundle));
    fs::write(group.join("cgroup.freeze"), "1").unwrap();
    wait_until("it is frozen", || fs::read_to_string(group.join("cgroup.events")).unwrap().contains("frozen 1"));
    assert_eq!(bundle.status(), "paused");
    bundle.verb("start", &[]).exits(1).says("cannot start a container in the paused state");
    bundle.verb("delete", &[]).exits(1).says("not stopped: paused");
    bundle.verb("delete", &["-f"]).ok();
    assert!(!group.exists());
}

/// The captured engines' rules, and what is always allowed.
#[test]
fn device_rules_are_enforced() {
    if !needs_root("device rules", "no user may load them") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.capabilities(&["CAP_MKNOD"]);
    let seen = bundle.probe(&["devices"]);
    for (device, outcome) in seen.as_object().unwrap() {
        assert_eq!(outcome["mknod"], "ok", "{device}: making any node is allowed");
    }
    for allowed in ["c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:2"] {
        assert_eq!(seen[allowed]["open"], "ok", "{allowed}");
    }
    for denied in ["c 1:1", "c 1:11", "c 4:64", "c 10:229", "b 7:0", "b 254:0"] {
        assert_eq!(seen[denied]["open"], "EPERM", "{denied}");
    }
}

#[test]
fn device_rules_are_evaluated_in_order() {
    if !needs_root("the order of device rules", "no user may load them") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.capabilities(&["CAP_MKNOD"]);
    bundle.set(
        "/linux/resources/devices",
        json!([
            {"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"},
            {"allow": true, "type": "b", "major": 7, "minor": 0, "access": "rwm"},
            {"allow": false, "type": "b", "major": 7, "minor": 0, "access": "rw"},
        ]),
    );
    let seen = bundle.probe(&["devices"]);
    assert_ne!(seen["c 10:229"]["open"], "EPERM", "reading is allowed: {}", seen["c 10:229"]);
    assert_eq!(seen["b 7:0"]["open"], "EPERM", "taken back");
    bundle.set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
    assert_ne!(bundle.probe(&["devices"])["b 7:0"]["open"], "EPERM", "everything is allowed");
}

#[test]
fn bad_device_rules_are_refused() {
    for (rule, says) in [
        (json!({"allow": true, "type": "z", "access": "rwm"}), "`z`"),
        (json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": ""}), "linux.resources.devices[0]"),
    ] {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/true"]).set("/linux/resources/devices", json!([rule]));
        bundle.create().exits(1).says(says);
    }
}

/// Lets a command run where no controller is to be had: in a cgroup namespace whose root was given none.
const WITHOUT_CONTROLLERS: &str = r#"
    set -e
    root=/sys/fs/cgroup$ONGGI_TEST_CGROUP/bare/root
    mkdir -p $root/main
    echo $$ > $root/cgroup.procs
    exec unshare --mount --cgroup sh -ec '
        mount --bind $0 /sys/fs/cgroup
        echo $$ > /sys/fs/cgroup/main/cgroup.procs
        exec "$@"' $root "$@"
"#;

#[test]
fn a_limit_whose_controller_is_missing_is_an_error_that_names_it() {
    if !needs_root("a limit without its controller", "it takes a view of cgroups without controllers") {
        return;
    }
    let wrapper = ["sh", "-c", WITHOUT_CONTROLLERS, "-"];
    for (controller, resources, field) in [
        ("memory", json!({"memory": {"limit": 67_108_864}}), "linux.resources.memory"),
        ("pids", json!({"pids": {"limit": 50}}), "linux.resources.pids"),
        ("cpu", json!({"cpu": {"quota": 50_000, "period": 100_000}}), "linux.resources.cpu"),
        ("io", json!({"blockIO": {"weight": 500}}), "linux.resources.blockIO"),
        ("cpuset", json!({"cpu": {"cpus": "0"}}), "linux.resources.cpu"),
        ("hugetlb", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}), "linux.resources.hugepageLimits[0]"),
        ("rdma", json!({"unified": {"rdma.max": "x"}}), "linux.resources.unified"),
    ] {
        let mut bundle = Bundle::new();
        bundle.by_hand().args(&["/bin/echo", "ran"]).set("/linux/resources", resources);
        let before = Snapshot::of(&bundle);
        let done = bundle.start_with("run", &[]).under(&wrapper).run().exits(1).says(controller).says(field);
        assert_eq!(done.stdout, "");
        before.assert_unchanged(&bundle);
    }
    let mut bundle = Bundle::new();
    bundle.by_hand().args(&["/bin/echo", "ran"]);
    assert_eq!(bundle.start_with("run", &[]).under(&wrapper).run().ok().stdout, "ran\n");
    for left in ["bare/root/main", "bare/root", "bare"] {
        let left = directory(&format!("{}/{left}", test_cgroup()));
        wait_until("the cgroups can be removed", || fs::remove_dir(&left).is_ok());
    }
}

#[test]
fn values_that_mean_no_limit_need_no_controller() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.set(
        "/linux/resources",
        json!({"memory": {"limit": -1}, "pids": {"limit": -1}, "cpu": {"shares": 0, "quota": 0}, "blockIO": {}}),
    );
    bundle.run().ok();
}

#[test]
fn hugetlb_limit() {
    if !needs("hugetlb", "hugetlb limit") {
        return;
    }
    let sizes: Vec<String> = fs::read_dir("/sys/kernel/mm/hugepages")
        .unwrap()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    if !sizes.iter().any(|size| size == "hugepages-2048kB") {
        return crate::harness::skip("hugetlb limit", "no huge pages of 2 MB");
    }
    let mut bundle = Bundle::new();
    bundle
        .args(&["/bin/sleep", "100"])
        .set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]));
    bundle.create().ok();
    let group = directory(&cgroup_of(&bundle));
    assert_eq!(fs::read_to_string(group.join("hugetlb.2MB.max")).unwrap().trim(), "4194304");
    if !is_peer() {
        assert_eq!(fs::read_to_string(group.join("hugetlb.2MB.rsvd.max")).unwrap().trim(), "4194304");
    }
    let mut other = Bundle::new();
    other.args(&["/bin/true"]).set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB/../../x", "limit": 1}]));
    other.create().exits(1).says("linux.resources.hugepageLimits[0]");
}

#[test]
fn unified_values_are_written_and_odd_keys_refused() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "100"]).set("/linux/resources/unified", json!({"cgroup.max.depth": "3"}));
    bundle.create().ok();
    assert_eq!(fs::read_to_string(directory(&cgroup_of(&bundle)).join("cgroup.max.depth")).unwrap().trim(), "3");
    for (key, says) in [
        ("a/b.c", "must be a file name (no slashes)"),
        ("nodot", "must be in the form CONTROLLER.PARAMETER"),
        ("foo.bar", "controller \"foo\" not available"),
    ] {
        let mut other = Bundle::new();
        other.args(&["/bin/true"]).set("/linux/resources/unified", json!({ key: "1" }));
        other.create().exits(1).says(says);
    }
}

#[test]
fn swap_without_or_below_the_memory_limit_is_refused() {
    for memory in [json!({"swap": 1_000_000}), json!({"limit": 2_000_000, "swap": 1_000_000})] {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/true"]).set("/linux/resources/memory", memory);
        bundle.create().exits(1).says("linux.resources.memory.swap");
    }
}

/// A fresh cgroup2 mount in the initial cgroup namespace would reset the machine's own mount flags, for everybody.
#[test]
fn flags_of_the_hosts_cgroup_mount_stay() {
    if !needs_root("flags of the cgroup2 mount", "they have to be set first") {
        return;
    }
    if is_peer() {
        return; // All three peers reset them.
    }
    let flags = || {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line =
            table.lines().find(|line| line.contains(" /sys/fs/cgroup ") && line.contains(" - cgroup2 ")).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    let remount = |flags: &str| {
        let options = format!("remount,{flags}");
        let done = std::process::Command::new("mount").args(["-o", &options, "/sys/fs/cgroup"]).status().unwrap();
        assert!(done.success(), "mount -o {options}");
    };
    let original = flags();
    // Somebody else on the machine may reset them meanwhile, by the very mistake this looks for: three attempts.
    let unchanged = (0..3).any(|_| {
        remount("nsdelegate,memory_recursiveprot");
        let before = flags();
        let mut bundle = Bundle::new();
        bundle.without_namespace("cgroup").script("grep cgroup2 /proc/self/mountinfo; cat /proc/self/cgroup");
        let done = bundle.run().ok();
        assert!(done.stdout.contains(&bundle.id), "the host's tree is in view: {done}");
        flags() == before && before.contains("nsdelegate") && before.contains("memory_recursiveprot")
    });
    remount(original.trim_start_matches("rw,"));
    assert!(unchanged, "the flags of the host's mount changed");
}

#[test]
fn without_a_cgroup_namespace_the_mount_is_read_only_when_asked() {
    let mut bundle = Bundle::new();
    bundle.without_namespace("cgroup");
    let own = test_cgroup();
    let inside = format!("/sys/fs/cgroup{own}/main/cgroup.procs");
    let tried = bundle.probe(&["open-write", "/sys/fs/cgroup", &inside]);
    assert_eq!(tried["/sys/fs/cgroup"], "EROFS");
    assert_eq!(tried[&inside], "EROFS");
}

/// Kernels since 6.14 kill what clone3 starts in a cgroup when `cgroup.kill` was written there, or in the caller's own
/// cgroup, at any time before.
#[test]
fn a_cgroup_that_was_killed_before_can_be_used() {
    let mut bundle = Bundle::new();
    let path = format!("{}/{}", test_cgroup(), bundle.id);
    bundle.set("/linux/cgroupsPath", json!(path)).args(&["/bin/echo", "ran"]);
    fs::create_dir(directory(&path)).unwrap();
    fs::write(directory(&path).join("cgroup.kill"), "1").unwrap();
    assert_eq!(bundle.run().ok().quiet().stdout, "ran\n");
}

#[test]
fn a_caller_whose_cgroup_was_killed_before_can_make_containers() {
    for user_namespace in [false, true] {
        let mut bundle = Bundle::new();
        if user_namespace && !is_rootless() {
            bundle.namespace("user", None);
            let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
            bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        }
        let own = directory(&format!("{}/{}-caller", test_cgroup(), bundle.id));
        fs::create_dir(&own).unwrap();
        fs::write(own.join("cgroup.kill"), "1").unwrap();
        let script = entering(&own);
        bundle.by_hand().args(&["/bin/cat", "/proc/self/cgroup"]).without_namespace("cgroup");
        let done = bundle.start_with("run", &[]).under(&["sh", "-c", &script, "-"]).run().ok().quiet();
        assert!(done.stdout.ends_with(&format!("{}\n", bundle.id)), "it is in its own cgroup: {done}");
        fs::remove_dir(&own).unwrap();
    }
}

/// Where cgroups are out of reach, a container that asks for none goes without if its caller is, or is said to be,
/// without privileges.
#[test]
fn rootless_goes_without_a_cgroup_that_it_may_not_make() {
    if !needs_root("root without cgroups", "it is about a root that is said to be rootless") {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.by_hand().args(&["/bin/echo", "ran"]);
    bundle.save();
    let run = |rootless: &str| {
        let readonly = "mount -o remount,bind,ro /sys/fs/cgroup && exec \"$@\"";
        let directory = bundle.path().to_str().unwrap();
        let run = bundle.invoke(&[&format!("--rootless={rootless}"), "run", "-b", directory, &bundle.id]);
        run.under(&["unshare", "-m", "sh", "-c", readonly, "-"]).run()
    };
    assert_eq!(run("true").ok().stdout, "ran\n");
    for rootless in ["false", "auto"] {
        run(rootless).fails().says("unable to apply cgroup configuration");
    }
    run("maybe").fails().says("invalid --rootless: maybe: use true, false or auto");
}
