//! The probe as the tests see it: built once, its report parsed.

use super::Outcome;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The static probe program: `ONGGI_TEST_PROBE`, or built if cargo says that it must be.
pub fn probe_path() -> &'static PathBuf {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        if let Some(given) = std::env::var_os("ONGGI_TEST_PROBE") {
            return PathBuf::from(given);
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args(["rustc", "--quiet", "--example", "probe", "--message-format=json", "--"]);
        cargo.args(["-Ctarget-feature=+crt-static", "-Cstrip=symbols"]);
        let built = cargo.output().expect("cargo runs");
        assert!(built.status.success(), "the probe does not build: {}", String::from_utf8_lossy(&built.stderr));
        // Where it lies is cargo's business (target directory, target triple): it says so itself.
        let messages = String::from_utf8_lossy(&built.stdout).into_owned();
        let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut artifacts = messages.filter(|message| message["target"]["name"] == "probe");
        let path = artifacts.find_map(|message| message["executable"].as_str().map(PathBuf::from));
        path.expect("cargo names the executable")
    })
}

/// The bit mask of a list of capability names, as `/proc/PID/status` shows it.
pub fn capability_mask(names: &Value) -> u64 {
    let list = names.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|name| 1_u64 << capability_number(name.as_str().expect("a name"))).sum()
}

/// Capability numbers of linux/capability.h.
fn capability_number(name: &str) -> usize {
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    let short = name.strip_prefix("CAP_").expect("CAP_ at the front");
    NAMES.iter().position(|known| *known == short).expect("a capability of this kernel")
}

/// What the probe saw.
pub struct Report {
    /// The whole report.
    pub json: Value,
}

impl Report {
    /// Parses stdout of a run of `probe report`.
    #[track_caller]
    pub fn parse(outcome: &Outcome) -> Self {
        Self { json: outcome.json() }
    }

    /// A line of `/proc/self/status`.
    #[track_caller]
    pub fn status(&self, key: &str) -> &str {
        self.json["status"][key].as_str().unwrap_or_else(|| panic!("no {key} in status"))
    }

    /// A capability set by its name in status, such as `CapEff`.
    #[track_caller]
    pub fn capabilities(&self, set: &str) -> u64 {
        u64::from_str_radix(self.status(set), 16).expect("a hexadecimal mask")
    }

    /// Fields of status that are several numbers, such as `Uid` and `Groups`.
    #[track_caller]
    pub fn numbers(&self, key: &str) -> Vec<u32> {
        self.status(key).split_whitespace().map(|text| text.parse().expect("a number")).collect()
    }

    /// The topmost mount at `point`.
    pub fn mount(&self, point: &str) -> Option<&Value> {
        self.json["mounts"].as_array()?.iter().rev().find(|mount| mount["point"] == point)
    }

    /// Asserts type and options of the topmost mount at `point`; an option written `!x` must be absent.
    #[track_caller]
    pub fn assert_mount(&self, point: &str, kind: &str, options: &[&str]) {
        let mount = self.mount(point).unwrap_or_else(|| panic!("nothing is mounted on {point}"));
        if !kind.is_empty() {
            assert_eq!(mount["type"], kind, "{mount}");
        }
        let has = |option: &str| {
            let in_list = |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|item| item == option));
            in_list(&mount["options"]) || in_list(&mount["super"])
        };
        for option in options {
            match option.strip_prefix('!') {
                Some(absent) => assert!(!has(absent), "{point} should not be {absent}: {mount}"),
                None => assert!(has(option), "{point} should be {option}: {mount}"),
            }
        }
    }

    /// The environment as a list of `KEY=value`.
    pub fn env(&self) -> Vec<&str> {
        self.json["env"].as_array().expect("env").iter().filter_map(Value::as_str).collect()
    }

    /// Descriptor numbers that are open.
    pub fn descriptors(&self) -> Vec<&str> {
        let mut numbers: Vec<_> = self.json["fds"].as_object().expect("fds").keys().map(String::as_str).collect();
        numbers.sort_by_key(|text| text.parse::<i32>().unwrap_or(i32::MAX));
        numbers
    }
}
