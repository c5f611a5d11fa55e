//! Id maps: which ids inside stand for which outside; what user namespaces and ID-mapped mounts are made of. See
//! user_namespaces(7).

use crate::error::{Error, Result};
use oci_spec::runtime::LinuxIdMapping;

/// Most lines that the kernel takes (since 4.15).
const LINE_LIMIT: usize = 340;

/// One line of a uid_map or gid_map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// First id inside the container.
    pub container: u32,
    /// The id on the host that it stands for.
    pub host: u32,
    /// How many ids follow on both sides, this one included.
    pub size: u32,
}

impl IdMap {
    /// Whether the map gives `id` of the container a counterpart on the host.
    pub fn has(&self, id: u32) -> bool {
        id.checked_sub(self.container).is_some_and(|offset| offset < self.size)
    }

    /// What `id` of the container is on the host, by the lines of a map.
    pub fn host_of(maps: &[Self], id: u32) -> Option<u32> {
        let map = maps.iter().find(|map| map.has(id))?;
        map.host.checked_add(id - map.container)
    }

    /// The content of a map file for these lines.
    pub fn file(maps: &[Self]) -> String {
        maps.iter().map(|map| format!("{} {} {}\n", map.container, map.host, map.size)).collect()
    }
}

/// Reads the lines of a map from the list at `field`.
///
/// # Errors
/// `InvalidConfig` for more lines than the kernel takes, an empty range or one that ends too high, and overlaps.
pub fn plan(field: &str, wanted: &[LinuxIdMapping]) -> Result<Vec<IdMap>> {
    if wanted.len() > LINE_LIMIT {
        return Err(Error::config(field, format!("has {} entries; the kernel takes {LINE_LIMIT}", wanted.len())));
    }
    let mut maps: Vec<IdMap> = Vec::new();
    for (index, mapping) in wanted.iter().enumerate() {
        let map = IdMap { container: mapping.container_id(), host: mapping.host_id(), size: mapping.size() };
        let field = format!("{field}[{index}]");
        let fits = |first: u32| first.checked_add(map.size).is_some();
        if map.size == 0 || !fits(map.container) || !fits(map.host) {
            return Err(Error::config(field, "size must be at least 1, and the range must end below 4294967295"));
        }
        let overlaps = |a: u32, b: u32, size: u32| a < b + size && b < a + map.size;
        let other = maps.iter().position(|other| {
            overlaps(map.container, other.container, other.size) || overlaps(map.host, other.host, other.size)
        });
        if let Some(other) = other {
            return Err(Error::config(field, format!("overlaps entry {other}")));
        }
        maps.push(map);
    }
    Ok(maps)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mapping((container, host, size): (u32, u32, u32)) -> LinuxIdMapping {
        serde_json::from_value(serde_json::json!({"containerID": container, "hostID": host, "size": size})).unwrap()
    }

    fn check(wanted: &[(u32, u32, u32)], expected: std::result::Result<&str, &str>) {
        let wanted: Vec<_> = wanted.iter().copied().map(mapping).collect();
        let found = plan("linux.uidMappings", &wanted).map(|maps| IdMap::file(&maps));
        match expected {
            Ok(file) => assert_eq!(found.unwrap(), file),
            Err(part) => assert!(found.as_ref().is_err_and(|error| error.to_string().contains(part)), "{found:?}"),
        }
    }

    #[test]
    fn maps_are_checked_before_the_kernel_sees_them() {
        check(&[(0, 1000, 1)], Ok("0 1000 1\n"));
        check(&[(0, 0, u32::MAX)], Ok("0 0 4294967295\n"));
        check(&[(0, 1000, 1), (1, 100_000, 65536)], Ok("0 1000 1\n1 100000 65536\n"));
        check(&[(1, 1000, 1)], Ok("1 1000 1\n"));
        check(&[(0, 1000, 0)], Err("linux.uidMappings[0]"));
        check(&[(0, 1000, 10), (9, 5000, 1)], Err("linux.uidMappings[1]: overlaps entry 0"));
        check(&[(0, 1000, 10), (10, 1009, 1)], Err("overlaps entry 0"));
        check(&[(0, u32::MAX, 2)], Err("must end below"));
        check(&[(0, 0, 1); LINE_LIMIT + 1], Err("the kernel takes 340"));
    }

    #[test]
    fn an_id_is_mapped_or_not() {
        let map = IdMap { container: 10, host: 1000, size: 5 };
        assert!(map.has(10) && map.has(14));
        assert!(!map.has(9) && !map.has(15));
    }
}
