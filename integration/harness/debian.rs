//! A full Debian root filesystem, made once and kept under the target directory.

use super::{is_rootless, needs_root};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Whether there is one; root makes it when it is wanted, users have what root has left.
pub fn has_debian_root(what: &str) -> bool {
    is_rootless() && root().join("etc/debian_version").exists() || needs_root(what, "nobody has made a Debian root yet")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debian-rootfs")
}

/// The pristine root; copy it before letting a container write to it.
pub fn debian_root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = root();
        if is_rootless() {
            return root;
        }
        let made =
            Command::new(crate_root.join("integration/debian-root")).arg(&root).output().expect("the script runs");
        assert!(made.status.success(), "no Debian root: {}", String::from_utf8_lossy(&made.stderr));
        root
    })
}
