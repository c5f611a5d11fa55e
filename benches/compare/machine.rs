//! What the numbers depend on: the machine and the versions.

use crate::Done;
use nix::sys::utsname::uname;
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::process::Command;

/// Processor, memory, kernel.
pub fn describe() -> Done<BTreeMap<String, String>> {
    let processors = read_to_string("/proc/cpuinfo")?;
    let of = |name: &str| {
        let line = processors.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim())
    };
    let virtual_machine = of("flags").split(' ').any(|flag| flag == "hypervisor");
    let memory = read_to_string("/proc/meminfo")?;
    let kib: u64 = memory.split_whitespace().nth(1).ok_or("/proc/meminfo is empty")?.parse()?;
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = uname()?;
    Ok(BTreeMap::from([
        ("processor".into(), of("model name").into()),
        ("processors".into(), count.to_string()),
        ("memory".into(), format!("{} GiB", (kib + (1 << 19)) >> 20)),
        ("kernel".into(), format!("Linux {}", kernel.release().to_string_lossy())),
        ("kind".into(), if virtual_machine { "a virtual machine" } else { "hardware" }.into()),
    ]))
}

/// The first line of `PROGRAM --version`.
pub fn version(program: &str) -> Done<String> {
    let output = Command::new(program).arg("--version").output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().next().ok_or_else(|| format!("{program} --version printed nothing"))?.to_owned())
}
