//! What `seal` needs to run onggi from a copy of itself: one of the few changes to the calling process that the parent
//! may make.

#![allow(unsafe_code)]

use super::fs::{self, Access, Filesystem};
use super::mount::statx;
use super::start::Start;
use super::{Errno, check};
use crate::error::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A memfd's content and seals can't be changed any more.
const SEALED: libc::c_int = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// How often to ask for the seals: the kernel says EBUSY after 150 ms in which somebody has held a page of the file. It is
/// ours alone, so that must have been the kernel, at work on the machine's memory, and passes.
const SEAL_ATTEMPTS: u32 = 20;

/// `memfd_create` flag of Linux 6.3: the file may be executed whatever `vm.memfd_noexec` 1 says.
const MFD_EXEC: libc::c_uint = 0x10;

/// `statx` attribute of Linux 5.5: fs-verity guards the content.
const STATX_ATTR_VERITY: u64 = 0x0010_0000;

/// What the file that this process runs is on, with the attributes of the mount.
pub fn own_filesystem() -> Result<Filesystem> {
    fs::filesystem_of("/proc/self/exe")
}

/// A handle to the file that this process runs.
pub fn own_executable() -> Result<OwnedFd> {
    fs::open("/proc/self/exe", Access::Path)
}

/// Whether fs-verity keeps the content of `file` from changing.
pub fn has_verity(file: impl AsFd) -> Result<bool> {
    Ok(statx(file, 0)?.stx_attributes & STATX_ATTR_VERITY != 0)
}

/// Whether this process runs a memfd that is sealed against every change.
pub fn runs_sealed_copy() -> Result<bool> {
    let file = fs::open("/proc/self/exe", Access::Read)?;
    // SAFETY: F_GET_SEALS takes no argument.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    // EINVAL: not a memfd at all.
    Ok(seals != -1 && seals & SEALED == SEALED)
}

/// A copy of the file that this process runs, in a memfd that is sealed against every change, opened for reading.
pub fn sealed_copy() -> Result<OwnedFd> {
    let source = fs::open("/proc/self/exe", Access::Read)?;
    let copy = memfd(MFD_EXEC).or_else(|error| if error.is(Errno::EINVAL) { memfd(0) } else { Err(error) })?;
    while send(&copy, &source)? > 0 {}
    seal(&copy)?;
    // A file that is open for writing can't be executed (ETXTBSY), so it is opened anew and the first descriptor closed.
    fs::open(format!("/proc/self/fd/{}", copy.as_raw_fd()), Access::Read)
}

fn seal(memfd: &OwnedFd) -> Result<()> {
    let mut attempt = 1;
    loop {
        match try_seal(memfd) {
            Err(error) if error.is(Errno::EBUSY) && attempt < SEAL_ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}

fn try_seal(memfd: &OwnedFd) -> Result<()> {
    // SAFETY: F_ADD_SEALS takes an int.
    let sealed = unsafe { libc::fcntl(memfd.as_raw_fd(), libc::F_ADD_SEALS, SEALED) };
    check(sealed.into(), || "fcntl(F_ADD_SEALS)".to_owned()).map(drop)
}

fn send(to: &OwnedFd, from: &OwnedFd) -> Result<libc::c_long> {
    // SAFETY: both descriptors are open, and the null offset makes the kernel use and move that of `from`.
    let count = unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), std::ptr::null_mut(), 1 << 30) };
    check(count as libc::c_long, || "sendfile".to_owned())
}

fn memfd(flags: libc::c_uint) -> Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | flags;
    // SAFETY: the name is a NUL-terminated string.
    let fd = unsafe { libc::memfd_create(c"onggi".as_ptr(), flags) };
    let fd = check(fd.into(), || "memfd_create".to_owned())?;
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Executes `file` in place of this process, with the same arguments and environment. Returns only when it failed.
///
/// `file` is close-on-exec: were it still open, a process with CAP_SYS_ADMIN could make a read-only clone writable again
/// through `/proc/PID/exe`.
pub fn execute(file: impl AsFd, start: &Start) -> Error {
    let file = file.as_fd().as_raw_fd();
    // SAFETY: strings and the arrays of them are as the kernel gave them to this process.
    unsafe { libc::syscall(libc::SYS_execveat, file, c"".as_ptr(), start.argv(), Start::envp(), libc::AT_EMPTY_PATH) };
    Error::sys("execveat(a copy of onggi)", Errno::last())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "not the runtime")]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::time::Duration;

    /// A pipe that a page was spliced into holds it until it is read.
    #[test]
    fn a_page_that_is_held_for_a_while() {
        let memfd = memfd(0).unwrap();
        std::fs::File::from(memfd.try_clone().unwrap()).write_all(&[7; 100]).unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut offset = 0;
        // SAFETY: both descriptors are open, and the offset outlives the call.
        let moved = unsafe {
            libc::splice(memfd.as_raw_fd(), &raw mut offset, writer.as_raw_fd(), std::ptr::null_mut(), 100, 0)
        };
        assert_eq!(moved, 100);
        assert!(try_seal(&memfd).unwrap_err().is(Errno::EBUSY));
        let draining = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(400));
            reader.read_exact(&mut [0; 100]).unwrap();
        });
        seal(&memfd).unwrap();
        draining.join().unwrap();
    }
}
