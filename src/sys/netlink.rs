//! rtnetlink(7): network devices and their addresses, and moving a device to another network namespace.

use super::{Errno, namespace};
use crate::error::{Context, Error, Result};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `struct nlmsghdr` in bytes.
const HEADER: usize = 16;

/// `struct ifinfomsg` and `struct ifaddrmsg` in bytes.
const LINK: usize = 16;
const ADDRESS: usize = 8;

/// A socket, bound for good to the network namespace in which it was made.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

/// A network device as its namespace knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number there.
    pub index: i32,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it is `lo`, whatever its name.
    pub loopback: bool,
}

/// An address of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    /// Those of the `IFA_F_*` that are a wish, and not a state.
    flags: u32,
    /// `IFA_ADDRESS`, `IFA_LOCAL` and `IFA_BROADCAST` with their bytes.
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// Whether it counts everywhere, and not on the link or the host alone.
    pub fn is_global(&self) -> bool {
        self.scope == libc::RT_SCOPE_UNIVERSE
    }
}

/// Where a device is to go.
#[derive(Debug, Clone, Copy)]
pub enum Destination<'a> {
    /// The network namespace of the process with this pid.
    Process(i32),
    /// This network namespace.
    Namespace(BorrowedFd<'a>),
}

impl Netlink {
    /// A socket in our own network namespace.
    pub fn open() -> Result<Self> {
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
            .map(Self)
            .map_err(|errno| Error::sys("socket(NETLINK_ROUTE)", errno))
    }

    /// A socket in the network namespace of the process behind the pidfd `process`. We go there for as long as that
    /// takes; `home` is our own.
    pub fn open_in(process: impl AsFd, home: impl AsFd) -> Result<Self> {
        namespace::set_network_namespace(process)?;
        let socket = Self::open();
        namespace::set_network_namespace(home).context("return to our own network namespace")?;
        socket
    }

    /// The device of that name; `None` when there is none.
    pub fn link(&self, name: &str) -> Result<Option<Link>> {
        let mut request = Message::new(libc::RTM_GETLINK, 0, &[0; LINK]);
        request.text(libc::IFLA_IFNAME, name);
        match self.ask(request, || format!("look for network device {name}")) {
            Err(error) if error.is(Errno::ENODEV) => Ok(None),
            answer => Ok(answer?.iter().find_map(|body| link_in(body))),
        }
    }

    /// The addresses of a device that were given to it for good.
    pub fn addresses(&self, index: i32) -> Result<Vec<Address>> {
        let request = Message::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; ADDRESS]);
        let found = self.ask(request, || "list addresses".to_owned())?;
        Ok(found.iter().filter_map(|body| lasting_address(body, index)).collect())
    }

    /// Moves a device and gives it the name, in one request. It is switched off by that, and loses its addresses.
    ///
    /// # Errors
    /// EEXIST when there is a device of that name.
    pub fn move_link(&self, index: i32, name: &str, to: Destination<'_>) -> Result<()> {
        let mut request = Message::new(libc::RTM_NEWLINK, 0, &link_body(index, 0, 0));
        match to {
            Destination::Process(pid) => request.attribute(libc::IFLA_NET_NS_PID, &pid.to_ne_bytes()),
            Destination::Namespace(file) => request.attribute(libc::IFLA_NET_NS_FD, &file.as_raw_fd().to_ne_bytes()),
        }
        request.text(libc::IFLA_IFNAME, name);
        self.ask(request, || format!("move network device {index} as {name}")).map(drop)
    }

    /// Gives a device an address. Nobody is asked whether it is taken: it was the device's before.
    pub fn add_address(&self, index: i32, address: &Address) -> Result<()> {
        let mut body = [address.family, address.prefix, 0, address.scope, 0, 0, 0, 0];
        body[4..].copy_from_slice(&index.to_ne_bytes());
        let mut request = Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body);
        for (kind, data) in &address.attributes {
            request.attribute(*kind, data);
        }
        let unasked = if i32::from(address.family) == libc::AF_INET6 { libc::IFA_F_NODAD } else { 0 };
        request.attribute(libc::IFA_FLAGS, &(address.flags | unasked).to_ne_bytes());
        self.ask(request, || format!("add an address to network device {index}")).map(drop)
    }

    /// Switches a device on.
    pub fn set_up(&self, index: i32) -> Result<()> {
        let up = libc::IFF_UP as u32;
        let request = Message::new(libc::RTM_NEWLINK, 0, &link_body(index, up, up));
        self.ask(request, || format!("bring up network device {index}")).map(drop)
    }

    /// Sends a request and collects what comes before its end: the bodies of the messages.
    fn ask(&self, request: Message, call: impl Fn() -> String) -> Result<Vec<Vec<u8>>> {
        let failed = |errno| Error::sys(call(), errno);
        let mut buffer = vec![0; 32 * 1024];
        let mut bodies = Vec::new();
        send(self.0.as_raw_fd(), &request.finished(), MsgFlags::empty()).map_err(failed)?;
        loop {
            let count = match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                count => count.map_err(failed)?,
            };
            let mut rest = &buffer[..count];
            while let Some((kind, body, next)) = first_message(rest) {
                match (i32::from(kind), body.first_chunk().map(|errno| i32::from_ne_bytes(*errno))) {
                    (libc::NLMSG_ERROR, Some(0)) | (libc::NLMSG_DONE, _) => return Ok(bodies),
                    (libc::NLMSG_ERROR, errno) => return Err(failed(Errno::from_raw(-errno.unwrap_or(-libc::EPROTO)))),
                    _ => bodies.push(body.to_vec()),
                }
                rest = next;
            }
        }
    }
}

/// The type and body of the first message, and those that follow it.
fn first_message(data: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*data.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(data.get(4..6)?.try_into().ok()?);
    let body = data.get(HEADER..length)?;
    Some((kind, body, data.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes that follow a body.
fn attributes(mut data: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*data.first_chunk()?));
        let kind = u16::from_ne_bytes(data.get(2..4)?.try_into().ok()?);
        let value = data.get(4..length)?;
        data = data.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The address in the body of an answer, if it is one of the device's that [`Netlink::addresses`] wants.
fn lasting_address(body: &[u8], index: i32) -> Option<Address> {
    let [family, prefix, flags, scope] = *body.first_chunk()?;
    let found = attributes(body.get(ADDRESS..)?);
    let (mut flags, mut kept) = (u32::from(flags), Vec::new());
    for (kind, value) in found {
        match kind {
            libc::IFA_FLAGS => flags = u32::from_ne_bytes(value.try_into().ok()?),
            libc::IFA_ADDRESS | libc::IFA_LOCAL | libc::IFA_BROADCAST => kept.push((kind, value.to_vec())),
            _ => {}
        }
    }
    let of_device = body.get(4..8)? == index.to_ne_bytes();
    let lasting = flags & libc::IFA_F_PERMANENT != 0;
    let flags = flags & (libc::IFA_F_NOPREFIXROUTE | libc::IFA_F_MANAGETEMPADDR | libc::IFA_F_HOMEADDRESS);
    (of_device && lasting).then_some(Address { family, prefix, scope, flags, attributes: kept })
}

/// The device in the body of an answer.
fn link_in(body: &[u8]) -> Option<Link> {
    let index = i32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let flags = i32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
    Some(Link { index, up: flags & libc::IFF_UP != 0, loopback: flags & libc::IFF_LOOPBACK != 0 })
}

/// `struct ifinfomsg`.
fn link_body(index: i32, flags: u32, change: u32) -> [u8; LINK] {
    let mut body = [0; LINK];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..].copy_from_slice(&change.to_ne_bytes());
    body
}

/// A request as it grows: header, body, attributes.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: i32, body: &[u8]) -> Self {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(body);
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, data: &[u8]) {
        self.0.extend_from_slice(&((data.len() + 4) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// A text ends in zero.
    fn text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, &[text.as_bytes(), b"\0"].concat());
    }

    fn finished(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The body of an answer: 10.0.0.1/24 of device 7.
    fn answer(scope: u8, flags: u32) -> Vec<u8> {
        let mut body = vec![2, 24, 0, scope];
        body.extend_from_slice(&7_i32.to_ne_bytes());
        let mut message = Message(body);
        message.attribute(libc::IFA_ADDRESS, &[10, 0, 0, 1]);
        message.text(libc::IFA_LABEL, "eth0:1");
        message.attribute(libc::IFA_FLAGS, &flags.to_ne_bytes());
        message.0
    }

    #[test]
    fn only_lasting_addresses_of_the_device() {
        let attributes = vec![(libc::IFA_ADDRESS, vec![10, 0, 0, 1])];
        let expected = Address { family: 2, prefix: 24, scope: 0, flags: 0x200, attributes };
        assert!(expected.is_global());
        assert_eq!(lasting_address(&answer(0, 0x281), 7).as_ref(), Some(&expected), "no state but the wish");
        assert_eq!(lasting_address(&answer(0, 0x80), 8), None, "another device");
        assert_eq!(lasting_address(&answer(0, 0), 7), None, "a lease");
        assert!(!lasting_address(&answer(253, 0x80), 7).unwrap().is_global(), "of the link alone");
        assert_eq!(lasting_address(&[2, 24], 7), None);
    }

    #[test]
    fn messages_are_cut_at_their_lengths() {
        let mut one = Message::new(16, 0, &[1, 2, 3, 4]);
        one.text(3, "ab");
        let mut both = one.finished();
        both.extend_from_slice(&Message::new(17, 0, &[5]).finished());
        let (kind, body, rest) = first_message(&both).unwrap();
        assert_eq!((kind, &body[..4]), (16, &[1, 2, 3, 4][..]));
        assert_eq!(attributes(&body[4..]).collect::<Vec<_>>(), [(3, &b"ab\0"[..])]);
        let (kind, body, rest) = first_message(rest).unwrap();
        assert_eq!((kind, body, rest.len()), (17, &[5][..], 0));
        assert!(first_message(rest).is_none());
        assert!(first_message(&[200, 0, 0, 0, 1, 0]).is_none(), "cut off");
    }

    #[test]
    fn the_loopback_device_is_found() {
        let netlink = Netlink::open().unwrap();
        let lo = netlink.link("lo").unwrap().unwrap();
        assert!(lo.index > 0 && lo.loopback);
        assert!(netlink.addresses(lo.index).unwrap().iter().all(|address| !address.is_global()));
        assert_eq!(netlink.link("nosuch0").unwrap(), None);
    }
}
