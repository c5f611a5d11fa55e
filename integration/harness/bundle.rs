//! A bundle in a directory of its own, with a state root and a container id that no other test has.

use super::command::words;
use super::snapshot::earlier_processes;
use super::{
    Invocation, Outcome, Report, binary, caller, is_rootless, probe_path, test_cgroup, test_slice, wait_until,
};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// What of busybox the tests use inside; a link each in `/bin`.
const APPLETS: [&str; 43] = [
    "sh", "ash", "true", "false", "sleep", "echo", "cat", "id", "ps", "ls", "mount", "umount", "hostname", "mkdir",
    "touch", "rm", "grep", "kill", "stty", "tty", "head", "wc", "mknod", "dd", "chmod", "chown", "ln", "test", "env",
    "date", "printf", "readlink", "stat", "su", "sync", "mv", "cp", "find", "nc", "usleep", "tail", "sed", "seq",
];

/// The unchanged template that the binary's own `spec` writes, as text.
pub fn template() -> &'static str {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("scratch directory");
        let made = std::process::Command::new(binary()).arg("spec").current_dir(dir.path()).output().expect("spec");
        assert!(made.status.success(), "spec: {}", String::from_utf8_lossy(&made.stderr));
        fs::read_to_string(dir.path().join("config.json")).expect("config.json")
    })
}

/// A bundle, and everything a test leaves behind, removed with it.
pub struct Bundle {
    dir: tempfile::TempDir,
    /// The container's id, unique among all tests of this run.
    pub id: String,
    /// What `save` writes to config.json.
    pub config: Value,
    state: PathBuf,
    /// What every command of ours runs under.
    wrapper: Vec<String>,
}

impl Bundle {
    /// A busybox root filesystem and the `spec` template with `terminal` off; with a user namespace if we are not root.
    pub fn new() -> Self {
        let config: Value = serde_json::from_str(template()).expect("the template is JSON");
        let mut bundle = Self::empty(caller::adapted(config));
        bundle.set("/process/terminal", json!(false));
        bundle.make_rootfs();
        bundle
    }

    /// The same without a root filesystem, with any config.
    pub fn empty(config: Value) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        test_cgroup();
        earlier_processes();
        let dir = tempfile::Builder::new().prefix("onggi-").tempdir().expect("scratch directory");
        // Container root of a user namespace must be able to walk through it.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        // The last letter keeps one id from being the beginning of another.
        let id = format!("t{}-{}x", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        if let Some(list) = std::env::var_os("ONGGI_TEST_IDS") {
            let mut list = fs::OpenOptions::new().append(true).open(list).expect("the list of ids");
            writeln!(list, "{id} {}", std::thread::current().name().unwrap_or("?")).expect("the list of ids");
        }
        fs::create_dir(dir.path().join("logs")).expect("mkdir");
        let state = dir.path().join("state");
        let mut bundle = Self { dir, id, config, state, wrapper: Vec::new() };
        if let Some(slice) = test_slice().filter(|_| bundle.get("/linux/cgroupsPath").is_null()) {
            bundle.set("/linux/cgroupsPath", json!(format!("{slice}:onggi:{}", bundle.id)));
        }
        bundle
    }

    /// The cgroup is made by hand in any case, for tests of that.
    pub fn by_hand(&mut self) -> &mut Self {
        self.unset("/linux/cgroupsPath")
    }

    /// Whether systemd is to make the cgroup, in the tests' slice or one below: a path of cgroupfs is not for it.
    fn is_for_systemd(&self) -> bool {
        let path = self.get("/linux/cgroupsPath").as_str();
        test_slice().zip(path).is_some_and(|(slice, path)| path.starts_with(slice.trim_end_matches(".slice")))
    }

    /// Has every command of ours run under `wrapper`, which must outlive us.
    pub fn always_under(&mut self, wrapper: Vec<String>) -> &mut Self {
        self.wrapper = wrapper;
        self
    }

    /// The bundle directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The root filesystem on the host.
    pub fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// The state root that commands get by `--root`.
    pub fn state_root(&self) -> &Path {
        &self.state
    }

    /// Where output files lie.
    pub fn logs(&self) -> PathBuf {
        self.path().join("logs")
    }

    fn make_rootfs(&self) {
        let root = self.rootfs();
        for dir in ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "run", "data"] {
            fs::create_dir_all(root.join(dir)).expect("mkdir");
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
        copy_program(Path::new("/bin/busybox"), &root.join("bin/busybox"));
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).expect("link");
        }
        copy_program(probe_path(), &root.join("probe"));
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
            .expect("passwd");
        fs::write(root.join("etc/group"), "root:x:0:\ntty:x:5:\nuser:x:1000:\n").expect("group");
    }

    /// Sets what a JSON pointer names, making objects on the way; `-` appends to an array.
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        set(&mut self.config, pointer, value);
        self
    }

    /// Removes what a JSON pointer names.
    pub fn unset(&mut self, pointer: &str) -> &mut Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
        if let Some(Value::Object(parent)) = self.config.pointer_mut(parent) {
            parent.remove(key);
        }
        self
    }

    /// What a JSON pointer names, for reading.
    pub fn get(&self, pointer: &str) -> &Value {
        self.config.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Sets `process.args`.
    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.set("/process/args", json!(args))
    }

    /// Sets `process.args` to a shell script.
    pub fn script(&mut self, script: &str) -> &mut Self {
        self.args(&["/bin/sh", "-c", script])
    }

    /// Appends a mount.
    pub fn mount(&mut self, destination: &str, kind: &str, source: impl AsRef<Path>, options: &[&str]) -> &mut Self {
        let source = source.as_ref();
        self.set("/mounts/-", json!({"destination": destination, "type": kind, "source": source, "options": options}))
    }

    /// The index of the mount at `destination` in the config.
    pub fn mount_index(&self, destination: &str) -> usize {
        let mounts = self.get("/mounts").as_array().expect("mounts");
        mounts.iter().position(|mount| mount["destination"] == destination).expect("the mount is there")
    }

    /// Takes the mount at `destination` out of the config.
    pub fn without_mount(&mut self, destination: &str) -> &mut Self {
        let index = self.mount_index(destination);
        self.config["mounts"].as_array_mut().expect("mounts").remove(index);
        self
    }

    /// Mounts the container's cgroup so that it can write to it.
    pub fn writable_cgroup(&mut self) -> &mut Self {
        let options = format!("/mounts/{}/options", self.mount_index("/sys/fs/cgroup"));
        self.set(&options, json!(["nosuid", "noexec", "nodev", "relatime", "rw"]))
    }

    /// Gives the process these capabilities as well.
    pub fn capabilities(&mut self, names: &[&str]) -> &mut Self {
        for set in ["bounding", "effective", "permitted"] {
            for name in names {
                self.set(&format!("/process/capabilities/{set}/-"), json!(name));
            }
        }
        self
    }

    /// Takes the namespace out of the config. Under a user namespace what shows it can't be mounted any more: the host's
    /// is bound.
    pub fn without_namespace(&mut self, kind: &str) -> &mut Self {
        self.unlist_namespace(kind);
        if is_rootless() {
            caller::bind_what_shows(kind, &mut self.config);
        }
        self
    }

    fn unlist_namespace(&mut self, kind: &str) {
        self.config["linux"]["namespaces"].as_array_mut().expect("namespaces").retain(|ns| ns["type"] != kind);
    }

    /// Adds a namespace, by path if one is given.
    pub fn namespace(&mut self, kind: &str, path: Option<&Path>) -> &mut Self {
        self.unlist_namespace(kind);
        if kind == "user" && path.is_some() {
            // It has its maps already.
            self.unset("/linux/uidMappings").unset("/linux/gidMappings");
        }
        let entry = path.map_or_else(|| json!({ "type": kind }), |path| json!({ "type": kind, "path": path }));
        self.set("/linux/namespaces/-", entry)
    }

    /// Has the container know the caller's own id alone, if the caller is a user: for tests under strace(1), which takes
    /// from newuidmap(1) the rights to map more.
    pub fn map_self(&mut self) -> &mut Self {
        if is_rootless() {
            for (field, own) in [("uidMappings", caller::uid()), ("gidMappings", caller::gid())] {
                let map = json!([{"containerID": 0, "hostID": own, "size": 1}]);
                self.set(&format!("/linux/{field}"), map);
            }
            for mount in self.config["mounts"].as_array_mut().expect("mounts") {
                if let Some(options) = mount["options"].as_array_mut() {
                    options.retain(|option| option != "gid=5");
                }
            }
        }
        self
    }

    /// Writes config.json.
    pub fn save(&self) {
        let text = serde_json::to_string_pretty(&self.config).expect("JSON");
        fs::write(self.path().join("config.json"), text).expect("config.json");
    }

    /// The binary with our `--root` and these arguments, not yet run. `config.json` is left as it is.
    pub fn invoke(&self, args: &[&str]) -> Invocation {
        let mut all = words(&["--root", self.state.to_str().expect("utf-8")]);
        // Only these; as with engines, later commands may come without it.
        if self.is_for_systemd() && args.iter().any(|arg| ["create", "run"].contains(arg)) {
            all.extend(words(&["--systemd-cgroup"]));
        }
        all.extend(words(args));
        let invocation = Invocation::runtime(&self.logs(), all).env("ONGGI_TEST_ID", &self.id);
        let wrapper: Vec<&str> = self.wrapper.iter().map(String::as_str).collect();
        if wrapper.is_empty() { invocation } else { invocation.under(&wrapper) }
    }

    /// Runs the binary with our `--root` and these arguments.
    pub fn onggi(&self, args: &[&str]) -> Outcome {
        self.invoke(args).run()
    }

    /// A verb on our container: `onggi --root .. VERB FLAGS ID`.
    pub fn verb(&self, verb: &str, flags: &[&str]) -> Outcome {
        let mut args = vec![verb];
        args.extend(flags);
        args.push(&self.id);
        self.onggi(&args)
    }

    /// Writes the config and prepares `create` or `run` with `flags`.
    pub fn start_with(&self, verb: &str, flags: &[&str]) -> Invocation {
        self.save();
        let bundle = self.path().to_str().expect("utf-8");
        let mut args = vec![verb, "--bundle", bundle];
        args.extend(flags);
        args.push(&self.id);
        self.invoke(&args)
    }

    /// Starts the container in the background, with a program that sleeps.
    #[track_caller]
    pub fn asleep(&mut self) -> &mut Self {
        self.args(&["/bin/sleep", "1000"]);
        self.start_with("run", &["-d"]).run().ok();
        self
    }

    /// Prepares `exec` of `command` with `flags`.
    pub fn exec_with(&self, flags: &[&str], command: &[&str]) -> Invocation {
        self.invoke(&[&["exec"], flags, &[self.id.as_str()], command].concat())
    }

    /// Runs `command` in the container, in the foreground.
    pub fn exec(&self, flags: &[&str], command: &[&str]) -> Outcome {
        self.exec_with(flags, command).run()
    }

    /// Runs a shell script in the container, in the foreground.
    pub fn exec_script(&self, script: &str) -> Outcome {
        self.exec(&[], &["/bin/sh", "-c", script])
    }

    /// Runs `probe report` in the container.
    #[track_caller]
    pub fn exec_report(&self, flags: &[&str]) -> Report {
        Report::parse(&self.exec(flags, &["/probe", "report"]).ok())
    }

    /// Writes a process block for `exec --process` and returns its path.
    pub fn process_file(&self, process: &Value) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = self.logs().join(format!("process-{}.json", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::write(&path, process.to_string()).expect("process file");
        path.to_str().expect("utf-8").to_owned()
    }

    /// Writes the config and runs the container in the foreground.
    pub fn run(&self) -> Outcome {
        self.start_with("run", &[]).run()
    }

    /// Writes the config and creates the container.
    pub fn create(&self) -> Outcome {
        self.start_with("create", &[]).run()
    }

    /// `kill ID SIGNAL`.
    pub fn kill(&self, signal: &str) -> Outcome {
        self.onggi(&["kill", &self.id, signal])
    }

    /// Creates and deletes the container once, so that what stays is there, such as the state root.
    #[track_caller]
    pub fn warm_up(&self) {
        self.create().ok();
        self.delete_and_wait();
    }

    /// Deletes the container by force and waits until nothing is left of its process either.
    #[track_caller]
    pub fn delete_and_wait(&self) {
        let init = PathBuf::from(format!("/proc/{}", self.pid()));
        self.verb("delete", &["--force"]).ok();
        wait_until("init is reaped", || !init.exists());
    }

    /// `state`, as JSON.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.verb("state", &[]).ok().json()
    }

    /// `status` in the state.
    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("status").to_owned()
    }

    /// Host pid of the container's init.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.state()["pid"].as_i64().expect("pid")).expect("pid")
    }

    /// Waits until the container has stopped.
    #[track_caller]
    pub fn wait_stopped(&self) {
        wait_until("the container stops", || self.status() == "stopped");
    }

    /// Runs `probe report` with `options` as the container's process.
    #[track_caller]
    pub fn report_with(&mut self, options: &[&str]) -> Report {
        let mut args = vec!["/probe", "report"];
        args.extend(options);
        self.args(&args);
        Report::parse(&self.run().ok())
    }

    /// Runs `probe report` as the container's process.
    #[track_caller]
    pub fn report(&mut self) -> Report {
        self.report_with(&[])
    }

    /// Runs another verb of the probe as the container's process and parses what it prints.
    #[track_caller]
    pub fn probe(&mut self, args: &[&str]) -> Value {
        let mut all = vec!["/probe"];
        all.extend(args);
        self.args(&all);
        self.run().ok().json()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if self.state.join(&self.id).exists() {
            self.verb("delete", &["--force"]);
        }
    }
}

fn set(value: &mut Value, pointer: &str, new: Value) {
    let mut at = value;
    for key in pointer.trim_start_matches('/').split('/') {
        let key = key.replace("~1", "/").replace("~0", "~");
        if at.is_null() {
            *at = if key == "-" { json!([]) } else { json!({}) };
        }
        at = match at {
            Value::Array(list) => {
                let index = if key == "-" { list.len() } else { key.parse::<usize>().expect("an index") };
                if index == list.len() {
                    list.push(Value::Null);
                }
                list.get_mut(index).expect("an index in range")
            }
            other => other.as_object_mut().expect("an object").entry(key).or_insert(Value::Null),
        };
    }
    *at = new;
}

/// Copies a program by a process of its own. Were it written here, a test that forks at the same time would take our
/// descriptor along for a moment, and executing the copy would fail meanwhile (ETXTBSY).
fn copy_program(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg(from).arg(to).status().expect("cp");
    assert!(done.success(), "copy {} (integration/install installs what is missing)", from.display());
}
