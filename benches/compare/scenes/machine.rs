//! What takes systemd and all cgroup controllers: see benches/vm.

use super::{count, stay};
use crate::process::reap_all;
use crate::runtime::{Bundle, Runtime, place};
use crate::{Bench, Done};
use serde_json::{Value, json};

/// The counts of `run` and `exec` with each cgroup driver. They go by the config `vm-cgroupfs` and `vm-systemd`.
pub fn drivers(bench: &mut Bench) -> Done<()> {
    let trace = count::begin_trace(bench);
    for (config, named, flag) in [("spec", "vm-cgroupfs", None), ("systemd", "vm-systemd", Some("--systemd-cgroup"))] {
        for runtime in bench.plain(config, false) {
            let runtime = runtime.with_flag(flag);
            let run = runtime.make("run", &Bundle::of_slot(config, 0));
            count::all_of(bench, "run", named, &runtime, &run, trace.as_ref())?;
            stay::begin(&runtime, config)?;
            let exec = runtime.about("exec", &Bundle::staying(config, &runtime), &["/bin/true"]);
            count::all_of(bench, "exec", named, &runtime, &exec, trace.as_ref())?;
            stay::end(std::slice::from_ref(&runtime), config)?;
        }
    }
    Ok(())
}

/// The lowest `memory.max`, without swap, at which a container of the spec template runs `/bin/true` three times.
pub fn limits(bench: &mut Bench) -> Done<()> {
    for runtime in bench.plain("spec", false) {
        // In steps of 16 KiB: below the first it fails, at the second it runs.
        let (mut fails, mut runs) = (0_u32, 1024_u32);
        while runs - fails > 1 {
            let middle = fails.midpoint(runs);
            if runs_with(&runtime, middle * 16)? { runs = middle } else { fails = middle }
        }
        bench.add("memory-limit", "spec", "kib", &runtime, vec![f64::from(runs * 16)]);
    }
    Ok(())
}

/// What the kernel charges to the cgroup of a created container.
pub fn charged(bench: &mut Bench) -> Done<()> {
    let bundle = Bundle::of_slot("spec", 0);
    for runtime in bench.plain("spec", false) {
        runtime.make("create", &bundle).cost()?;
        let group = std::env::var("ONGGI_TEST_CGROUP")?;
        let file = format!("/sys/fs/cgroup{group}/{}/memory.current", bundle.id);
        let bytes: u32 = std::fs::read_to_string(file)?.trim().parse()?;
        bench.add("created", "vm-cgroupfs", "cgroup_kib", &runtime, vec![f64::from(bytes) / 1024.0]);
        runtime.about("kill", &bundle, &["KILL"]).cost()?;
        reap_all()?;
        runtime.about("delete", &bundle, &[]).cost()?;
    }
    Ok(())
}

fn runs_with(runtime: &Runtime, kib: u32) -> Done<bool> {
    let bundle = Bundle::of_slot("spec", 0);
    let path = place().join("bundles").join(&bundle.id).join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    let bytes = u64::from(kib) * 1024;
    config["linux"]["resources"]["memory"] = json!({ "limit": bytes, "swap": bytes });
    std::fs::write(&path, config.to_string())?;
    for _ in 0..3 {
        if runtime.make("run", &bundle).cost().is_err() {
            // Not every runtime cleans up.
            let _ = runtime.about("delete", &bundle, &["--force"]).cost();
            return Ok(false);
        }
    }
    Ok(true)
}
