//! Joining namespaces of others: all are opened on the host, since their paths are gone once inside.

use super::Plan;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::Errno;
use crate::sys::clone::{CloneFlags, InChild};
use crate::sys::{namespace, this_process};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The opened namespace files to join.
#[derive(Debug)]
pub struct Joins {
    opened: Vec<(CloneFlags, OwnedFd, String)>,
}

impl Joins {
    /// Opens the files of all namespaces to join and checks their kinds.
    pub fn prepare(plan: &Plan) -> Result<Self> {
        let mut opened = Vec::new();
        for join in &plan.join {
            let field = format!("linux.namespaces[{}].path", join.index);
            let file = namespace::open(&join.path, join.kind)
                .map_err(|error| error.of_kind(ErrorKind::InvalidConfig))
                .with_context(|| format!("config.json: {field}: namespace path"))?;
            opened.push((join.kind, file, field));
        }
        Ok(Self { opened })
    }

    /// The PID namespace that the parent is to join, since that only counts for processes made later. With a user
    /// namespace to join the child does it, whose right to it may come with that one, and clones once more.
    pub fn pid(&self) -> Option<BorrowedFd<'_>> {
        if self.of(CloneFlags::USER).is_some() { None } else { self.of(CloneFlags::PID) }
    }

    fn of(&self, kind: CloneFlags) -> Option<BorrowedFd<'_>> {
        self.opened.iter().find(|(found, ..)| *found == kind).map(|(_, file, _)| file.as_fd())
    }

    /// Joins all of them: first with the caller's rights, since a namespace need not belong to the user namespace that
    /// is joined; then the user namespace, becoming root in it; then those that only its root may join.
    pub fn join(&self, me: &InChild) -> Result<()> {
        let mut denied = Vec::new();
        for (kind, file, field) in &self.opened {
            if *kind == CloneFlags::USER || (*kind == CloneFlags::PID && self.pid().is_some()) {
                continue;
            }
            match namespace::join(me, file, *kind) {
                Err(error) if error.is(Errno::EPERM) && self.of(CloneFlags::USER).is_some() => {
                    denied.push((*kind, file, field));
                }
                result => result.map_err(|error| failed(error, field))?,
            }
        }
        if let Some(user) = self.of(CloneFlags::USER) {
            namespace::join(me, user, CloneFlags::USER).context("join the user namespace")?;
            this_process::become_root(me).context("become root of the user namespace that is joined")?;
        }
        for (kind, file, field) in denied {
            namespace::join(me, file, kind).map_err(|error| failed(error, field))?;
        }
        Ok(())
    }
}

fn failed(error: Error, field: &str) -> Error {
    let denied = error.is(Errno::EPERM);
    let error = error.context(format!("config.json: {field}: join the namespace"));
    if denied {
        error.hint("it needs CAP_SYS_ADMIN in the user namespace that owns it: join that one, too")
    } else {
        error
    }
}
