//! `process.apparmorProfile` and `process.selinuxLabel`: applied where the kernel can, refused where it cannot.

use crate::harness::{Bundle, apparmor_profile, has_apparmor, wait_until};
use serde_json::json;
use std::fs;
use std::path::Path;

/// A container under `profile` whose capabilities would allow what Docker's profile forbids.
fn confined(profile: &str) -> Bundle {
    let mut bundle = Bundle::new();
    for key in ["bounding", "effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{key}/-"), json!("CAP_SYS_ADMIN"));
    }
    bundle.set("/process/apparmorProfile", json!(profile)).set("/linux/readonlyPaths", json!([]));
    bundle
}

#[test]
fn a_label_that_this_kernel_cannot_apply_is_refused() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/echo", "ran"]);
    if has_apparmor() {
        crate::harness::skip("refusal of apparmorProfile", "AppArmor is enabled here");
    } else {
        bundle.set("/process/apparmorProfile", json!("docker-default"));
        assert_eq!(bundle.run().exits(1).says("apparmor").stdout, "", "never unconfined");
        bundle.unset("/process/apparmorProfile");
    }
    if Path::new("/sys/fs/selinux/enforce").exists() {
        return crate::harness::skip("refusal of selinuxLabel", "SELinux is enabled here");
    }
    bundle.set("/process/selinuxLabel", json!("system_u:system_r:container_t:s0"));
    assert_eq!(bundle.run().exits(1).says("selinux").stdout, "");
}

#[test]
fn the_apparmor_profile_confines_program_and_hooks() {
    let Some(profile) = apparmor_profile("confinement by AppArmor") else { return };
    let mut bundle = confined(&profile);
    let label = format!("{profile} (enforce)\n");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "cat /proc/self/attr/current > /data/label"]});
    bundle.set("/hooks/startContainer", json!([hook])).set("/root/readonly", json!(false));
    bundle.script(
        "cat /data/label /proc/self/attr/current; mount -t tmpfs x /tmp 2> /dev/null || echo mount refused
         (: >> /proc/sys/vm/swappiness) 2> /dev/null || echo write refused; sleep 100 & kill $! && echo killed",
    );
    for no_new_privileges in [true, false] {
        bundle.set("/process/noNewPrivileges", json!(no_new_privileges));
        let done = bundle.run().ok();
        assert_eq!(done.stdout, format!("{label}{label}mount refused\nwrite refused\nkilled\n"));
    }
    bundle.set("/process/apparmorProfile", json!("unconfined"));
    let done = bundle.run().ok();
    assert_eq!(done.stdout, "unconfined\nunconfined\nkilled\n", "mount and write are allowed");
}

#[test]
fn exec_refuses_labels_that_this_kernel_cannot_apply() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    let cases = [
        (has_apparmor(), "--apparmor", "docker-default", "apparmor"),
        (
            Path::new("/sys/fs/selinux/enforce").exists(),
            "--process-label",
            "system_u:system_r:container_t:s0",
            "selinux",
        ),
    ];
    for (can, flag, label, says) in cases {
        if can {
            crate::harness::skip(&format!("refusal of exec {flag}"), "it is enabled here");
        } else {
            let done = bundle.exec(&[flag, label], &["/bin/echo", "ran"]).exits(255).says(says);
            assert_eq!(done.stdout, "", "never unconfined");
        }
    }
}

#[test]
fn exec_takes_the_containers_apparmor_profile_or_its_own() {
    let Some(profile) = apparmor_profile("AppArmor with exec") else { return };
    let mut bundle = confined(&profile);
    bundle.asleep();
    let confined = format!("{profile} (enforce)\n");
    let show = ["/bin/cat", "/proc/self/attr/current"];
    let block = |profile: &str| {
        let user = json!({"uid": 0, "gid": 0});
        bundle.process_file(&json!({"args": show, "cwd": "/", "user": user, "apparmorProfile": profile}))
    };
    assert_eq!(bundle.exec(&[], &show).ok().stdout, confined);
    assert_eq!(bundle.exec(&["--apparmor", "unconfined"], &show).ok().stdout, "unconfined\n");
    assert_eq!(bundle.exec(&["--process", &block("")], &[]).ok().stdout, confined);
    assert_eq!(bundle.exec(&["--process", &block("unconfined")], &[]).ok().stdout, "unconfined\n");
    bundle.exec(&["--apparmor", "no-such-profile"], &show).exits(255).says("no-such-profile");
}

#[test]
fn the_apparmor_profile_waits_for_the_program() {
    let Some(profile) = apparmor_profile("AppArmor at execve") else { return };
    let mut bundle = confined(&profile);
    bundle.args(&["/bin/sleep", "100"]);
    bundle.create().ok();
    let attribute = |name: &str| fs::read_to_string(format!("/proc/{}/attr/{name}", bundle.pid())).unwrap();
    assert_eq!(attribute("exec"), format!("{profile} (enforce)\n"));
    bundle.verb("start", &[]).ok();
    wait_until("the program runs", || attribute("current") == format!("{profile} (enforce)\n"));
    bundle.kill("KILL").ok();
    bundle.wait_stopped();
}

#[test]
fn the_apparmor_profile_holds_in_a_user_namespace() {
    let Some(profile) = apparmor_profile("AppArmor in a user namespace") else { return };
    let mut bundle = confined(&profile);
    bundle.namespace("user", None).args(&["/bin/cat", "/proc/self/attr/current"]);
    for kind in ["uid", "gid"] {
        bundle.set(&format!("/linux/{kind}Mappings"), json!([{"containerID": 0, "hostID": 0, "size": 65536}]));
    }
    assert_eq!(bundle.run().ok().stdout, format!("{profile} (enforce)\n"));
}

#[test]
fn an_apparmor_profile_that_is_not_loaded_is_refused() {
    if !has_apparmor() {
        return crate::harness::skip("refusal of an unloaded profile", "this kernel has no AppArmor");
    }
    let mut bundle = confined("onggi-no-such-profile");
    bundle.args(&["/bin/echo", "ran"]);
    let done = bundle.run().exits(1).says("process.apparmorProfile").says("onggi-no-such-profile");
    assert_eq!(done.says("no such profile is loaded").stdout, "", "never unconfined");
}
