//! The content of `/dev`: default devices and links, and `linux.devices`. Spec: config-linux.md, Devices.

use super::ContainerPath;
use super::prepare::Prepared;
use super::root::Root;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clone::InChild;
use crate::sys::fs::{self, Access, DeviceNumber, NodeKind, Resolve, Stat};
use crate::sys::mount::{self, Depth, Link};
use crate::sys::{Errno, this_process};
use oci_spec::runtime as spec;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What every container has: name in /dev, major, minor. All are character devices of mode 0666.
const DEFAULTS: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links in /dev and what they point to.
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// The greatest device numbers that the kernel has.
const MAX_MAJOR: u64 = (1 << 12) - 1;
const MAX_MINOR: u64 = (1 << 20) - 1;

/// The device nodes of a container.
#[derive(Debug, Clone)]
pub(crate) struct DevicesPlan {
    nodes: Vec<Node>,
    /// Under a user namespace nodes can't be made: the host's are bound instead.
    bind: bool,
}

#[derive(Debug, Clone)]
struct Node {
    path: ContainerPath,
    kind: NodeKind,
    number: DeviceNumber,
    /// Permission bits, used as they are.
    mode: u32,
    uid: u32,
    gid: u32,
    /// Its field in the configuration.
    field: String,
}

/// Plans the default devices and `linux.devices`, which may replace them.
pub(super) fn plan(linux: Option<&spec::Linux>, user_namespace: bool) -> Result<DevicesPlan> {
    let mut nodes = Vec::new();
    for (name, major, minor) in DEFAULTS {
        nodes.push(Node {
            path: container_path(&Path::new("/dev").join(name), "default devices")?,
            kind: NodeKind::Char,
            number: DeviceNumber { major, minor },
            mode: 0o666,
            uid: 0,
            gid: 0,
            field: format!("default device /dev/{name}"),
        });
    }
    let listed = linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    for (index, device) in listed.iter().enumerate() {
        let node = plan_one(index, device)?;
        if node.path.is("dev/ptmx") {
            // Always the link to pts/ptmx: a node would belong to the host's devpts.
            continue;
        }
        match nodes[..DEFAULTS.len()].iter_mut().find(|default| default.path == node.path) {
            Some(default) => *default = node,
            None => nodes.push(node),
        }
    }
    Ok(DevicesPlan { nodes, bind: user_namespace })
}

fn plan_one(index: usize, device: &spec::LinuxDevice) -> Result<Node> {
    let field = format!("linux.devices[{index}]");
    let kind = match device.typ() {
        spec::LinuxDeviceType::C | spec::LinuxDeviceType::U => NodeKind::Char,
        spec::LinuxDeviceType::B => NodeKind::Block,
        spec::LinuxDeviceType::P => NodeKind::Fifo,
        spec::LinuxDeviceType::A => {
            return Err(Error::config(format!("{field}.type"), "invalid device type \"a\"; use c, b, u or p"));
        }
    };
    let number = if kind == NodeKind::Fifo {
        DeviceNumber::default()
    } else {
        DeviceNumber {
            major: in_range(device.major(), MAX_MAJOR, &field, "major")?,
            minor: in_range(device.minor(), MAX_MINOR, &field, "minor")?,
        }
    };
    let path = container_path(device.path(), &field)?;
    for (name, id) in [("uid", device.uid()), ("gid", device.gid())] {
        // chown(2) takes it for "leave it as it is".
        if id == Some(u32::MAX) {
            return Err(Error::config(format!("{field}.{name}"), format!("{} is no id", u32::MAX)));
        }
    }
    Ok(Node {
        path,
        kind,
        number,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        field,
    })
}

fn container_path(path: &Path, field: &str) -> Result<ContainerPath> {
    let parsed =
        ContainerPath::new(path).ok_or_else(|| Error::config(format!("{field}.path"), "contains a NUL byte"))?;
    if parsed.is_root() {
        return Err(Error::config(format!("{field}.path"), "names no file"));
    }
    Ok(parsed)
}

fn in_range(number: i64, max: u64, field: &str, name: &str) -> Result<u64> {
    u64::try_from(number)
        .ok()
        .filter(|number| *number <= max)
        .ok_or_else(|| Error::config(format!("{field}.{name}"), format!("{number} is outside 0 to {max}")))
}

impl DevicesPlan {
    /// Under a user namespace, clones the host's nodes; opened here, as the container may not reach them by path.
    pub(super) fn open_host_nodes(&self) -> Result<Vec<Option<OwnedFd>>> {
        let open = |node: &Node| self.binds(node).then(|| node.open_on_host()).transpose();
        self.nodes.iter().map(|node| open(node).with_context(|| node.field.clone())).collect()
    }

    /// Where the host's nodes to be bound lie, each with its field in the configuration.
    pub(super) fn host_paths(&self) -> impl Iterator<Item = (PathBuf, &str)> {
        self.nodes.iter().filter(|node| self.binds(node)).map(|node| (node.host_path(), node.field.as_str()))
    }

    /// Takes a detached mount for each of [`DevicesPlan::host_paths`].
    pub(super) fn take_nodes(&self, mut next: impl FnMut() -> Result<OwnedFd>) -> Result<Vec<Option<OwnedFd>>> {
        let mut take = |node: &Node| self.binds(node).then(|| next().and_then(|clone| node.proven(clone))).transpose();
        self.nodes.iter().map(|node| take(node).with_context(|| node.field.clone())).collect()
    }

    /// Anyone may make a fifo.
    fn binds(&self, node: &Node) -> bool {
        self.bind && node.kind != NodeKind::Fifo
    }
}

impl Node {
    /// A detached mount of the host's node of the same path, proven to be the same device.
    fn open_on_host(&self) -> Result<OwnedFd> {
        mount::clone_path(&self.host_path(), Depth::Top, Link::Keep).and_then(|clone| self.proven(clone))
    }

    fn host_path(&self) -> PathBuf {
        PathBuf::from(self.path.to_string())
    }

    fn proven(&self, clone: OwnedFd) -> Result<OwnedFd> {
        if self.is(&fs::stat(&clone)?) {
            return Ok(clone);
        }
        let DeviceNumber { major, minor } = self.number;
        let text = format!("{} of the host is not device {major}:{minor}", self.path);
        Err(Error::new(ErrorKind::InvalidConfig, text))
    }

    fn is(&self, stat: &Stat) -> bool {
        match self.kind {
            NodeKind::Char => stat.is_char(self.number.major, self.number.minor),
            NodeKind::Block => stat.is_block(self.number.major, self.number.minor),
            NodeKind::Fifo => stat.is_fifo(),
            NodeKind::File => stat.is_file(),
        }
    }

    /// Makes the node as `name` in `dir`; an existing one of the same kind and numbers is left as it is. `owner` is whose
    /// nodes new in `dir` are, once one of them was looked at.
    fn make(&self, me: &InChild, dir: &OwnedFd, name: &OsStr, owner: &mut Option<(u32, u32)>) -> Result<()> {
        let made = match fs::mknod_at(dir, name, self.kind, self.mode, self.number) {
            Ok(()) if *owner == Some((self.uid, self.gid)) => return Ok(()),
            Ok(()) => true,
            Err(error) if error.is(Errno::EEXIST) => false,
            // Without CAP_MKNOD, or when an outer sandbox forbids the device: the host's own node does as well.
            Err(error) if error.is(Errno::EPERM) && self.kind != NodeKind::Fifo => {
                // The process's root is still the host's; see `Prepared::enter`.
                return bind(me, dir, name, &self.open_on_host()?);
            }
            Err(error) => return Err(error),
        };
        let node = fs::open_at(dir, name, Access::Path, Resolve::Beneath)?;
        let stat = fs::stat(&node)?;
        if !self.is(&stat) {
            let text = format!("{} exists in the root filesystem, but is not this device", self.path);
            return Err(Error::new(ErrorKind::InvalidConfig, text));
        }
        if !made {
            return Ok(());
        }
        *owner = Some((stat.uid, stat.gid));
        if *owner != Some((self.uid, self.gid)) {
            fs::chown(&node, Some(self.uid), Some(self.gid))?;
        }
        this_process::leave_open(me, node);
        Ok(())
    }
}

/// Attaches the node `clone` to the file `name` in `dir`, made if it is missing.
fn bind(me: &InChild, dir: &OwnedFd, name: &OsStr, clone: &OwnedFd) -> Result<()> {
    match fs::mknod_at(dir, name, NodeKind::File, 0, DeviceNumber::default()) {
        Err(error) if !error.is(Errno::EEXIST) => return Err(error),
        _ => {}
    }
    let target = fs::open_at(dir, name, Access::Path, Resolve::Beneath)?;
    mount::attach(me, clone, target)
}

impl Prepared {
    /// Fills `/dev`: nodes, links, `ptmx`, then `linux.devices` elsewhere. Does nothing when `/dev` is a bind mount. The
    /// umask must be 0.
    ///
    /// # Errors
    /// The device at fault with what failed; when `/dev` is a link.
    pub fn devices(&self, me: &InChild, root: &Root) -> Result<()> {
        let Some(plan) = &self.plan.devices else { return Ok(()) };
        let dev = root.create_dev()?;
        let mut owner = None;
        for (node, clone) in plan.nodes.iter().zip(&self.nodes) {
            place(me, root, (&dev, &mut owner), node, clone.as_ref()).with_context(|| node.field.clone())?;
        }
        for (name, target) in LINKS {
            link(&dev, name, target)?;
        }
        if self.kcore {
            link(&dev, "core", "/proc/kcore")?;
        }
        link_ptmx(&dev).context("make /dev/ptmx")?;
        this_process::leave_open(me, dev);
        Ok(())
    }
}

/// Places a node; `dev` is /dev and whose nodes new in it are, as [`Node::make`] has it.
fn place(
    me: &InChild,
    root: &Root,
    dev: (&OwnedFd, &mut Option<(u32, u32)>),
    node: &Node,
    clone: Option<&OwnedFd>,
) -> Result<()> {
    let Some((parent, name)) = node.path.split() else { return Ok(()) };
    let other = if parent.is("dev") { None } else { Some(root.create_dir(me, &parent)?) };
    let (dir, owner) = match &other {
        Some(dir) => (dir, &mut None),
        None => dev,
    };
    match clone {
        Some(clone) => bind(me, dir, name, clone),
        None => node.make(me, dir, name, owner),
    }
}

/// Makes a link; whatever has the name already stays.
fn link(dev: &OwnedFd, name: &str, target: &str) -> Result<()> {
    match fs::symlink_at(target, dev, name) {
        Err(error) if !error.is(Errno::EEXIST) => Err(error.context(format!("make /dev/{name}"))),
        _ => Ok(()),
    }
}

/// Makes `ptmx` the link to the container's own devpts, whatever was there.
fn link_ptmx(dev: &OwnedFd) -> Result<()> {
    let link = || fs::symlink_at("pts/ptmx", dev, "ptmx");
    match link() {
        Err(error) if error.is(Errno::EEXIST) => fs::unlink_at(dev, "ptmx").and_then(|()| link()),
        linked => linked,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{check_refused, plan_of};
    use super::*;

    fn devices(list: &str) -> Vec<Node> {
        let fragment = format!(r#"{{"linux":{{"devices":[{list}]}}}}"#);
        plan_of(&fragment, false).unwrap().devices.unwrap().nodes
    }

    #[test]
    fn listed_devices_follow_the_defaults_or_replace_them() {
        let nodes = devices(
            r#"{"path":"/dev/null","type":"c","major":1,"minor":5,"fileMode":33206},
               {"path":"/dev/ptmx","type":"c","major":5,"minor":2},
               {"path":"dev/net/tun/","type":"u","major":10,"minor":200,"uid":7}"#,
        );
        assert_eq!(nodes.len(), DEFAULTS.len() + 1);
        assert_eq!((nodes[0].number.minor, nodes[0].mode), (5, 0o666));
        let tun = nodes.last().unwrap();
        assert_eq!((tun.path.to_string().as_str(), tun.uid, tun.mode), ("/dev/net/tun", 7, 0o666));
    }

    #[test]
    fn bad_devices_are_refused() {
        let refused =
            |device: &str, expected| check_refused(&format!(r#"{{"linux":{{"devices":[{device}]}}}}"#), expected);
        refused(r#"{"path":"/dev/x","type":"a","major":1,"minor":1}"#, "invalid device type");
        refused(r#"{"path":"/dev/x","type":"c","major":-1,"minor":1}"#, "linux.devices[0].major");
        refused(r#"{"path":"/dev/x","type":"b","major":1,"minor":1048576}"#, "linux.devices[0].minor");
        refused(r#"{"path":"/","type":"p"}"#, "linux.devices[0].path");
    }

    #[test]
    fn no_devices_on_a_bound_dev() {
        let fragment = r#"{"mounts":[{"destination":"/dev/","source":"/dev","options":["rbind"]}]}"#;
        assert!(plan_of(fragment, false).unwrap().devices.is_none());
    }
}
