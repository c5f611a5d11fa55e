//! `exec`, `state` and `kill`, on a container that stays.

use super::interleaved;
use crate::process::reap_all;
use crate::runtime::{Bundle, Runtime};
use crate::{Bench, Done};

/// Starts the container of that config which stays.
pub fn begin(runtime: &Runtime, config: &str) -> Done<()> {
    let bundle = Bundle::staying(config, runtime);
    runtime.make("create", &bundle).cost()?;
    runtime.about("start", &bundle, &[]).cost().map(drop)
}

/// Ends those containers again.
pub fn end(runtimes: &[Runtime], config: &str) -> Done<()> {
    for runtime in runtimes {
        let bundle = Bundle::staying(config, runtime);
        if runtime.is_floor() {
            let group = std::env::var("ONGGI_TEST_CGROUP")?;
            std::fs::write(format!("/sys/fs/cgroup{group}/{}/cgroup.kill", bundle.id), "1")?;
        } else {
            runtime.about("kill", &bundle, &["KILL"]).cost()?;
        }
    }
    reap_all()?;
    for runtime in runtimes {
        runtime.about("delete", &Bundle::staying(config, runtime), &[]).cost()?;
    }
    Ok(())
}

/// Measures the commands on a running container.
pub fn stay(bench: &mut Bench) -> Done<()> {
    for config in ["spec", "docker"] {
        let stays = format!("{config}-stay");
        let all: Vec<Runtime> = bench.runtimes.iter().filter(|it| it.serves(&stays)).cloned().collect();
        for runtime in &all {
            begin(runtime, config)?;
        }
        interleaved(bench, "exec", &stays, bench.results.rounds, &all, |runtime| {
            runtime.about("exec", &Bundle::staying(config, runtime), &["/bin/true"])
        })?;
        let plain = bench.plain(&stays, false);
        for (verb, more) in [("state", &[][..]), ("kill", &["CONT"])] {
            interleaved(bench, verb, &stays, bench.results.rounds, &plain, |runtime| {
                runtime.about(verb, &Bundle::staying(config, runtime), more)
            })?;
        }
        end(&all, config)?;
    }
    Ok(())
}
