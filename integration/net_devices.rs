//! `linux.netDevices`: devices of the host in the container, and back when that fails.

use crate::harness::Moment::Validation;
use crate::harness::{
    Bundle, Outcome, Running, Snapshot, check_refusals, is_peer, is_rootless, needs_root, skip, wait_until,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command};

/// A network namespace that stands for the host's, so that no device of the machine is ever touched. It has a pair of
/// devices: `out`, which is up and has addresses, and `peer`, which has not.
pub struct Network {
    holder: Child,
}

impl Network {
    /// With nothing but `lo`.
    fn empty() -> Self {
        let holder = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().expect("unshare");
        let network = Self { holder };
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        wait_until("the network namespace", || fs::read_link(network.path()).is_ok_and(|link| link != own));
        network
    }

    /// `None` for a user, for peers, who give nothing back, and where the kernel has no such devices.
    pub fn new() -> Option<Self> {
        if is_peer() || !needs_root("net_devices", "only root may move devices of the host") {
            return None;
        }
        let network = Self::empty();
        if network.ip("link add out type veth peer name peer").is_none() {
            skip("net_devices", "no veth devices, or no ip(8)");
            return None;
        }
        for command in [
            "link set out address 02:11:22:33:44:55 mtu 1400",
            "link set peer address 02:11:22:33:44:66",
            "address add 10.99.1.2/24 broadcast 10.99.1.255 dev out",
            "address add 10.99.2.2/24 scope link dev out",
            "address add 10.99.3.2/24 noprefixroute dev out",
            "-6 address add fd00:99::2/64 nodad dev out",
            "link set out up",
        ] {
            network.ip(command).unwrap_or_else(|| panic!("ip {command}"));
        }
        Some(network)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    fn ip(&self, args: &str) -> Option<String> {
        ip(&self.path(), args)
    }

    /// What is to be there again when there is no container: every device with what was set, less its number.
    fn devices(&self) -> Vec<Value> {
        let all: Vec<Value> = serde_json::from_str(&self.ip("-j -d address show").unwrap()).unwrap();
        let kept = all.iter().filter(|device| device["ifname"] != "lo").map(|device| {
            let up = device["flags"].as_array().unwrap().contains(&json!("UP"));
            let info = device["addr_info"].as_array().unwrap().iter();
            let mut addresses: Vec<_> = info
                .filter(|address| !address["local"].as_str().unwrap().starts_with("fe80"))
                .map(|address| {
                    let keys = ["local", "prefixlen", "scope", "broadcast", "noprefixroute"];
                    keys.map(|key| address[key].to_string()).join(" ")
                })
                .collect();
            addresses.sort();
            json!([device["ifname"], device["address"], device["mtu"], up, addresses])
        });
        let mut kept: Vec<_> = kept.collect();
        kept.sort_by_key(Value::to_string);
        kept
    }

    /// `create` or `run` as if here was the host.
    pub fn start(&self, bundle: &Bundle, verb: &str, flags: &[&str]) -> Running {
        let net = format!("--net={}", self.path());
        bundle.start_with(verb, flags).under(&["nsenter", &net, "--"]).spawn()
    }

    /// Starts a container that sleeps.
    fn asleep(&self, bundle: &mut Bundle) {
        bundle.args(&["/bin/sleep", "1000"]);
        self.start(bundle, "run", &["-d"]).wait().ok();
    }

    /// The container can't be, and all devices are here as they were.
    fn refuses(&self, bundle: &Bundle, verb: &str) -> Outcome {
        self.leaves_all(bundle, || self.start(bundle, verb, &[]).wait().fails())
    }

    fn leaves_all(&self, bundle: &Bundle, act: impl FnOnce() -> Outcome) -> Outcome {
        let (snapshot, devices) = (Snapshot::of(bundle), self.devices());
        let done = act();
        snapshot.assert_unchanged(bundle);
        assert_eq!(self.devices(), devices, "{done}");
        done
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.holder.kill().expect("kill");
        self.holder.wait().expect("wait");
    }
}

/// ip(8) in the network namespace at `path`.
fn ip(path: &str, args: &str) -> Option<String> {
    let net = format!("--net={path}");
    let done = Command::new("nsenter").args([&net, "ip"]).args(args.split_whitespace()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

fn bundle(devices: Value) -> Bundle {
    let mut bundle = Bundle::new();
    bundle.set("/linux/netDevices", devices).args(&["/bin/true"]);
    bundle
}

/// The device as ip(8) shows it in the container.
fn inside(bundle: &Bundle, name: &str) -> Value {
    let shown = ip(&format!("/proc/{}/ns/net", bundle.pid()), &format!("-j address show dev {name}"));
    let all: Value = serde_json::from_str(&shown.expect("the device is inside")).unwrap();
    all[0].clone()
}

/// The addresses that count everywhere, with their lengths.
fn addresses(device: &Value) -> Vec<String> {
    let list = device["addr_info"].as_array().unwrap().iter();
    let global = list.filter(|address| address["scope"] == "global");
    global.map(|address| format!("{}/{}", address["local"].as_str().unwrap(), address["prefixlen"])).collect()
}

fn check_moved(device: Value, name: &str) {
    let Some(host) = Network::new() else { return };
    let mut bundle = bundle(json!({ "out": device }));
    host.asleep(&mut bundle);
    let seen = inside(&bundle, name);
    assert_eq!(addresses(&seen), ["10.99.1.2/24", "10.99.3.2/24", "fd00:99::2/64"], "{seen}");
    assert_eq!(seen["addr_info"][0]["broadcast"], "10.99.1.255");
    assert_eq!(seen["addr_info"][1]["noprefixroute"], true, "{seen}");
    assert_eq!((&seen["address"], &seen["mtu"]), (&json!("02:11:22:33:44:55"), &json!(1400)));
    assert!(seen["flags"].as_array().unwrap().contains(&json!("UP")), "{seen}");
    assert!(!seen.to_string().contains("10.99.2.2"), "not global: {seen}");
    assert!(host.ip("link show dev out").is_none(), "it has left the host");
    bundle.verb("delete", &["--force"]).ok();
}

#[test]
fn moved_with_what_is_set_on_it() {
    check_moved(json!({}), "out");
    check_moved(json!({"name": ""}), "out");
}

#[test]
fn renamed() {
    check_moved(json!({"name": "eth0"}), "eth0");
}

/// In a template the first number that is free, once the names that are certain are given.
#[test]
fn a_number_for_the_name() {
    check_moved(json!({"name": "eth%d"}), "eth0");
    let Some(host) = Network::new() else { return };
    let mut bundle = bundle(json!({"out": {"name": "eth%d"}, "peer": {"name": "eth0"}}));
    host.asleep(&mut bundle);
    assert_eq!(inside(&bundle, "eth0")["address"], "02:11:22:33:44:66");
    assert_eq!(inside(&bundle, "eth1")["address"], "02:11:22:33:44:55");
}

#[test]
fn moved_into_a_user_namespace() {
    let Some(host) = Network::new() else { return };
    let mut bundle = bundle(json!({"out": {"name": "eth0"}}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
    bundle.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    host.asleep(&mut bundle);
    assert_eq!(addresses(&inside(&bundle, "eth0")).len(), 3);
}

#[test]
fn moved_into_a_namespace_that_is_joined() {
    let Some(host) = Network::new() else { return };
    let joined = Network::empty();
    joined.ip("link add eth0 type veth peer name out").unwrap();
    let mut bundle = bundle(json!({"out": {"name": "eth1"}, "peer": {}}));
    bundle.namespace("network", Some(joined.path().as_ref()));
    // The old name is taken there, which is no matter.
    host.asleep(&mut bundle);
    assert_eq!(addresses(&inside(&bundle, "eth1")).len(), 3);
    assert_eq!(joined.devices().len(), 4, "{:?}", joined.devices());
    // They are not the container's: they stay with the namespace.
    bundle.verb("delete", &["--force"]).ok();
    assert_eq!(joined.devices().len(), 4, "{:?}", joined.devices());
}

#[test]
fn back_from_a_namespace_that_is_joined() {
    let Some(host) = Network::new() else { return };
    let joined = Network::empty();
    joined.ip("link add eth0 type veth peer name eth1").unwrap();
    let before = joined.devices();
    let mut bundle = bundle(json!({"out": {"name": "net0"}, "peer": {"name": "eth1"}}));
    bundle.namespace("network", Some(joined.path().as_ref()));
    host.refuses(&bundle, "create").says("linux.netDevices.peer").says("file exists");
    bundle.set("/linux/netDevices/peer/name", json!("eth2"));
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/false"}]));
    host.refuses(&bundle, "create").says("createRuntime");
    assert_eq!(joined.devices(), before);
}

/// In the middle of it, and at each step after it.
#[test]
fn back_when_there_is_no_container() {
    let Some(host) = Network::new() else { return };
    let both = json!({"out": {"name": "eth0"}, "peer": {}});
    let refuses = |edit: fn(&mut Bundle) -> &mut Bundle, verb: &str, says: &str| {
        let mut bundle = bundle(both.clone());
        host.refuses(edit(&mut bundle), verb).says(says);
    };
    refuses(|bundle| bundle.set("/linux/netDevices/peer/name", json!("lo")), "create", "file exists");
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut bundle = bundle(both.clone());
        bundle.set(&format!("/hooks/{kind}"), json!([{"path": "/bin/false"}]));
        host.refuses(&bundle, "create").says(kind);
    }
    refuses(|bundle| bundle.mount("/data", "tmpfs", "x", &["size=nonsense"]), "create", "mounts[");
    refuses(|bundle| bundle.args(&["/nosuch"]), "run", "/nosuch");
    for kind in ["startContainer", "poststart"] {
        let mut bundle = bundle(both.clone());
        bundle.args(&["/bin/sleep", "1000"]).set(&format!("/hooks/{kind}"), json!([{"path": "/bin/false"}]));
        host.refuses(&bundle, "run").says(kind);
    }
}

#[test]
fn back_when_create_is_interrupted() {
    let Some(host) = Network::new() else { return };
    let mut bundle = bundle(json!({"out": {"name": "eth0"}, "peer": {}}));
    let reached = bundle.logs().join("reached");
    let script = format!("touch {}; sleep 1000", reached.display());
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]));
    host.leaves_all(&bundle, || {
        let running = host.start(&bundle, "create", &[]);
        wait_until("the hook", || reached.exists());
        assert!(host.devices().is_empty(), "they are in the container");
        running.signal(Signal::SIGTERM);
        running.wait().fails()
    });
}

#[test]
fn what_cannot_be_is_refused() {
    if is_rootless() {
        let bundle = bundle(json!({"lo": {}}));
        bundle.run().exits(1).says("linux.netDevices: only root");
        return;
    }
    if is_peer() {
        return;
    }
    let without = "unable to move network devices without a NET namespace";
    check_refusals(
        |bundle| bundle,
        &[
            (
                |b| b.set("/linux/netDevices", json!({"nosuch0": {"name": "a/b"}})),
                Validation,
                &["linux.netDevices.nosuch0.name: invalid network device name \"a/b\""],
            ),
            (
                |b| b.set("/linux/netDevices", json!({"nosuch0": {"name": "x"}, "nosuch1": {"name": "x"}})),
                Validation,
                &["linux.netDevices: two devices are to be x"],
            ),
            (
                |b| b.set("/linux/netDevices", json!({"nosuch0": {}})),
                Validation,
                &["linux.netDevices.nosuch0: link not found"],
            ),
            (
                |b| b.set("/linux/netDevices", json!({"lo": {"name": "lo0"}})),
                Validation,
                &["linux.netDevices.lo: the loopback device"],
            ),
            (
                |b| b.set("/linux/netDevices", json!({"lo": {}})).without_namespace("network").without_mount("/sys"),
                Validation,
                &[without],
            ),
            (
                |b| {
                    let own = Some("/proc/self/ns/net".as_ref());
                    b.set("/linux/netDevices", json!({"lo": {}})).namespace("network", own).without_mount("/sys")
                },
                Validation,
                &[without, "is the host's"],
            ),
        ],
    );
}
