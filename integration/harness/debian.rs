//! A full Debian root filesystem, made once and kept under the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The pristine root; copy it before letting a container write to it.
pub fn debian_root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = crate_root.join("target/debian-rootfs");
        let made =
            Command::new(crate_root.join("integration/debian-root")).arg(&root).output().expect("the script runs");
        assert!(made.status.success(), "no Debian root: {}", String::from_utf8_lossy(&made.stderr));
        root
    })
}
