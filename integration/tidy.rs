//! The rules of the code that no compiler checks: who may name whom, how long a file may be, what may not be called.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module may name modules of lower rank only; those of rank 2 are mechanisms and never name each other.
const RANKS: [(&str, u32); 23] = [
    ("sys", 0),
    ("error", 0),
    ("host", 1),
    ("bundle", 1),
    ("container", 1),
    ("idmap", 1),
    ("log", 1),
    ("seal", 1),
    ("namespaces", 2),
    ("rootfs", 2),
    ("process", 2),
    ("cgroup", 2),
    ("intel_rdt", 2),
    ("seccomp", 2),
    ("hooks", 2),
    ("plan", 3),
    ("handshake", 4),
    ("child", 4),
    ("parent", 4),
    ("commands", 5),
    ("cli", 6),
    ("main", 6),
    ("lib", 7),
];

/// Same rank and still allowed: the floor knows its error, the sides of the clone speak the same messages.
const PEERS: [(&str, &str); 6] = [
    ("sys", "error"),
    ("error", "sys"),
    ("child", "handshake"),
    ("parent", "handshake"),
    ("parent", "child"),
    ("main", "cli"),
];

const MAX_LINES: usize = 600;

fn crate_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&crate_root().join(dir), &mut paths);
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The sources of the program, without files that are modules of tests, benches and fuzz targets.
fn program() -> Vec<(PathBuf, String)> {
    let all = sources("src");
    let mut tests = BTreeSet::new();
    for (path, text) in &all {
        const MARKS: [&str; 2] = ["#[cfg(test)]\nmod ", "#[cfg(any(test, feature = \"internals\"))]\npub mod "];
        for (at, mark) in MARKS.iter().flat_map(|mark| text.match_indices(mark)) {
            let name = first_word(&text[at + mark.len()..]);
            let stem = path.file_stem().unwrap();
            let beside = path.parent().unwrap();
            let directory = if stem == "mod" || stem == "lib" { beside.to_owned() } else { beside.join(stem) };
            tests.insert(directory.join(format!("{name}.rs")));
        }
    }
    all.into_iter().filter(|(path, _)| !tests.contains(path)).collect()
}

/// The code without comments and without the module of unit tests at its end.
fn code(text: &str) -> String {
    let before_tests = text.split("\n#[cfg(test)]").next().unwrap_or(text);
    let lines = before_tests.lines().map(|line| {
        let at = line.find("//").filter(|at| !line[..*at].contains('"'));
        at.map_or(line, |at| &line[..at])
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn short(path: &Path) -> String {
    path.strip_prefix(crate_root()).unwrap().to_string_lossy().into_owned()
}

/// The top-level module that a file of `src` belongs to.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix(crate_root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn rank(module: &str) -> u32 {
    let known = RANKS.iter().find(|(name, _)| *name == module);
    known.unwrap_or_else(|| panic!("{module} has no rank: add it to the table in integration/tidy.rs")).1
}

/// Modules named by `crate::x` and `crate::{x, y::z}`, in `use` lines and elsewhere.
fn named(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("onggi::")) {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut item = String::new();
            for letter in group.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => {
                        found.insert(first_word(&item));
                        item.clear();
                        continue;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                item.push(letter);
            }
            found.insert(first_word(&item));
        } else {
            found.insert(first_word(rest));
        }
    }
    found.remove("");
    found
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

#[test]
fn modules_name_lower_ranks_only() {
    let mut wrong = Vec::new();
    for (path, text) in program() {
        let from = module(&path);
        for to in named(&code(&text)) {
            if to == from || !RANKS.iter().any(|(name, _)| *name == to) {
                continue;
            }
            let allowed = rank(&to) < rank(&from) || PEERS.contains(&(from.as_str(), to.as_str()));
            if !allowed {
                wrong.push(format!("{} (rank {}) names {to} (rank {})", short(&path), rank(&from), rank(&to)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_rank() {
    for (path, _) in sources("src") {
        rank(&module(&path));
    }
}

#[test]
fn files_are_short() {
    let all = sources("src").into_iter().chain(sources("integration"));
    let long = all.filter(|(_, text)| {
        !text.lines().take(5).any(|line| line == "// @generated") && text.lines().count() > MAX_LINES
    });
    let long: Vec<String> =
        long.map(|(path, text)| format!("{}: {} lines", short(&path), text.lines().count())).collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn files_begin_with_what_they_are_for() {
    let all = sources("src").into_iter().chain(sources("integration"));
    let bare = all.filter(|(_, text)| {
        let first = text.lines().find(|line| *line != "// @generated" && !line.trim().is_empty());
        !first.is_some_and(|line| line.starts_with("//! ") && line.len() > 10)
    });
    let bare: Vec<String> = bare.map(|(path, _)| short(&path)).collect();
    assert!(bare.is_empty(), "no module documentation in the first line:\n{}", bare.join("\n"));
}

/// Whether `line` has `call` as a whole word: `this_process::exit(` is not `process::exit(`.
fn calls(line: &str, call: &str) -> bool {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(call)
        .any(|(at, _)| call.starts_with('.') || !line[..at].chars().next_back().is_some_and(is_word))
}

#[test]
fn nothing_banned_is_called() {
    let banned = [
        ".unwrap()",
        ".expect(",
        ".unwrap_err()",
        "panic!(",
        "todo!(",
        "unimplemented!(",
        "unreachable!(",
        "process::exit(",
        "thread::spawn(",
        "thread::Builder",
        "env::set_var(",
        "dbg!(",
        "println!(",
        "eprintln!(",
    ];
    let mut wrong = Vec::new();
    for (path, text) in program() {
        let code = code(&text);
        for call in banned {
            for (number, line) in code.lines().enumerate().filter(|(_, line)| calls(line, call)) {
                wrong.push(format!("{}:{}: {call} in {}", short(&path), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether `code` names the crate `name` (and not a module of ours that is called the same).
fn names_crate(code: &str, name: &str) -> bool {
    let ours = [
        format!("mod {name};"),
        format!("::{name};"),
        format!("::{name}}}"),
        format!("::{{{name}"),
        format!(", {name}"),
    ];
    if ours.iter().any(|own| code.contains(own.as_str())) {
        return code.contains(&format!("use {name}::")) || code.contains(&format!(" ::{name}::"));
    }
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':')
    }) || code.contains(&format!("use {name};"))
}

#[test]
fn system_calls_are_behind_the_fence() {
    let mut wrong = Vec::new();
    for (path, text) in program() {
        if module(&path) == "sys" {
            continue;
        }
        let code = code(&text);
        for name in ["nix", "libc", "caps", "rustix"] {
            if names_crate(&code, name) {
                wrong.push(format!("{} names {name}", short(&path)));
            }
        }
        let words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        if words.clone().any(|word| word == "unsafe" || word == "unsafe_code") {
            wrong.push(format!("{} has unsafe code", short(&path)));
        }
    }
    assert!(wrong.is_empty(), "only src/sys may:\n{}", wrong.join("\n"));
}

/// Every crate that is not fenced by `sys` has one module that may name it.
#[test]
fn other_crates_have_one_home() {
    let homes: [(&str, &[&str]); 4] = [
        (
            "oci_spec",
            &["bundle", "idmap", "plan", "namespaces", "rootfs", "process", "cgroup", "intel_rdt", "seccomp", "hooks"],
        ),
        ("seccompiler", &["seccomp", "sys"]),
        ("procfs", &["host", "container"]),
        ("clap", &["cli", "main"]),
    ];
    let mut wrong = Vec::new();
    for (path, text) in program() {
        let code = code(&text);
        for (name, allowed) in homes {
            if names_crate(&code, name) && !allowed.contains(&module(&path).as_str()) {
                wrong.push(format!("{} names {name}", short(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names by which `code` uses the types of oci-spec.
fn oci_names(code: &str) -> BTreeSet<String> {
    let imports = code.split("use oci_spec::runtime").skip(1).map(|rest| rest.split(';').next().unwrap_or_default());
    let items = imports.flat_map(|import| import.split([',', '{', '}', ':']));
    let names = items.map(|item| first_word(item.rsplit("as ").next().unwrap_or_default()));
    names.filter(|name| !name.is_empty()).chain(["oci_spec".to_owned()]).collect()
}

/// Everything from each `start` to the nearest of `ends`.
fn items<'a>(code: &'a str, start: &'a str, ends: &'a [&str]) -> impl Iterator<Item = &'a str> {
    code.match_indices(start).map(move |(at, _)| {
        let rest = &code[at..];
        &rest[..ends.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len())]
    })
}

/// What acts never sees config.json: no type of oci-spec in what `plan` gives, nor in a function of the child.
#[test]
fn the_config_ends_at_the_plan() {
    let mut wrong = Vec::new();
    for (path, text) in program() {
        let code = code(&text);
        if !names_crate(&code, "oci_spec") || module(&path) == "bundle" {
            continue;
        }
        let names = oci_names(&code);
        // `Input` is what a plan is made from.
        let structs = items(&code, "struct ", &["\n}", ";"]).filter(|item| !item.starts_with("struct Input"));
        let acts = items(&code, "fn ", &[" {\n"]).filter(|item| item.contains("&InChild"));
        for item in structs.chain(acts) {
            let mut words = item.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            if words.any(|word| names.contains(word)) {
                wrong.push(format!("{}: {}", short(&path), item.lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rows of a table of ranks: rank and modules in it.
fn documented_ranks(text: &str) -> BTreeSet<(String, u32)> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(|line| line.trim_start_matches("//! ")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, ranks, modules, ..] = cells.as_slice() else { continue };
        let ranks: Vec<u32> = ranks.split(", ").filter_map(|rank| rank.parse().ok()).collect();
        // "5, 6 | a; b, c": a has the first, b and c have the second.
        for (rank, names) in ranks.iter().zip(modules.split(';')) {
            found.extend(names.split('`').skip(1).step_by(2).map(|name| (name.to_owned(), *rank)));
        }
    }
    found
}

#[test]
fn ranks_are_documented_as_they_are_checked() {
    let checked: BTreeSet<_> =
        RANKS.iter().filter(|(name, _)| *name != "lib").map(|(name, rank)| ((*name).to_owned(), *rank)).collect();
    for file in ["README.md", "src/lib.rs"] {
        let text = fs::read_to_string(crate_root().join(file)).unwrap();
        assert_eq!(documented_ranks(&text), checked, "{file}");
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = fs::read_to_string(crate_root().join("Cargo.toml")).unwrap();
    let mut in_dependencies = false;
    let mut before = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies && line.contains('=') {
            assert!(before.starts_with('#'), "no reason above: {line}");
        }
        before = line;
    }
}

#[test]
fn this_version_is_in_the_changelog() {
    let changelog = fs::read_to_string(crate_root().join("CHANGELOG.md")).expect("CHANGELOG.md");
    let version = env!("CARGO_PKG_VERSION");
    assert!(changelog.lines().any(|line| line.starts_with('#') && line.contains(version)), "no heading for {version}");
}
