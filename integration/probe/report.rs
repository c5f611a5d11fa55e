//! What the process sees of itself and of its container.

use crate::sys;
use serde_json::{Map, Value, json};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Everything; `options` are `--sysctl NAME` and `--stat PATH`, repeated.
pub fn everything(options: &[&str]) -> Value {
    let mut sysctls = Map::new();
    let mut stats = Map::new();
    for pair in options.chunks(2) {
        match pair {
            ["--sysctl", name] => {
                let path = format!("/proc/sys/{}", name.replace('.', "/"));
                sysctls.insert((*name).to_owned(), text(&path));
            }
            ["--stat", path] => {
                stats.insert((*path).to_owned(), stat(path));
            }
            _ => {}
        }
    }
    json!({
        "args": std::env::args().collect::<Vec<_>>(),
        "env": sys::environ(),
        "cwd": sys::getcwd(),
        "pid": std::process::id(),
        "status": status(),
        "process": process_stat(),
        "limits": limits(),
        "namespaces": namespaces(),
        "owners": owners(),
        "mounts": mounts(),
        "fds": descriptors(),
        "root": names("/"),
        "dev": names("/dev"),
        "cgroup": cgroup(),
        "oom_score_adj": text("/proc/self/oom_score_adj"),
        "timens_offsets": text("/proc/self/timens_offsets"),
        "setgroups": text("/proc/self/setgroups"),
        "uid_map": text("/proc/self/uid_map"),
        "gid_map": text("/proc/self/gid_map"),
        "uname": sys::uname(),
        "securebits": sys::securebits(),
        "dumpable": sys::dumpable(),
        "keyring": sys::session_keyring(),
        "interfaces": interfaces(),
        "personality": text("/proc/self/personality"),
        "sysctl": sysctls,
        "stat": stats,
    })
}

/// A file's text without the last newline, or what went wrong.
fn text(path: &str) -> Value {
    match fs::read_to_string(path) {
        Ok(content) => json!(content.trim_end()),
        Err(error) => json!({ "errno": error.raw_os_error() }),
    }
}

/// The line of the v2 hierarchy; a machine with v1 mounts elsewhere has others.
fn cgroup() -> Value {
    let content = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    json!(content.lines().find(|line| line.starts_with("0::")))
}

fn names(path: &str) -> Value {
    let Ok(entries) = fs::read_dir(path) else { return Value::Null };
    let mut names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    json!(names)
}

/// `/proc/self/status` as an object of texts.
fn status() -> Value {
    let content = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = content.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(key, value)| (key.to_owned(), json!(value.trim()))).collect::<Map<_, _>>().into()
}

/// Parent, group, session, controlling terminal and nice value from `/proc/self/stat`.
fn process_stat() -> Value {
    let content = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = content.rsplit_once(") ").map_or("", |(_, after)| after);
    let field = |n: usize| after.split(' ').nth(n).and_then(|text| text.parse::<i64>().ok());
    json!({ "ppid": field(1), "pgrp": field(2), "session": field(3), "tty": field(4), "nice": field(16) })
}

/// Soft and hard limits by the kernel's titles, such as `Max open files`.
fn limits() -> Value {
    let content = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let mut limits = Map::new();
    for line in content.lines().skip(1) {
        let (title, rest) = line.split_at(line.len().min(26));
        let mut values = rest.split_whitespace();
        limits.insert(title.trim().to_owned(), json!([values.next(), values.next()]));
    }
    limits.into()
}

fn namespaces() -> Value {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let link = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).ok();
    kinds.iter().map(|kind| ((*kind).to_owned(), json!(link(kind)))).collect::<Map<_, _>>().into()
}

fn owners() -> Value {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "uts"];
    let owner = |kind: &str| sys::owner(format!("/proc/self/ns/{kind}").as_ref());
    kinds.iter().map(|kind| ((*kind).to_owned(), json!(owner(kind)))).collect::<Map<_, _>>().into()
}

/// The mount table in mount order.
fn mounts() -> Value {
    let content = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    content.lines().filter_map(mount).collect::<Vec<_>>().into()
}

fn mount(line: &str) -> Option<Value> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    Some(json!({
        "id": left.first()?, "parent": left.get(1)?, "device": left.get(2)?, "root": left.get(3)?,
        "point": left.get(4)?, "options": left.get(5)?.split(',').collect::<Vec<_>>(),
        "propagation": left.get(6..)?, "type": right.first()?, "source": right.get(1)?,
        "super": right.get(2)?.split(',').collect::<Vec<_>>(),
    }))
}

/// Every open descriptor with what it leads to; the one that lists the directory is left out.
fn descriptors() -> Value {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Value::Null };
    let mut numbers: Vec<i32> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    let mut seen = Map::new();
    for number in numbers {
        // Closed meanwhile: it was the listing itself.
        let Ok(link) = fs::read_link(format!("/proc/self/fd/{number}")) else { continue };
        let flags = text(&format!("/proc/self/fdinfo/{number}"));
        let meta = fs::metadata(format!("/proc/self/fd/{number}")).ok();
        seen.insert(
            number.to_string(),
            json!({
                "link": link.to_string_lossy(), "info": flags, "magic": sys::filesystem_magic(number),
                "uid": meta.as_ref().map(MetadataExt::uid), "gid": meta.as_ref().map(MetadataExt::gid),
                "rdev": meta.as_ref().map(|m| device_numbers(m.rdev())),
            }),
        );
    }
    seen.into()
}

/// Interfaces of the network namespace with their state, from `/sys/class/net` where it is, else names alone.
fn interfaces() -> Value {
    let content = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names = content.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned());
    names.map(|name| (name.clone(), json!(sys::interface_is_up(&name)))).collect::<Map<_, _>>().into()
}

/// What lstat(2) says of `path`.
pub fn stat(path: &str) -> Value {
    match fs::symlink_metadata(path) {
        Ok(meta) => {
            let kind = meta.file_type();
            let kind = match () {
                () if kind.is_symlink() => "link",
                () if kind.is_dir() => "directory",
                () if kind.is_char_device() => "char",
                () if kind.is_block_device() => "block",
                () if kind.is_fifo() => "fifo",
                () if kind.is_socket() => "socket",
                () => "file",
            };
            json!({
                "kind": kind, "mode": meta.mode() & 0o7777, "uid": meta.uid(), "gid": meta.gid(), "size": meta.size(),
                "links": meta.nlink(), "rdev": device_numbers(meta.rdev()), "target": fs::read_link(path).ok(),
                "inode": meta.ino(),
            })
        }
        Err(error) => json!({ "errno": error.raw_os_error() }),
    }
}

fn device_numbers(rdev: u64) -> String {
    format!("{}:{}", nix::sys::stat::major(rdev), nix::sys::stat::minor(rdev))
}
