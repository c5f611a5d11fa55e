//! Network devices of the host that the container gets. Spec: config-linux.md, Network Devices.

use super::{Origin, Plan};
use crate::error::{Error, Result};
use crate::sys::clone::CloneFlags;
use oci_spec::runtime::LinuxNetDevice;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A device to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub name: String,
    /// Its name in the container, or a template for one.
    pub inside: String,
}

impl NetDevice {
    /// The names that it may have in the container, best first: more than one for a template, in whose `%d` the first
    /// number is put that is free. By us, since the kernel would count the device itself when its old name is taken
    /// and the template was used for that already (`do_setlink` in net/core/rtnetlink.c).
    pub fn candidates(&self) -> impl Iterator<Item = String> {
        let many = if is_template(&self.inside) { usize::MAX } else { 1 };
        let name = |number: u32| self.inside.replacen(TEMPLATE, &number.to_string(), 1);
        (0..).map(name).take_while(|name| name.len() < LONGEST).take(many)
    }
}

/// Where the kernel puts a number of its choice in a new name.
const TEMPLATE: &str = "%d";

/// `IFNAMSIZ`: the bytes of a name with the NUL after it.
const LONGEST: usize = 16;

/// Plans `linux.netDevices`: in the order of their names, those last that take a name which is left.
///
/// # Errors
/// No network namespace to move them to, a name that no device can have, two devices of one name.
pub fn plan(wanted: Option<&HashMap<String, LinuxNetDevice>>, namespaces: &Plan) -> Result<Vec<NetDevice>> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return Ok(Vec::new()) };
    let field = "linux.netDevices";
    if namespaces.origin(CloneFlags::NETWORK) == Origin::Inherited {
        let why = "unable to move network devices without a NET namespace: list {\"type\": \"network\"}";
        return Err(Error::config(field, why));
    }
    let mut planned = Vec::new();
    let mut taken = BTreeSet::new();
    for (name, device) in wanted.iter().collect::<BTreeMap<_, _>>() {
        let inside = device.name().as_deref().filter(|inside| !inside.is_empty()).unwrap_or(name);
        checked(name, name.contains('%')).map_err(|why| Error::config(field, why))?;
        let percent = inside.contains('%') && !is_template(inside);
        checked(inside, percent).map_err(|why| Error::config(format!("{field}.{name}.name"), why))?;
        if !is_template(inside) && !taken.insert(inside) {
            return Err(Error::config(field, format!("two devices are to be {inside} in the container")));
        }
        planned.push(NetDevice { name: name.clone(), inside: inside.to_owned() });
    }
    planned.sort_by_key(|device| is_template(&device.inside));
    Ok(planned)
}

/// As `dev_valid_name` in net/core/dev.c; and no `%`, by which the kernel would choose a name, where that is not wanted.
fn checked(name: &str, percent: bool) -> std::result::Result<(), String> {
    let odd = |c: char| c.is_ascii_whitespace() || matches!(c, '/' | ':' | '\0' | '\x0b');
    if (1..LONGEST).contains(&name.len()) && name != "." && name != ".." && !name.contains(odd) && !percent {
        return Ok(());
    }
    let advice = "1 to 15 bytes without '/', ':' and white space, not \".\" or \"..\"; '%' only as \"%d\" in the new name, \
                  once, for a number that is free";
    Err(format!("invalid network device name {name:?}: it has {advice}"))
}

fn is_template(name: &str) -> bool {
    name.contains(TEMPLATE) && name.matches('%').count() == 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(devices: &str, create: CloneFlags, expected: std::result::Result<&[(&str, &str)], &str>) {
        let wanted: HashMap<String, LinuxNetDevice> = serde_json::from_str(devices).unwrap();
        let planned = plan(Some(&wanted), &Plan { create, ..Plan::default() });
        let planned = planned.map_err(|error| error.to_string());
        let expected = expected.map_err(|why| format!("config.json: linux.netDevices{why}"));
        match (&planned, expected) {
            (Ok(planned), Ok(expected)) => {
                let names: Vec<_> = planned.iter().map(|it| (it.name.as_str(), it.inside.as_str())).collect();
                assert_eq!(names, expected, "{devices}");
            }
            (Err(text), Err(expected)) => assert!(text.starts_with(&expected), "{devices}: {text}"),
            (planned, _) => panic!("{devices}: {planned:?}"),
        }
    }

    #[test]
    fn templates() {
        let names = |inside: &str, count| {
            let device = NetDevice { name: "x".to_owned(), inside: inside.to_owned() };
            device.candidates().take(count).collect::<Vec<_>>()
        };
        assert_eq!(names("eth0", 9), ["eth0"]);
        assert_eq!(names("eth%d", 3), ["eth0", "eth1", "eth2"]);
        assert_eq!(names("a%db", 2), ["a0b", "a1b"]);
        assert_eq!(names("0123456789abc%d", 1000).len(), 100, "no name is longer than 15 bytes");
    }

    #[test]
    fn names() {
        let net = CloneFlags::NETWORK;
        check("{}", CloneFlags::NONE, Ok(&[]));
        check(r#"{"eth0": {}}"#, CloneFlags::NONE, Err(": unable to move network devices without a NET namespace"));
        check(r#"{"b": {"name": "x"}, "a": {"name": ""}}"#, net, Ok(&[("a", "a"), ("b", "x")]));
        check(r#"{"a": {"name": "x"}, "b": {"name": "x"}}"#, net, Err(": two devices are to be x"));
        check(
            r#"{"a": {"name": "x%d"}, "b": {"name": "x%d"}, "c": {}}"#,
            net,
            Ok(&[("c", "c"), ("a", "x%d"), ("b", "x%d")]),
        );
        check(r#"{"x%d": {}}"#, net, Err(": invalid network device name"));
        for bad in ["a/b", "a:b", "a b", "%d%d", "a%", "%s", ".", "..", "0123456789abcdef"] {
            let text = format!(": invalid network device name {bad:?}");
            check(&format!(r#"{{"{bad}": {{}}}}"#), net, Err(&text));
            check(&format!(r#"{{"a": {{"name": "{bad}"}}}}"#), net, Err(&format!(".a.name{text}")));
        }
        check(r#"{"": {}}"#, net, Err(": invalid network device name"));
        check(r#"{"0123456789abcde": {}}"#, net, Ok(&[("0123456789abcde", "0123456789abcde")]));
    }
}
