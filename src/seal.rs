//! Runs onggi from a copy of itself that no container can write to (CVE-2019-5736).
//!
//! A process that enters a container runs our file, and the container can reach that file through `/proc/PID/exe`. So
//! the commands that enter one re-execute first thing, through a detached read-only clone of the mount that our file is
//! on; a sealed memfd is the fallback and can be demanded. What each costs and withstands: docs/decisions.

use crate::error::{Context, Error, ErrorKind, Result};
use crate::start::Start;
use crate::sys::fs::{self, magic};
use crate::sys::mount::{self, Attribute, Attributes, Depth};
use crate::sys::reexec;
use std::os::fd::OwnedFd;

/// The environment variable that demands one way: `clone` or `memfd`.
const CHOICE: &str = "ONGGI_SEAL";

/// Returns once this process runs from a file that can't be written through it; before that it re-executes.
///
/// # Errors
/// `InvalidArgument` for an unknown choice; otherwise why neither way works here.
pub fn ensure(start: &Start) -> Result<()> {
    let memfd_demanded = match std::env::var_os(CHOICE) {
        None => false,
        Some(choice) if choice.is_empty() || choice == "clone" => false,
        Some(choice) if choice == "memfd" => true,
        Some(choice) => {
            let message = format!("{CHOICE}={}: use clone or memfd", choice.display());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
    };
    let filesystem = reexec::own_filesystem()?;
    if !memfd_demanded && filesystem.read_only {
        return Ok(());
    }
    let own = reexec::own_executable().context("open our own executable")?;
    if !memfd_demanded && reexec::has_verity(&own)? {
        return Ok(());
    }
    if filesystem.magic == magic::TMPFS && reexec::runs_sealed_copy()? {
        return Ok(());
    }
    let copy = if memfd_demanded {
        reexec::sealed_copy()
    } else {
        // Without CAP_SYS_ADMIN nothing can be cloned; then the memory is the price.
        read_only_clone(&own).or_else(|_| reexec::sealed_copy())
    };
    let copy = copy.context("protect our own executable from the container (CVE-2019-5736)")?;
    Err(reexec::execute(copy, start).context("run from a protected copy"))
}

fn read_only_clone(own: &OwnedFd) -> Result<OwnedFd> {
    let tree = mount::clone_at(own, Depth::Top)?;
    mount::set_attributes(&tree, Attributes::NONE.with(Attribute::READ_ONLY), None, Depth::Top)?;
    if fs::filesystem(&tree)?.read_only {
        return Ok(tree);
    }
    Err(Error::new(ErrorKind::System, "the clone of our own mount is not read-only"))
}
