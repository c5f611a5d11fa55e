//! Measures runtimes beside each other, interleaved, and writes what they cost as JSON.
//!
//! `compare RESULTS ROUNDS SCENES NAME=PROGRAM[,VARIABLE=VALUE]...`; SCENES is a list of names with commas, or `all`. The
//! bundles are in `$BENCH/bundles` (`/bench/bundles`), made by `benches/bundles`. An `@` in PROGRAM stands for the config.
//! Called by `benches/run` and `benches/gate`, which make the place and tell the whole story.
#![allow(clippy::print_stdout, reason = "tells how far it is")]

mod counts;
mod grace;
mod machine;
mod process;
#[path = "../results.rs"]
#[allow(dead_code, reason = "`report` reads it")]
mod results;
mod runtime;
mod scenes;
mod statistics;

use results::Results;
use runtime::{Runtime, place};
use std::error::Error;
use std::time::Instant;

/// Of a bench: what goes wrong ends it.
type Done<T> = Result<T, Box<dyn Error>>;

/// What all scenes share.
struct Bench {
    /// Those that are compared.
    runtimes: Vec<Runtime>,
    /// What was measured so far.
    results: Results,
}

impl Bench {
    /// Those that can do what all can do, in the one way that each has by default.
    fn plain(&self, config: &str, with_floor: bool) -> Vec<Runtime> {
        let plain = |it: &&Runtime| !it.is_variant() && it.serves(config) && (with_floor || !it.is_floor());
        self.runtimes.iter().filter(plain).cloned().collect()
    }

    /// So many times fewer rounds than of `run`, for what lasts longer.
    fn rounds_over(&self, times_fewer: usize) -> usize {
        (self.results.rounds / times_fewer).max(1)
    }

    /// Remembers the values of one kind.
    fn add(&mut self, what: &str, config: &str, quantity: &str, runtime: &Runtime, values: Vec<f64>) {
        let config = config.trim_end_matches("-stay");
        self.results.measures.push(statistics::measure(what, config, quantity, &runtime.name, values));
    }
}

/// Current peers are taken as they come; those that can't run the configs are left out, and said to be.
fn leave_out_what_fails(bench: &mut Bench) {
    let works = |runtime: &Runtime| {
        let run = |config| runtime.make("run", &runtime::Bundle::of_slot(config, 0)).cost().map(drop);
        run("spec").and_then(|()| run("docker"))
    };
    let Bench { runtimes, results, .. } = bench;
    runtimes.retain(|runtime| match works(runtime) {
        Err(error) if runtime.name.starts_with("current_") => {
            results.remarks.push(format!("{} is left out: {error}", runtime.name));
            false
        }
        _ => true,
    });
}

fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [results, rounds, scenes, programs @ ..] = arguments.as_slice() else {
        return Err("usage: compare RESULTS ROUNDS SCENES NAME=PROGRAM...".into());
    };
    let mut bench = Bench {
        runtimes: programs.iter().map(|it| Runtime::parse(it)).collect::<Done<_>>()?,
        results: Results { rounds: rounds.parse()?, ..Results::default() },
    };
    // Containers become our children when the command that made them ends, so that we see them end.
    nix::sys::prctl::set_child_subreaper(true)?;
    for runtime in &bench.runtimes {
        std::fs::create_dir_all(runtime.root())?;
        if !runtime.is_floor() && !runtime.is_variant() {
            let version = machine::version(&runtime.program("spec"))?;
            bench.results.versions.insert(runtime.name.clone(), version);
        }
    }
    leave_out_what_fails(&mut bench);
    bench.results.machine = machine::describe()?;
    let wanted: Vec<&str> = scenes.split(',').collect();
    let start = Instant::now();
    let all = scenes::ALL.iter().filter(|(name, _)| wanted.contains(&"all") || wanted.contains(name));
    let in_machine = scenes::IN_MACHINE.iter().filter(|(name, _)| wanted.contains(name));
    for (name, scene) in all.chain(in_machine) {
        let before = start.elapsed();
        scene(&mut bench)?;
        println!("bench: {name}: {:.0} s", (start.elapsed() - before).as_secs_f64());
    }
    std::fs::write(place().join(results), bench.results.to_json()?)?;
    Ok(())
}
