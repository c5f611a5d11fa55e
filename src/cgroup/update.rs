//! Changes the limits of a cgroup in use: all that are asked for, or none.

use super::directory::Directory;
use super::existing::Existing;
use super::limits;
use super::reclaim::make_room;
use super::resources::{self, Amount, Current, IfMissing, Write};
use super::systemd;
use crate::error::{Context, Error, Result};
use oci_spec::runtime::LinuxResources;

/// Bounds swap alone.
const SWAP: &str = "memory.swap.max";

/// What to write to change the limits `current` into those that `resources` names; what it does not name stays. Device
/// rules stay as well, like in runc: nobody changes them this way, and engines repeat them. With `by_systemd` CPU quotas
/// become what systemd can keep.
///
/// # Errors
/// `InvalidConfig` with the field.
pub fn plan_update(
    resources: &LinuxResources,
    current: &Current,
    by_systemd: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<Write>> {
    let mut writes = resources::writes(resources, current, warnings)?;
    // The bound of swap first: with it memory that must be reclaimed finds its way, or finds that there is none.
    writes.sort_by_key(|write| write.file != SWAP);
    if by_systemd {
        systemd::round_quotas(&mut writes);
    }
    Ok(writes)
}

impl Existing {
    /// The limits in force.
    pub fn current_limits(&self) -> Current {
        Current::read(|file| self.directory.read(file).ok())
    }

    /// Makes the planned changes. No process is killed for memory: a limit below what is in use is set only after the
    /// rest has been reclaimed.
    ///
    /// `tell` is what else must hear of the changes, systemd. It does then what the unit's limits ask for, in its own way,
    /// which must not hit a container that has no room yet; and we have the last word.
    ///
    /// # Errors
    /// Why one of them could not be made, with field and file. The others are undone, or the error says which are not.
    pub fn update(&self, writes: &[Write], tell: impl FnOnce() -> Result<()>) -> Result<()> {
        let directory = &self.directory;
        let before: Vec<_> = writes.iter().map(|write| before(directory, write)).collect();
        let mut done = 0;
        change(directory, writes, &mut done)
            .and_then(|()| tell())
            .and_then(|()| writes.iter().try_for_each(|write| limits::set(directory, write)))
            .map_err(|error| put_back(directory, before[..done].iter().rev().flatten(), error))
    }
}

/// The order of a change; `done` counts the writes that were made.
fn change(directory: &Directory, writes: &[Write], done: &mut usize) -> Result<()> {
    let (swap, others) = writes.split_at(writes.partition_point(|write| write.file == SWAP));
    let mut set_all = |writes: &[Write]| {
        writes.iter().try_for_each(|write| {
            set(directory, write)?;
            *done += 1;
            Ok(())
        })
    };
    set_all(swap)?;
    // Here, before anybody sets the new limit.
    others.iter().try_for_each(|write| make_room_for(directory, write))?;
    set_all(others)
}

/// Sets one limit, a memory limit only once there is room below it.
fn set(directory: &Directory, write: &Write) -> Result<()> {
    make_room_for(directory, write)?;
    limits::set(directory, write)
}

fn make_room_for(directory: &Directory, write: &Write) -> Result<()> {
    match Amount::read(&write.value) {
        Some(Amount::Of(limit)) if write.file == "memory.max" => {
            make_room(directory, limit.unsigned_abs()).with_context(|| write.field.clone())
        }
        _ => Ok(()),
    }
}

/// Undoes what `error` has interrupted.
fn put_back<'a>(directory: &Directory, old: impl Iterator<Item = &'a Write>, error: Error) -> Error {
    let failures: Vec<_> = old.filter_map(|write| set(directory, write).err()).map(|error| error.to_string()).collect();
    match failures.as_slice() {
        [] => error,
        failures => error.hint(format!("old values could not be put back: {}", failures.join("; "))),
    }
}

/// The writes that undo `write`: nothing when its file does not exist or can't be read.
fn before(directory: &Directory, write: &Write) -> Vec<Write> {
    let read = |file: &str| directory.read(file).ok();
    let (file, value, content) = match (read(&write.file), &write.if_missing) {
        (Some(content), _) => (write.file.as_str(), write.value.as_str(), content),
        (None, IfMissing::Instead { file, value }) => match read(file) {
            Some(content) => (*file, value.as_str(), content),
            None => return Vec::new(),
        },
        (None, _) => return Vec::new(),
    };
    let back = |file: &str, value: String| Write {
        file: file.to_owned(),
        value,
        field: write.field.clone(),
        if_missing: IfMissing::Skip,
    };
    // A set can't be emptied again while there are processes (ENOSPC), so what was in effect takes its place.
    let content = match file {
        "cpuset.cpus" | "cpuset.mems" if content.trim().is_empty() => read(&format!("{file}.effective")),
        _ => None,
    }
    .unwrap_or(content);
    let mut writes: Vec<_> = old_lines(file, &content, value).into_iter().map(|line| back(file, line)).collect();
    // Entering and leaving idleness both reset the weight, which reads 0 in an idle cgroup.
    if file == "cpu.idle" && content.trim() == "0" {
        writes.extend(read("cpu.weight").map(|weight| back("cpu.weight", weight.trim().to_owned())));
    }
    writes
}

/// What to write to `file`, which had `content`, once `written` is no longer wanted in it.
fn old_lines(file: &str, content: &str, written: &str) -> Vec<String> {
    let first_word = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let by_key = |key: &str| content.lines().find(|line| first_word(line) == key).map(str::to_owned);
    let device = first_word(written);
    match file {
        // Devices without a limit are not listed.
        "io.max" => {
            let none = format!("{device} rbps=max wbps=max riops=max wiops=max");
            vec![by_key(&device).unwrap_or(none)]
        }
        "io.weight" | "io.bfq.weight" if device.contains(':') => {
            vec![by_key(&device).unwrap_or(format!("{device} default"))]
        }
        "io.weight" | "io.bfq.weight" => by_key("default").into_iter().collect(),
        "cpu.weight" if content.trim() == "0" => Vec::new(),
        _ if content.trim().is_empty() => vec!["\n".to_owned()],
        _ => content.lines().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::old_lines;

    #[test]
    fn old_values() {
        let io_max = "8:0 rbps=1 wbps=max riops=max wiops=max\n8:16 rbps=max wbps=2 riops=max wiops=max\n";
        for (file, content, written, expected) in [
            ("memory.max", "max\n", "100", &["max"][..]),
            ("cpu.max", "max 100000\n", "5000 100000", &["max 100000"]),
            ("cpu.weight", "100\n", "5", &["100"]),
            ("cpu.weight", "0\n", "5", &[]),
            ("cpuset.cpus", "\n", "0-1", &["\n"]),
            ("io.max", io_max, "8:0 riops=9", &["8:0 rbps=1 wbps=max riops=max wiops=max"]),
            ("io.max", io_max, "8:1 riops=9", &["8:1 rbps=max wbps=max riops=max wiops=max"]),
            ("io.weight", "default 100\n8:0 50\n", "200", &["default 100"]),
            ("io.weight", "default 100\n8:0 50\n", "default 200", &["default 100"]),
            ("io.weight", "default 100\n8:0 50\n", "8:0 60", &["8:0 50"]),
            ("io.bfq.weight", "default 100\n8:0 50\n", "8:16 60", &["8:16 default"]),
            ("rdma.max", "a hca_handle=max hca_object=5\n", "a hca_handle=1", &["a hca_handle=max hca_object=5"]),
        ] {
            assert_eq!(old_lines(file, content, written), expected, "{file} {written}");
        }
    }
}
