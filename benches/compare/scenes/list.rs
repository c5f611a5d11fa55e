//! `list` with 1,000 containers.

use super::interleaved;
use crate::process::{Command, reap_all};
use crate::runtime::{Bundle, Runtime};
use crate::{Bench, Done};
use std::fs;
use std::path::Path;

/// How many.
const CONTAINERS: usize = 1000;

/// Times `list`. One container has ended; the others are copies of its state under other names, since making 1,000
/// would take minutes.
pub fn list(bench: &mut Bench) -> Done<()> {
    let bundle = Bundle::of_slot("spec", 0);
    let runtimes = bench.plain("spec", false);
    for runtime in &runtimes {
        runtime.make("create", &bundle).cost()?;
        runtime.about("start", &bundle, &[]).cost()?;
        reap_all()?;
        for number in 1..CONTAINERS {
            copy(runtime, &bundle.id, &format!("copy-{number}"))?;
        }
        check(&runtime.command("spec", &["list"]))?;
    }
    let measured =
        interleaved(bench, "list", "spec", bench.rounds_over(10), &runtimes, |it| it.command("spec", &["list"]));
    for runtime in &runtimes {
        for number in 1..CONTAINERS {
            fs::remove_dir_all(Path::new(&runtime.root()).join(format!("copy-{number}")))?;
        }
        runtime.about("delete", &bundle, &[]).cost()?;
    }
    measured
}

/// The state of `id` once more, under another name. FIFOs and sockets stay behind: the container has ended.
fn copy(runtime: &Runtime, id: &str, other: &str) -> Done<()> {
    let root = runtime.root();
    let (from, to) = (Path::new(&root).join(id), Path::new(&root).join(other));
    fs::create_dir(&to)?;
    for entry in fs::read_dir(&from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let text = fs::read_to_string(entry.path())?;
            fs::write(to.join(entry.file_name()), text.replace(&format!("\"{id}\""), &format!("\"{other}\"")))?;
        }
    }
    Ok(())
}

/// An error unless it lists all.
fn check(list: &Command) -> Done<()> {
    let output = std::process::Command::new(&list.words[0]).args(&list.words[1..]).output()?;
    let lines = String::from_utf8(output.stdout)?.lines().count();
    let expected = 1 + CONTAINERS;
    if lines == expected {
        Ok(())
    } else {
        Err(format!("{}: {lines} lines, not {expected}", list.words.join(" ")).into())
    }
}
