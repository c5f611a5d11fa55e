//! Times `run` of a bundle with several runtimes, and `exec` into a container of each, interleaved, and counts their
//! system calls.
//!
//! `run_true ROUNDS BUNDLE NAME=PROGRAM[,VARIABLE=VALUE]...`; one NAME is crun, which the others are compared with.
//! BUNDLE-NAME is a bundle whose program stays; without it nothing is executed. The file `title` of a bundle says what is
//! measured. Called by `benches/run`, which makes the bundles and the place.
#![allow(clippy::print_stdout, reason = "the table is the result")]
#![allow(clippy::missing_docs_in_private_items, reason = "one file, which nothing else uses")]

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Runs before the first that counts: page cache, and the directories that a runtime makes once.
const WARM_UP: usize = 5;

/// What one of them cost, in all processes that the runtime waited for.
struct Sample {
    cpu_ms: f64,
    wall_ms: f64,
    page_faults: f64,
}

/// One runtime and what it has cost so far.
struct Runtime {
    name: String,
    program: String,
    /// A variable for its environment.
    variable: Option<(String, String)>,
    samples: Vec<Sample>,
}

impl Runtime {
    fn parse(argument: &str) -> Result<Self, Box<dyn Error>> {
        let wanted = || format!("{argument}: want NAME=PROGRAM[,VARIABLE=VALUE]");
        let (name, rest) = argument.split_once('=').ok_or_else(wanted)?;
        let (program, variable) = match rest.split_once(',') {
            None => (rest, None),
            Some((program, variable)) => (program, Some(variable.split_once('=').ok_or_else(wanted)?)),
        };
        let variable = variable.map(|(name, value)| (name.into(), value.into()));
        Ok(Self { name: name.into(), program: program.into(), variable, samples: Vec::new() })
    }

    /// `command`, with these arguments of the runtime's after what it has already.
    fn complete(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(["--root", &format!("/run/bench-{}", self.name)]).args(arguments);
        command.envs(self.variable.clone()).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn once(&self, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
        let status = self.complete(Command::new(&self.program), arguments).stderr(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(format!("{} {}: {status}", self.name, arguments.join(" ")).into()) }
    }

    fn measure(&self, arguments: &[&str]) -> Result<Sample, Box<dyn Error>> {
        let mut command = self.complete(Command::new(&self.program), arguments);
        let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let start = Instant::now();
        let status = command.status()?;
        let wall_ms = start.elapsed().as_secs_f64() * 1e3;
        let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        if !status.success() {
            return Err(format!("{} {}: {status}", self.name, arguments.join(" ")).into());
        }
        let cpu_us =
            (after.user_time() + after.system_time() - before.user_time() - before.system_time()).num_microseconds();
        let faults = after.minor_page_faults() - before.minor_page_faults();
        Ok(Sample {
            cpu_ms: f64::from(i32::try_from(cpu_us)?) / 1e3,
            wall_ms,
            page_faults: f64::from(i32::try_from(faults)?),
        })
    }

    /// Number of system calls, children and the program in the container included.
    fn system_calls(&self, arguments: &[&str]) -> Result<u32, Box<dyn Error>> {
        let table = Path::new("/run").join(format!("strace-{}", self.name));
        let mut command = Command::new("strace");
        command.args(["--follow-forks", "--summary-only", "--quiet=all", "--output"]).arg(&table);
        command.arg(&self.program);
        if !self.complete(command, arguments).status()?.success() {
            return Err(format!("strace of {} failed", self.name).into());
        }
        let text = std::fs::read_to_string(&table)?;
        // "% time, seconds, usecs/call, calls, [errors,] total"
        let total = text.lines().rev().find(|line| line.ends_with(" total")).ok_or("strace printed no total")?;
        Ok(total.split_whitespace().nth(3).ok_or("strace printed no number of calls")?.parse()?)
    }

    fn median(&self, value: impl Fn(&Sample) -> f64) -> f64 {
        let mut values: Vec<f64> = self.samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
    }
}

/// Each round runs every runtime once and begins with another one, so that what disturbs the machine disturbs all.
fn measure(runtimes: &mut [Runtime], rounds: usize, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let count = runtimes.len();
    for round in 0..WARM_UP + rounds {
        for turn in 0..count {
            let runtime = &mut runtimes[(round + turn) % count];
            let sample = runtime.measure(arguments)?;
            if round >= WARM_UP {
                runtime.samples.push(sample);
            }
        }
    }
    Ok(())
}

/// The table for the bundle of that title.
fn print_table(runtimes: &[Runtime], rounds: usize, arguments: &[&str], titled: &str) -> Result<(), Box<dyn Error>> {
    let peer = runtimes.iter().find(|runtime| runtime.name == "crun").ok_or("no crun to compare with")?;
    let (peer_cpu, peer_wall) = (peer.median(|s| s.cpu_ms), peer.median(|s| s.wall_ms));
    let title = std::fs::read_to_string(Path::new(titled).join("title"))?;
    println!("\n{}: medians of {rounds} interleaved runs each\n", title.trim_end());
    println!("| runtime | CPU ms | of crun | wall ms | of crun | page faults | system calls | binary bytes |");
    println!("|---|---|---|---|---|---|---|---|");
    for runtime in runtimes {
        let (cpu, wall) = (runtime.median(|s| s.cpu_ms), runtime.median(|s| s.wall_ms));
        println!(
            "| {} | {cpu:.2} | {:.2} | {wall:.2} | {:.2} | {:.0} | {} | {} |",
            runtime.name,
            cpu / peer_cpu,
            wall / peer_wall,
            runtime.median(|s| s.page_faults),
            runtime.system_calls(arguments)?,
            std::fs::metadata(&runtime.program)?.len(),
        );
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rounds, bundle, programs @ ..] = arguments.as_slice() else {
        return Err("usage: run_true ROUNDS BUNDLE NAME=PROGRAM...".into());
    };
    let rounds: usize = rounds.parse()?;
    let mut runtimes = programs.iter().map(|program| Runtime::parse(program)).collect::<Result<Vec<_>, _>>()?;
    let run = ["run", "--bundle", bundle, "bench"];
    measure(&mut runtimes, rounds, &run)?;
    print_table(&runtimes, rounds, &run, bundle)?;

    let staying = |runtime: &Runtime| format!("{bundle}-{}", runtime.name);
    let titled = runtimes.first().map(staying).ok_or("no runtime to measure")?;
    if !Path::new(&titled).exists() {
        return Ok(());
    }
    for runtime in &mut runtimes {
        runtime.samples.clear();
        runtime.once(&["run", "--detach", "--bundle", &staying(runtime), "stays"])?;
    }
    let exec = ["exec", "stays", "/bin/true"];
    let measured = measure(&mut runtimes, rounds, &exec);
    let printed = measured.and_then(|()| print_table(&runtimes, rounds, &exec, &titled));
    for runtime in &runtimes {
        runtime.once(&["delete", "--force", "stays"])?;
    }
    printed
}
