//! What is left when onggi is killed, or a system call fails, at any point: swept over the system calls of `create`,
//! `start`, `run` and `delete` by strace(1), sampled so that it stays short.

use crate::harness::{Bundle, MountNamespace, Outcome, Snapshot, Trace, is_peer, is_rootless, needs_root, rounds};
use crate::no_mount_namespace;

/// About as many injections as one test makes; for users, whose paths through the code are mostly the same, a few.
fn sample() -> usize {
    if is_rootless() { 12 } else { 60 }
}

/// One injection: the `number`th call of `call` in any process.
#[derive(Debug)]
struct Point {
    call: String,
    number: usize,
}

/// Calls before `main` and those that can't fail or leave anything.
const BORING: [&str; 22] = [
    "access",
    "arch_prctl",
    "brk",
    "close",
    "exit_group",
    "getpid",
    "getuid",
    "geteuid",
    "gettid",
    "getrandom",
    "mmap",
    "mprotect",
    "munmap",
    "pread64",
    "prlimit64",
    "readlink",
    "rseq",
    "rt_sigreturn",
    "sched_getaffinity",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
];

/// Sampled points among all system calls of a trace, for the test `what`.
fn points(what: &str, trace: &Trace, wanted: impl Fn(&str) -> bool) -> Vec<Point> {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for line in &trace.lines {
        *counts.entry(Trace::call(line)).or_default() += 1;
    }
    let all: Vec<Point> = counts
        .into_iter()
        .filter(|(call, _)| !call.is_empty() && !BORING.contains(call) && wanted(call))
        .flat_map(|(call, count)| (1..=count).map(move |number| Point { call: call.to_owned(), number }))
        .collect();
    let step = all.len().div_ceil(rounds(what, sample())).max(1);
    all.into_iter().step_by(step).collect()
}

/// Runs a verb with `what` done to it at `point`.
fn inject(invocation: crate::harness::Invocation, point: &Point, what: &str) -> Outcome {
    let Point { call, number } = point;
    // Shown when the test fails.
    println!("{what} at {point:?}");
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:{what}:when={number}");
    invocation.under(&["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]).run()
}

fn sleeper() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.map_self().args(&["/bin/sleep", "100"]);
    bundle.warm_up();
    bundle
}

/// After whatever happened: `delete --force` leaves nothing, and the id is free again.
#[track_caller]
fn converges(bundle: &Bundle, before: &Snapshot, point: &Point) {
    let deleted = bundle.verb("delete", &["--force"]);
    assert!(deleted.status.success(), "{point:?}: {deleted}");
    before.assert_unchanged(bundle);
    let created = bundle.create();
    assert!(created.status.success(), "{point:?}: {created}");
    bundle.verb("delete", &["--force"]).ok();
}

fn kill_sweep(verb: &str) {
    if !is_peer() {
        sweep(verb, &sleeper(), "", || ());
    }
}

/// `how` tells these containers from others; what `look` sees is not to change either.
fn sweep<T: PartialEq + std::fmt::Debug>(verb: &str, bundle: &Bundle, how: &str, look: impl Fn() -> T) {
    let before = Snapshot::of(bundle);
    let seen = look();
    let prepare = || {
        if ["start", "delete"].contains(&verb) {
            bundle.create().ok();
        }
    };
    let command = || match verb {
        "create" => bundle.start_with("create", &[]),
        // The container does not end by itself.
        "run" => bundle.start_with("run", &["-d"]),
        _ => bundle.invoke(&[verb, &bundle.id]),
    };
    prepare();
    // The calls of what stays are none of the command's.
    let clean = || drop(bundle.verb("delete", &["--force"]).ok());
    let trace = match verb {
        "create" | "run" => Trace::detached(command(), &bundle.logs(), clean),
        _ => Trace::of(command(), &bundle.logs(), "all"),
    };
    clean();
    for point in points(&format!("faults: {verb} killed anywhere{how}"), &trace, |_| true) {
        prepare();
        inject(command(), &point, "signal=SIGKILL");
        converges(bundle, &before, &point);
        assert_eq!(look(), seen, "{point:?}");
    }
}

#[test]
fn create_killed_anywhere() {
    kill_sweep("create");
}

#[test]
fn run_killed_anywhere() {
    kill_sweep("run");
}

#[test]
fn start_killed_anywhere() {
    kill_sweep("start");
}

#[test]
fn delete_killed_anywhere() {
    kill_sweep("delete");
}

/// Its mounts are the host's, and gone with it.
#[test]
fn create_and_delete_without_a_mount_namespace_killed_anywhere() {
    if !needs_root("a container without a mount namespace", "users need a user namespace, and that one") || is_peer() {
        return;
    }
    let host = MountNamespace::new();
    for verb in ["create", "delete"] {
        let mut bundle = no_mount_namespace::bundle(&host);
        bundle.args(&["/bin/sleep", "100"]);
        bundle.warm_up();
        sweep(verb, &bundle, " without a mount namespace", || host.mounts());
    }
    // At each writing of the record, with the child on ahead.
    let mut bundle = no_mount_namespace::bundle(&host);
    bundle.args(&["/bin/sleep", "100"]);
    bundle.warm_up();
    let (before, mounts) = (Snapshot::of(&bundle), host.mounts());
    let mut left = 0;
    for number in 1..=4 {
        let point = Point { call: "renameat".into(), number };
        inject(bundle.start_with("create", &[]), &point, "delay_enter=300000:signal=SIGKILL");
        left += usize::from(host.mounts() != mounts);
        converges(&bundle, &before, &point);
        assert_eq!(host.mounts(), mounts, "{point:?}");
    }
    assert!(left >= 2, "there was something to undo");
}

/// Between the start and the removal of the gate: the container runs, and must not count as created, or a `delete`
/// without force would kill it.
#[test]
fn start_killed_before_it_removed_the_gate() {
    if is_peer() {
        return;
    }
    let bundle = sleeper();
    bundle.create().ok();
    inject(
        bundle.invoke(&["start", &bundle.id]),
        &Point { call: "unlinkat".into(), number: 1 },
        "error=EINTR:signal=KILL",
    );
    crate::harness::wait_until("the program runs", || bundle.status() == "running");
    bundle.verb("delete", &[]).exits(1).says("running");
    bundle.verb("start", &[]).exits(1).says("cannot start an already running container");
}

/// Without a cgroup only the state file knows the process that waits at the gate.
#[test]
fn create_without_a_cgroup_killed_after_its_child_was_ready() {
    if is_peer() {
        return;
    }
    let bundle = sleeper();
    let before = Snapshot::of(&bundle);
    for number in 1..=3 {
        bundle.save();
        let path = bundle.path().to_str().unwrap().to_owned();
        let create = bundle.invoke(&["--cgroup-manager", "disabled", "create", "--bundle", &path, &bundle.id]);
        let point = Point { call: "renameat".into(), number };
        inject(create, &point, "signal=SIGKILL");
        converges(&bundle, &before, &point);
    }
}

/// Calls that are made on the way forward only: one that fails while everything is undone as well is another matter.
const FORWARD: [&str; 40] = [
    "bpf",
    "capset",
    "chdir",
    "clone3",
    "close_range",
    "dup2",
    "execve",
    "execveat",
    "faccessat2",
    "fchdir",
    "fsconfig",
    "fsmount",
    "fsopen",
    "getcwd",
    "ioctl",
    "keyctl",
    "mkdirat",
    "mknodat",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "prctl",
    "recvmsg",
    "renameat",
    "sched_setaffinity",
    "sendmsg",
    "setgroups",
    "sethostname",
    "setresgid",
    "setresuid",
    "setsid",
    "signalfd4",
    "socket",
    "socketpair",
    "symlinkat",
    "umask",
    "umount2",
    "unshare",
    "write",
];

/// A failing system call ends in a plain error that leaves nothing, or is rightly passed over.
#[test]
fn run_with_a_failing_call_anywhere() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.map_self().args(&["/bin/true"]);
    bundle.run().ok();
    let before = Snapshot::of(&bundle);
    let trace = Trace::of(bundle.start_with("run", &[]), &bundle.logs(), "all");
    let points = points("faults: run with a failing call anywhere", &trace, |call| FORWARD.contains(&call));
    for (index, point) in points.iter().enumerate() {
        let error = ["ENOMEM", "EPERM", "EMFILE"][index % 3];
        let done = inject(bundle.start_with("run", &[]), point, &format!("error={error}"));
        let code = done.status.code();
        assert!([Some(0), Some(1), Some(255)].contains(&code), "{point:?} {error}: {done}");
        assert!(code == Some(0) || done.stderr.contains("level=error"), "{point:?} {error}: {done}");
        if code != Some(0) && crate::harness::test_slice().is_some() {
            // It is spoken to on the way back as well: what remains then is told, and is a container to delete.
            bundle.verb("delete", &["--force"]).ok();
        }
        before.assert_unchanged(&bundle);
    }
}

/// The directory of an id that could be taken but not opened is not left behind.
#[test]
fn create_that_cannot_open_its_directory_gives_the_id_back() {
    if is_peer() {
        return;
    }
    let bundle = sleeper();
    let before = Snapshot::of(&bundle);
    let done = inject(bundle.start_with("create", &[]), &Point { call: "openat2".into(), number: 1 }, "error=EMFILE");
    done.exits(1).says("too many open files");
    before.assert_unchanged(&bundle);
}
