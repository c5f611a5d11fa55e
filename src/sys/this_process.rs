//! Calls that change the calling process: ids, capabilities, limits, prctl, execve.
//!
//! Everything takes [`InChild`], but for the few functions at the end, which the parent needs for itself.

#![allow(unsafe_code)]

use super::clone::InChild;
use super::signal::ENDING;
use super::{Errno, check};
use crate::error::{Error, Result};
use caps::CapSet;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, fcntl};
use nix::sys::prctl;
use nix::sys::resource::{getrlimit, setrlimit as nix_setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::AccessFlags;
use serde::{Deserialize, Serialize};
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use nix::sys::resource::Resource;

fn failed(call: &str) -> impl FnOnce(Errno) -> Error + '_ {
    move |errno| Error::sys(call, errno)
}

// Ids.

/// Sets the supplementary groups to exactly `groups`; see setgroups(2).
///
/// # Errors
/// EPERM without CAP_SETGID or where the user namespace denies setgroups, EINVAL for an unmapped group or more than
/// 65536 of them.
pub fn setgroups(_: &InChild, groups: &[u32]) -> Result<()> {
    // SAFETY: as many numbers as the first argument says.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    check(result, || format!("setgroups({groups:?})")).map(drop)
}

// The C library's functions would see to it that all threads follow, of which there are none.

/// Sets the real, effective and saved group id; see setresgid(2).
pub fn setresgid(_: &InChild, gid: u32) -> Result<()> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
    check(result, || format!("setresgid({gid})")).map(drop)
}

/// Sets the real, effective and saved user id; see setresuid(2).
pub fn setresuid(_: &InChild, uid: u32) -> Result<()> {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    check(result, || format!("setresuid({uid})")).map(drop)
}

/// Our pid as this process's own PID namespace counts.
pub fn pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// Becomes user and group 0 of the user namespace that was made or joined.
pub fn become_root(me: &InChild) -> Result<()> {
    setresgid(me, 0)?;
    setresuid(me, 0)
}

/// Sets the mask of permission bits that new files lack; see umask(2).
pub fn umask(_: &InChild, mask: u32) {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
}

// Capabilities.

/// Three of the five capability sets, bit n for capability number n; see capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilitySets {
    /// What permission checks look at.
    pub effective: u64,
    /// What may become effective.
    pub permitted: u64,
    /// What programs with inheritable file capabilities may keep.
    pub inheritable: u64,
}

/// The number of the capability `name`, such as `CAP_KILL`, if any kernel has it.
pub fn capability_number(name: &str) -> Option<u8> {
    name.parse::<caps::Capability>().ok().map(|capability| capability.index())
}

/// The name of a capability, such as `CAP_KILL`.
pub fn capability_name(number: u8) -> String {
    capability(number).map_or_else(|| format!("CAP_{number}"), |known| known.to_string())
}

fn capability(number: u8) -> Option<caps::Capability> {
    caps::all().into_iter().find(|known| known.index() == number)
}

/// Keeps the permitted set over a change of user ids, or not; see `PR_SET_KEEPCAPS`. Every execve clears it.
pub fn set_keepcaps(_: &InChild, keep: bool) -> Result<()> {
    prctl::set_keepcaps(keep).map_err(failed("prctl(PR_SET_KEEPCAPS)"))
}

/// Sets effective, permitted and inheritable at once; see capset(2). Numbers that the kernel lacks are ignored by it.
///
/// # Errors
/// EPERM for a permitted one that is not permitted now, an effective one that would not be permitted, an inheritable
/// one outside the bounding set.
pub fn capset(_: &InChild, sets: CapabilitySets) -> Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 capabilities for each set.
    const VERSION: u32 = 0x2008_0522;
    /// `struct __user_cap_header_struct`: pid 0 is the calling thread.
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    /// `struct __user_cap_data_struct`.
    #[repr(C)]
    struct Word {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let word = |shift: u32| Word {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let header = Header { version: VERSION, pid: 0 };
    let words = [word(0), word(32)];
    // SAFETY: both point to live values laid out as capset(2) of this version reads them.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) };
    check(result, || {
        format!(
            "capset(effective {:#x}, permitted {:#x}, inheritable {:#x})",
            sets.effective, sets.permitted, sets.inheritable
        )
    })
    .map(drop)
}

/// Takes a capability out of the bounding set; see `PR_CAPBSET_DROP`. By number, so that a kernel newer than the names
/// we know keeps nothing back.
///
/// # Errors
/// EINVAL when the kernel has no such capability, EPERM without CAP_SETPCAP.
pub fn drop_bounding(_: &InChild, number: u8) -> Result<()> {
    // SAFETY: this prctl takes a number and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
    check(result.into(), || format!("prctl(PR_CAPBSET_DROP, {})", capability_name(number))).map(drop)
}

/// Empties the ambient set; see `PR_CAP_AMBIENT_CLEAR_ALL`.
pub fn clear_ambient(_: &InChild) -> Result<()> {
    caps::clear(None, CapSet::Ambient).map_err(|_| Error::sys("prctl(PR_CAP_AMBIENT_CLEAR_ALL)", Errno::last()))
}

/// Adds a capability to the ambient set; see `PR_CAP_AMBIENT_RAISE`.
///
/// # Errors
/// EPERM when it is not both permitted and inheritable, EINVAL when the kernel has no such capability.
pub fn raise_ambient(_: &InChild, number: u8) -> Result<()> {
    let failed = |errno| Error::sys(format!("prctl(PR_CAP_AMBIENT_RAISE, {})", capability_name(number)), errno);
    let known = capability(number).ok_or_else(|| failed(Errno::EINVAL))?;
    caps::raise(None, CapSet::Ambient, known).map_err(|_| failed(Errno::last()))
}

// Attributes that outlive execve.

/// Never again gains privileges by execve; see `PR_SET_NO_NEW_PRIVS`.
pub fn set_no_new_privs(_: &InChild) -> Result<()> {
    prctl::set_no_new_privs().map_err(failed("prctl(PR_SET_NO_NEW_PRIVS)"))
}

/// Whether processes of the same user may trace and inspect us; see `PR_SET_DUMPABLE`. A change of ids resets it to
/// `/proc/sys/fs/suid_dumpable`, execve of a readable file sets it.
pub fn set_dumpable(_: &InChild, dumpable: bool) -> Result<()> {
    prctl::set_dumpable(dumpable).map_err(failed("prctl(PR_SET_DUMPABLE)"))
}

/// Dies by SIGKILL when the parent does, or not; see `PR_SET_PDEATHSIG`. A change of ids clears it.
pub fn set_pdeathsig(_: &InChild, die: bool) -> Result<()> {
    prctl::set_pdeathsig(die.then_some(Signal::SIGKILL)).map_err(failed("prctl(PR_SET_PDEATHSIG)"))
}

/// Becomes leader of a new session and process group without a controlling terminal; see setsid(2).
///
/// # Errors
/// EPERM when it leads a process group already.
pub fn setsid(_: &InChild) -> Result<()> {
    nix::unistd::setsid().map(drop).map_err(failed("setsid"))
}

/// Sets a limit; `u64::MAX` is no limit; see setrlimit(2).
pub fn setrlimit(_: &InChild, resource: Resource, soft: u64, hard: u64) -> Result<()> {
    nix_setrlimit(resource, soft, hard)
        .map_err(|errno| Error::sys(format!("setrlimit({resource:?}, {soft}, {hard})"), errno))
}

/// Execution domains of personality(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// `PER_LINUX`: the machine as it is.
    Linux,
    /// `PER_LINUX32`: uname(2) tells the 32-bit name of the machine.
    Linux32,
}

/// Sets the execution domain.
pub fn personality(_: &InChild, domain: Domain) -> Result<()> {
    let persona = match domain {
        Domain::Linux => 0,
        Domain::Linux32 => 8,
    };
    // SAFETY: takes a number and touches no memory.
    let result = unsafe { libc::personality(persona) };
    check(result.into(), || format!("personality({persona})")).map(drop)
}

/// Policy and parameters of sched_setattr(2). Times are nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchedulerAttributes {
    /// `SCHED_*` number.
    pub policy: u32,
    /// `SCHED_FLAG_*` bits.
    pub flags: u64,
    /// -20 to 19, of the time-sharing policies.
    pub nice: i32,
    /// 1 to 99, of the realtime policies.
    pub priority: u32,
    /// Execution time in each period of SCHED_DEADLINE.
    pub runtime: u64,
    /// Deadline after the start of a period.
    pub deadline: u64,
    /// Length of a period.
    pub period: u64,
}

/// Sets policy and parameters of the scheduler.
///
/// # Errors
/// EPERM without CAP_SYS_NICE or for SCHED_DEADLINE in a cpuset, EINVAL for a combination that the kernel refuses.
pub fn sched_setattr(_: &InChild, wanted: SchedulerAttributes) -> Result<()> {
    /// `struct sched_attr` in its second version (5.3), which the flags of utilization clamps demand.
    #[repr(C)]
    struct Raw {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
        util_min: u32,
        util_max: u32,
    }
    let SchedulerAttributes { policy, flags, nice, priority, runtime, deadline, period } = wanted;
    let size = size_of::<Raw>() as u32;
    let raw = Raw { size, policy, flags, nice, priority, runtime, deadline, period, util_min: 0, util_max: 0 };
    // SAFETY: `raw` is laid out as the kernel's struct of the size it states; pid 0 is this thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const raw, 0) };
    check(result, || format!("sched_setattr(policy {policy})")).map(drop)
}

/// Sets the priority of disk access: class 1 realtime, 2 best effort, 3 idle; level 0 (first) to 7; see ioprio_set(2).
pub fn ioprio_set(_: &InChild, class: u8, level: u8) -> Result<()> {
    /// `IOPRIO_WHO_PROCESS`.
    const WHO_PROCESS: i32 = 1;
    let priority = (i32::from(class) << 13) | i32::from(level);
    // SAFETY: takes numbers only; id 0 is this thread.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority) };
    check(result, || format!("ioprio_set(class {class}, level {level})")).map(drop)
}

/// A set of CPUs, bit n % 64 of word n / 64 for CPU n: 8192 are the most that a kernel can be configured for.
pub type Cpus = [u64; 128];

/// Allows these CPUs, which the cpuset of the cgroup narrows; see sched_setaffinity(2).
///
/// # Errors
/// EINVAL when none of them exists and is in the cpuset.
pub fn sched_setaffinity(_: &InChild, cpus: &Cpus) -> Result<()> {
    set_affinity(cpus)
}

fn set_affinity(cpus: &Cpus) -> Result<()> {
    // SAFETY: the kernel reads as many bytes as we state; pid 0 is this thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr()) };
    check(result, || "sched_setaffinity".to_owned()).map(drop)
}

/// Sets the host name of the UTS namespace.
pub fn sethostname(_: &InChild, name: &str) -> Result<()> {
    nix::unistd::sethostname(name).map_err(|errno| Error::sys(format!("sethostname({name})"), errno))
}

/// Sets the NIS domain name of the UTS namespace.
pub fn setdomainname(_: &InChild, name: &str) -> Result<()> {
    // SAFETY: the kernel reads the stated length of a live string.
    let result = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    check(result.into(), || format!("setdomainname({name})")).map(drop)
}

// Working directory.

/// Changes the working directory to `path` as this process sees it, following links.
pub fn chdir(_: &InChild, path: &Path) -> Result<()> {
    nix::unistd::chdir(path).map_err(|errno| Error::sys(format!("chdir({})", path.display()), errno))
}

/// Changes the working directory to an open one.
pub fn fchdir(_: &InChild, dir: impl AsFd) -> Result<()> {
    nix::unistd::fchdir(dir).map_err(failed("fchdir"))
}

/// The working directory as the kernel tells it, without the C library's corrections: a directory outside the root
/// starts with `(unreachable)`.
pub fn getcwd() -> Result<PathBuf> {
    let mut path = vec![0_u8; 4097];
    // SAFETY: the kernel writes at most the stated length into the live buffer.
    let result = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    let length = check(result, || "getcwd".to_owned())?;
    // The length counts the terminating zero.
    path.truncate((length as usize).saturating_sub(1));
    Ok(PathBuf::from(OsString::from_vec(path)))
}

/// Whether the effective ids may execute the file at `path`; see faccessat2(2).
///
/// # Errors
/// EACCES when not.
pub fn check_executable(path: &CStr) -> Result<()> {
    nix::unistd::faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
        .map_err(|errno| Error::sys(format!("faccessat2({})", path.to_string_lossy()), errno))
}

// Signals.

/// Gives the signals in `ignored` (bit n - 1 for signal n, as SigIgn in `/proc/PID/status` shows them; all of them is
/// right, too) and SIGPIPE their default disposition and unblocks all signals. Handlers end with execve, but an ignored
/// signal stays ignored, and Rust's standard library starts with SIGPIPE ignored.
pub fn reset_signals(_: &InChild, ignored: u64) -> Result<()> {
    let ignored = ignored | 1 << (libc::SIGPIPE - 1);
    let changeable = |number: &i32| !matches!(*number, libc::SIGKILL | libc::SIGSTOP);
    for number in (1..=64).filter(changeable).filter(|number| ignored >> (number - 1) & 1 == 1) {
        // The kernel's struct sigaction with SIG_DFL: handler, flags, restorer, mask. The C library would refuse 32 and
        // 33, which it takes for its own, but a caller may well have them ignored.
        let action = [0_u64; 4];
        let (old, size) = (std::ptr::null_mut::<u64>(), size_of::<u64>());
        // SAFETY: `action` has the kernel's layout and outlives the call; no handler is installed.
        let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, number, action.as_ptr(), old, size) };
        check(done, || format!("rt_sigaction({number}, SIG_DFL)"))?;
    }
    SigSet::empty().thread_set_mask().map_err(failed("sigprocmask"))
}

/// Ends with 128 + n on the signals that ask for an end. The kernel delivers to the first process of a PID namespace
/// only what it has a handler for; execve resets them.
pub fn exit_on_termination(_: &InChild) -> Result<()> {
    extern "C" fn end(signal: libc::c_int) {
        // SAFETY: _exit is async-signal-safe and runs nothing of ours.
        unsafe { libc::_exit(128 + signal) }
    }
    let action = SigAction::new(SigHandler::Handler(end), SaFlags::empty(), SigSet::empty());
    for signal in ENDING {
        // SAFETY: the handler calls nothing but _exit.
        unsafe { sigaction(signal, &action) }.map_err(|errno| Error::sys(format!("sigaction({signal})"), errno))?;
    }
    Ok(())
}

// Descriptors.

/// One of the three standard descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// Descriptor 0.
    Stdin,
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// Puts `fd` in place of a standard descriptor, open over execve.
pub fn dup2(_: &InChild, fd: impl AsFd, target: Stdio) -> Result<()> {
    let result = match target {
        Stdio::Stdin => nix::unistd::dup2_stdin(fd),
        Stdio::Stdout => nix::unistd::dup2_stdout(fd),
        Stdio::Stderr => nix::unistd::dup2_stderr(fd),
    };
    result.map_err(|errno| Error::sys(format!("dup2({target:?})"), errno))
}

/// Closes the descriptors `first` to `last`, those included.
///
/// No owner of any of them may be left: what it drops would be another file by then.
pub fn close_range(_: &InChild, first: u32, last: u32) -> Result<()> {
    // SAFETY: touches no memory; that nobody owns the descriptors any more is the caller's duty, as stated.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    check(result, || format!("close_range({first}, {last})")).map(drop)
}

/// Leaves `fd` to [`close_range`], by which one call closes many, or closes it where the limit on descriptors is near. Until
/// then no path may be followed that could lead through `/proc/self/fd`: the descriptors are of what masks cover as well.
pub fn leave_open(_: &InChild, fd: OwnedFd) {
    /// More than are open at any time but for those left.
    const NEEDED: u64 = 64;
    if u64::try_from(fd.as_raw_fd()).is_ok_and(|number| number + NEEDED < soft_limit_on_descriptors()) {
        std::mem::forget(fd);
    }
}

/// As it was when it was first asked for: a child has it from its parent, which looks before.
fn soft_limit_on_descriptors() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft))
}

/// Keeps the descriptors `first` to `last`, those included, open over execve.
pub fn keep_over_exec(_: &InChild, first: u32, last: u32) -> Result<()> {
    for number in first..=last {
        // SAFETY: takes numbers only.
        let result = unsafe { libc::fcntl(number as libc::c_int, libc::F_SETFD, 0) };
        check(result.into(), || format!("fcntl({number}, F_SETFD, 0)"))?;
    }
    Ok(())
}

// The end.

/// All that execve(2) reads, so that nothing is left to do but the call itself.
#[derive(Debug)]
pub struct Execution {
    path: CString,
    /// What `argv` and `envp` point into.
    _strings: [Vec<CString>; 2],
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
}

impl Execution {
    /// The program at `path` with these arguments and variables.
    pub fn new(path: CString, args: Vec<CString>, env: Vec<CString>) -> Self {
        let pointers =
            |strings: &[CString]| strings.iter().map(|it| it.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
        let (argv, envp) = (pointers(&args), pointers(&env));
        Self { path, _strings: [args, env], argv, envp }
    }

    /// Becomes the program. Comes back only when that failed.
    pub fn run(&self, _: &InChild) -> Error {
        // SAFETY: both arrays end in null, and all strings that they point to are owned by `self` and unchanged.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        Error::sys(format!("exec {}", self.path.to_string_lossy()), Errno::last())
    }
}

/// Ends this process at once: no destructor of the parent's guards runs.
pub fn exit(_: &InChild, status: u8) -> ! {
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(status.into()) }
}

// What the parent does to itself.

/// Hides this process and, from their birth on, those that it clones; see [`set_dumpable`].
pub fn hide_with_children() -> Result<()> {
    prctl::set_dumpable(false).map_err(failed("prctl(PR_SET_DUMPABLE)"))
}

/// Runs on these CPUs from here on, as do the processes that it clones; see [`sched_setaffinity`].
pub fn run_on(cpus: &Cpus) -> Result<()> {
    set_affinity(cpus)
}

/// Raises our own hard limit to `hard` where it is lower, so that a child may have it; the soft one stays. Gives the
/// hard limit that stands after an attempt that failed.
///
/// # Errors
/// The hard limit as it is and the errno: EPERM without CAP_SYS_RESOURCE in the initial user namespace.
pub fn raise_hard_limit(resource: Resource, hard: u64) -> std::result::Result<(), (u64, Error)> {
    let failed = |errno| Error::sys(format!("setrlimit({resource:?}, hard {hard})"), errno);
    let (soft, current) = getrlimit(resource).map_err(|errno| (0, failed(errno)))?;
    if current >= hard {
        return Ok(());
    }
    nix_setrlimit(resource, soft, hard).map_err(|errno| (current, failed(errno)))
}

/// Has what `make` makes get the permission bits that it asks for, whatever our caller's umask(2).
pub fn unmasked<T>(make: impl FnOnce() -> T) -> T {
    let callers = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let made = make();
    nix::sys::stat::umask(callers);
    made
}

/// Marks every descriptor from `first` on close-on-exec: what the caller left open must reach neither hooks nor the
/// container (CVE-2024-21626).
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: changes flags only; touches no memory and closes nothing.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(result, || format!("close_range({first}, CLOEXEC)")).map(drop)
}

/// Whether the descriptor `number` is open.
pub fn is_open(number: u32) -> bool {
    // SAFETY: asks for flags only.
    unsafe { libc::fcntl(number as libc::c_int, libc::F_GETFD) != -1 }
}

/// A descriptor's number, for sorting and comparing only.
pub fn number_of(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd() as u32
}

/// The number that the next new descriptor gets.
pub fn next_number(open: impl AsFd) -> Result<i32> {
    // The lowest that is free; standard ones included, which `try_clone` would leave out.
    let number = fcntl(&open, FcntlArg::F_DUPFD_CLOEXEC(0)).map_err(|errno| Error::sys("fcntl(F_DUPFD)", errno))?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(number)
}
