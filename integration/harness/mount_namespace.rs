//! A mount namespace that stands for the host's, for containers that have none of their own: what is mounted there no
//! other test sees.

use super::Invocation;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The namespace, for as long as this lives.
pub struct MountNamespace {
    keeper: Child,
}

impl MountNamespace {
    /// One whose mounts are shared, as systemd makes them, but with nobody.
    pub fn new() -> Self {
        Self::by(Command::new("unshare"), "private", "mount --make-rshared /")
    }

    /// One that the mounts of this one travel to, with `propagation` as unshare(1) has it.
    pub fn follower(&self, propagation: &str) -> Self {
        let mut command = Command::new("nsenter");
        command.args(&self.entering()[1..]).arg("unshare");
        Self::by(command, propagation, ":")
    }

    fn by(mut unshare: Command, propagation: &str, script: &str) -> Self {
        let script = format!("{script} && echo ready && exec sleep 1000");
        unshare.args(["--mount", "--propagation", propagation, "sh", "-c", &script]);
        let mut keeper = unshare.stdout(Stdio::piped()).spawn().expect("unshare");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().expect("stdout")).read_line(&mut line).expect("the keeper's word");
        assert_eq!(line, "ready\n");
        Self { keeper }
    }

    /// A file of the keeper's in procfs.
    pub fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.keeper.id()))
    }

    /// A wrapper that has a command run there.
    pub fn entering(&self) -> Vec<String> {
        let file = format!("--mount={}", self.file("ns/mnt").display());
        ["nsenter", &file, "--"].map(str::to_owned).to_vec()
    }

    /// Runs a shell script there.
    #[track_caller]
    pub fn sh(&self, logs: &Path, script: &str) -> String {
        let mut shell = Command::new("sh");
        shell.args(["-ec", script]);
        let wrapper = self.entering();
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        Invocation::new(logs, shell).under(&wrapper).run().ok().stdout
    }

    /// The mounts there, one a line, as mountinfo has them.
    pub fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string(self.file("mountinfo")).expect("mountinfo");
        table.lines().map(str::to_owned).collect()
    }

    /// The places below `path` and itself where something is mounted, in the order of the table.
    pub fn points(&self, path: &Path) -> Vec<PathBuf> {
        let point = |line: String| line.split(' ').nth(4).map(PathBuf::from);
        self.mounts().into_iter().filter_map(point).filter(|point| point.starts_with(path)).collect()
    }
}

impl Drop for MountNamespace {
    fn drop(&mut self) {
        self.keeper.kill().expect("kill");
        self.keeper.wait().expect("wait");
    }
}
