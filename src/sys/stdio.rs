//! The three standard descriptors, which are the container's as much as ours.

#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

/// Descriptor 0.
pub fn stdin() -> BorrowedFd<'static> {
    // SAFETY: std opens /dev/null on 0 to 2 before `main` where they are closed, and we never close them.
    unsafe { BorrowedFd::borrow_raw(0) }
}

/// Descriptor 1.
pub fn stdout() -> BorrowedFd<'static> {
    // SAFETY: as in `stdin`.
    unsafe { BorrowedFd::borrow_raw(1) }
}

/// Descriptor 2.
pub fn stderr() -> BorrowedFd<'static> {
    // SAFETY: as in `stdin`.
    unsafe { BorrowedFd::borrow_raw(2) }
}
