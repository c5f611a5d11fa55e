//! The mounts of our mount namespace as the kernel lists them; see proc_pid_mountinfo(5).

use super::fs::{self, Access};
use crate::error::Result;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// More than any machine has, in bytes.
const LIMIT: usize = 64 << 20;

/// The whole table.
pub fn read() -> Result<Vec<u8>> {
    fs::open("/proc/self/mountinfo", Access::Read).and_then(|file| fs::read_all(file, LIMIT))
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Which part of its filesystem it shows.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
}

/// The mount with the number `id` in `table`; see [`super::mount::mount_id`].
pub fn find(table: &[u8], id: u64) -> Option<Mount> {
    let id = id.to_string();
    lines(table).find_map(|mut words| {
        let wanted = words.next()? == id.as_bytes();
        let (root, point) = (words.nth(2)?, words.next()?);
        wanted.then(|| Mount { root: path(root), point: path(point) })
    })
}

/// The mount points in `table`, of filesystems of this `kind` alone if one is given.
pub fn points(table: &[u8], kind: Option<&str>) -> Vec<PathBuf> {
    let point = |mut words: Words<'_>| {
        let point = words.nth(4)?;
        // Optional fields come between, up to a dash.
        let found = words.by_ref().find(|word| *word == b"-").and_then(|_| words.next())?;
        let wanted = kind.is_none_or(|kind| found == kind.as_bytes());
        wanted.then(|| path(point))
    };
    lines(table).filter_map(point).collect()
}

type Words<'a> = std::slice::Split<'a, u8, fn(&u8) -> bool>;

fn lines(table: &[u8]) -> impl Iterator<Item = Words<'_>> {
    table.split(|byte| *byte == b'\n').map(|line| line.split((|byte| *byte == b' ') as fn(&u8) -> bool))
}

fn path(text: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(text)))
}

/// Undoes octal escapes.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                plain.push(escaped);
                rest = &after[3..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn mount_points() {
        let table = b"27 1 254:0 / / rw - ext4 /dev/vda rw\n\
            31 27 0:28 / /a\\040b rw shared:1 master:2 - resctrl resctrl rw\n\
            32 27 0:28 / /c\\x rw - tmpfs resctrl rw\n";
        assert_eq!(points(table, None), [Path::new("/"), Path::new("/a b"), Path::new("/c\\x")]);
        assert_eq!(points(table, Some("resctrl")), [Path::new("/a b")]);
        assert_eq!(points(b"", None), Vec::<PathBuf>::new());
    }

    #[test]
    fn by_number() {
        const TABLE: &[u8] = b"24 1 0:22 / /sys rw shared:2 - sysfs sysfs rw\n\
            31 24 0:27 /../a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n310 24 0:27 / /m\\040t rw - cgroup2 cgroup2 rw\n";
        let found = |id| find(TABLE, id).map(|mount| (mount.root, mount.point));
        assert_eq!(found(31), Some(("/../a".into(), "/sys/fs/cgroup".into())));
        assert_eq!(found(310), Some(("/".into(), "/m t".into())));
        assert_eq!(found(3), None);
    }
}
