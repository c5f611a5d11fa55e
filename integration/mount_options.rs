//! Every word of `mounts[].options` that is ours: what it does to a bind of a tree, read back inside the container.

use crate::harness::{Bundle, Report, Snapshot, is_peer, needs_root};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

/// Which of two sources an option is tried on.
#[derive(Clone, Copy, PartialEq)]
enum On {
    /// Mounts without a flag.
    Plain,
    /// Mounts with all of them.
    Strict,
}
use On::{Plain, Strict};

/// An option, the source, and what the mount and the one below it must have; `!x` must be absent.
type Row = (&'static str, On, &'static [&'static str], &'static [&'static str]);

/// `rbind` with one more word each.
const TABLE: &[Row] = &[
    ("ro", Plain, &["ro"], &["rw"]),
    ("rro", Plain, &["ro"], &["ro"]),
    ("rw", Strict, &["rw", "nosuid"], &["ro"]),
    ("rrw", Strict, &["rw", "nosuid"], &["rw", "nosuid"]),
    ("nosuid", Plain, &["nosuid", "!nodev", "rw"], &["!nosuid"]),
    ("rnosuid", Plain, &["nosuid", "!nodev", "rw"], &["nosuid"]),
    ("suid", Strict, &["!nosuid", "nodev", "ro"], &["nosuid"]),
    ("rsuid", Strict, &["!nosuid", "nodev"], &["!nosuid", "nodev"]),
    ("nodev", Plain, &["nodev"], &["!nodev"]),
    ("rnodev", Plain, &["nodev"], &["nodev"]),
    ("dev", Strict, &["!nodev", "noexec"], &["nodev"]),
    ("rdev", Strict, &["!nodev", "noexec"], &["!nodev"]),
    ("noexec", Plain, &["noexec"], &["!noexec"]),
    ("rnoexec", Plain, &["noexec"], &["noexec"]),
    ("exec", Strict, &["!noexec", "nodev"], &["noexec"]),
    ("rexec", Strict, &["!noexec", "nodev"], &["!noexec"]),
    ("nosymfollow", Plain, &["nosymfollow"], &["!nosymfollow"]),
    ("rnosymfollow", Plain, &["nosymfollow"], &["nosymfollow"]),
    ("symfollow", Strict, &["!nosymfollow"], &["nosymfollow"]),
    ("rsymfollow", Strict, &["!nosymfollow"], &["!nosymfollow"]),
    ("nodiratime", Plain, &["nodiratime", "relatime"], &["!nodiratime"]),
    ("rnodiratime", Plain, &["nodiratime"], &["nodiratime"]),
    ("diratime", Strict, &["!nodiratime", "noatime"], &["nodiratime"]),
    ("rdiratime", Strict, &["!nodiratime", "noatime"], &["!nodiratime"]),
    ("noatime", Plain, &["noatime"], &["relatime"]),
    ("rnoatime", Plain, &["noatime"], &["noatime"]),
    ("strictatime", Plain, &["!noatime", "!relatime"], &["relatime"]),
    ("rstrictatime", Plain, &["!noatime", "!relatime"], &["!relatime"]),
    ("relatime", Strict, &["relatime", "!noatime"], &["noatime"]),
    ("rrelatime", Strict, &["relatime"], &["relatime"]),
    ("ratime", Strict, &["relatime"], &["relatime"]),
    ("rnorelatime", Strict, &["relatime"], &["relatime"]),
    ("rnostrictatime", Strict, &["relatime"], &["relatime"]),
    // They only take another word of the list back.
    ("atime", Strict, &["noatime"], &["noatime"]),
    ("norelatime", Strict, &["noatime"], &["noatime"]),
    ("nostrictatime", Strict, &["noatime"], &["noatime"]),
    ("private", Plain, &["!shared", "!master", "!unbindable"], &["!shared", "!unbindable"]),
    ("rprivate", Plain, &["!shared", "!master"], &["!shared", "!master"]),
    ("shared", Plain, &["shared"], &["!shared"]),
    ("rshared", Plain, &["shared"], &["shared"]),
    ("slave", Plain, &["!shared", "master"], &["!shared", "master"]),
    ("rslave", Plain, &["!shared", "master"], &["!shared", "master"]),
    ("unbindable", Plain, &["unbindable"], &["!unbindable"]),
    ("runbindable", Plain, &["unbindable"], &["unbindable"]),
    ("rbind", Plain, &["rw"], &["rw"]),
    // Nothing about a bind: they are the filesystem's, or of the old mount(2) alone.
    ("defaults", Strict, &["ro", "nosuid"], &["ro"]),
    ("silent", Strict, &["ro", "nosuid"], &["ro"]),
    ("loud", Strict, &["ro", "nosuid"], &["ro"]),
    ("iversion", Strict, &["ro", "nosuid"], &["ro"]),
    ("noiversion", Strict, &["ro", "nosuid"], &["ro"]),
    ("async", Strict, &["ro", "nosuid"], &["ro"]),
    ("sync", Plain, &["rw", "!sync"], &["rw", "!sync"]),
    ("dirsync", Plain, &["rw", "!dirsync"], &["rw"]),
    ("lazytime", Plain, &["rw", "!lazytime"], &["rw"]),
    ("nolazytime", Plain, &["rw"], &["rw"]),
    ("mand", Plain, &["rw", "!mand"], &["rw"]),
    ("nomand", Plain, &["rw"], &["rw"]),
];

/// The words that have a test of their own below.
const ELSEWHERE: [&str; 3] = ["bind", "remount", "tmpcopyup"];

const STRICT_FLAGS: &str = "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow";

/// Whether the mount at `point` has `word` among its options or its propagation.
#[track_caller]
fn assert_has(seen: &Report, point: &str, word: &str) {
    let mount = seen.mount(point).unwrap_or_else(|| panic!("nothing is mounted on {point}"));
    let (word, wanted) = word.strip_prefix('!').map_or((word, true), |word| (word, false));
    let propagation = mount["propagation"].to_string();
    let has = match word {
        "shared" | "master" => propagation.contains(&format!("{word}:")),
        "unbindable" => propagation.contains(word),
        option => [&mount["options"], &mount["super"]]
            .iter()
            .any(|list| list.as_array().is_some_and(|list| list.iter().any(|item| item == option))),
    };
    // The filesystem's own flags are not the mount's.
    assert_eq!(has, wanted, "{point}: {word}: {mount}");
}

#[test]
fn each_word_has_its_effect() {
    let listed: Value = Bundle::new().onggi(&["features"]).ok().json()["mountOptions"].clone();
    let listed: BTreeSet<String> = serde_json::from_value(listed).unwrap();
    let tried: BTreeSet<String> = TABLE.iter().map(|row| row.0).chain(ELSEWHERE).map(str::to_owned).collect();
    if !is_peer() {
        assert_eq!(listed, tried, "features tells of these words; each must be in the table here");
    }
    if !needs_root("the table of mount options", "mounts with flags have to be there first") {
        return;
    }
    let mut bundle = Bundle::new();
    for (word, on, ..) in TABLE {
        let source = if *on == Plain { "plain" } else { "strict" };
        bundle.mount(&format!("/o/{word}"), "bind", source, &["rbind", word]);
    }
    bundle.mount("/o/bind", "bind", "plain", &["bind"]);
    bundle.set("/root/readonly", json!(false)).args(&["/probe", "report"]);
    let script = format!(
        "set -e; cd {}; for dir in plain strict; do mkdir $dir; mount -t tmpfs none $dir; mkdir $dir/sub; \
         mount -t tmpfs none $dir/sub; done; for dir in strict/sub strict; do mount -o remount,bind,{STRICT_FLAGS} $dir; \
         done; mount --make-rshared plain; cd /; exec \"$@\"",
        bundle.path().display()
    );
    let wrapper = ["unshare", "--mount", "sh", "-c", &script, "-"];
    let seen = Report::parse(&bundle.start_with("run", &[]).under(&wrapper).run().ok());
    for (word, _, top, below) in TABLE {
        for (point, wanted) in [(format!("/o/{word}"), top), (format!("/o/{word}/sub"), below)] {
            wanted.iter().for_each(|wanted| assert_has(&seen, &point, wanted));
        }
    }
    assert!(seen.mount("/o/bind/sub").is_none() && seen.mount("/o/rbind/sub").is_some());
}

/// The flags of filesystems, on one that is new.
#[test]
fn flags_of_filesystems() {
    if is_peer() {
        return;
    }
    let mut bundle = Bundle::new();
    for word in ["sync", "dirsync", "lazytime", "mand"] {
        bundle.mount(&format!("/o/{word}"), "tmpfs", "none", &[word]);
    }
    for (set, taken_back) in [("sync", "async"), ("lazytime", "nolazytime"), ("mand", "nomand")] {
        bundle.mount(&format!("/o/{taken_back}"), "tmpfs", "none", &[set, taken_back]);
    }
    bundle.mount("/o/plain", "tmpfs", "none", &["defaults", "silent", "loud", "iversion", "rw"]);
    bundle.mount("/o/size", "tmpfs", "none", &["size=64k,nr_inodes=7", "mode=0700"]);
    bundle.set("/root/readonly", json!(false));
    let seen = bundle.report();
    for word in ["sync", "dirsync", "lazytime", "mand"] {
        assert_has(&seen, &format!("/o/{word}"), word);
    }
    for (set, taken_back) in [("sync", "async"), ("lazytime", "nolazytime"), ("mand", "nomand")] {
        assert_has(&seen, &format!("/o/{taken_back}"), &format!("!{set}"));
    }
    seen.assert_mount("/o/plain", "tmpfs", &["rw"]);
    seen.assert_mount("/o/size", "tmpfs", &["size=64k", "nr_inodes=7", "mode=700"]);
}

#[test]
fn remount_changes_what_is_there() {
    let mut bundle = Bundle::new();
    fs::create_dir(bundle.path().join("volume")).unwrap();
    bundle.set("/root/readonly", json!(false));
    bundle.mount("/data", "tmpfs", "tmpfs", &["size=64k", "nosuid"]);
    bundle.mount("/data", "none", "none", &["remount", "size=128k", "noexec", "ro"]);
    bundle.mount("/volume", "none", "volume", &["bind"]);
    bundle.mount("/volume", "none", "none", &["bind", "remount", "ro", "nodev"]);
    let seen = bundle.report();
    seen.assert_mount("/data", "tmpfs", &["size=128k", "nosuid", "noexec", "ro"]);
    seen.assert_mount("/volume", "", &["ro", "nodev"]);
    assert!(fs::write(bundle.path().join("volume/file"), "").is_ok(), "the host's own mount is as it was");
}

#[test]
fn remounts_that_are_refused() {
    for (kind, options, says) in [
        ("none", vec!["remount", "ro"], "remount without bind needs an earlier entry"),
        ("none", vec!["bind", "remount", "ro"], "nothing is mounted there"),
        ("none", vec!["bind", "remount", "size=1"], "remove \"size\""),
        ("bind", vec!["tmpcopyup", "bind"], "tmpcopyup is for a new mount of type tmpfs"),
    ] {
        if is_peer() {
            return;
        }
        let mut bundle = Bundle::new();
        bundle.mount("/data", kind, "none", &options).args(&["/bin/true"]);
        let before = Snapshot::of(&bundle);
        bundle.run().exits(1).says(says).says("mounts[7]");
        before.assert_unchanged(&bundle);
    }
}

/// The tmpfs begins with what it covers: content, modes whatever the umask, owners, times, links as they are.
#[test]
fn tmpcopyup_copies_what_it_covers() {
    let mut bundle = Bundle::new();
    let data = bundle.rootfs().join("data");
    fs::create_dir_all(data.join("inner/deep")).unwrap();
    for (path, mode) in [("inner", 0o1777), ("inner/deep", 0o700), ("", 0o710)] {
        fs::set_permissions(data.join(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    fs::write(data.join("inner/file"), "copied\n").unwrap();
    fs::write(data.join("program"), vec![b'x'; 300_000]).unwrap();
    let owned = chown(data.join("program"), Some(7), Some(8)).is_ok();
    fs::set_permissions(data.join("program"), PermissionsExt::from_mode(0o4755)).unwrap();
    symlink("inner/file", data.join("link")).unwrap();
    symlink("/etc/passwd", data.join("out")).unwrap();
    nix::unistd::mkfifo(&data.join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    drop(std::os::unix::net::UnixListener::bind(data.join("socket")).unwrap());
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::options().write(true).open(data.join("inner/file")).unwrap().set_modified(hour_ago).unwrap();
    let seconds = fs::metadata(data.join("inner/file")).unwrap().mtime();
    bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]).mount("/none", "tmpfs", "tmpfs", &["tmpcopyup"]);
    bundle.set("/root/readonly", json!(false));
    bundle
        .script(&format!("cat /data/link; stat -c %Y /data/inner/file; grep -c {} /proc/self/mountinfo", "' /data '"));
    assert_eq!(bundle.run().ok().stdout, format!("copied\n{seconds}\n1\n"));
    let paths = ["/data", "/data/inner", "/data/inner/deep", "/data/program", "/data/out", "/data/fifo", "/none"];
    let seen = bundle.report_with(&paths.map(|path| ["--stat", path]).concat());
    let stat = |path: &str, key: &str| seen.json["stat"][path][key].clone();
    assert_eq!(["/data", "/data/inner", "/data/inner/deep"].map(|path| stat(path, "mode")), [0o710, 0o1777, 0o700]);
    assert_eq!((stat("/data/program", "mode"), stat("/data/program", "size")), (json!(0o4755), json!(300_000)));
    assert!(!owned || stat("/data/program", "uid") == 7 && stat("/data/program", "gid") == 8);
    assert_eq!((stat("/data/out", "target"), stat("/data/fifo", "kind")), (json!("/etc/passwd"), json!("fifo")));
    seen.assert_mount("/data", "tmpfs", &["ro"]);
    seen.assert_mount("/none", "tmpfs", &["rw"]);
    assert_eq!(fs::read_to_string(data.join("inner/file")).unwrap(), "copied\n", "the original is untouched");
}

/// What does not fit, or is deeper than anybody makes it, fails the start and is told.
#[test]
fn tmpcopyup_that_cannot_be() {
    if is_peer() {
        return;
    }
    let check = |options: &[&str], says: &str, fill: &dyn Fn(&std::path::Path)| {
        let mut bundle = Bundle::new();
        fill(&bundle.rootfs().join("data"));
        bundle.mount("/data", "tmpfs", "tmpfs", options).args(&["/bin/true"]);
        let before = Snapshot::of(&bundle);
        bundle.run().exits(1).says("tmpcopyup").says(says);
        before.assert_unchanged(&bundle);
    };
    check(&["tmpcopyup", "size=64k"], "big: write: no space left on device", &|data| {
        fs::write(data.join("big"), vec![1; 1 << 20]).unwrap();
    });
    check(&["tmpcopyup"], "more than 256 levels of directories", &|data| {
        fs::create_dir_all(data.join("d/".repeat(300))).unwrap();
    });
}
