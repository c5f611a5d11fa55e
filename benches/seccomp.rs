//! What a system call filter costs, ours beside libseccomp's: `make bench-seccomp`, as root.
//!
//! For each profile and compiler: the time from the parsed profile to the program, the program's length, the time that
//! seccomp(2) takes for it, and what it adds to one system call. The last two are measured in children. All are medians
//! of rounds in which the compilers take turns. docs/decisions/0004-seccomp-compiler.md has a table of these.
#![allow(clippy::print_stdout, reason = "the table is the result")]
#![allow(clippy::missing_docs_in_private_items, reason = "one file, which nothing else uses")]
#![allow(unsafe_code, reason = "forks, installs filters and makes system calls")]
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a bench")]

#[allow(dead_code, reason = "it serves the tests as well")]
#[path = "../integration/libseccomp.rs"]
mod libseccomp;

use libseccomp::{Instruction, Library};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use oci_spec::runtime::{Arch, LinuxSeccomp};
use std::io::{Read, Write};
use std::time::Instant;

const ROUNDS: usize = 21;
const CALLS: u32 = 200_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compiler {
    Ours,
    Chain,
    Tree,
}

const COMPILERS: [(Compiler, &str); 3] =
    [(Compiler::Ours, "onggi"), (Compiler::Chain, "libseccomp"), (Compiler::Tree, "libseccomp, binary tree")];

fn compile(compiler: Compiler, library: Library, spec: &LinuxSeccomp) -> Vec<Instruction> {
    if compiler == Compiler::Ours {
        let filter = onggi::seccomp::plan(spec, &mut Vec::new()).unwrap();
        return filter.program().iter().map(|it| (it.code, it.jt, it.jf, it.k)).collect();
    }
    let tree = compiler == Compiler::Tree;
    libseccomp::compile(library, Arch::ScmpArchX86_64, spec, tree).unwrap().program(true)
}

fn parsed(text: &str) -> LinuxSeccomp {
    serde_json::from_str(text).unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What a child measured: the time to load the program, and that of one call each of getpid (its verdict does not depend
/// on arguments, so that the kernel remembers it) and of personality, in nanoseconds.
fn in_child(program: Option<&[Instruction]>) -> [f64; 3] {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: this process has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            writer.write_all(&measure(program).map(f64::to_ne_bytes).concat()).unwrap();
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            let mut measured = [[0; 8]; 3];
            drop(writer);
            reader.read_exact(measured.as_flattened_mut()).unwrap();
            waitpid(child, None).unwrap();
            measured.map(f64::from_ne_bytes)
        }
    }
}

fn measure(program: Option<&[Instruction]>) -> [f64; 3] {
    let mut load = 0.0;
    if let Some(program) = program {
        let mut filter: Vec<libc::sock_filter> = program
            .iter()
            .map(|(code, jt, jf, k)| libc::sock_filter { code: *code, jt: *jt, jf: *jf, k: *k })
            .collect();
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: no pointer.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        let start = Instant::now();
        // SAFETY: the program lives.
        let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 4, &raw const program) };
        load = start.elapsed().as_nanos() as f64;
        assert_eq!(done, 0, "seccomp(2)");
    }
    let time = |number: i64, argument: u64| {
        let start = Instant::now();
        for _ in 0..CALLS {
            // SAFETY: no pointer.
            unsafe { libc::syscall(number, argument, 0, 0) };
        }
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    [load, time(libc::SYS_getpid, 0), time(libc::SYS_personality, 0xffff_ffff)]
}

fn main() {
    let library = Library::load();
    let profiles = [
        ("Docker's default", parsed(include_str!("../integration/profiles/docker.json"))),
        ("Podman's default", parsed(include_str!("../integration/profiles/podman.json"))),
        ("1000 rules on arguments", onggi::seccomp::check::thousand_rules()),
    ];
    println!(
        "| profile | compiler | compile µs | of libseccomp | instructions | load µs | getpid +ns | personality +ns |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|");
    for (profile, spec) in &profiles {
        let programs = COMPILERS.map(|(compiler, _)| compile(compiler, library, spec));
        // Before any child is forked: whoever writes to memory that a child shares pays for a copy.
        let mut compile_times = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for (at, (compiler, _)) in COMPILERS.iter().enumerate() {
                let start = Instant::now();
                let program = compile(*compiler, library, spec);
                compile_times[at].push(start.elapsed().as_nanos() as f64 / 1e3);
                assert!(!program.is_empty());
            }
        }
        let mut runs = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            for (at, program) in programs.iter().map(|it| Some(&it[..])).chain([None]).enumerate() {
                runs[at].push(in_child(program));
            }
        }
        let of = |at: usize, what: usize| median(runs[at].iter().map(|it: &[f64; 3]| it[what]).collect());
        let compile_times = compile_times.map(median);
        for (at, (_, name)) in COMPILERS.iter().enumerate() {
            println!(
                "| {profile} | {name} | {:.0} | 1/{:.0} | {} | {:.0} | {:.0} | {:.0} |",
                compile_times[at],
                compile_times[1] / compile_times[at],
                programs[at].len(),
                of(at, 0) / 1e3,
                of(at, 1) - of(3, 1),
                of(at, 2) - of(3, 2),
            );
        }
    }
}
