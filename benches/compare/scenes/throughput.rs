//! Containers a second, several at a time.

use crate::process::wait;
use crate::runtime::{Bundle, Runtime};
use crate::{Bench, Done};
use std::collections::HashMap;
use std::time::Instant;

/// How many at a time.
const WIDTHS: [usize; 3] = [1, 2, 8];
/// Containers of one runtime before the next one's turn.
const BATCH: usize = 24;

/// Runs batches of `run`, in turns.
pub fn throughput(bench: &mut Bench) -> Done<()> {
    for config in ["spec", "docker"] {
        for width in WIDTHS {
            let mut runtimes = bench.plain(config, true);
            // youki 0.7 waits for ever when its container ends before it listens for that, which happens here.
            runtimes.retain(|it| it.name != "current_youki");
            let rounds = bench.rounds_over(15);
            let mut rates = vec![Vec::new(); runtimes.len()];
            for round in 0..=rounds {
                for turn in 0..runtimes.len() {
                    let at = (round + turn) % runtimes.len();
                    let rate = batch(&runtimes[at], config, width)?;
                    if round > 0 {
                        rates[at].push(rate);
                    }
                }
            }
            for (runtime, rates) in runtimes.iter().zip(rates) {
                bench.add(&format!("throughput-{width}"), config, "per_second", runtime, rates);
            }
        }
    }
    Ok(())
}

fn batch(runtime: &Runtime, config: &str, width: usize) -> Done<f64> {
    let commands: Vec<_> = (0..width).map(|slot| runtime.make("run", &Bundle::of_slot(config, slot))).collect();
    let mut running = HashMap::new();
    let mut free: Vec<usize> = (0..width).collect();
    let (mut begun, mut ended) = (0, 0);
    let start = Instant::now();
    while ended < BATCH {
        while begun < BATCH
            && let Some(slot) = free.pop()
        {
            running.insert(commands[slot].spawn()?, slot);
            begun += 1;
        }
        let (pid, status, _) = wait(-1)?.ok_or("the processes are gone")?;
        // Others are processes that a runtime left to us.
        if let Some(slot) = running.remove(&pid) {
            commands[slot].succeeded(status)?;
            free.push(slot);
            ended += 1;
        }
    }
    Ok(f64::from(u32::try_from(BATCH)?) / start.elapsed().as_secs_f64())
}
