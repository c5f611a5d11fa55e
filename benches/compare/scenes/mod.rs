//! What is measured, scene by scene.

mod count;
mod host;
mod lifecycle;
mod list;
mod machine;
mod memory;
mod stay;
mod throughput;

use crate::process::{Command, Cost};
use crate::runtime::{Bundle, Runtime};
use crate::{Bench, Done};

/// A scene adds to the results.
pub type Scene = fn(&mut Bench) -> Done<()>;

/// All scenes for this machine, in their order.
pub const ALL: &[(&str, Scene)] = &[
    ("run", run),
    ("lifecycle", lifecycle::lifecycle),
    ("memory", memory::memory),
    ("stay", stay::stay),
    ("list", list::list),
    ("throughput", throughput::throughput),
    ("host", host::many_mounts),
    ("growth", growth),
    ("count", count::count),
];

/// Those for the test machine, which `all` does not mean.
pub const IN_MACHINE: &[(&str, Scene)] =
    &[("drivers", machine::drivers), ("charged", machine::charged), ("limits", machine::limits)];

/// The configs that differ in what a container has.
const CONFIGS: [&str; 3] = ["spec", "docker", "host"];

/// Runs before the first that counts: page cache, and the directories that a runtime makes once.
const WARM_UP: usize = 3;

/// One of those that take turns.
struct Case<'a> {
    /// What is measured.
    what: &'a str,
    /// Whose number it is.
    runtime: &'a Runtime,
    /// What runs.
    command: Command,
}

/// Measures the command of every runtime, [`in_turns`].
fn interleaved(
    bench: &mut Bench,
    what: &str,
    config: &str,
    rounds: usize,
    runtimes: &[Runtime],
    command: impl Fn(&Runtime) -> Command,
) -> Done<()> {
    let cases = runtimes.iter().map(|runtime| Case { what, runtime, command: command(runtime) });
    in_turns(bench, config, rounds, &cases.collect::<Vec<_>>(), |_| Ok(()))
}

/// Each round runs every case once and begins with another one, so that what disturbs the machine disturbs all. What
/// comes `before` is not timed.
fn in_turns(
    bench: &mut Bench,
    config: &str,
    rounds: usize,
    cases: &[Case],
    before: impl Fn(&Case) -> Done<()>,
) -> Done<()> {
    let mut costs = vec![Vec::new(); cases.len()];
    for round in 0..WARM_UP + rounds {
        for turn in 0..cases.len() {
            let at = (round + turn) % cases.len();
            before(&cases[at])?;
            let cost = cases[at].command.cost()?;
            if round >= WARM_UP {
                costs[at].push(cost);
            }
        }
    }
    for (case, costs) in cases.iter().zip(costs) {
        let mut add = |quantity: &str, value: fn(&Cost) -> f64| {
            bench.add(case.what, config, quantity, case.runtime, costs.iter().map(value).collect());
        };
        add("cpu_ms", |it| it.cpu_ms);
        add("wall_ms", |it| it.wall_ms);
        add("page_faults", |it| it.page_faults);
    }
    Ok(())
}

/// `run /bin/true`.
fn run(bench: &mut Bench) -> Done<()> {
    for config in CONFIGS {
        let runtimes: Vec<Runtime> = bench.runtimes.iter().filter(|it| it.serves(config)).cloned().collect();
        let bundle = Bundle::of_slot(config, 0);
        interleaved(bench, "run", config, bench.results.rounds, &runtimes, |it| it.make("run", &bundle))?;
    }
    Ok(())
}

/// `run` with many masked paths, and with many bind mounts: what grows faster than their number shows.
fn growth(bench: &mut Bench) -> Done<()> {
    for config in ["masks-250", "masks-500", "masks-1000", "binds-250", "binds-500", "binds-1000"] {
        let runtimes = bench.plain(config, false);
        let bundle = Bundle::of_slot(config, 0);
        interleaved(bench, "run", config, bench.rounds_over(10), &runtimes, |it| it.make("run", &bundle))?;
    }
    Ok(())
}
