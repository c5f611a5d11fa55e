//! Tables of configs that are refused: at which moment, with which words, and nothing left behind.

use super::{Bundle, Snapshot, is_peer};
use serde_json::{Value, json};
use std::fs;

/// When a config is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before anything is made: not even the state root comes to be, and no hook runs.
    Validation,
    /// While the container is made, before its hooks: all is undone, and no hook runs.
    Creation,
    /// After the hooks of its making: all is undone, and then the poststop hooks run.
    AfterHooks,
}

/// A change of a bundle.
pub type Edit = fn(&mut Bundle) -> &mut Bundle;

/// One bad thing in a good config, the moment at which it is refused, and what the error says.
pub type Refusal<'a> = (Edit, Moment, &'a [&'a str]);

/// Asserts that `create` and `run` refuse each config as the table says, and that the same id can be made right after.
/// Each starts from a config that `prepare` has changed.
#[track_caller]
pub fn check_refusals(prepare: Edit, table: &[Refusal<'_>]) {
    let mut bundle = Bundle::new();
    for kind in ["createRuntime", "poststop"] {
        bundle.set(&format!("/hooks/{kind}"), noting(&bundle, kind));
    }
    bundle.args(&["/bin/echo", "ran"]);
    prepare(&mut bundle);
    let good = bundle.config.clone();
    // What mounts need in the root filesystem comes to be here.
    works(&bundle);
    for (edit, moment, says) in table {
        edit(&mut bundle);
        for verb in ["create", "run"] {
            refused(&bundle, verb, *moment, says);
        }
        bundle.config.clone_from(&good);
        works(&bundle);
    }
}

/// A hook that adds a line to the file of [`noted`].
fn noting(bundle: &Bundle, text: &str) -> Value {
    let file = bundle.logs().join("hooks");
    json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("echo {text} >> {}", file.display())]}])
}

/// The hooks that have run since this was last asked, in their order.
fn noted(bundle: &Bundle) -> String {
    let file = bundle.logs().join("hooks");
    let lines = fs::read_to_string(&file).unwrap_or_default();
    if !lines.is_empty() {
        fs::remove_file(file).expect("the list of hooks");
    }
    lines.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn works(bundle: &Bundle) {
    bundle.warm_up();
    assert_eq!(noted(bundle), "createRuntime poststop");
    // Fails if anything is left in it.
    fs::remove_dir(bundle.state_root()).expect("an empty state root");
}

#[track_caller]
fn refused(bundle: &Bundle, verb: &str, moment: Moment, says: &[&str]) {
    let before = Snapshot::of(bundle);
    // In the bundle's directory, which is compared; so is what the file is called while it is written.
    let pid_file = bundle.path().join("pid");
    let mut done = bundle.start_with(verb, &["--pid-file", pid_file.to_str().expect("utf-8")]).run().exits(1).fails();
    assert_eq!(done.stdout, "", "the program must not run: {done}");
    for text in says {
        done = done.says(text);
    }
    let hooks = noted(bundle);
    let root = bundle.state_root();
    if is_peer() {
        // At another moment perhaps; to be left empty all the same.
        assert!(!root.exists() || fs::remove_dir(root).is_ok(), "{done}");
        return before.assert_unchanged(bundle);
    }
    assert!(!done.stderr.contains("panicked"), "{done}");
    let expected = if moment == Moment::AfterHooks { "createRuntime poststop" } else { "" };
    assert_eq!(hooks, expected, "the hooks that ran, {moment:?}: {done}");
    assert_eq!(root.exists(), moment != Moment::Validation, "whether the state root was made, {moment:?}: {done}");
    if root.exists() {
        fs::remove_dir(root).expect("an empty state root");
    }
    before.assert_unchanged(bundle);
}
