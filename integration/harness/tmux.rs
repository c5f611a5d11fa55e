//! A terminal emulator with a person's shell in it.

use super::{skip, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmux(1) server of its own with one window. It ends with this.
pub struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// A window of 24 by 80 with the shell `command` in it, which starts in `dir`; says visibly why `what` does not run
    /// where there is no tmux.
    pub fn start(dir: &Path, command: &str, what: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            skip(what, "there is no tmux here: integration/install");
            return None;
        }
        let tmux = Self { socket: dir.join("tmux") };
        let dir = dir.to_str().expect("utf-8");
        tmux.call(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-c", dir, command]);
        Some(tmux)
    }

    fn call(&self, args: &[&str]) -> String {
        let done = Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().expect("tmux");
        assert!(done.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Types a line.
    pub fn line(&self, text: &str) {
        self.call(&["send-keys", "-l", text]);
        self.key("Enter");
    }

    /// Presses a key, such as `C-c`.
    pub fn key(&self, name: &str) {
        self.call(&["send-keys", name]);
    }

    /// Makes the window another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        self.call(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// Waits until the window shows `text`, which should not be what was typed.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        let mut shown = String::new();
        wait_until(&format!("the window shows {text:?}"), || {
            shown = self.call(&["capture-pane", "-p", "-J"]);
            shown.contains(text)
        });
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the window:\n{}", self.call(&["capture-pane", "-p", "-J", "-S", "-"]));
        }
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}
