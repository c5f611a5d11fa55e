//! The id maps of a new user namespace; see user_namespaces(7).

use super::{Origin, Plan};
use crate::error::{Error, Result};
use crate::idmap::{self, IdMap};
use crate::sys::clone::CloneFlags;
use oci_spec::runtime::{Linux, LinuxIdMapping};

pub(super) fn plan(linux: &Linux, plan: &mut Plan) -> Result<()> {
    let uids = linux.uid_mappings().as_deref().unwrap_or_default();
    let gids = linux.gid_mappings().as_deref().unwrap_or_default();
    match plan.origin(CloneFlags::USER) {
        // As runc and crun do, maps without a user namespace are ignored.
        Origin::Inherited => Ok(()),
        Origin::New => {
            plan.uid_map = maps("linux.uidMappings", "uid", uids)?;
            plan.gid_map = maps("linux.gidMappings", "gid", gids)?;
            Ok(())
        }
        Origin::Joined if uids.is_empty() && gids.is_empty() => Ok(()),
        Origin::Joined => Err(Error::config(
            "linux.uidMappings",
            "a user namespace that is joined by path has its maps already: remove uidMappings and gidMappings",
        )),
    }
}

fn maps(field: &str, kind: &str, wanted: &[LinuxIdMapping]) -> Result<Vec<IdMap>> {
    if wanted.is_empty() {
        return Err(Error::config(field, format!("user namespaces enabled, but no {kind} mappings found")));
    }
    let maps = idmap::plan(field, wanted)?;
    if !maps.iter().any(|map| map.has(0)) {
        return Err(Error::config(field, format!("must map {kind} 0 of the container, which sets it up")));
    }
    Ok(maps)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_user_namespace_has_a_root() {
        let map = |container| serde_json::json!([{"containerID": container, "hostID": 1000, "size": 1}]);
        let check = |wanted, expected: &str| {
            let wanted: Vec<LinuxIdMapping> = serde_json::from_value(wanted).unwrap();
            let told =
                maps("linux.uidMappings", "uid", &wanted).map_or_else(|error| error.to_string(), |_| "fine".into());
            assert!(told.contains(expected), "{told}");
        };
        check(map(0), "fine");
        check(map(1), "linux.uidMappings: must map uid 0");
        check(serde_json::json!([]), "no uid mappings found");
    }
}
