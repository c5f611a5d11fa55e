//! `update`: changes the limits of a container.

use super::limit_flags::LIMIT_FLAGS;
use super::{Global, cgroup, observe, wrong_state};
use crate::bundle;
use crate::cgroup::{plan_update, set_unit_properties};
use crate::container::record::IntelRdt;
use crate::container::status::Container;
use crate::error::{Context, Error, Result, phrase};
use crate::intel_rdt::{Divided, Groups};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The arguments of `update`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateArgs {
    /// The container's name, not checked yet.
    pub id: String,
    /// File of new limits; `-` is stdin.
    pub resources: Option<PathBuf>,
    /// Those of [`LIMIT_FLAGS`] that were given, by name, and what they were given.
    pub limits: Vec<(&'static str, String)>,
    /// What the container's group is to have of L3 caches.
    pub l3_cache_schema: Option<String>,
    /// What it is to have of memory bandwidth.
    pub memory_bandwidth_schema: Option<String>,
}

/// Changes limits of `args.id`; those not named stay as they are. All are changed or, with an error, none.
pub(super) fn update(global: &Global, args: &UpdateArgs) -> Result<u8> {
    let entry = global.find(&args.id)?;
    // Before the lock: whoever writes to our stdin may take long.
    let request = request(global, args)?;
    let _lock = entry.lock()?;
    let container = observe(&entry, entry.load()?)?;
    let record = match container {
        Container::Stopped(_) => return Err(wrong_state(phrase::NOT_RUNNING)),
        Container::Creating(..) => return Err(wrong_state("cannot update a container in the creating state")),
        container => container.into_parts().0,
    };
    if record.cgroup.is_none() {
        let message = "the container has no cgroup of its own, so there are no limits to change";
        return Err(wrong_state(message).hint("it was created with --cgroup-manager disabled or without permission"));
    }
    let cgroup = cgroup(&record)?.ok_or_else(|| wrong_state(phrase::NOT_RUNNING))?;
    let (resources, mut warnings) = bundle::resources(&request).context("resources")?;
    let unit = record.systemd.as_ref();
    let writes = plan_update(&resources, &cgroup.current_limits(), unit.is_some(), &mut warnings)?;
    let tell = || unit.map_or(Ok(()), |unit| set_unit_properties(unit, &writes));
    let divided = divide(args, record.intel_rdt.as_ref())?;
    cgroup.update(&writes, tell).context("update")?;
    if let Some(divided) = divided {
        divided.keep();
    }
    for warning in warnings {
        global.log.warning(&warning);
    }
    Ok(0)
}

/// Changes the container's group of Intel RDT, as far as that is asked for.
fn divide(args: &UpdateArgs, record: Option<&IntelRdt>) -> Result<Option<Divided>> {
    let (l3_cache, bandwidth) = (args.l3_cache_schema.as_deref(), args.memory_bandwidth_schema.as_deref());
    if l3_cache.is_none() && bandwidth.is_none() {
        return Ok(None);
    }
    let Some(record) = record else {
        let message = "updating a non-existent Intel RDT configuration is not supported: \
                       the container was created without linux.intelRdt";
        return Err(wrong_state(message));
    };
    let groups = Groups::existing(record)?;
    let groups = groups.ok_or_else(|| wrong_state("the container's group of Intel RDT is gone"))?;
    groups.divide(l3_cache, bandwidth).map(Some)
}

/// The new limits as JSON.
fn request(global: &Global, args: &UpdateArgs) -> Result<Vec<u8>> {
    if let Some(file) = &args.resources {
        if !args.limits.is_empty() {
            global.log.warning("--resources is given: all other limits are ignored");
        }
        return read(file);
    }
    let mut request = json!({});
    for (name, text) in &args.limits {
        if let Some(flag) = LIMIT_FLAGS.iter().find(|flag| flag.name == *name) {
            let (part, key) = flag.field;
            request[part][key] = flag.value(text)?;
        }
    }
    Ok(request.to_string().into_bytes())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    /// More than any request has, in bytes.
    const LARGEST: u64 = 1 << 20;
    let mut data = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(LARGEST).read_to_end(&mut data)
    } else {
        File::open(file).and_then(|file| file.take(LARGEST).read_to_end(&mut data))
    };
    read.map_err(|error| Error::io(format!("--resources: read {}", file.display()), &error))?;
    Ok(data)
}
