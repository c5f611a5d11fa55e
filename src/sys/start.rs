//! How the program starts, in place of the standard library's way: that one prepares for threads and for stack overflows,
//! with twenty system calls that `create`, `run` and `exec` would make twice.

#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

/// Makes `fn(&Start) -> u8` the program, its result the exit status.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        /// What the C library calls.
        #[allow(unsafe_code, reason = "the one symbol that the C library looks for")]
        #[unsafe(no_mangle)]
        extern "C" fn main(count: core::ffi::c_int, arguments: *const *const core::ffi::c_char) -> core::ffi::c_int {
            // SAFETY: the C library hands over what the kernel put on the stack, which stays there.
            unsafe { $crate::start::lead(count, arguments, $run) }
        }
    };
}

/// Runs the program; its result is the exit status. What was written to stdout has been flushed.
///
/// # Safety
/// As for [`Start::new`].
pub unsafe fn lead(count: c_int, arguments: *const *const c_char, run: fn(&Start) -> u8) -> c_int {
    // SAFETY: as promised by the caller.
    let start = unsafe { Start::new(count, arguments) };
    run(&start).into()
}

unsafe extern "C" {
    /// The environment, see environ(7).
    static environ: *const *const c_char;
}

/// The command line as the kernel handed it over.
#[derive(Debug)]
pub struct Start {
    /// Strings, and a null pointer at the end.
    arguments: &'static [*const c_char],
}

impl Start {
    /// # Safety
    /// `arguments` are `count` strings and a null pointer, which live as long as the process.
    unsafe fn new(count: c_int, arguments: *const *const c_char) -> Self {
        // SAFETY: as promised by the caller.
        Self { arguments: unsafe { std::slice::from_raw_parts(arguments, count as usize + 1) } }
    }

    /// All arguments, the program's name first.
    pub fn arguments(&self) -> impl Iterator<Item = &OsStr> {
        self.arguments.iter().filter(|argument| !argument.is_null()).map(|argument| {
            // SAFETY: see `new`.
            OsStr::from_bytes(unsafe { CStr::from_ptr(*argument) }.to_bytes())
        })
    }

    /// The same, as execve(2) takes it.
    pub(super) fn argv(&self) -> *const *const c_char {
        self.arguments.as_ptr()
    }

    /// The environment, as execve(2) takes it.
    pub(super) fn envp() -> *const *const c_char {
        // SAFETY: the C library has set it, and this process never changes its environment.
        unsafe { environ }
    }
}

/// Opens `/dev/null` as each standard descriptor that the caller has left closed, so that no file of ours becomes one of
/// them, and ignores SIGPIPE: a reader that has gone away is an error of the write.
pub fn prepare() {
    let mut standard = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: three descriptors to look at.
    let found = unsafe { libc::poll(standard.as_mut_ptr(), 3, 0) };
    if found != 0 {
        for closed in standard.iter().filter(|one| one.revents & libc::POLLNVAL != 0) {
            // SAFETY: takes the lowest free number, which is this one. Without `/dev/null` there is nobody to tell.
            if unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } != closed.fd {
                std::process::abort();
            }
        }
    }
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
