//! What attackers went for: a directory outside of the root filesystem, and an image whose entries lead there.

use super::{Bundle, is_rootless};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The kinds of trick that an entry of an image can be replaced by.
pub const TRICKS: [&str; 15] = [
    "absolute",
    "relative",
    "to-file",
    "dangling",
    "loop",
    "chain",
    "magic",
    "proc",
    "file",
    "directory",
    "fifo",
    "socket",
    "device",
    "long",
    "closed",
];

/// A directory next to the root filesystem, as it was when it was made.
pub struct Canary {
    dir: PathBuf,
    before: Vec<String>,
}

impl Canary {
    /// Makes it, with names that runtimes have written to, removed, or opened.
    pub fn new(bundle: &Bundle) -> Self {
        let dir = bundle.path().join("canary");
        fs::create_dir(&dir).expect("mkdir");
        for name in ["ptmx", "null", "file", "console", "secret", "group"] {
            fs::write(dir.join(name), "canary").expect("write");
        }
        for name in ["sys", "pts", "deep"] {
            fs::create_dir(dir.join(name)).expect("mkdir");
        }
        fs::write(dir.join("deep/ptmx"), "canary").expect("write");
        let before = look(&dir);
        Self { dir, before }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Asserts that names, inodes, owners, modes and contents are what they were.
    #[track_caller]
    pub fn assert_unchanged(&self, told: impl std::fmt::Display) {
        assert_eq!(look(&self.dir), self.before, "the canary changed: {told}");
    }

    /// Replaces `path` of the root filesystem `rootfs` by `trick`. False if only root could.
    pub fn replace(&self, rootfs: &Path, path: &str, trick: &str) -> bool {
        let at = rootfs.join(path);
        fs::create_dir_all(at.parent().expect("a parent")).expect("mkdir");
        if fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_dir()) {
            fs::remove_dir_all(&at).expect("rm");
        } else {
            fs::remove_file(&at).ok();
        }
        let upwards = format!("{}{}", "../".repeat(20), self.dir.to_str().expect("text").trim_start_matches('/'));
        let link = |target: &str| symlink(target, &at).expect("symlink");
        let canary = |name: &str| self.dir.join(name).to_str().expect("text").to_owned();
        match trick {
            "absolute" => link(&canary("")),
            "relative" => link(&upwards),
            "to-file" => link(&canary("file")),
            "dangling" => link(&canary("new")),
            "loop" => link(at.to_str().expect("text")),
            // One more than the kernel follows.
            "chain" => {
                for step in 0..40 {
                    symlink(format!("/step{}", step + 1), rootfs.join(format!("step{step}"))).expect("symlink");
                }
                symlink(canary(""), rootfs.join("step40")).expect("symlink");
                link("/step0");
            }
            "magic" => link("/proc/self/root"),
            "proc" => link("/proc/sys/kernel/core_pattern"),
            "file" => fs::write(&at, "x").expect("write"),
            "directory" => fs::create_dir_all(at.join("inner")).expect("mkdir"),
            "fifo" => nix::unistd::mkfifo(&at, nix::sys::stat::Mode::S_IRWXU).expect("mkfifo"),
            "socket" => socket(&at),
            "device" => return device(&at),
            "long" => link(&format!("{}{}", "x/".repeat(1900), "y".repeat(255))),
            // A directory that nobody may look into.
            "closed" => {
                fs::create_dir(&at).expect("mkdir");
                fs::set_permissions(&at, fs::Permissions::from_mode(0o0)).expect("chmod");
            }
            other => panic!("{other}"),
        }
        true
    }
}

/// From within the directory: the address of a socket is short.
fn socket(at: &Path) {
    let short = tempfile::tempdir().expect("scratch directory");
    let made = short.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&made).expect("bind"));
    fs::rename(&made, at).expect("rename");
}

/// A disk: whoever opens it, or takes it for a null device, is seen.
fn device(at: &Path) -> bool {
    let (kind, mode) = (nix::sys::stat::SFlag::S_IFBLK, nix::sys::stat::Mode::from_bits_truncate(0o666));
    !is_rootless() && nix::sys::stat::mknod(at, kind, mode, nix::sys::stat::makedev(7, 200)).is_ok()
}

fn look(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).expect("the canary");
        let content = if meta.is_file() { fs::read_to_string(&path).expect("text") } else { String::new() };
        let (inode, mode, uid, gid) = (meta.ino(), meta.mode(), meta.uid(), meta.gid());
        lines.push(format!("{} {inode} {mode:o} {uid}:{gid} {content}", path.display()));
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).expect("readdir").map(|entry| entry.expect("readdir").path()));
        }
    }
    lines.sort();
    lines
}

/// A config that makes the runtime touch everything which it touches in a root filesystem.
pub fn touching_everything() -> (Bundle, Canary) {
    let mut bundle = Bundle::new();
    let canary = Canary::new(&bundle);
    fs::create_dir_all(bundle.path().join("volume")).expect("mkdir");
    fs::write(bundle.path().join("volume/file"), "content\n").expect("write");
    fs::create_dir_all(bundle.rootfs().join("secrets")).expect("mkdir");
    fs::write(bundle.rootfs().join("etc/secret"), "secret\n").expect("write");
    bundle.mount("/vol/dir", "none", "volume", &["bind"]).mount("/vol/file", "none", "volume/file", &["bind", "ro"]);
    bundle.mount("/vol/tmp", "tmpfs", "tmpfs", &["tmpcopyup"]);
    let inside = bundle.rootfs().join("from/source");
    fs::create_dir_all(&inside).expect("mkdir");
    fs::write(inside.join("inside"), "").expect("write");
    bundle.mount("/vol/inside", "none", inside, &["bind"]);
    bundle.set("/linux/maskedPaths", json!(["/proc/kcore", "/etc/secret", "/secrets"]));
    bundle.set("/linux/readonlyPaths", json!(["/proc/sys", "/etc", "/vol/dir"]));
    bundle.set("/process/cwd", json!("/work/here")).set("/root/readonly", json!(false));
    bundle.script("head -c 100 /etc/secret; cat /vol/file; ls /vol/* /secrets; echo ran");
    (bundle, canary)
}
