//! The system calls that std and nix have no safe wrapper for.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixDatagram;

/// The environment as the list it was given as, duplicates included.
pub fn environ() -> Vec<String> {
    let raw = std::fs::read("/proc/self/environ").unwrap_or_default();
    let parts = raw.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// The kernel's own text of the working directory, with its `(unreachable)` mark.
pub fn getcwd() -> String {
    let mut buffer = vec![0_u8; 4096];
    // SAFETY: the kernel writes at most the length given, into a live buffer of that length.
    let written = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    let length = usize::try_from(written).unwrap_or(1).saturating_sub(1);
    buffer.truncate(length);
    std::ffi::OsString::from_vec(buffer).to_string_lossy().into_owned()
}

/// The user namespace that owns the namespace file `path`, as a link would show it; none when it is out of our sight.
pub fn owner(path: &std::path::Path) -> Option<String> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    let file = std::fs::File::open(path).ok()?;
    // SAFETY: NS_GET_USERNS takes no argument; the descriptor is open.
    let owner = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_USERNS) };
    if owner < 0 {
        return None;
    }
    // SAFETY: the descriptor is new, and nobody else's.
    let owner = unsafe { OwnedFd::from_raw_fd(owner) };
    let link = std::fs::read_link(format!("/proc/self/fd/{}", owner.as_raw_fd())).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// Host and domain name, release and machine.
pub fn uname() -> Value {
    let Ok(name) = nix::sys::utsname::uname() else { return Value::Null };
    json!({
        "nodename": name.nodename().to_string_lossy(), "domainname": name.domainname().to_string_lossy(),
        "machine": name.machine().to_string_lossy(),
    })
}

/// The securebits of this thread.
pub fn securebits() -> i32 {
    // SAFETY: PR_GET_SECUREBITS takes no pointer.
    unsafe { libc::prctl(libc::PR_GET_SECUREBITS) }
}

/// The dumpable attribute.
pub fn dumpable() -> i32 {
    // SAFETY: PR_GET_DUMPABLE takes no pointer.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }
}

/// Serial number and description of the session keyring, or the errno.
pub fn session_keyring() -> Value {
    const GET_KEYRING_ID: i64 = 0;
    const DESCRIBE: i64 = 6;
    const SESSION: i64 = -3;
    // SAFETY: no pointer is passed.
    let id = unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION, 0_i64) };
    if id < 0 {
        return json!({ "errno": format!("{:?}", Errno::last()) });
    }
    let mut buffer = vec![0_u8; 512];
    // SAFETY: the kernel writes at most the length given, into a live buffer of that length.
    let length = unsafe { libc::syscall(libc::SYS_keyctl, DESCRIBE, SESSION, buffer.as_mut_ptr(), buffer.len()) };
    let length = usize::try_from(length).unwrap_or(0).saturating_sub(1);
    json!({ "id": id, "description": String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()) })
}

/// The magic number of the filesystem that descriptor `fd` lies on.
pub fn filesystem_magic(fd: i32) -> Option<String> {
    // SAFETY: all-zero is a valid statfs.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the struct lives until the call returns; a bad descriptor yields EBADF.
    let done = unsafe { libc::fstatfs(fd, &raw mut found) };
    (done == 0).then(|| format!("{:#x}", found.f_type))
}

/// Whether the interface is up (IFF_UP).
pub fn interface_is_up(name: &str) -> Option<bool> {
    // SAFETY: no pointer is passed.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return None;
    }
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(15)) {
        *to = from.cast_signed();
    }
    // SAFETY: SIOCGIFFLAGS reads the name and writes the flags of a live ifreq.
    let done = unsafe { libc::ioctl(socket, libc::SIOCGIFFLAGS, &raw mut request) };
    // SAFETY: the descriptor is ours and is not used again.
    unsafe { libc::close(socket) };
    // SAFETY: the kernel fills this member of the union; zeroed before, it is valid either way.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    (done == 0).then_some(flags & 1 != 0)
}

/// Opens for reading without waiting and without taking a controlling terminal.
pub fn open_nonblocking(path: &str) -> nix::Result<()> {
    nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, Mode::empty()).map(drop)
}

/// TIOCSTI on stdin: `"ok"` or the errno.
pub fn push_character() -> String {
    let byte = b' ';
    // SAFETY: TIOCSTI reads one byte from a live variable.
    let done = unsafe { libc::ioctl(0, libc::TIOCSTI, &raw const byte) };
    answer(done.into())
}

/// Makes a system call by name with arguments that cannot succeed in doing anything; `"ok"` or the errno.
pub fn harmless_call(name: &str) -> String {
    let bad = -1_i64;
    let (number, args) = match name {
        "mount" => (libc::SYS_mount, [0, 0, 0, 0, 0, 0]),
        "umount2" => (libc::SYS_umount2, [0, 0, 0, 0, 0, 0]),
        "unshare-user" => (libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0, 0]),
        "unshare-none" => (libc::SYS_unshare, [0, 0, 0, 0, 0, 0]),
        "ptrace" => (libc::SYS_ptrace, [libc::PTRACE_PEEKDATA.into(), bad, 0, 0, 0, 0]),
        "kexec_load" => (libc::SYS_kexec_load, [0, 0, 0, 0xffff, 0, 0]),
        "keyctl" => (libc::SYS_keyctl, [0, -3, 0, 0, 0, 0]),
        "bpf" => (libc::SYS_bpf, [bad, 0, 0, 0, 0, 0]),
        "getpid" => (libc::SYS_getpid, [0, 0, 0, 0, 0, 0]),
        "personality-query" => (libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]),
        "personality-odd" => (libc::SYS_personality, [0x0200_0000, 0, 0, 0, 0, 0]),
        "socket-vsock" => (libc::SYS_socket, [40, 1, 0, 0, 0, 0]),
        "socket-unix" => (libc::SYS_socket, [1, 1, 0, 0, 0, 0]),
        "chroot" => (libc::SYS_chroot, [0, 0, 0, 0, 0, 0]),
        "settimeofday" => (libc::SYS_settimeofday, [0, 0, 0, 0, 0, 0]),
        "mkdir" => (libc::SYS_mkdir, [0, 0, 0, 0, 0, 0]),
        "getcwd" => (libc::SYS_getcwd, [0, 0, 0, 0, 0, 0]),
        // Above every number that a kernel of today has.
        "number-9999" => (9999, [0, 0, 0, 0, 0, 0]),
        _ => return format!("probe does not know {name}"),
    };
    // SAFETY: every pointer argument above is null, which the kernel answers with an error.
    let done = unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]) };
    answer(done)
}

/// Makes the system call `call:NUMBER:ARGUMENT,...`, or `int80:...` by the entry of 32-bit programs.
pub fn raw_call(text: &str) -> String {
    let mut parts = text.split(':');
    let (way, number) = (parts.next().unwrap_or_default(), parts.next().and_then(|it| it.parse::<i64>().ok()));
    let mut args = [0_i64; 6];
    for (to, from) in args.iter_mut().zip(parts.next().unwrap_or_default().split(',')) {
        *to = from.parse().unwrap_or(0);
    }
    let Some(number) = number else { return "usage".to_owned() };
    if way == "call" {
        // SAFETY: the tests name no call that would write to memory of ours.
        let done = unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]) };
        return answer(done);
    }
    let mut done = number;
    // SAFETY: as above; rbx, which the compiler keeps for itself, is saved.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}", "int 0x80", "xchg rbx, {first}",
            first = inout(reg) args[0] => _, inlateout("rax") done, in("rcx") args[1], in("rdx") args[2],
            in("rsi") args[3], in("rdi") args[4], out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // The kernel gives a negative errno in 32 bits.
    #[allow(clippy::cast_possible_truncation, reason = "eax alone is the answer")]
    let done = done as i32;
    if (-4095..0).contains(&done) { format!("{:?}", Errno::from_raw(-done)) } else { "ok".to_owned() }
}

fn answer(done: i64) -> String {
    if done < 0 { format!("{:?}", Errno::last()) } else { "ok".to_owned() }
}

/// Whether the process lets us trace it; see ptrace(2).
pub fn trace(pid: u32) -> bool {
    const SEIZE: libc::c_uint = 0x4206;
    // SAFETY: the request takes no pointer that the kernel would follow.
    unsafe { libc::ptrace(SEIZE, pid, 0_usize, 0_usize) == 0 }
}

/// Sends a message with so many descriptors.
pub fn send_files(socket: &UnixDatagram, count: usize) -> std::io::Result<()> {
    let files = vec![socket.as_raw_fd(); count];
    let text = [std::io::IoSlice::new(b"FDSTORE=1")];
    let control = [ControlMessage::ScmRights(&files)];
    sendmsg::<()>(socket.as_raw_fd(), &text, &control, MsgFlags::empty(), None)?;
    Ok(())
}
