//! The command line as engines and people use it: flags in every spelling, help, usage errors and their statuses.

use crate::harness::{Bundle, Invocation, Outcome, is_peer};
use serde_json::json;
use std::fs;

fn bare(args: &[&str]) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    Invocation::runtime(dir.path(), args).run()
}

#[test]
fn version() {
    for flag in ["--version", "-v", "-version"] {
        let done = bare(&[flag]).ok().quiet();
        let mut lines = done.stdout.lines();
        let first = lines.next().unwrap();
        assert!(first.contains(" version "), "Docker splits on the word: {first}");
        assert!(done.stdout.lines().any(|line| line.starts_with("spec: 1.")), "{done}");
        assert!(done.stdout.lines().any(|line| line.starts_with("commit: ")), "{done}");
        if !is_peer() {
            assert_eq!(first, format!("onggi version {}", env!("CARGO_PKG_VERSION")));
        }
    }
}

#[test]
fn help_goes_to_stdout() {
    for args in [&["--help"][..], &["-h"], &["create", "--help"], &["kill", "-h"], &["-help"]] {
        let done = bare(args).ok();
        assert!(!done.stdout.is_empty() && done.stderr.is_empty(), "{done}");
    }
}

#[test]
fn usage_errors() {
    bare(&["bogus"]).exits(3).says("No help topic for 'bogus'");
    bare(&["list", "--bogus"]).exits(1).says("flag provided but not defined: -bogus");
    bare(&["create", "--bundle"]).exits(1).says("flag needs an argument: ");
    bare(&["state"]).exits(1).says("\"state\" requires exactly 1 argument(s)");
    bare(&["state", "a", "b"]).exits(1).says("\"state\" requires exactly 1 argument(s)");
    bare(&["kill"]).exits(1).says("\"kill\" requires a minimum of 1 argument(s)");
    bare(&["--root", "/", "list"]).exits(1).says("Option --root argument should not be set to /");
    bare(&["--log-format", "yaml", "list"]).exits(1).says("invalid log-format: yaml");
}

#[test]
fn flags_in_every_spelling() {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle.save();
    let (root, dir) = (bundle.state_root().to_str().unwrap(), bundle.path().to_str().unwrap());
    let (root_is, dir_is) = (format!("--root={root}"), format!("-bundle={dir}"));
    let logs = bundle.logs();
    for args in [
        vec!["--root", root, "run", "--bundle", dir, &bundle.id],
        vec![&root_is, "run", &dir_is, &bundle.id],
        vec!["-root", root, "run", "-bundle", dir, "-no-new-keyring", &bundle.id],
        vec![
            "--root",
            root,
            "--debug=false",
            "--systemd-cgroup=false",
            "--rootless=auto",
            "run",
            "-b",
            dir,
            &bundle.id,
        ],
        vec!["--root", root, "run", "-b", dir, "--no-subreaper", "--keep=false", "--", &bundle.id],
    ] {
        Invocation::runtime(&logs, args).run().ok();
    }
    // Flags after the positional argument.
    Invocation::runtime(&logs, ["--root", root, "run", &bundle.id, "-b", dir]).run().ok();
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = bare(&["--help"]).ok().stdout;
    let list = help.split("COMMANDS:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    list.lines().map(|line| line.split_whitespace().next().unwrap().trim_end_matches(',').to_owned()).collect()
}

#[test]
fn every_command_has_help_with_an_example() {
    let commands = commands();
    for name in
        ["create", "delete", "events", "exec", "features", "help", "kill", "list", "pause", "ps", "resume", "run"]
    {
        assert!(commands.iter().any(|known| known == name), "{name}: {commands:?}");
    }
    for name in commands.iter().filter(|name| *name != "help") {
        let name = name.as_str();
        let help = bare(&[name, "--help"]).ok().quiet().stdout;
        for args in [[name, "-h"], ["help", name]] {
            assert_eq!(bare(&args).ok().quiet().stdout, help);
        }
        if is_peer() {
            continue;
        }
        let mut lines = help.lines();
        assert_eq!(lines.next(), Some("NAME:"));
        assert!(lines.next().unwrap().trim_start().starts_with(&format!("onggi {name} - ")), "{help}");
        let example = help.split("EXAMPLE:\n").nth(1).unwrap();
        assert!(example.trim().starts_with(&format!("onggi {name}")) && example.lines().count() == 1, "{help}");
    }
    let help = bare(&["--help"]).ok().quiet().stdout;
    for args in [&[][..], &["-h"], &["help"], &["h"]] {
        assert_eq!(bare(args).ok().quiet().stdout, help);
    }
    assert!(help.starts_with("NAME:\n"), "{help}");
}

/// What is wrong is said on stderr, and what would have been right on stdout.
#[test]
fn usage_errors_come_with_help() {
    if is_peer() {
        return;
    }
    let done = bare(&["list", "--bogus"]).exits(1);
    assert!(done.stderr.starts_with("Incorrect Usage: flag provided but not defined: -bogus\n"), "{done}");
    assert!(done.stdout.starts_with("NAME:\n   onggi list - "), "{done}");
    let done = bare(&["--bogus", "list"]).exits(1);
    assert!(done.stdout.starts_with("NAME:\n   onggi - "), "{done}");
    let done = bare(&["state"]).exits(1);
    assert_eq!(done.stdout, "Incorrect Usage.\n");
    // The log has the error all the same.
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let args = ["--log", log.to_str().unwrap(), "--log-format=json", "list", "--bogus"];
    Invocation::runtime(dir.path(), args).run().exits(1);
    let entry: serde_json::Value = serde_json::from_slice(&fs::read(log).unwrap()).unwrap();
    assert_eq!((&entry["level"], &entry["msg"]), (&json!("error"), &json!("flag provided but not defined: -bogus")));
}

/// Wrong values are wrong for those alone that look at them, and nothing is done before the number of arguments is right.
#[test]
fn values_are_looked_at_by_who_uses_them() {
    let mut bundle = Bundle::new();
    bundle.asleep();
    bundle.onggi(&["--rootless=garbage", "state", &bundle.id]).ok();
    bundle.onggi(&["--criu", "/no/such", "state", &bundle.id]).ok();
    bundle.onggi(&["delete", "-f", &bundle.id, "more"]).exits(1).says("\"delete\" requires exactly 1 argument(s)");
    bundle.onggi(&["kill", &bundle.id, "KILL", "more"]).exits(1).says("\"kill\" requires a maximum of 2 argument(s)");
    assert_eq!(bundle.status(), "running");
    let path = bundle.path().to_str().unwrap();
    let done = bundle.onggi(&["--rootless=garbage", "create", "-b", path, "other"]).exits(1);
    done.says("invalid --rootless: garbage: use true, false or auto");
    bundle.onggi(&["--log-level", "loud", "list"]).exits(1).says("invalid log-level: loud");
    bundle.onggi(&["--cgroup-manager", "none", "list"]).exits(1).says("invalid cgroup-manager: none");
}

/// The short forms of youki, and crun's name for the configuration.
#[test]
fn names_from_other_runtimes() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/sleep", "1000"]);
    fs::write(bundle.path().join("other.json"), bundle.config.to_string()).unwrap();
    let (root, path, log) = (bundle.state_root(), bundle.path(), bundle.logs().join("log"));
    let (root, path, log) = (root.to_str().unwrap(), path.to_str().unwrap(), log.to_str().unwrap());
    let manager = if crate::harness::test_slice().is_some() { "systemd" } else { "cgroupfs" };
    let pid_file = bundle.logs().join("pid");
    let global = ["-r", root, "-l", log, "--cgroup-manager", manager];
    let create = ["create", "-b", path, "-f", "other.json", "-p", pid_file.to_str().unwrap(), &bundle.id];
    Invocation::runtime(&bundle.logs(), [&global[..], &create].concat()).run().ok().quiet();
    assert_eq!(fs::read_to_string(pid_file).unwrap(), bundle.pid().to_string());
    // It is the container's own configuration from now on.
    bundle.verb("start", &[]).ok();
    fs::remove_file(bundle.path().join("other.json")).unwrap();
    bundle.exec(&[], &["true"]).ok();
    bundle.verb("state", &["-bogus"]).exits(1);
    Invocation::runtime(&bundle.logs(), [&global[..], &["state", "nosuch"]].concat()).run().exits(1);
    assert!(fs::read_to_string(log).unwrap().contains("container does not exist"));
}

/// Errors name the file that they are about.
#[test]
fn another_configuration_is_named_in_errors() {
    if is_peer() {
        return;
    }
    let bundle = Bundle::new();
    let path = bundle.path().to_str().unwrap();
    let create = |config: &str| bundle.onggi(&["create", "--bundle", path, "--config", config, &bundle.id]).exits(1);
    create("other.json").says("JSON specification file other.json not found");
    let mut config = bundle.config.clone();
    config["process"]["cwd"] = json!("relative");
    let elsewhere = bundle.logs().join("elsewhere.json");
    fs::write(&elsewhere, config.to_string()).unwrap();
    create(elsewhere.to_str().unwrap()).says(&format!("{}: process.cwd", elsewhere.display()));
    fs::write(bundle.path().join("other.json"), "{").unwrap();
    create("other.json").says("other.json: ").says("line 1");
}

#[test]
fn checkpoint_and_restore_are_not_offered() {
    if is_peer() {
        return;
    }
    let bundle = Bundle::new();
    for args in [
        &["checkpoint", &bundle.id][..],
        &["restore", "--detach", "-no-subreaper", "--bundle", "/", &bundle.id],
        &["init"],
    ] {
        bundle.onggi(args).exits(3).says(&format!("No help topic for '{}'", args[0]));
    }
    // Podman and CRI-O probe for it this way.
    bare(&["checkpoint", "--help"]).exits(1);
}
