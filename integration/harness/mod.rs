//! What every test stands on: bundles, running the binary with a deadline, the probe, snapshots of the host.
//!
//! The binary under test is the one cargo built, or `ONGGI_BIN`: another runtime can be put in its place to see
//! whether a test asks for what the field does. Texts of errors are then not compared. The probe is built when it is
//! wanted, or `ONGGI_TEST_PROBE`. On a slow machine (an emulated one) `ONGGI_TEST_PATIENCE` is a whole number that
//! every deadline is multiplied by, and `ONGGI_TEST_SAMPLE` one that the rounds of tests that repeat themselves are
//! divided by: both are set by `integration/vm/test`.
//!
//! With `ONGGI_TEST_DRIVER=systemd` the containers are made with `--systemd-cgroup`, except for those of tests that give
//! them a path of cgroupfs: those are about that driver. `integration/enter` names the slice then.

mod agent;
mod bundle;
pub mod caller;
mod canary;
mod command;
mod debian;
mod mount_namespace;
mod probe;
mod pty;
mod refusal;
mod snapshot;
mod systemd;
mod tmux;
mod trace;

pub use agent::Agent;
pub use bundle::{Bundle, template};
pub use caller::{is_rootless, needs_root, needs_user};
pub use canary::{Canary, TRICKS, touching_everything};
pub use command::{Invocation, Outcome, Running};
pub use debian::{debian_root, has_debian_root};
pub use mount_namespace::MountNamespace;
pub use probe::{Report, capability_mask, probe_path};
pub use pty::{ConsoleSocket, Pty, received};
pub use refusal::{Moment, check_refusals};
pub use snapshot::Snapshot;
pub use systemd::{Mood, Systemd, bus_variable, unit_directory};
pub use tmux::Tmux;
pub use trace::Trace;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The binary under test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("ONGGI_BIN") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_onggi")),
    })
}

/// Whether another runtime than onggi is under test: its texts are its own.
pub fn is_peer() -> bool {
    static PEER: OnceLock<bool> = OnceLock::new();
    *PEER.get_or_init(|| {
        let version = std::process::Command::new(binary()).arg("--version").output().expect("the binary runs");
        !String::from_utf8_lossy(&version.stdout).starts_with("onggi")
    })
}

/// Our own cgroup below `/sys/fs/cgroup`, which `integration/enter` made.
///
/// # Panics
/// Outside of `integration/enter`: the tests would touch the machine.
pub fn test_cgroup() -> String {
    std::env::var("ONGGI_TEST_CGROUP").expect("run this by `integration/enter cargo test --test integration`")
}

/// The slice that containers belong to when systemd makes their cgroups; none when they are made by hand.
///
/// # Panics
/// Outside of `integration/enter`, and for a driver that there is not.
pub fn test_slice() -> Option<String> {
    match std::env::var("ONGGI_TEST_DRIVER").as_deref() {
        Ok("systemd") => test_cgroup().rsplit('/').next().map(|name| format!("{name}.slice")),
        Ok("cgroupfs") | Err(_) => None,
        Ok(other) => panic!("ONGGI_TEST_DRIVER={other}: use systemd or cgroupfs"),
    }
}

/// Removes a container's `cgroup` once its processes are gone. systemd removes that of a scope, and may never notice when
/// somebody else does: the notice of the last process is lost with the directory, and the scope lasts.
#[track_caller]
pub fn remove_cgroup(cgroup: &Path) {
    let is_systemds = test_slice().is_some() && cgroup.extension().is_some_and(|kind| kind == "scope");
    let remove = || !is_systemds && std::fs::remove_dir(cgroup).is_ok();
    wait_until("the cgroup can be removed", || remove() || !cgroup.exists());
}

/// A script that enters the cgroup `directory` and becomes the program that its arguments name.
pub fn entering(directory: &Path) -> String {
    format!("echo $$ > {}/cgroup.procs && exec \"$@\"", directory.display())
}

/// Whether this machine's cgroup v2 has `controller`, and a user without privileges may use it; says visibly why `what`
/// does not run where it is not so.
pub fn needs(controller: &str, what: &str) -> bool {
    let delegated = if is_rootless() { test_cgroup() } else { String::new() };
    let available =
        std::fs::read_to_string(format!("/sys/fs/cgroup{delegated}/cgroup.controllers")).unwrap_or_default();
    if available.split_whitespace().any(|name| name == controller) {
        return true;
    }
    skip(what, &format!("cgroup v2 controller {controller} is not available here, only where it is can this run"));
    false
}

/// Whether the kernel has AppArmor in use.
pub fn has_apparmor() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.trim() == "Y")
}

/// The name of a loaded AppArmor profile much like Docker's, which `integration/enter` loads where it can; says visibly
/// why `what` does not run where it has not.
pub fn apparmor_profile(what: &str) -> Option<String> {
    let name = std::env::var("ONGGI_TEST_APPARMOR").ok();
    if name.is_none() {
        let why =
            if has_apparmor() { "integration/enter could load no profile" } else { "this kernel has no AppArmor" };
        skip(what, why);
    }
    name
}

/// Says that `what` does not run here, and why; `integration/enter` lists these in its last line.
pub fn skip(what: &str, why: &str) {
    // Past the capture of libtest: a skip must be seen even when everything passes.
    let mut terminal = std::io::stderr();
    writeln!(terminal, "SKIP {what}: {why}").expect("stderr");
    if let Some(list) = std::env::var_os("ONGGI_TEST_SKIPS") {
        let mut list = std::fs::OpenOptions::new().append(true).open(list).expect("the list of skips");
        writeln!(list, "{what} ({why})").expect("the list of skips");
    }
}

/// So many seconds, longer by the factor `ONGGI_TEST_PATIENCE`: how long a thing may take before the test fails.
pub fn patience(seconds: u64) -> Duration {
    static FACTOR: OnceLock<u64> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| match std::env::var("ONGGI_TEST_PATIENCE") {
        Ok(text) => text.parse().ok().filter(|factor| *factor > 0).expect("ONGGI_TEST_PATIENCE is a whole number"),
        Err(_) => 1,
    });
    Duration::from_secs(seconds * factor)
}

/// How many of the rounds that `what` has it makes: one in `ONGGI_TEST_SAMPLE`, and says visibly that the others are left
/// out; without that variable all.
pub fn rounds(what: &str, all: usize) -> usize {
    let sample = match std::env::var("ONGGI_TEST_SAMPLE") {
        Ok(text) => text.parse().ok().filter(|part| *part > 0).expect("ONGGI_TEST_SAMPLE is a whole number"),
        Err(_) => 1,
    };
    let some = all.div_ceil(sample);
    if some < all {
        skip(what, &format!("ONGGI_TEST_SAMPLE={sample}: {some} of {all} rounds are made"));
    }
    some
}

/// Waits until `ready` says so.
///
/// # Panics
/// After ten seconds, with `what` in the message.
#[track_caller]
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + patience(10);
    while !ready() {
        assert!(Instant::now() < end, "waited {} seconds in vain: {what}", patience(10).as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}
