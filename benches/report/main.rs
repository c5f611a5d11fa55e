//! What became of a bench: verdicts, tables and plots.
//!
//! ```text
//! report print RESULTS                  the targets, and the times beside crun's
//! report write                          the same of docs/performance/, and the plots and documents made of it
//! report gate RESULTS LIMITS LIBRARY    fails when a count is above its limit for a binary with that C library
//! ```
#![allow(clippy::print_stdout, reason = "the tables are the result")]

mod documents;
mod gate;
mod plots;
#[path = "../results.rs"]
mod results;
mod tables;
mod targets;

use results::Results;
use std::error::Error;
use std::path::Path;

/// What goes wrong ends it.
type Done<T> = Result<T, Box<dyn Error>>;

/// Where the results of `make bench` are, and its plots.
const PLACE: &str = "docs/performance";

/// Results as JSON.
fn read(path: &Path) -> Done<Results> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["print", path] => {
            let results = read(Path::new(path))?;
            println!("\n{}\n{}", tables::times(&results), tables::measured_targets(&results));
        }
        ["write"] => {
            let mut results = read(&Path::new(PLACE).join("results.json"))?;
            let machine = Path::new(PLACE).join("vm.json");
            if machine.exists() {
                results.join(read(&machine)?);
            }
            println!("\n{}\n{}", tables::times(&results), tables::targets(&results));
            plots::draw(&results, Path::new(PLACE))?;
            documents::fill(&results)?;
        }
        ["gate", path, limits, library] => {
            gate::judge(&read(Path::new(path))?, &std::fs::read_to_string(limits)?, library)?;
        }
        _ => return Err("usage: report print RESULTS | write | gate RESULTS LIMITS LIBRARY".into()),
    }
    Ok(())
}
