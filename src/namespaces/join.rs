//! Joining namespaces of others: those that config.json names, all opened on the host, since their paths are gone once
//! inside; or those of a running process, by its pidfd.

use super::{Plan, Target};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::Errno;
use crate::sys::clone::{CloneFlags, InChild};
use crate::sys::{namespace, this_process};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The namespaces to join.
#[derive(Debug)]
pub struct Joins {
    opened: Vec<(CloneFlags, OwnedFd, String)>,
    process: Option<Process>,
}

/// A process whose namespaces are joined.
#[derive(Debug)]
struct Process {
    pidfd: OwnedFd,
    kinds: CloneFlags,
    /// Whether the PID namespace is joined together with the user namespace, which alone gives the right to it.
    pid_inside: bool,
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
        Ok(Self { opened, process: None })
    }

    /// Takes a user namespace of ours to be joined after the others.
    pub fn take_user(&mut self, namespace: OwnedFd) {
        self.opened.push((CloneFlags::USER, namespace, "linux.namespaces".to_owned()));
    }

    /// The namespaces of `target`, the process behind `pidfd`. `privileged` is whether we have CAP_SYS_ADMIN, and so may
    /// join a PID namespace from outside of its user namespace.
    pub fn of_process(target: &Target, pidfd: OwnedFd, privileged: bool) -> Self {
        let pid_inside = target.kinds.has(CloneFlags::PID.with(CloneFlags::USER)) && !privileged;
        Self { opened: Vec::new(), process: Some(Process { pidfd, kinds: target.kinds, pid_inside }) }
    }

    /// The PID namespace that the parent is to join, since that only counts for processes made later. With a user
    /// namespace to join the child does it, whose right to it may come with that one, and clones once more.
    pub fn pid(&self) -> Option<BorrowedFd<'_>> {
        match &self.process {
            Some(process) if process.kinds.has(CloneFlags::PID) && !process.pid_inside => Some(process.pidfd.as_fd()),
            _ if self.of(CloneFlags::USER).is_some() => None,
            _ => self.of(CloneFlags::PID),
        }
    }

    /// Whether [`Joins::join`] joins the PID namespace, which counts for a process that is cloned after that.
    pub fn needs_second_clone(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.pid_inside)
    }

    /// Whether a user namespace is among them, as whose root [`Joins::join`] ends.
    pub fn user_namespace(&self) -> bool {
        self.of(CloneFlags::USER).is_some() || self.process.as_ref().is_some_and(|it| it.kinds.has(CloneFlags::USER))
    }

    /// The user namespace to join.
    ///
    /// # Errors
    /// When there is none: a bug, as whoever asks has seen it in the plan.
    pub fn user(&self) -> Result<BorrowedFd<'_>> {
        self.of(CloneFlags::USER).ok_or_else(|| Error::new(ErrorKind::System, "no user namespace is joined"))
    }

    /// The namespace of that kind, if config.json names one to join.
    pub fn of(&self, kind: CloneFlags) -> Option<BorrowedFd<'_>> {
        self.opened.iter().find(|(found, ..)| *found == kind).map(|(_, file, _)| file.as_fd())
    }

    /// Joins all of them: first with the caller's rights, since a namespace need not belong to the user namespace that
    /// is joined; then the user namespace, becoming root in it; then those that only its root may join.
    pub fn join(&self, me: &InChild) -> Result<()> {
        if let Some(process) = &self.process {
            return process.join(me);
        }
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
        if let Some((kind, user, field)) = self.opened.iter().find(|(kind, ..)| *kind == CloneFlags::USER) {
            namespace::join(me, user, *kind).map_err(|error| failed(error, field))?;
            this_process::become_root(me).context("become root of the user namespace that is joined")?;
        }
        for (kind, file, field) in denied {
            namespace::join(me, file, kind).map_err(|error| failed(error, field))?;
        }
        Ok(())
    }
}

impl Process {
    /// By one call, so that none is joined when one can't be, and the order in which the rights come does not matter.
    fn join(&self, me: &InChild) -> Result<()> {
        let kinds = if self.pid_inside { self.kinds } else { self.kinds.without(CloneFlags::PID) };
        if !kinds.is_empty() {
            namespace::join_process(me, &self.pidfd, kinds).map_err(|error| match error.errno() {
                Some(Errno::EPERM) => error.hint("onggi may not join what belongs to another user"),
                Some(Errno::ESRCH) => error.hint("the container has just stopped"),
                _ => error,
            })?;
        }
        if kinds.has(CloneFlags::USER) {
            this_process::become_root(me).context("become root of the container's user namespace")?;
        }
        Ok(())
    }
}

fn failed(error: Error, field: &str) -> Error {
    let hint = match error.errno() {
        Some(Errno::EPERM) => "it needs CAP_SYS_ADMIN in the user namespace that owns it: join that one, too",
        // setns(2): a user namespace can't be entered again.
        Some(Errno::EINVAL) => "onggi is in it already: leave the entry out",
        _ => "",
    };
    let error = error.context(format!("config.json: {field}: join the namespace"));
    if hint.is_empty() { error } else { error.hint(hint) }
}
