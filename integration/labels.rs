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
