//! The loopback interface of a new network namespace.

#![allow(unsafe_code)]

use super::check;
use super::clone::InChild;
use crate::error::{Error, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::os::fd::AsRawFd;

/// Brings `lo` up, which a new network namespace has down; see netdevice(7).
pub fn loopback_up(_: &InChild) -> Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|errno| Error::sys("socket(AF_INET)", errno))?;
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
    // SAFETY: `request` is a valid ifreq with a NUL-terminated name and outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw const request) };
    check(done.into(), || "ioctl(SIOCSIFFLAGS, lo)".to_owned()).map(drop)
}
