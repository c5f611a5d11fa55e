//! `linux.resources` by itself, as `update` is given it.

use super::{explained, repair, understood};
use crate::error::{Error, ErrorKind, Result};
use oci_spec::runtime::LinuxResources;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What the specification calls the parts, and theirs (config-linux.md, Control groups).
const FIELDS: [&str; 47] = [
    "devices",
    "memory",
    "limit",
    "reservation",
    "swap",
    "kernel",
    "kernelTCP",
    "swappiness",
    "disableOOMKiller",
    "useHierarchy",
    "checkBeforeUpdate",
    "cpu",
    "shares",
    "quota",
    "burst",
    "period",
    "realtimeRuntime",
    "realtimePeriod",
    "cpus",
    "mems",
    "idle",
    "pids",
    "blockIO",
    "weight",
    "leafWeight",
    "weightDevice",
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
    "major",
    "minor",
    "rate",
    "hugepageLimits",
    "pageSize",
    "network",
    "classID",
    "priorities",
    "name",
    "priority",
    "rdma",
    "hcaHandles",
    "hcaObjects",
    "unified",
    "allow",
    "type",
    "access",
];

/// Reads a JSON object of resources; what follows it is not looked at. Upper and lower case may differ from the
/// specification, as for runc. Fields that are unknown are told.
///
/// # Errors
/// `InvalidConfig` with line and column, or with the field.
pub fn resources(data: &[u8]) -> Result<(LinuxResources, Vec<String>)> {
    let read = Value::deserialize(&mut serde_json::Deserializer::from_slice(data));
    let mut warnings = Vec::new();
    let mut object = match read.map_err(|error| explained(data, &error))? {
        Value::Null => Map::new(),
        Value::Object(object) => object,
        _ => return Err(Error::new(ErrorKind::InvalidConfig, "not a JSON object")),
    };
    respell(&mut object, "", &mut warnings);
    repair::remove_pids_without_limit(&mut object);
    // `Option` as in the type of config.json, whose code for it this is then: 12 KB.
    let resources: Box<Option<LinuxResources>> = understood(&Value::Object(object))?;
    Ok((resources.unwrap_or_default(), warnings))
}

/// Spells the fields of `object` as the types expect them.
fn respell(object: &mut Map<String, Value>, path: &str, warnings: &mut Vec<String>) {
    for (key, mut value) in std::mem::take(object) {
        let field = format!("{path}{key}");
        let Some(known) = FIELDS.iter().find(|known| known.eq_ignore_ascii_case(&key)) else {
            warnings.push(format!("{field} is ignored: it is no resource"));
            continue;
        };
        match &mut value {
            // Their keys are names of files and devices.
            _ if matches!(*known, "unified" | "rdma") => {}
            Value::Object(inner) => respell(inner, &format!("{field}."), warnings),
            Value::Array(list) => {
                for (index, inner) in list.iter_mut().enumerate().filter_map(|(i, v)| Some((i, v.as_object_mut()?))) {
                    respell(inner, &format!("{field}[{index}]."), warnings);
                }
            }
            _ => {}
        }
        object.insert((*known).to_owned(), value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::resources;

    fn check_refused(text: &str, expected: &str) {
        assert_eq!(resources(text.as_bytes()).unwrap_err().to_string(), expected, "{text}");
    }

    #[test]
    fn what_is_read() {
        let (read, warnings) = resources(
            br#"{"CPU": {"Cpus": "1"}, "blockio": {"ThrottleReadBpsDevice": [{"Major": 8, "minor": 1, "rate": 2}]},
                "unified": {"Odd.Name": "x"}, "memroy": {"limit": 1}, "cpu": {"quota": 5}, "pids": null} trailing"#,
        )
        .unwrap();
        assert_eq!(warnings, ["memroy is ignored: it is no resource"]);
        let read = serde_json::to_value(read).unwrap();
        assert_eq!(read["blockIO"]["throttleReadBpsDevice"][0]["major"], 8);
        assert_eq!(read["unified"]["Odd.Name"], "x");
        assert_eq!(read["cpu"]["quota"], 5, "the last of two wins");
        for nothing in ["{}", "null", r#"{"pids": {}}"#, r#"{"pids": {"limit": null}}"#, r#"{"PIDs": {"x": 1}}"#] {
            let (read, _) = resources(nothing.as_bytes()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), serde_json::json!({}), "{nothing}");
        }
        assert_eq!(resources(br#"{"pids": {"limit": 0}}"#).unwrap().0.pids().unwrap().limit(), 0);
    }

    #[test]
    fn what_is_not() {
        check_refused("", "EOF while parsing a value at line 1 column 0");
        check_refused("{\"cpu\": {\"quota\": 5,}}", "cpu: trailing comma at line 1 column 21");
        check_refused("[]", "not a JSON object");
        check_refused(r#"{"memory": {"limit": "5"}}"#, "memory.limit: invalid type: string \"5\", expected i64");
        check_refused(r#"{"pids": {"limit": 1.5}}"#, "pids.limit: invalid type: floating point `1.5`, expected i64");
        check_refused(r#"{"unified": {"a.b": 5}}"#, "unified.a.b: invalid type: integer `5`, expected a string");
        check_refused(r#"{"cpu": 5}"#, "cpu: invalid type: integer `5`, expected struct LinuxCpu");
    }
}
