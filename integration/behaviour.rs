//! The record of behaviour, `docs/behaviour`, and that of the specification, `docs/spec-conformance.md`: each row of their
//! tables names tests that exist, or says why there is none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn files_below(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The tests of this binary, as it lists them itself.
fn integration_tests() -> BTreeSet<String> {
    let out = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let list = String::from_utf8(out.stdout).unwrap();
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// The unit tests of the library, found in the text of `src`: module of the file, modules in it, function.
fn unit_tests() -> BTreeSet<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    for path in files_below(&src, "rs") {
        let module = path.strip_prefix(&src).unwrap().with_extension("");
        let module: Vec<&str> = module.iter().map(|part| part.to_str().unwrap()).collect();
        let module: Vec<&str> = module.into_iter().filter(|part| !["mod", "lib"].contains(part)).collect();
        found.extend(tests_in(&module, &fs::read_to_string(path).unwrap()).into_iter().map(|test| test.join("::")));
    }
    found
}

/// What `#[test]` stands above in `text`, by the path of modules. The text is formatted: indents tell the depth.
fn tests_in<'a>(module: &[&'a str], text: &'a str) -> Vec<Vec<&'a str>> {
    let mut inside: Vec<(usize, &str)> = Vec::new();
    let mut found = Vec::new();
    let mut marked = false;
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let item = ["pub ", "pub(crate) "].iter().find_map(|word| code.strip_prefix(word)).unwrap_or(code);
        if code.starts_with('}') {
            inside.retain(|(at, _)| *at < indent);
        } else if let Some(name) = item.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
            inside.push((indent, name));
        } else if code == "#[test]" {
            marked = true;
        } else if let Some(rest) = item.strip_prefix("fn ").filter(|_| marked) {
            let name = rest.split('(').next().unwrap_or(rest);
            found.push(module.iter().copied().chain(inside.iter().map(|(_, name)| *name)).chain([name]).collect());
            marked = false;
        }
    }
    found
}

/// The cells of a row; `\|` is a bar within a cell.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim().replace("\\|", "\0");
    let row = row.trim_start_matches('|').trim_end_matches('|');
    row.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// What is wrong with the second cell of a row.
fn faults_of_proof(proof: &str, integration: &BTreeSet<String>, unit: &BTreeSet<String>) -> Vec<String> {
    let (tests, reason) = proof.split_once("reason:").map_or((proof, None), |(tests, why)| (tests, Some(why.trim())));
    let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
    let unknown = tests.iter().filter(|test| match test.strip_prefix("unit: ") {
        Some(name) => !unit.contains(name),
        None => !integration.contains(**test),
    });
    let mut faults: Vec<String> = unknown.map(|test| format!("no such test: `{test}`")).collect();
    if tests.is_empty() && reason.is_none_or(str::is_empty) {
        faults.push("neither a test nor a reason".to_owned());
    }
    faults
}

/// What is wrong with the tables of one file, by line.
fn faults(text: &str, integration: &BTreeSet<String>, unit: &BTreeSet<String>) -> Vec<String> {
    let lines: Vec<&str> = text.lines().chain([""]).collect();
    let is_row = |line: &str| line.trim_start().starts_with('|');
    let mut faults = Vec::new();
    let mut begin = None;
    for (at, line) in lines.iter().enumerate() {
        match begin {
            None if is_row(line) => begin = Some(at),
            Some(first) if !is_row(line) => {
                let table = &lines[first..at];
                if cells(table[0]) != ["What", "Proven by"] {
                    faults.push(format!("{}: the columns of a table are What and Proven by", first + 1));
                }
                if table.len() < 3 {
                    faults.push(format!("{}: a table without rows", first + 1));
                }
                for (row, number) in table.iter().zip(first + 1..).skip(2) {
                    let row_faults = match cells(row).as_slice() {
                        [what, proof] if !what.is_empty() => faults_of_proof(proof, integration, unit),
                        _ => vec!["a row has two cells".to_owned()],
                    };
                    faults.extend(row_faults.into_iter().map(|fault| format!("{number}: {fault}")));
                }
                begin = None;
            }
            _ => {}
        }
    }
    if !lines.iter().any(|line| is_row(line)) {
        faults.push("no table".to_owned());
    }
    faults
}

#[test]
fn every_row_names_tests_that_exist_or_a_reason() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let (integration, unit) = (integration_tests(), unit_tests());
    assert!(integration.contains("behaviour::every_row_names_tests_that_exist_or_a_reason"), "{integration:?}");
    assert!(unit.len() > 100, "{unit:?}");
    let behaviour = files_below(&docs.join("behaviour"), "md");
    let behaviour = behaviour.into_iter().filter(|path| !path.ends_with("README.md"));
    let files = behaviour.chain([docs.join("spec-conformance.md")]);
    let wrong: Vec<String> = files
        .flat_map(|path| {
            let found = faults(&fs::read_to_string(&path).unwrap(), &integration, &unit);
            found.into_iter().map(move |fault| format!("{}:{fault}", path.display()))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rows_that_prove_nothing_are_found() {
    let integration = BTreeSet::from(["exec::detached".to_owned()]);
    let unit = BTreeSet::from(["cli::tests::help".to_owned()]);
    for (rows, fault) in [
        ("| a | `exec::detached` |", None),
        ("| a \\| b | `exec::detached`, `unit: cli::tests::help` |", None),
        ("| a | reason: `nothing` to see |", None),
        ("| a | `exec::detached`; reason: the rest is the kernel's |", None),
        ("| a | `exec::gone` |", Some("3: no such test: `exec::gone`")),
        ("| a | `cli::tests::help` |", Some("3: no such test: `cli::tests::help`")),
        ("| a | `unit: exec::detached` |", Some("3: no such test: `unit: exec::detached`")),
        ("| a | `exec::gone`; reason: x |", Some("3: no such test: `exec::gone`")),
        ("| a | exec::detached |", Some("3: neither a test nor a reason")),
        ("| a | reason: |", Some("3: neither a test nor a reason")),
        ("| a | |", Some("3: neither a test nor a reason")),
        ("| a | reason: x | y |", Some("3: a row has two cells")),
        ("", Some("1: a table without rows")),
    ] {
        let found = faults(&format!("| What | Proven by |\n|---|---|\n{rows}"), &integration, &unit);
        assert_eq!(found, Vec::from_iter(fault), "{rows}");
    }
    assert_eq!(faults("only text", &integration, &unit), ["no table"]);
    let found = faults("| Other | Columns |\n|---|---|\n| a | reason: b |", &integration, &unit);
    assert_eq!(found, ["1: the columns of a table are What and Proven by"]);
}

#[test]
fn unit_tests_are_found_in_nested_modules() {
    let text = "#[cfg(test)]\npub(crate) mod tests {\n    #[test]\n    #[should_panic]\n    fn one() {\n    }\n\n    mod inner {\n        \
                #[test]\n        fn two() {\n        }\n    }\n\n    fn helper() {\n    }\n}\n\n#[test]\nfn three() {\n}\n";
    let found: Vec<String> = tests_in(&["a"], text).into_iter().map(|test| test.join("::")).collect();
    assert_eq!(found, ["a::tests::one", "a::tests::inner::two", "a::three"]);
}
