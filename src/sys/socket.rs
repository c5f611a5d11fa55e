//! Unix sockets: the SEQPACKET pair of the handshake, connecting to a console socket, passing descriptors.

use super::Errno;
use super::fs::{self, Access};
use super::this_process::unmasked;
use crate::error::{Error, Result};
use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg, sendmsg,
};
use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The longest message that [`receive`] takes, in bytes.
pub const MESSAGE_LIMIT: usize = 64 * 1024;

/// Longest path that fits into `sockaddr_un` with its final NUL; see unix(7).
const ADDRESS_LIMIT: usize = 107;

/// A connected pair that keeps message boundaries and tells when the other side is gone.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    nix::sys::socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|errno| Error::sys("socketpair", errno))
}

/// Sends one message, with copies of `files`. A closed other side is EPIPE, never SIGPIPE.
///
/// # Errors
/// EMSGSIZE for more than [`MESSAGE_LIMIT`] bytes, which [`receive`] would cut.
pub fn send(socket: impl AsFd, message: &[u8], files: &[BorrowedFd<'_>]) -> Result<()> {
    if message.len() > MESSAGE_LIMIT {
        return Err(Error::sys("sendmsg", Errno::EMSGSIZE));
    }
    let raw: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &control[..] };
    let data = [IoSlice::new(message)];
    loop {
        match sendmsg::<()>(socket.as_fd().as_raw_fd(), &data, control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(count) if count == message.len() => return Ok(()),
            Ok(_) => return Err(Error::sys("sendmsg", Errno::EMSGSIZE)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::sys("sendmsg", errno)),
        }
    }
}

/// Receives one message and at most one descriptor; `None` when the other side is gone.
pub fn receive(socket: impl AsFd) -> Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    /// Of its pages only those are ever there that a message has come to.
    static BUFFER: Mutex<[u8; MESSAGE_LIMIT]> = Mutex::new([0; MESSAGE_LIMIT]);
    let mut buffer = BUFFER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut control = cmsg_space!([RawFd; 1]);
    let mut file = None;
    let count = loop {
        let mut data = [IoSliceMut::new(&mut buffer[..])];
        let raw = socket.as_fd().as_raw_fd();
        match recvmsg::<()>(raw, &mut data, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
            Ok(message) => {
                let controls = message.cmsgs().map_err(|errno| Error::sys("recvmsg", errno))?;
                for control in controls {
                    if let ControlMessageOwned::ScmRights(files) = control {
                        file = files.first().map(|&fd| own(fd));
                    }
                }
                break message.bytes;
            }
            // The other side is gone and has not read what we had sent. That is told once, and before its last words.
            Err(Errno::ECONNRESET | Errno::EINTR) => {}
            Err(errno) => return Err(Error::sys("recvmsg", errno)),
        }
    };
    if count == 0 {
        return Ok(None);
    }
    Ok(Some((buffer[..count].to_vec(), file)))
}

#[allow(unsafe_code)]
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel made this descriptor for us in recvmsg, and nobody else has seen its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Connects to the stream socket at `path`, however long the path is: a long one is reached through its directory.
pub fn connect(path: &Path) -> Result<OwnedFd> {
    connect_path(path, SockFlag::SOCK_CLOEXEC)
}

/// The same without waiting, now and for all that follows.
///
/// # Errors
/// EAGAIN when as many others wait already as the server lets.
pub fn connect_at_once(path: &Path) -> Result<OwnedFd> {
    connect_path(path, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)
}

/// As [`connect_at_once`], to a socket that has a name in the abstract namespace; see unix(7).
pub fn connect_abstract(name: &[u8]) -> Result<OwnedFd> {
    let shown = format!("@{}", String::from_utf8_lossy(name));
    connect_to(UnixAddr::new_abstract(name), SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, &shown)
}

/// Connects to the datagram socket at `address`, a path or, after `@`, a name in the abstract namespace, without waiting,
/// now and for all that follows.
///
/// # Errors
/// EPROTOTYPE for a socket of another type, EINVAL for what is neither.
pub fn connect_datagram(address: &OsStr) -> Result<OwnedFd> {
    let shown = address.display().to_string();
    let address = match address.as_bytes() {
        [b'@', name @ ..] => UnixAddr::new_abstract(name),
        [b'/', ..] => UnixAddr::new(address),
        _ => Err(Errno::EINVAL),
    };
    connect_to(address, SockType::Datagram, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, &shown)
}

/// Makes a datagram socket called `name` in the directory `dir`, which everybody may write to, and which is read without
/// waiting.
pub fn bind_datagram(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None)
        .map_err(|errno| Error::sys("socket(AF_UNIX)", errno))?;
    let failed = |errno| Error::sys(format!("bind {name}"), errno);
    // However long the directory's own path is.
    let path = format!("/proc/self/fd/{}/{name}", dir.as_fd().as_raw_fd());
    let address = UnixAddr::new(path.as_str()).map_err(failed)?;
    unmasked(|| nix::sys::socket::bind(socket.as_raw_fd(), &address)).map_err(failed)?;
    Ok(socket)
}

fn connect_path(path: &Path, flags: SockFlag) -> Result<OwnedFd> {
    let through;
    let address = if path.as_os_str().len() <= ADDRESS_LIMIT {
        UnixAddr::new(path)
    } else {
        through = fs::open(path, Access::Path)?;
        UnixAddr::new(format!("/proc/self/fd/{}", through.as_raw_fd()).as_str())
    };
    connect_to(address, SockType::Stream, flags, &path.display().to_string())
}

fn connect_to(address: nix::Result<UnixAddr>, kind: SockType, flags: SockFlag, shown: &str) -> Result<OwnedFd> {
    let failed = |errno| Error::sys(format!("connect {shown}"), errno);
    let socket = nix::sys::socket::socket(AddressFamily::Unix, kind, flags, None)
        .map_err(|errno| Error::sys("socket(AF_UNIX)", errno))?;
    nix::sys::socket::connect(socket.as_raw_fd(), &address.map_err(failed)?).map_err(failed)?;
    Ok(socket)
}
