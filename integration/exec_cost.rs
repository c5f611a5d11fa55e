//! What `exec` costs, in what can be counted: system calls, programs executed, processes, namespaces joined, writes.

use crate::harness::{Bundle, Trace, is_peer, is_rootless};

/// System calls from the first of onggi's own, in its protected copy, to its last and the one that executes the program,
/// with the config.json of the tests, as root. Memory and what debug builds add are not counted, nor how a program starts
/// that is linked as this one (about 35 calls, twice). Lower it when you have made `exec` cheaper.
const CEILING: usize = 230;

/// A container and the system calls of an `exec` in it, without the program's own.
fn traced() -> (Bundle, Vec<String>) {
    let mut bundle = Bundle::new();
    bundle.asleep();
    // Whatever is made once.
    bundle.exec(&[], &["/bin/true"]).ok();
    let trace = Trace::of(bundle.exec_with(&[], &["/bin/true"]), &bundle.logs(), "all");
    assert!(trace.outcome.status.success(), "{}", trace.outcome);
    let program = trace.lines.iter().position(|line| is_program(line)).expect("the program's execve");
    let pid = pid_of(&trace.lines[program]).to_owned();
    let ours = |(index, line): &(usize, String)| *index <= program || pid_of(line) != pid;
    let calls = trace.lines.into_iter().enumerate().filter(ours).map(|(_, line)| line);
    let calls = calls.filter(|line| !Trace::call(line).is_empty()).collect();
    (bundle, calls)
}

/// Those that [`CEILING`] is about.
fn counted(calls: &[String]) -> Vec<&str> {
    let first = calls.iter().position(|line| Trace::call(line) == "uname").expect("the kernel's version");
    let memory = ["brk", "mmap", "munmap", "mremap", "mprotect", "madvise"];
    let of_debug_builds = |line: &str| line.contains("F_GETFD");
    let counts = |line: &&str| !memory.contains(&Trace::call(line)) && !of_debug_builds(line);
    calls[first..].iter().map(String::as_str).filter(counts).collect()
}

fn pid_of(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

fn is_program(line: &str) -> bool {
    line.contains(" execve(\"/bin/true\"")
}

fn of<'a>(calls: &'a [String], names: &[&str]) -> Vec<&'a String> {
    calls.iter().filter(|line| names.contains(&Trace::call(line))).collect()
}

#[test]
fn one_clone_one_join_and_no_more_programs_than_needed() {
    if is_peer() {
        return;
    }
    let (_bundle, calls) = traced();
    // Itself, its protected copy, the program.
    let executed = of(&calls, &["execve", "execveat"]);
    assert_eq!(executed.len(), 3, "{executed:#?}");
    assert_eq!(Trace::call(executed[1]), "execveat", "{executed:#?}");
    assert!(is_program(executed[2]), "{executed:#?}");
    let made = of(&calls, &["clone", "clone3", "fork", "vfork"]);
    let child = pid_of(executed[2]);
    let joined: Vec<_> = of(&calls, &["setns"]).into_iter().filter(|line| pid_of(line) == child).collect();
    assert_eq!(joined.len(), 1, "{joined:#?}");
    assert!(joined[0].contains("CLONE_NEWNS") && joined[0].contains("CLONE_NEWNET"), "{joined:#?}");
    if !is_rootless() {
        // A user's process joins the PID namespace itself, and clones once more for it.
        assert_eq!(made.len(), 1, "{made:#?}");
        assert!(made[0].contains("CLONE_INTO_CGROUP"), "born where it belongs: {made:#?}");
        let counted = counted(&calls);
        assert!(counted.len() <= CEILING, "{} system calls:\n{}", counted.len(), counted.join("\n"));
        println!("exec: {} system calls of {CEILING}", counted.len());
    }
}

#[test]
fn nothing_is_written_but_to_the_parent() {
    if is_peer() {
        return;
    }
    let (bundle, calls) = traced();
    let changes = [
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "rmdir",
        "link",
        "linkat",
        "symlink",
        "symlinkat",
        "fsync",
        "fdatasync",
        "flock",
        "write",
        "pwrite64",
        "writev",
        "mount",
        "move_mount",
        "fsopen",
        "unshare",
    ];
    let found = of(&calls, &changes);
    assert!(found.is_empty(), "{found:#?}");
    let written: Vec<_> = of(&calls, &["open", "openat", "openat2", "creat"])
        .into_iter()
        .filter(|line| ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| line.contains(flag)))
        // The gate, to see whether the container has started; the container's, for what the caller's was.
        .filter(|line| !line.contains("\"exec.fifo\"") && !line.contains("\"dev/null\""))
        .collect();
    assert!(written.is_empty(), "{written:#?}");
    assert_eq!(bundle.status(), "running");
}
