//! Memory: the most that a runtime takes, and what a created container holds.

use crate::process::{Command, reap_all};
use crate::runtime::{Bundle, Runtime, place};
use crate::{Bench, Done};

/// Measures both for the spec template and the Docker-like config, by `create`: the program of the container, which is
/// BusyBox, takes more than a small runtime.
pub fn memory(bench: &mut Bench) -> Done<()> {
    for config in ["spec", "docker"] {
        for runtime in bench.plain(config, true) {
            let bundle = Bundle::of_slot(config, 0);
            let create = runtime.make("create", &bundle);
            if runtime.is_floor() {
                // Less than the kernel's counter can tell.
                create.cost()?;
            } else {
                bench.add("create", config, "peak_rss_kib", &runtime, vec![peak(&create)?]);
            }
            let (resident, own) = held(&runtime, &bundle)?;
            bench.add("created", config, "rss_kib", &runtime, vec![resident]);
            bench.add("created", config, "private_kib", &runtime, vec![own]);
        }
    }
    Ok(())
}

/// The greatest resident set of the command and of any process that it waited for. A new process counts what it had
/// before the exec, so that a small one has to start it: see benches/peak.c. The kernel counts in batches of 32 pages a
/// processor: what is less than that apart may be the same.
fn peak(command: &Command) -> Done<f64> {
    let output = place().join("peak.out");
    let words = [place().join("peak"), output.clone()].map(|it| it.to_string_lossy().into_owned());
    let words = words.into_iter().chain(command.words.iter().cloned()).collect();
    Command { words, environment: command.environment.clone() }.cost()?;
    Ok(std::fs::read_to_string(output)?.trim().parse()?)
}

/// Resident and private memory of the process that waits for `start`, which is ended.
fn held(runtime: &Runtime, bundle: &Bundle) -> Done<(f64, f64)> {
    let group = format!("/sys/fs/cgroup{}/{}", std::env::var("ONGGI_TEST_CGROUP")?, bundle.id);
    let pid = std::fs::read_to_string(format!("{group}/cgroup.procs"))?;
    let memory = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.trim()))?;
    std::fs::write(format!("{group}/cgroup.kill"), "1")?;
    reap_all()?;
    runtime.about("delete", bundle, &[]).cost()?;
    let of = |name: &str| -> Done<f64> {
        let line = memory.lines().find(|line| line.starts_with(name)).ok_or("smaps_rollup lacks a line")?;
        Ok(line.split_whitespace().nth(1).ok_or("smaps_rollup lacks a number")?.parse()?)
    };
    Ok((of("Rss:")?, of("Private_Clean:")? + of("Private_Dirty:")?))
}
