//! Counts that noise can't move.

use super::{CONFIGS, stay};
use crate::grace::{Trace, Waits};
use crate::process::{Command, reap_all};
use crate::runtime::{Bundle, Runtime, place};
use crate::{Bench, Done, counts};

/// Traced runs, of which the least counts.
const TRACED: usize = 12;

/// Counts system calls, forks, executions, page faults and grace periods of the commands, and the bytes of the program.
pub fn count(bench: &mut Bench) -> Done<()> {
    let trace = begin_trace(bench);
    for config in CONFIGS {
        for runtime in bench.plain(config, true) {
            one_config(bench, &runtime, config, trace.as_ref())?;
        }
    }
    for runtime in bench.plain("spec", true) {
        let length = std::fs::metadata(runtime.program("spec"))?.len();
        bench.add("binary", "", "bytes", &runtime, vec![f64::from(u32::try_from(length)?)]);
    }
    Ok(())
}

/// The kernel's trace, if it lets us have one.
pub fn begin_trace(bench: &mut Bench) -> Option<Trace> {
    let trace = Trace::begin(&place());
    trace.map_err(|error| bench.results.remarks.push(format!("grace periods were not counted: {error}"))).ok()
}

fn one_config(bench: &mut Bench, runtime: &Runtime, config: &str, trace: Option<&Trace>) -> Done<()> {
    let bundle = Bundle::of_slot(config, 0);
    let run = runtime.make("run", &bundle);
    all_of(bench, "run", config, runtime, &run, trace)?;
    if let Some(trace) = trace {
        traced_lifecycle(bench, runtime, &bundle, trace)?;
    }
    if config == "host" {
        return Ok(());
    }
    stay::begin(runtime, config)?;
    let staying = Bundle::staying(config, runtime);
    let mut about = vec![("exec", &["/bin/true"][..])];
    if !runtime.is_floor() {
        about.extend([("state", &[][..]), ("kill", &["CONT"])]);
    }
    for (verb, more) in about {
        let command = runtime.about(verb, &staying, more);
        all_of(bench, verb, config, runtime, &command, trace)?;
    }
    stay::end(std::slice::from_ref(runtime), config)?;
    let start = counts_of_start(runtime, &bundle)?;
    for (verb, counted) in ["start", "delete"].into_iter().zip(start) {
        bench.add(verb, config, "system_calls", runtime, vec![f64::from(counted.system_calls)]);
    }
    Ok(())
}

/// Counts all that can be counted of a command that can be given again and again.
pub fn all_of(
    bench: &mut Bench,
    what: &str,
    config: &str,
    runtime: &Runtime,
    command: &Command,
    trace: Option<&Trace>,
) -> Done<()> {
    let counted = counts::count(command, &place())?;
    let faults: Done<Vec<f64>> = (0..5).map(|_| Ok(command.cost()?.page_faults)).collect();
    let mut add = |quantity: &str, value: f64| bench.add(what, config, quantity, runtime, vec![value]);
    add("system_calls", f64::from(counted.system_calls));
    add("forks", f64::from(counted.forks));
    add("execs", f64::from(counted.execs));
    add("least_page_faults", faults?.into_iter().fold(f64::INFINITY, f64::min));
    if let Some(trace) = trace {
        let mut waits = trace.once(command)?;
        for _ in 1..TRACED {
            waits = waits.least(trace.once(command)?);
        }
        add_waits(bench, what, config, runtime, waits);
    }
    Ok(())
}

/// System calls of `start` and `delete`.
fn counts_of_start(runtime: &Runtime, bundle: &Bundle) -> Done<[counts::Counts; 2]> {
    runtime.make("create", bundle).cost()?;
    let start = counts::once(&runtime.about("start", bundle, &[]), &place())?;
    reap_all()?;
    Ok([start, counts::once(&runtime.about("delete", bundle, &[]), &place())?])
}

/// Grace periods of `create`, `start` and `delete`.
fn traced_lifecycle(bench: &mut Bench, runtime: &Runtime, bundle: &Bundle, trace: &Trace) -> Done<()> {
    const STAGES: [&str; 3] = ["create", "start", "delete"];
    let once = || -> Done<[Waits; 3]> {
        let create = trace.once(&runtime.make("create", bundle))?;
        let start = trace.once(&runtime.about("start", bundle, &[]))?;
        reap_all()?;
        Ok([create, start, trace.once(&runtime.about("delete", bundle, &[]))?])
    };
    let mut least = once()?;
    for _ in 1..TRACED {
        least.iter_mut().zip(once()?).for_each(|(least, waits)| *least = least.least(waits));
    }
    for (stage, waits) in STAGES.into_iter().zip(least) {
        add_waits(bench, stage, &bundle.config, runtime, waits);
    }
    Ok(())
}

fn add_waits(bench: &mut Bench, what: &str, config: &str, runtime: &Runtime, waits: Waits) {
    bench.add(what, config, "normal_grace_periods", runtime, vec![f64::from(waits.normal)]);
    bench.add(what, config, "expedited_grace_periods", runtime, vec![f64::from(waits.expedited)]);
}
