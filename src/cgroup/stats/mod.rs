//! What a cgroup has used: its files read, and turned into the document of `events`.

mod schema;

use super::directory::{Directory, is_gone};
use super::existing::Existing;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::Errno;
pub use schema::Stats;
use schema::{
    Blkio, BlkioEntry, Cpu, CpuUsage, HugeTlb, Memory, MemoryEntry, Percent, Pids, Pressure, Stall, Throttling,
};
use std::collections::BTreeMap;

/// The files that are read, if they are there; those of huge pages come by size.
const FILES: [&str; 14] = [
    "cpu.stat",
    "cpu.pressure",
    "memory.stat",
    "memory.current",
    "memory.max",
    "memory.peak",
    "memory.events",
    "memory.swap.current",
    "memory.swap.max",
    "memory.pressure",
    "pids.current",
    "pids.max",
    "io.stat",
    "io.pressure",
];

impl Existing {
    /// What the cgroup has used up to now; `None` when it is gone. What belongs to a controller that it does not have
    /// is left out.
    ///
    /// # Errors
    /// `System`, with the file, for a text that is not as cgroup-v2.rst has it.
    pub fn stats(&self) -> Result<Option<Stats>> {
        let files = Files::read(&self.directory)?;
        // There without any controller, since 4.15.
        if files.text("cpu.stat").is_none() {
            return Ok(None);
        }
        let mut stats = files.stats()?;
        if files.text("pids.current").is_none() {
            let mut pids = Vec::new();
            self.directory.collect_pids(&mut pids)?;
            stats.pids.current = u64::try_from(pids.len()).unwrap_or(u64::MAX);
        }
        Ok(Some(stats))
    }
}

/// Names and texts of a cgroup's files.
struct Files(BTreeMap<String, String>);

impl Files {
    fn read(directory: &Directory) -> Result<Self> {
        let mut files = BTreeMap::new();
        for name in directory.names()? {
            let Some(name) = name.to_str().filter(|name| FILES.contains(name) || name.starts_with("hugetlb.")) else {
                continue;
            };
            match directory.read(name) {
                Ok(text) => drop(files.insert(name.to_owned(), text)),
                // Gone meanwhile; pressure that this kernel was told not to measure; a cgroup that the payload made and
                // gave the name of a file which is not there.
                Err(error) if is_gone(&error) || error.is(Errno::EOPNOTSUPP) || error.is(Errno::EISDIR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(files))
    }

    fn stats(&self) -> Result<Stats> {
        Ok(Stats {
            cpu: self.cpu()?,
            memory: self.memory()?,
            pids: self.pids()?,
            blkio: self.blkio()?,
            hugetlb: self.hugetlb()?,
            ..Stats::default()
        })
    }

    fn text(&self, file: &str) -> Option<&str> {
        self.0.get(file).map(String::as_str)
    }

    /// A file that is one number; `max` is the greatest of all.
    fn number(&self, file: &str) -> Result<Option<u64>> {
        self.text(file)
            .map(|text| if text.trim() == "max" { Ok(u64::MAX) } else { number(file, text.trim()) })
            .transpose()
    }

    /// A file with a key and a number on each line.
    fn flat(&self, file: &str) -> Result<BTreeMap<String, u64>> {
        let entry = |line: &str| {
            let (key, value) = line.split_once(' ').ok_or_else(|| malformed(file, line))?;
            Ok((key.to_owned(), number(file, value)?))
        };
        self.text(file).unwrap_or_default().lines().map(entry).collect()
    }

    fn cpu(&self) -> Result<Cpu> {
        const NANOSECONDS: u64 = 1000;
        let stat = self.flat("cpu.stat")?;
        let get = |key| stat.get(key).copied().unwrap_or(0);
        let time = |key| get(key).saturating_mul(NANOSECONDS);
        Ok(Cpu {
            usage: CpuUsage { total: time("usage_usec"), kernel: time("system_usec"), user: time("user_usec") },
            throttling: Throttling {
                periods: get("nr_periods"),
                throttled_periods: get("nr_throttled"),
                throttled_time: time("throttled_usec"),
            },
            psi: self.pressure("cpu.pressure")?,
        })
    }

    fn memory(&self) -> Result<Memory> {
        let psi = self.pressure("memory.pressure")?;
        let Some(usage) = self.memory_entry("memory")? else { return Ok(Memory { psi, ..Memory::default() }) };
        let usage = MemoryEntry { failcnt: self.flat("memory.events")?.get("max").copied().unwrap_or(0), ..usage };
        let swap = self.memory_entry("memory.swap")?.unwrap_or_default();
        let swap = MemoryEntry {
            // `max` stays the greatest number of all.
            limit: swap.limit.saturating_add(usage.limit),
            usage: swap.usage.saturating_add(usage.usage),
            // The two need not have been at their highest at the same time.
            max: 0,
            failcnt: 0,
        };
        let raw = self.flat("memory.stat")?;
        Ok(Memory { cache: raw.get("file").copied().unwrap_or(0), usage, swap, raw, psi })
    }

    fn memory_entry(&self, prefix: &str) -> Result<Option<MemoryEntry>> {
        let get = |what| self.number(&format!("{prefix}.{what}"));
        let Some(usage) = get("current")? else { return Ok(None) };
        // The peak is there since 5.19, that of swap since 6.5.
        Ok(Some(MemoryEntry { limit: get("max")?.unwrap_or(0), usage, max: get("peak")?.unwrap_or(0), failcnt: 0 }))
    }

    fn pids(&self) -> Result<Pids> {
        let limit = self.number("pids.max")?.filter(|limit| *limit != u64::MAX);
        Ok(Pids { current: self.number("pids.current")?.unwrap_or(0), limit: limit.unwrap_or(0) })
    }

    fn blkio(&self) -> Result<Blkio> {
        const FILE: &str = "io.stat";
        let mut blkio = Blkio { psi: self.pressure("io.pressure")?, ..Blkio::default() };
        for line in self.text(FILE).unwrap_or_default().lines() {
            let mut device = (0, 0);
            for word in line.split_ascii_whitespace() {
                let Some((key, value)) = word.split_once('=') else {
                    // Before 6.0 devices without figures stand before another one on its line.
                    let (major, minor) = word.split_once(':').ok_or_else(|| malformed(FILE, line))?;
                    device = (number(FILE, major)?, number(FILE, minor)?);
                    continue;
                };
                let (list, op) = match key {
                    "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                    "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                    "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                    "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                    _ => continue,
                };
                list.push(BlkioEntry { major: device.0, minor: device.1, op, value: number(FILE, value)? });
            }
        }
        Ok(blkio)
    }

    fn hugetlb(&self) -> Result<BTreeMap<String, HugeTlb>> {
        let size = |file: &String| Some(file.strip_prefix("hugetlb.")?.strip_suffix(".events")?.to_owned());
        let entry = |size: String| {
            let reserved = self.number(&format!("hugetlb.{size}.rsvd.current"))?;
            let usage = match reserved {
                // Since 5.7. What is reserved can't be had by others, touched or not.
                Some(reserved) => reserved,
                None => self.number(&format!("hugetlb.{size}.current"))?.unwrap_or(0),
            };
            let failcnt = self.flat(&format!("hugetlb.{size}.events"))?.get("max").copied().unwrap_or(0);
            Ok((size, HugeTlb { usage, failcnt }))
        };
        self.0.keys().filter_map(size).map(entry).collect()
    }

    fn pressure(&self, file: &str) -> Result<Option<Pressure>> {
        let Some(text) = self.text(file) else { return Ok(None) };
        let mut pressure = Pressure::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("some", figures)) => pressure.some = stall(file, figures)?,
                Some(("full", figures)) => pressure.full = stall(file, figures)?,
                _ => return Err(malformed(file, line)),
            }
        }
        Ok(Some(pressure))
    }
}

fn stall(file: &str, figures: &str) -> Result<Stall> {
    let mut stall = Stall::default();
    for figure in figures.split(' ') {
        let percent = |value: &str| value.parse().map(Percent).map_err(|_| malformed(file, figure));
        match figure.split_once('=') {
            Some(("avg10", value)) => stall.avg10 = percent(value)?,
            Some(("avg60", value)) => stall.avg60 = percent(value)?,
            Some(("avg300", value)) => stall.avg300 = percent(value)?,
            Some(("total", value)) => stall.total = number(file, value)?,
            _ => return Err(malformed(file, figure)),
        }
    }
    Ok(stall)
}

fn number(file: &str, text: &str) -> Result<u64> {
    text.parse().map_err(|_| malformed(file, text))
}

fn malformed(file: &str, text: &str) -> Error {
    Error::new(ErrorKind::System, format!("{file} of the container's cgroup can't be understood: {text:?}"))
}

#[cfg(test)]
mod tests;
