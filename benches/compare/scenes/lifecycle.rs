//! `create`, `start` and `delete`, by stage.

use super::WARM_UP;
use crate::process::{milliseconds, reap_all};
use crate::runtime::{Bundle, Runtime};
use crate::{Bench, Done};
use std::time::Instant;

/// The stages, of which `end` is the wait for the program, and all of them together.
const STAGES: [&str; 5] = ["create", "start", "end", "delete", "lifecycle"];

/// Times the stages of spec and Docker-like containers.
pub fn lifecycle(bench: &mut Bench) -> Done<()> {
    for config in ["spec", "docker"] {
        let runtimes = bench.plain(config, true);
        let mut times = vec![[const { Vec::new() }; STAGES.len()]; runtimes.len()];
        for round in 0..WARM_UP + bench.rounds_over(2) {
            for turn in 0..runtimes.len() {
                let at = (round + turn) % runtimes.len();
                let stages = once(&runtimes[at], &Bundle::of_slot(config, 0))?;
                if round >= WARM_UP {
                    times[at].iter_mut().zip(stages).for_each(|(all, one)| all.push(one));
                }
            }
        }
        for (runtime, times) in runtimes.iter().zip(times) {
            for (stage, values) in STAGES.iter().zip(times) {
                bench.add(stage, config, "wall_ms", runtime, values);
            }
        }
    }
    Ok(())
}

fn once(runtime: &Runtime, bundle: &Bundle) -> Done<[f64; STAGES.len()]> {
    let begin = Instant::now();
    let create = runtime.make("create", bundle).cost()?.wall_ms;
    let start = runtime.about("start", bundle, &[]).cost()?.wall_ms;
    let ending = Instant::now();
    reap_all()?;
    let end = milliseconds(ending.elapsed());
    let delete = runtime.about("delete", bundle, &[]).cost()?.wall_ms;
    Ok([create, start, end, delete, milliseconds(begin.elapsed())])
}
