//! config.json and process files as texts: broken, huge, deeply nested, in another encoding, with a key twice.

use crate::bad_input::refused;
use crate::harness::{Bundle, Outcome, is_peer};
use serde_json::json;
use std::fs;

/// `create` with `text` as config.json.
fn create(bundle: &Bundle, text: impl AsRef<[u8]>) -> Outcome {
    fs::write(bundle.path().join("config.json"), text).unwrap();
    bundle.onggi(&["create", "-b", bundle.path().to_str().unwrap(), &bundle.id])
}

/// Asserts that it is refused before the state root is made, with the file and all of `says`, in few words, and that the id
/// can be used right after.
#[track_caller]
fn check(bundle: &Bundle, text: impl AsRef<[u8]>, says: &[&str]) {
    let says = [&["/config.json: "], says].concat();
    refused(bundle, &says, || {
        let done = create(bundle, &text);
        assert!(is_peer() || done.stderr.len() < 2000, "{} bytes: {done}", done.stderr.len());
        done
    });
    assert!(is_peer() || !bundle.state_root().exists(), "it was refused too late");
    works(bundle, bundle.config.to_string());
}

#[track_caller]
fn works(bundle: &Bundle, text: impl AsRef<[u8]>) {
    create(bundle, text).ok();
    bundle.delete_and_wait();
    fs::remove_dir(bundle.state_root()).unwrap();
}

/// The config with `more` before its last brace.
fn with(bundle: &Bundle, more: &str) -> String {
    let text = bundle.config.to_string();
    format!("{},{more}}}", text.strip_suffix('}').unwrap())
}

fn bundle() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    bundle
}

/// With the line and the column.
#[test]
fn broken() {
    let bundle = bundle();
    for (text, place) in [
        ("{\n  \"ociVersion\": \"1.0.2\",\n  \"process\": {]\n}", "line 3 column 15"),
        ("", "line 1 column 0"),
        ("{\n\"process\": {\"args\": [1]}}", "line 2"),
        ("[1, 2]", "line 1"),
        ("{\"ociVersion\":", "line 1"),
        ("{\"ociVersion\": \"1.0.2\", \"process\": {\"user\": {\"uid\": \"root\"}}}", "process.user.uid: invalid type"),
        ("5", "invalid type"),
        ("// a remark\n{}", "line 1 column 1"),
        ("{'a': 1}", "line 1 column 2"),
        (" null\n", "config cannot be null"),
    ] {
        check(&bundle, text, &[place]);
    }
    check(&bundle, with(&bundle, ""), &["trailing comma"]);
    check(&bundle, with(&bundle, "\"x\": NaN"), &["x: expected value"]);
    check(&bundle, with(&bundle, "\"hostname\": \"b\""), &["hostname: duplicate field"]);
    check(&bundle, with(&bundle, "\"process\": {\"cwd\": \"/\"}"), &["process: duplicate field"]);
    check(&bundle, bundle.config.to_string().strip_suffix('}').unwrap(), &["EOF while parsing"]);
}

/// UTF-8 it must be, in all that is read.
#[test]
fn in_another_encoding() {
    let mut bundle = bundle();
    check(&bundle, format!("\u{feff}{}", bundle.config), &["begins with a byte order mark: write UTF-8 without one"]);
    let utf16: Vec<u8> = format!("\u{feff}{}", bundle.config).encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(&bundle, utf16, &["begins with a byte order mark"]);
    check(&bundle, b"{\"\xff\xfe\": 1}", &["invalid unicode code point at line 1 column 3"]);
    bundle.set("/hostname", json!("name"));
    let with_name = |name: &[u8]| {
        let text = bundle.config.to_string();
        let (before, after) = text.split_once("\"name\"").unwrap();
        [before.as_bytes(), b"\"", name, b"\"", after.as_bytes()].concat()
    };
    check(&bundle, with_name(b"\xff"), &["hostname: invalid unicode code point"]);
    check(&bundle, with_name(b"a\nb"), &["hostname: control character"]);
    check(&bundle, with_name(b"\\ud800"), &["hostname: "]);
}

/// What follows the value is not looked at, as in runc; a key that nobody knows may come twice, and hold anything.
#[test]
fn what_does_not_matter() {
    let bundle = bundle();
    let text = bundle.config.to_string();
    for after in [" garbage", "{}", "\0", "\n\n"] {
        works(&bundle, format!("{text}{after}"));
    }
    works(&bundle, with(&bundle, "\"x\": 1, \"x\": 2"));
    works(&bundle, with(&bundle, "\"x\": 1e999"));
    works(&bundle, with(&bundle, &format!("\"x\": {}", "9".repeat(1000))));
    works(&bundle, with(&bundle, "\"a\\u0000b\": 1"));
}

/// No depth of what is passed over takes our stack, and none of what is known is possible.
#[test]
fn deeply_nested() {
    if is_peer() {
        return;
    }
    let bundle = bundle();
    check(&bundle, "[".repeat(200_000), &[]);
    check(&bundle, "{\"process\":".repeat(200_000), &[]);
    check(&bundle, with(&bundle, &format!("\"mounts\": {}{}", "[".repeat(5000), "]".repeat(5000))), &["mounts"]);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = format!("\"x\": {}1{}", open.repeat(500_000), close.repeat(500_000));
        works(&bundle, with(&bundle, &nested));
    }
}

#[test]
fn huge() {
    if is_peer() {
        return;
    }
    let mut bundle = bundle();
    check(&bundle, with(&bundle, &format!("\"x\": \"{}\"", "a".repeat(17 << 20))), &["larger than 16 MiB"]);
    works(&bundle, with(&bundle, &format!("\"x\": \"{}\"", "a".repeat(15 << 20))));
    bundle.set("/process/user/uid", json!("x".repeat(1 << 20)));
    // A value of a megabyte need not be read out.
    let long = bundle.config.to_string();
    bundle.set("/process/user/uid", json!(0));
    check(&bundle, long, &["process.user.uid: invalid type"]);
}

#[test]
fn a_directory() {
    let bundle = bundle();
    fs::create_dir(bundle.path().join("config.json")).unwrap();
    refused(&bundle, &["config.json", "is a directory"], || {
        bundle.onggi(&["create", "-b", bundle.path().to_str().unwrap(), &bundle.id])
    });
    fs::remove_dir(bundle.path().join("config.json")).unwrap();
    works(&bundle, bundle.config.to_string());
}

/// The same of a file for `exec --process`; the container stays as it was.
#[test]
fn process_files() {
    let mut bundle = bundle();
    bundle.asleep();
    let good = json!({"args": ["/bin/true"], "cwd": "/"}).to_string();
    let with = |more: &str| format!("{},{more}}}", good.strip_suffix('}').unwrap()).into_bytes();
    let file = bundle.logs().join("process.json");
    let exec = |text: &[u8]| {
        fs::write(&file, text).unwrap();
        bundle.exec(&["--process", file.to_str().unwrap()], &[])
    };
    let nested = |depth| with(&format!("\"x\": {}{}", "[".repeat(depth), "]".repeat(depth)));
    let long = with(&format!("\"x\": \"{}\"", "a".repeat(17 << 20)));
    for (text, says) in [
        (Vec::new(), "EOF while parsing"),
        (b"null".to_vec(), "a process is a JSON object"),
        (b"{]".to_vec(), "line 1 column 2"),
        (format!("\u{feff}{good}").into_bytes(), "byte order mark"),
        (b"{\"\xff\": 1}".to_vec(), "invalid unicode code point"),
        (nested(200_000), "recursion limit exceeded"),
        ("[".repeat(200_000).into_bytes(), "recursion limit exceeded"),
        (long, "larger than 16 MiB"),
        (with("\"user\": {\"uid\": 4294967295, \"gid\": 0}"), "process.user.uid: 4294967295 is no id"),
        (with("\"user\": {\"uid\": -1, \"gid\": 0}"), "process.user.uid: "),
        (with("\"user\": {\"uid\": 0.5, \"gid\": 0}"), "process.user.uid: "),
        (with("\"cwd\": \"/\\u0000\""), "process.cwd: contains a NUL byte"),
        (with("\"args\": [\"a\\u0000\"]"), "process.args[0]: contains a NUL byte"),
        (with("\"env\": [\"A=\\u0000\"]"), "process.env[0]"),
        (with("\"rlimits\": [{\"type\": \"RLIMIT_FOO\"}]"), "process.rlimits[0].type"),
        (with("\"oomScoreAdj\": 1001"), "process.oomScoreAdj: 1001"),
    ] {
        refused(&bundle, &["exec failed: ", "--process ", says], || exec(&text).exits(255));
    }
    for fine in [good.clone().into_bytes(), format!("{good} trailing").into_bytes(), nested(50)] {
        exec(&fine).ok();
    }
    assert_eq!(bundle.status(), "running");
}
