//! What a container could leave on the host, looked at before and after.

use super::{Bundle, patience, test_cgroup, test_slice};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

/// Everything on the host that the containers of one bundle could change. Tests run side by side, so that what
/// is shared is filtered by the bundle's id and directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The whole mount table of the tests' namespace: no test may change it.
    mounts: Vec<String>,
    /// Cgroups with the id in their path.
    cgroups: Vec<String>,
    /// Processes with the id in their cgroup, environment or mount table; zombies by their cgroup.
    processes: BTreeMap<u32, String>,
    /// Names, sizes and owners of what lies in the state root.
    state: Vec<String>,
    /// The same for the bundle, except for what the tests write there themselves.
    bundle: Vec<String>,
    /// Owner and mode of devices that runtimes have changed in the past.
    devices: Vec<String>,
    /// The runtime's own binary.
    binary: Vec<String>,
    /// A file of the host that a symlink of the hostile kind would lead to.
    canary: Vec<String>,
}

impl Snapshot {
    /// Looks at the host.
    pub fn of(bundle: &Bundle) -> Self {
        Self {
            mounts: mounts(),
            cgroups: cgroups(&bundle.id),
            processes: processes(bundle),
            state: tree(bundle.state_root(), &[]),
            bundle: tree(bundle.path(), &["logs", "state", "config.json"]),
            devices: ["/dev/null", "/dev/zero", "/dev/tty", "/dev/ptmx", "/dev/full"]
                .map(|path| line(Path::new(path)))
                .to_vec(),
            binary: vec![line(super::binary())],
            canary: ["/etc/passwd", "/etc/shadow", "/tmp", "/etc", "/"].map(|path| owner(Path::new(path))).to_vec(),
        }
    }

    /// Asserts that the host is as it was. Processes get a moment to finish dying.
    #[track_caller]
    pub fn assert_unchanged(&self, bundle: &Bundle) {
        let mut now = Self::of(bundle);
        let end = Instant::now() + patience(2);
        while now.processes != self.processes && Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(10));
            now = Self::of(bundle);
        }
        assert_eq!(self.mounts, now.mounts, "the mount table changed");
        assert_eq!(self.cgroups, now.cgroups, "cgroups were left behind");
        assert_eq!(self.processes, now.processes, "processes were left behind");
        assert_eq!(self.state, now.state, "the state directory changed");
        assert_eq!(self.bundle, now.bundle, "the bundle changed");
        assert_eq!(self.devices, now.devices, "devices of the host changed");
        assert_eq!(self.binary, now.binary, "the binary changed");
        assert_eq!(self.canary, now.canary, "directories of the host changed");
    }

    /// The same with the bundle taken as it is now: for tests whose container may write into its root filesystem.
    #[must_use]
    pub fn ignoring_bundle(mut self, bundle: &Bundle) -> Self {
        self.bundle = tree(bundle.path(), &["logs", "state", "config.json"]);
        self
    }
}

/// The mount table, less the flags of the cgroup2 hierarchy: one test among others switches those, for all mounts of it.
fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let plain = |line: &str| line.replace(",nsdelegate", "").replace(",memory_recursiveprot", "");
    table.lines().map(plain).collect()
}

/// Whether the cgroup `name` is that of tests that run at the same time: in a PID namespace of their own, and so perhaps
/// with the ids of ours.
fn is_of_another_run(name: &str) -> bool {
    let ours = test_cgroup();
    name.starts_with("onggi-test-") && !ours.split('/').any(|own| !own.is_empty() && name.starts_with(own))
}

/// The cgroups of a container. systemd removes a scope's own as soon as it has seen that the last process is gone.
fn cgroups(id: &str) -> Vec<String> {
    let end = Instant::now() + patience(2);
    loop {
        let mut found = Vec::new();
        find_cgroups(Path::new("/sys/fs/cgroup"), id, &mut found);
        let is_going = |dir: &String| {
            dir.ends_with(".scope")
                && fs::read_to_string(Path::new(dir).join("cgroup.events"))
                    .is_ok_and(|events| events.contains("populated 0"))
        };
        if test_slice().is_none() || !found.iter().any(is_going) || Instant::now() > end {
            found.sort();
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Without recursion: a test beside this one may have nested cgroups by the thousand.
fn find_cgroups(top: &Path, id: &str, found: &mut Vec<String>) {
    let mut left = vec![top.to_owned()];
    while let Some(dir) = left.pop() {
        // Listing them all takes long on a machine with systemd: one without children has two links.
        if fs::metadata(&dir).is_ok_and(|meta| meta.nlink() == 2) {
            continue;
        }
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_dir && !is_of_another_run(&entry.file_name().to_string_lossy()) {
                let path = entry.path();
                if path.to_string_lossy().contains(id) {
                    found.push(path.to_string_lossy().into_owned());
                }
                left.push(path);
            }
        }
    }
}

/// The processes that there were before the first bundle: no test made those.
pub(super) fn earlier_processes() -> &'static BTreeSet<u32> {
    static EARLIER: OnceLock<BTreeSet<u32>> = OnceLock::new();
    EARLIER.get_or_init(|| pids().collect())
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn processes(bundle: &Bundle) -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    let directory = format!("{}/", bundle.path().to_string_lossy());
    for pid in pids().filter(|pid| !earlier_processes().contains(pid)) {
        let text = |file: &str| {
            let raw = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&raw).replace('\0', " ")
        };
        let mark = format!("{} ", bundle.id);
        let ours = text("cgroup").lines().any(|line| line.split('/').any(|part| part.contains(&bundle.id)))
            || text("environ").contains(&mark)
            || text("mountinfo").contains(&directory);
        if ours {
            // Not its command line, which is empty for a moment in execve.
            found.insert(pid, text("comm").trim_end().to_owned());
        }
    }
    found
}

/// One line for each entry below `dir`, which need not exist.
fn tree(dir: &Path, except: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if except.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        lines.push(line(&entry.path()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            lines.extend(tree(&entry.path(), &[]));
        }
    }
    lines.sort();
    lines
}

/// Path, mode, owner, size and target.
fn line(path: &Path) -> String {
    match fs::symlink_metadata(path) {
        Ok(meta) => {
            let size = if meta.is_file() { meta.size() } else { 0 };
            let target = fs::read_link(path).unwrap_or_default();
            let (mode, uid, gid) = (meta.mode(), meta.uid(), meta.gid());
            format!("{} {mode:o} {uid}:{gid} {size} {}", path.display(), target.display())
        }
        Err(error) => format!("{} {error}", path.display()),
    }
}

fn owner(path: &Path) -> String {
    let meta = fs::metadata(path).expect("a path of every machine");
    format!("{} {:o} {}:{}", path.display(), meta.mode(), meta.uid(), meta.gid())
}
