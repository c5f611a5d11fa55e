//! ID-mapped mounts: the user namespaces that hold their maps, and, under a user namespace, the clones of their sources.

use super::idmap;
use super::init_process::InitProcess;
use crate::error::{Context, Error, Result};
use crate::handshake::{Channel, Order, Report};
use crate::idmap::IdMap;
use crate::namespaces::Joins;
use crate::rootfs::{Idmap, Idmaps, Named};
use crate::sys::clone::{CloneFlags, Fork, SingleThreaded, clone3};
use crate::sys::fs;
use crate::sys::{namespace, this_process};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Makes a user namespace for each of the maps, or takes the one that the container joins.
///
/// # Errors
/// The errno of clone3(2): ENOSPC at the limit of user namespaces; of writing a map.
pub fn namespaces(wanted: Vec<Idmap>, joins: &Joins, proc: BorrowedFd<'_>, alone: SingleThreaded) -> Result<Idmaps> {
    let made = wanted.into_iter().map(|map| {
        let namespace = match &map {
            Idmap::Lines { uids, gids } => make(uids, gids, proc, alone),
            Idmap::Joined => fs::duplicate(joins.user()?),
        };
        namespace.map(|namespace| (map, namespace)).context("make a user namespace for an ID-mapped mount")
    });
    made.collect::<Result<_>>().map(Idmaps)
}

/// Makes a user namespace with these maps, for who has the right to write them. It lives as long as its file is open; the
/// process that it is made with only waits for its end.
pub fn make(uids: &[IdMap], gids: &[IdMap], proc: BorrowedFd<'_>, alone: SingleThreaded) -> Result<OwnedFd> {
    let (ours, theirs) = Channel::pair()?;
    let holder = match clone3(alone, CloneFlags::USER, None)? {
        Fork::Child(me) => {
            drop(ours);
            // Until it is killed, or we are gone.
            drop(theirs.receive::<Order>());
            this_process::exit(&me, 0)
        }
        Fork::Parent { pid, pidfd } => InitProcess::new(pid, pidfd),
    };
    idmap::put(proc, holder.pid, "uid_map", &IdMap::file(uids))?;
    idmap::put(proc, holder.pid, "gid_map", &IdMap::file(gids))?;
    namespace::open(Path::new(&format!("/proc/{}/ns/user", holder.pid)), CloneFlags::USER)
}

/// A process of ours in the container's mount namespace, which clones and maps the sources there: the container has no right
/// to map, and clones that are made on the host would not be locked. Dropped, it ends.
#[derive(Debug)]
pub struct Mapper {
    // The order matters: it ends when nobody listens.
    channel: Channel,
    _process: InitProcess,
}

impl Mapper {
    /// Starts it in the mount namespace of the process behind `init`, whose root is `root`.
    pub fn start(named: &Named, root: &OwnedFd, init: &OwnedFd, alone: SingleThreaded) -> Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        match clone3(alone, CloneFlags::NONE, None)? {
            Fork::Child(me) => {
                drop(ours);
                let mapped = namespace::join_process(&me, init, CloneFlags::MOUNT)
                    .and_then(|()| named.map_all(&me, root, |tree| theirs.send(&Report::Mapped, Some(tree.as_fd()))));
                if let Err(error) = mapped {
                    // The parent may have failed itself.
                    drop(theirs.send(&Report::Failed(error), None));
                }
                this_process::exit(&me, 0)
            }
            Fork::Parent { pid, pidfd } => Ok(Self { channel: ours, _process: InitProcess::new(pid, pidfd) }),
        }
    }

    /// The next of the mounts, in the order of the configuration.
    pub fn next(&self) -> Result<OwnedFd> {
        match self.channel.receive::<Report>()? {
            Some((Report::Mapped, Some(tree))) => Ok(tree),
            Some((Report::Failed(error), _)) => Err(error),
            _ => {
                Err(Error::new(crate::error::ErrorKind::System, "who maps the ids of mounts ended before it was done"))
            }
        }
    }
}
