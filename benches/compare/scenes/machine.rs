//! What takes systemd and all cgroup controllers: see benches/vm.

use super::{count, stay};
use crate::process::reap_all;
use crate::runtime::{Bundle, Runtime, place};
use crate::{Bench, Done};
use serde_json::{Value, json};
use std::time::Duration;

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
    // In an emulator most are over before anybody sleeps.
    bench.results.measures.retain(|it| it.quantity != "expedited_grace_periods");
    Ok(())
}

/// What is tried at first for the lowest limit, in steps: it must be enough for everybody.
const ENOUGH: u32 = 1024;

/// A step of memory limits: four pages.
const STEP_KIB: u32 = 16;

/// How often it must run: close to the limit it depends on where the kernel's slabs have room.
const TIMES: usize = 8;

/// The lowest `memory.max`, without swap, at which a container of the spec template runs `/bin/true` so often. All
/// are on one processor (benches/vm): the kernel charges in batches for each, and may not get back in time what
/// another one has left.
pub fn limits(bench: &mut Bench) -> Done<()> {
    for runtime in bench.plain("spec", false) {
        // It fails at the first and runs at the second.
        let (mut fails, mut runs) = (0, ENOUGH);
        if !runs_with(&runtime, runs * STEP_KIB)? {
            return Err(format!("{} does not run in {} KiB", runtime.name, runs * STEP_KIB).into());
        }
        while runs - fails > 1 {
            let middle = runs.midpoint(fails);
            if runs_with(&runtime, middle * STEP_KIB)? { runs = middle } else { fails = middle }
        }
        bench.add("memory-limit", "spec", "kib", &runtime, vec![f64::from(runs * STEP_KIB)]);
    }
    Ok(())
}

/// Whether it runs in so much, in a bundle made for that.
fn runs_with(runtime: &Runtime, kib: u32) -> Done<bool> {
    let bundles = place().join("bundles");
    let bundle = Bundle { config: "spec".into(), id: "spec-limited".into() };
    let template = std::fs::read_to_string(bundles.join("spec-0/config.json"))?;
    let mut config: Value = serde_json::from_str(&template)?;
    let bytes = u64::from(kib) * 1024;
    config["linux"]["resources"]["memory"] = json!({ "limit": bytes, "swap": bytes });
    std::fs::create_dir_all(bundles.join(&bundle.id))?;
    std::fs::write(bundles.join(&bundle.id).join("config.json"), config.to_string())?;
    for _ in 0..TIMES {
        if runtime.make("run", &bundle).cost().is_err() {
            // Not every runtime cleans up.
            let _ = runtime.about("delete", &bundle, &["--force"]).cost();
            return Ok(false);
        }
    }
    Ok(true)
}

/// The kernel brings `memory.stat` up to date every two seconds.
const FLUSH: Duration = Duration::from_secs(3);

/// What the kernel charges to the cgroup of a created container. `memory.current` would have batches of 64 pages.
pub fn charged(bench: &mut Bench) -> Done<()> {
    let bundle = Bundle::of_slot("spec", 0);
    for runtime in bench.plain("spec", false) {
        runtime.make("create", &bundle).cost()?;
        std::thread::sleep(FLUSH);
        let group = std::env::var("ONGGI_TEST_CGROUP")?;
        let charges = std::fs::read_to_string(format!("/sys/fs/cgroup{group}/{}/memory.stat", bundle.id))?;
        let mut bytes = 0;
        for kind in ["anon ", "file ", "kernel "] {
            let value = charges.lines().find_map(|line| line.strip_prefix(kind));
            bytes += value.ok_or_else(|| format!("memory.stat has no line {kind:?}"))?.parse::<u32>()?;
        }
        bench.add("created", "vm-cgroupfs", "cgroup_kib", &runtime, vec![f64::from(bytes) / 1024.0]);
        runtime.about("kill", &bundle, &["KILL"]).cost()?;
        reap_all()?;
        runtime.about("delete", &bundle, &[]).cost()?;
    }
    Ok(())
}
