//! The groups that a container is in, for those who join, change or remove them.

use super::tree::{L3_CACHE, MEMORY_BANDWIDTH, Tree, in_group};
use super::{memory_bandwidth, schemata};
use crate::container::record::IntelRdt;
use crate::error::{Context, Error, ErrorKind, Result};

/// The control group of a container, and its monitoring group if it has one.
#[derive(Debug)]
pub struct Groups {
    pub(super) tree: Tree,
    pub(super) record: IntelRdt,
}

impl Groups {
    /// Those of a container that exists; `None` when they are gone, or the filesystem with them.
    pub fn existing(record: &IntelRdt) -> Result<Option<Self>> {
        let Some(tree) = Tree::find()? else { return Ok(None) };
        Self { tree, record: record.clone() }.present()
    }

    pub(super) fn present(self) -> Result<Option<Self>> {
        Ok(if self.tree.has(&self.record.group)? { Some(self) } else { None })
    }

    /// Puts the process `pid`, which has one thread, into them. Its children will be there from birth.
    ///
    /// # Errors
    /// ESRCH when it is gone.
    pub fn add(&self, pid: i32) -> Result<()> {
        let pid = pid.to_string();
        self.tree.write(&in_group(&self.record.group, "tasks"), &pid)?;
        // Gone, for instance by the hand of who manages the group, it measures nobody.
        match self.monitor() {
            Some(monitor) if self.tree.has(&monitor)? => self.tree.write(&format!("{monitor}/tasks"), &pid),
            _ => Ok(()),
        }
    }

    /// Changes what the control group has of L3 caches and of memory bandwidth.
    ///
    /// # Errors
    /// A schema that is none, or of what this machine can't divide; by then all is as before.
    pub fn divide(self, l3_cache: Option<&str>, bandwidth: Option<&str>) -> Result<Divided> {
        let controlled = |resources: &[&str], without: &str| match self.tree.controls(resources)? {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Unsupported, without)),
        };
        if l3_cache.is_some() {
            controlled(&L3_CACHE, "Intel RDT/CAT: l3 cache schema is not enabled")?;
        }
        if let Some(schema) = bandwidth {
            memory_bandwidth(schema)
                .map_err(|why| Error::new(ErrorKind::InvalidArgument, why))
                .context("mem-bw-schema")?;
            controlled(&MEMORY_BANDWIDTH, "Intel RDT/MBA: memory bandwidth schema is not enabled")?;
        }
        let file = in_group(&self.record.group, "schemata");
        let found = self.tree.read(&file)?;
        let mut divided = Divided { groups: self, before: Vec::new() };
        for schema in l3_cache.into_iter().chain(bandwidth) {
            divided.before.push(schemata::before(schema, &found));
            divided.groups.tree.write(&file, &format!("{schema}\n"))?;
        }
        Ok(divided)
    }

    /// Removes what is the container's own. What is gone already is fine.
    pub fn remove(&self) -> Result<()> {
        if self.record.own {
            // With the monitoring group in it.
            return self.tree.remove(&self.record.group);
        }
        self.monitor().map_or(Ok(()), |monitor| self.tree.remove(&monitor))
    }

    /// Where the monitoring group is.
    pub(super) fn monitor(&self) -> Option<String> {
        let name = self.record.monitor.as_ref()?;
        Some(in_group(&self.record.group, &format!("mon_groups/{name}")))
    }
}

/// Changed schemata. Dropped without [`Divided::keep`], they are as before.
#[derive(Debug)]
pub struct Divided {
    groups: Groups,
    /// What undoes the changes, the first one first.
    before: Vec<String>,
}

impl Divided {
    /// Leaves them changed.
    pub fn keep(mut self) {
        self.before.clear();
    }
}

impl Drop for Divided {
    fn drop(&mut self) {
        let file = in_group(&self.groups.record.group, "schemata");
        for text in self.before.iter().rev() {
            // The error that made us undo this is the one to be told.
            let _ = self.groups.tree.write(&file, text);
        }
    }
}
