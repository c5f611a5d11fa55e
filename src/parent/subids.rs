//! What `/etc/subuid` and `/etc/subgid` give to the caller, for the advice to who is refused; subuid(5). It is the
//! helpers that decide.

use crate::idmap::IdMap;
use crate::sys::machine;

/// What to change so that all of `maps` will be allowed; `None` when it is not the file that is in the way.
pub fn advice(file: &str, maps: &[IdMap]) -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let own = if file.ends_with("gid") { machine::effective_gid() } else { machine::effective_uid() };
    let uid = machine::effective_uid();
    let name = name(&read("/etc/passwd"), uid).unwrap_or_else(|| uid.to_string());
    let map = refused(&read(file), &[&name, &uid.to_string()], own, maps)?;
    let IdMap { host, size, .. } = map;
    let last = host + (size - 1);
    Some(format!(
        "{file} does not give the ids {host} to {last} to {name}: map others, or as root add the line \
         {name}:{host}:{size} to it"
    ))
}

/// The name of a user in passwd(5).
fn name(passwd: &str, uid: u32) -> Option<String> {
    let of_user = |line: &&str| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(uid);
    passwd.lines().find(of_user).and_then(|line| line.split(':').next()).map(str::to_owned)
}

/// The first of `maps` that no line of `file` gives to the user of these names; the `own` id needs none.
fn refused(file: &str, names: &[&str], own: u32, maps: &[IdMap]) -> Option<IdMap> {
    let ranges: Vec<(u64, u64)> = file
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let first: u64 = fields.next()?.trim().parse().ok()?;
            let count: u64 = fields.next()?.trim().parse().ok()?;
            names.contains(&name).then_some((first, first.checked_add(count)?))
        })
        .collect();
    let given = |map: &IdMap| {
        let (first, end) = (u64::from(map.host), u64::from(map.host) + u64::from(map.size));
        (map.host == own && map.size == 1) || ranges.iter().any(|range| range.0 <= first && end <= range.1)
    };
    maps.iter().find(|map| !given(map)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_found() {
        let check = |file: &str, maps: &[(u32, u32)], expected: Option<u32>| {
            let maps: Vec<_> = maps.iter().map(|&(host, size)| IdMap { container: 0, host, size }).collect();
            let found = refused(file, &["eve", "1000"], 1000, &maps);
            assert_eq!(found.map(|map| map.host), expected, "{file}: {maps:?}");
        };
        let file = "adam:100000:65536\neve:200000:65536\n1000:300000:10\n\nbroken\neve:x:y\n";
        check(file, &[(1000, 1), (200_000, 65536), (300_009, 1)], None);
        check(file, &[(1000, 1), (100_000, 1)], Some(100_000));
        check(file, &[(1000, 2)], Some(1000));
        check(file, &[(265_535, 2)], Some(265_535));
        check("", &[(1000, 1), (1, 1)], Some(1));
        check("eve:1:18446744073709551615", &[(5, 5)], Some(5));
    }

    #[test]
    fn names() {
        let passwd = "root:x:0:0::/root:/bin/sh\neve:x:1000:1000::/:/bin/sh\n";
        assert_eq!(name(passwd, 1000).as_deref(), Some("eve"));
        assert_eq!(name(passwd, 7), None);
    }
}
