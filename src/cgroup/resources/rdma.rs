//! `linux.resources.rdma`.

use super::{List, refused};
use crate::error::Result;
use oci_spec::runtime::LinuxRdma;
use std::collections::HashMap;

pub(super) fn plan(list: &mut List, limits: &HashMap<String, LinuxRdma>) -> Result<()> {
    let mut devices: Vec<_> = limits.iter().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        let field = format!("rdma[{name:?}]");
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(refused(field, "is not the name of a device"));
        }
        let handles = limit.hca_handles().map(|count| format!(" hca_handle={count}")).unwrap_or_default();
        let objects = limit.hca_objects().map(|count| format!(" hca_object={count}")).unwrap_or_default();
        if !handles.is_empty() || !objects.is_empty() {
            list.set("rdma.max", format!("{name}{handles}{objects}"), field);
        }
    }
    Ok(())
}
