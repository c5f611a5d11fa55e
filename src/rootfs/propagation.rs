//! How mount events travel between the container's mounts and the host's (`linux.rootfsPropagation`).

use crate::error::{Error, Result};
use crate::sys::mount::{Depth, Propagation};

/// The propagation of the root filesystem, and through it the base for bind mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RootPropagation {
    kind: Propagation,
    depth: Depth,
}

/// Reads `linux.rootfsPropagation`; absent and empty mean `rslave`.
pub(super) fn plan(value: Option<&str>) -> Result<RootPropagation> {
    let (kind, depth) = match value {
        None | Some("" | "rslave") => (Propagation::Slave, Depth::All),
        Some("slave") => (Propagation::Slave, Depth::Top),
        Some("private") => (Propagation::Private, Depth::Top),
        Some("rprivate") => (Propagation::Private, Depth::All),
        Some("shared") => (Propagation::Shared, Depth::Top),
        Some("rshared") => (Propagation::Shared, Depth::All),
        Some("unbindable") => (Propagation::Unbindable, Depth::Top),
        Some("runbindable") => (Propagation::Unbindable, Depth::All),
        Some(other) => {
            let advice = "use shared, slave, private, unbindable, or one of them with a leading r";
            return Err(Error::config(
                "linux.rootfsPropagation",
                format!("rootfsPropagation={other} is not supported; {advice}"),
            ));
        }
    };
    Ok(RootPropagation { kind, depth })
}

impl RootPropagation {
    /// Whether nothing is to travel at all.
    pub(super) fn is_private(self) -> bool {
        self.kind == Propagation::Private
    }

    /// What a mount cloned from the host gets first. A clone starts as a peer of its original, so without this, mounts
    /// in the container would appear on the host; `shared` asks for just that, and then a bind's own options decide.
    pub(super) fn base(self) -> Option<Propagation> {
        match self.kind {
            Propagation::Shared => None,
            Propagation::Slave => Some(Propagation::Slave),
            Propagation::Private | Propagation::Unbindable => Some(Propagation::Private),
        }
    }

    /// What the new root gets before anything is mounted on it. The root mount of a `shared` container becomes a peer
    /// group of its own later: until then its mounts must not reach the host.
    pub(super) fn of_new_root(self) -> (Propagation, Depth) {
        self.base().map_or((Propagation::Private, Depth::Top), |base| (base, Depth::All))
    }

    /// What the root gets at the very end, when nothing is cloned or attached any more.
    pub(super) fn at_end(self) -> Option<(Propagation, Depth)> {
        matches!(self.kind, Propagation::Shared | Propagation::Unbindable).then_some((self.kind, self.depth))
    }
}
