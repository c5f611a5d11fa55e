//! The validation suite of the OCI (`runtime-tools`): each of its programs against onggi and against Debian's runc and
//! crun. `docs/conformance.md` has the table; `conformance/runtime-tools/expected` what can't pass, and why.

use crate::machine::{Finally, repository, sh};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// What a program of the suite found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// Ended well without a single check.
    Silent,
}

impl Verdict {
    fn of(success: bool, output: &str) -> Self {
        let checks = |prefix: &str| output.lines().filter(|line| line.starts_with(prefix)).count();
        match (success, checks("not ok "), checks("ok ")) {
            (true, 0, 0) => Self::Silent,
            (true, 0, _) => Self::Passed,
            _ => Self::Failed,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Silent => "no verdict",
        }
    }
}

/// The names of the suite's programs.
fn programs() -> Vec<String> {
    let files = fs::read_dir(repository("target/runtime-tools")).expect("conformance/run builds the suite");
    let names = files.flatten().map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with("rootfs") && name != "runtimetest").collect();
    names.sort();
    assert!(names.len() > 50, "{names:?}");
    names
}

/// Runs all programs against `runtime`, several at a time, since they mostly sleep. Those about cgroups use fixed paths.
#[expect(clippy::disallowed_methods, reason = "a test, which does not clone processes itself")]
fn judge(runtime: &str) -> BTreeMap<String, (Verdict, String)> {
    let (alone, mut together): (Vec<_>, Vec<_>) =
        programs().into_iter().partition(|name| name.contains("cgroups") || name.starts_with("delete"));
    together.reverse();
    let (queue, found) = (Mutex::new(together), Mutex::new(BTreeMap::new()));
    let run = |name: String| {
        let outcome = program(runtime, &name);
        found.lock().unwrap().insert(name, outcome);
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(name) = queue.lock().unwrap().pop() else { break };
                    run(name);
                }
            });
        }
        alone.into_iter().for_each(run);
    });
    found.into_inner().unwrap()
}

fn program(runtime: &str, name: &str) -> (Verdict, String) {
    let suite = repository("target/runtime-tools");
    let output = Command::new("timeout")
        .args(["--kill-after=5", "300"])
        .arg(suite.join(name))
        .current_dir(&suite)
        .env("RUNTIME", runtime)
        .stdin(Stdio::null())
        .output()
        .expect("a program of the suite");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (Verdict::of(output.status.success(), &text), text)
}

/// `NAME: REASON` of what is expected not to pass.
fn expected() -> BTreeMap<String, String> {
    let text = fs::read_to_string(repository("conformance/runtime-tools/expected")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_once(": ").map(|(name, why)| (name.to_owned(), why.to_owned())).expect(line)).collect()
}

#[test]
fn the_suite() {
    let _left = Finally("rm -rf /tmp/ocitest*".to_owned());
    let expected = expected();
    let found = judge("onggi");
    let mut surprises = Vec::new();
    for (name, (verdict, output)) in &found {
        match (verdict, expected.get(name)) {
            (Verdict::Passed, Some(why)) => surprises.push(format!("{name} passes, against expectation: {why}")),
            (Verdict::Failed | Verdict::Silent, None) => {
                let told: String = output.chars().filter(|letter| *letter != '\u{0}').take(3000).collect();
                surprises.push(format!("{name}: {}\n{told}", verdict.text()));
            }
            _ => {}
        }
    }
    let unknown: Vec<_> = expected.keys().filter(|name| !found.contains_key(*name)).collect();
    assert!(surprises.is_empty() && unknown.is_empty(), "{}\nunknown: {unknown:?}", surprises.join("\n\n"));
    check_table(&found);
}

/// With `ONGGI_PEERS` the columns of the others as well.
fn check_table(onggi: &BTreeMap<String, (Verdict, String)>) {
    let document = fs::read_to_string(repository("docs/conformance.md")).unwrap();
    let row = |cells: &[&str]| format!("| {} |", cells.join(" | "));
    if std::env::var_os("ONGGI_PEERS").is_none() {
        for (name, (verdict, _)) in onggi {
            let start = format!("| {name} | {} |", verdict.text());
            assert!(
                document.contains(&start),
                "docs/conformance.md lacks {start}: `make conformance` tells the whole table"
            );
        }
        return;
    }
    let (runc, crun) = (judge("runc"), judge("crun"));
    let version = |name: &str| sh(&format!("{name} --version | head -n 1 | cut -d ' ' -f 3"));
    let mut table =
        vec![row(&["program", "onggi", &format!("runc {}", version("runc")), &format!("crun {}", version("crun"))])];
    table.push("|---|---|---|---|".to_owned());
    for (name, (verdict, _)) in onggi {
        table.push(row(&[name, verdict.text(), runc[name].0.text(), crun[name].0.text()]));
    }
    let passed = |all: &BTreeMap<String, (Verdict, String)>| {
        all.values().filter(|(verdict, _)| *verdict == Verdict::Passed).count().to_string()
    };
    table.push(row(&["**passed**", &passed(onggi), &passed(&runc), &passed(&crun)]));
    let table = table.join("\n");
    assert!(document.contains(&table), "docs/conformance.md is to have this table:\n{table}");
}
