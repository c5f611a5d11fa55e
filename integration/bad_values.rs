//! Bad values in config.json, one at a time: the error names the field, and nothing is left behind.

use crate::bad_input::refused;
use crate::harness::{Bundle, is_peer};
use serde_json::{Value, json};

/// Sets `pointer` to `value` (null removes it) and asserts that `create` and `run` refuse it with all of `says`.
fn check(pointer: &str, value: Value, says: &[&str]) {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "ran"]);
    if value.is_null() {
        bundle.unset(pointer);
    } else {
        bundle.set(pointer, value);
    }
    refused(&bundle, says, || bundle.create());
    refused(&bundle, says, || {
        let done = bundle.run();
        assert_eq!(done.stdout, "", "the program must not run: {done}");
        done
    });
}

#[test]
fn oci_version() {
    if !is_peer() {
        check("/ociVersion", json!("2.0.0"), &["ociVersion", "2.0.0"]);
        check("/ociVersion", json!("99.1"), &["ociVersion"]);
    }
    // Whatever else is there does not matter.
    for version in [json!("1.9.7-dev"), json!("abc"), json!("1.0")] {
        let mut bundle = Bundle::new();
        bundle.args(&["/bin/true"]).set("/ociVersion", version);
        bundle.run().ok();
    }
}

#[test]
fn process() {
    check("/process", Value::Null, &["process"]);
    check("/process/args", json!([]), &["process.args"]);
    check("/process/args", Value::Null, &["process.args"]);
    check("/process/cwd", Value::Null, &["config.json", "cwd"]);
    check("/process/cwd", json!("here"), &["process.cwd", "absolute"]);
    check("/process/cwd", json!("/etc/passwd"), &["/etc/passwd", "not a directory"]);
    check("/process/oomScoreAdj", json!(1001), &["process.oomScoreAdj"]);
    check("/process/args", json!(["a\u{0}b"]), &["process.args"]);
}

#[test]
fn root() {
    check("/root", Value::Null, &["root"]);
    check("/root/path", json!("no/such/rootfs"), &["no/such/rootfs", "no such file or directory"]);
    check("/root/path", json!("config.json"), &["config.json", "not a directory"]);
    if !is_peer() {
        check("/root/path", json!(""), &["root.path"]);
        let bundle = Bundle::new();
        std::os::unix::fs::symlink("rootfs", bundle.path().join("link")).unwrap();
        let mut bundle = bundle;
        bundle.args(&["/bin/true"]).set("/root/path", json!("link"));
        refused(&bundle, &["rootfs", "link", "symlink"], || bundle.create());
    }
}

#[test]
fn namespaces() {
    check("/linux/namespaces/-", json!({"type": "pid"}), &["namespaces", "pid"]);
    check("/linux/namespaces/-", json!({"type": "nosuch"}), &["config.json", "nosuch", "line"]);
    check("/linux/namespaces/0/path", json!("/no/such/file"), &["namespaces[0]", "/no/such/file"]);
    check("/linux/timeOffsets", json!({"boottime": {"secs": 1}}), &["timeOffsets"]);
}

#[test]
fn mounts() {
    check(
        "/mounts/-",
        json!({"destination": "/data", "type": "bind", "source": "/no/such/source", "options": ["bind"]}),
        &["mounts[7]", "/no/such/source", "no such file or directory"],
    );
    check(
        "/mounts/-",
        json!({"destination": "/data", "type": "tmpfs", "source": "x", "options": ["frobnicate"]}),
        &["mounts[7]", "frobnicate"],
    );
    check(
        "/mounts/-",
        json!({"destination": "/data", "type": "nosuchfs", "source": "x"}),
        &["mounts[7]", "nosuchfs", "no such device"],
    );
    check("/mounts/-", json!({"destination": "/data\u{0}x", "type": "tmpfs", "source": "x"}), &["mounts[7]"]);
    check("/mounts/-", json!({"destination": "", "type": "tmpfs", "source": "x"}), &["mounts[7]"]);
}

#[test]
fn hostname_and_paths() {
    check("/hostname", json!("x".repeat(65)), &["hostname"]);
    check("/linux/maskedPaths/-", json!("/a\u{0}b"), &["linux.maskedPaths"]);
    check("/linux/rootfsPropagation", json!("upwards"), &["rootfsPropagation", "upwards"]);
}

#[test]
fn rlimits_and_capabilities() {
    check("/process/rlimits", json!([{"type": "RLIMIT_FOO", "hard": 1, "soft": 1}]), &["RLIMIT_FOO"]);
    check("/process/rlimits", json!([{"type": "RLIMIT_CORE", "hard": 1, "soft": 2}]), &["process.rlimits"]);
    check("/process/capabilities/effective/-", json!("CAP_SYS_ADMIN"), &["capabilities"]);
}

#[test]
fn resources() {
    check(
        "/linux/resources/devices",
        json!([{"allow": true, "type": "x", "access": "r"}]),
        &["config.json", "`x`", "line"],
    );
    check("/linux/resources/unified", json!({"a/b": "c"}), &["linux.resources.unified"]);
    check(
        "/linux/resources/hugepageLimits",
        json!([{"pageSize": "3MB", "limit": 1}]),
        &["linux.resources.hugepageLimits[0]", "3MB"],
    );
}

/// The spec: unknown properties anywhere and unknown annotations are ignored.
#[test]
fn unknown_properties_are_no_error() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    for pointer in [
        "/unknown",
        "/process/unknown",
        "/process/user/unknown",
        "/root/unknown",
        "/linux/unknown",
        "/linux/resources/unknown",
        "/mounts/0/unknown",
    ] {
        bundle.set(pointer, json!({"nested": [1, "two", null]}));
    }
    bundle
        .set("/annotations/run.oci.systemd.force_cgroup_v1", json!("/sys/fs/cgroup"))
        .set("/annotations/x", json!(""));
    // Blocks of other platforms.
    bundle.set("/vm", json!({"kernel": {"path": "/kernel"}})).set("/windows", json!({"layerFolders": ["x"]}));
    bundle.set("/solaris", json!({})).set("/zos", json!({})).set("/freebsd", json!({}));
    bundle.run().ok();
}
