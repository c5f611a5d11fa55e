//! The same bundle and the same commands through onggi, runc and crun: `rivals/cases`, each a script, and what its output
//! is. A difference is named in the head of the case, with its reason: `# runc: ...`, `# crun: ...`.

use crate::images;
use crate::machine::{Finally, repository, sh};
use std::fs;
use std::process::{Command, Stdio};

const RIVALS: [&str; 2] = ["runc", "crun"];

/// The output of a case with a runtime, without what differs from run to run.
fn outcome(case: &str, runtime: &str) -> String {
    let bundle = sh("mktemp -d /tmp/rival.XXXXXX");
    let _finally = Finally(format!("rm -rf {bundle}"));
    let rivals = repository("conformance/rivals");
    let (prelude, script) = (rivals.join("prelude"), rivals.join("cases").join(case));
    let script = format!(". {}\n. {}", prelude.display(), script.display());
    let output = Command::new("timeout")
        .args(["--kill-after=5", "300", "bash", "-uc", &script])
        .current_dir(&bundle)
        .env("RUNTIME", runtime)
        .env("SMALL", images::small())
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    text.replace(&format!("rival-{runtime}"), "ID").replace(&bundle, "BUNDLE")
}

/// The lines that only one of both has.
fn difference(name: &str, ours: &str, rival: &str, theirs: &str) -> String {
    let file = |name: &str, text: &str| {
        let path = format!("/tmp/rivals-{name}");
        fs::write(&path, text).unwrap();
        path
    };
    let (ours, theirs) = (file("onggi", ours), file(rival, theirs));
    let shown = sh(&format!("diff -U 1 --label {rival} --label onggi {theirs} {ours} || true"));
    format!("{name}:\n{shown}")
}

#[test]
fn the_same_with_all() {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(repository("conformance/rivals/cases")).unwrap().flatten() {
        let case = entry.file_name().into_string().unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let ours = outcome(&case, "onggi");
        for rival in RIVALS {
            let theirs = outcome(&case, rival);
            let reason = text.lines().find_map(|line| line.strip_prefix(&format!("# {rival}: ")));
            match (ours == theirs, reason) {
                (true, Some(reason)) => {
                    wrong.push(format!("{case}: no difference to {rival}, against expectation: {reason}"))
                }
                (false, None) => wrong.push(difference(&case, &ours, rival, &theirs)),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
