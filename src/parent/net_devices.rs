//! Moves network devices of the host into the container, and back when there is to be no container.

use crate::error::{Context, Error, ErrorKind, Result};
use crate::namespaces::NetDevice;
use crate::sys::Errno;
use crate::sys::fs::{self, Access};
use crate::sys::netlink::{Address, Destination, Link, Netlink};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The devices that have been moved. Dropped, they are moved back: the kernel itself would destroy those that are not
/// hardware together with their namespace.
#[derive(Debug)]
pub struct NetDevices {
    host: Netlink,
    inside: Netlink,
    /// Our own network namespace.
    home: OwnedFd,
    moved: Vec<Moved>,
}

/// A device as it was on the host.
#[derive(Debug)]
struct Moved {
    name: String,
    /// What it is called now, in the container.
    inside: String,
    link: Link,
    addresses: Vec<Address>,
}

/// What can be known of `devices` before anything is made; `joined` is the network namespace to join, if it is not new.
///
/// # Errors
/// `InvalidConfig` for devices that the host has not, for `lo`, and when the namespace is the host's.
pub fn check(devices: &[NetDevice], joined: Option<BorrowedFd<'_>>) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    if let Some(joined) = joined
        && fs::stat(joined)?.inode == fs::stat(home()?)?.inode
    {
        let why = "unable to move network devices without a NET namespace: the one in linux.namespaces is the host's";
        return Err(Error::config("linux.netDevices", why));
    }
    let host = Netlink::open()?;
    let refuse = |name: &str, why| Err(Error::config(format!("linux.netDevices.{name}"), why));
    for device in devices {
        match host.link(&device.name)? {
            None => return refuse(&device.name, "link not found: the host has no such device"),
            Some(link) if link.loopback => {
                return refuse(&device.name, "the loopback device belongs to its network namespace: leave it out");
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn home() -> Result<OwnedFd> {
    fs::open("/proc/self/ns/net", Access::Read).context("open our own network namespace")
}

impl NetDevices {
    /// Moves all `devices` into the network namespace of the process `pid` behind `pidfd`. They keep what the kernel
    /// lets them keep (MTU, hardware address) and their lasting global addresses, and are switched on.
    ///
    /// # Errors
    /// EEXIST for a name that is taken, EINVAL for a device that can't be moved; by then all are back.
    pub fn give(devices: &[NetDevice], pid: i32, pidfd: impl AsFd) -> Result<Self> {
        let home = home()?;
        let inside = Netlink::open_in(pidfd, &home)?;
        let mut given = Self { host: Netlink::open()?, inside, home, moved: Vec::new() };
        for device in devices {
            given.give_one(device, pid).with_context(|| format!("config.json: linux.netDevices.{}", device.name))?;
        }
        Ok(given)
    }

    fn give_one(&mut self, device: &NetDevice, pid: i32) -> Result<()> {
        let link = existing(&self.host, &device.name)?;
        let addresses = self.host.addresses(link.index)?;
        let inside = self.free_name(device)?;
        self.host.move_link(link.index, &inside, Destination::Process(pid)).map_err(|error| match error.errno() {
            Some(Errno::EINVAL | Errno::EOPNOTSUPP) => {
                error.hint("this kind of device is its network namespace's for good")
            }
            Some(Errno::EPERM) => {
                error.hint("it needs CAP_NET_ADMIN in the user namespaces of both network namespaces")
            }
            _ => error,
        })?;
        let global: Vec<_> = addresses.iter().filter(|address| address.is_global()).cloned().collect();
        let settled = settle(&self.inside, &inside, &global, true);
        self.moved.push(Moved { name: device.name.clone(), inside, link, addresses });
        settled
    }

    /// Asked before, for the kernel moves first and then gives the name, so that it would be too late.
    fn free_name(&self, device: &NetDevice) -> Result<String> {
        for name in device.candidates() {
            if self.inside.link(&name)?.is_none() {
                return Ok(name);
            }
        }
        let call = format!("move network device as {}", device.inside);
        Err(Error::sys(call, Errno::EEXIST).hint("the container's network namespace has one of that name"))
    }

    /// Lets the container have them.
    pub fn keep(mut self) {
        self.moved.clear();
    }
}

fn existing(there: &Netlink, name: &str) -> Result<Link> {
    let gone = || Error::new(ErrorKind::NotFound, format!("network device {name} has gone"));
    there.link(name)?.ok_or_else(gone)
}

/// Gives a device that has just arrived its addresses, and switches it on.
fn settle(there: &Netlink, name: &str, addresses: &[Address], up: bool) -> Result<()> {
    let link = existing(there, name)?;
    addresses.iter().try_for_each(|address| there.add_address(link.index, address))?;
    if up { there.set_up(link.index) } else { Ok(()) }
}

impl Moved {
    fn back(&self, all: &NetDevices) -> Result<()> {
        let link = existing(&all.inside, &self.inside)?;
        all.inside.move_link(link.index, &self.name, Destination::Namespace(all.home.as_fd()))?;
        settle(&all.host, &self.name, &self.addresses, self.link.up)
    }
}

impl Drop for NetDevices {
    fn drop(&mut self) {
        for moved in self.moved.iter().rev() {
            // The error that made us undo this is the one to be told.
            let _ = moved.back(self);
        }
    }
}
