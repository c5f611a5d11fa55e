//! `spec`: writes a config.json to start from.

use super::wrong_state;
use crate::error::{Error, Result};
use crate::sys::machine;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// The name of the file, also in runc's message.
const CONFIG: &str = "config.json";

/// runc's template, with our name as the host name: tabs, no newline at the end.
const TEMPLATE: &str = include_str!("spec.json");

/// What differs for a user without privileges: pieces of [`TEMPLATE`] and what takes their place.
const ROOTLESS: [(&str, &str); 5] = [
    // Limits need a delegated cgroup.
    (
        "\t\t\"resources\": {\n\t\t\t\"devices\": [\n\t\t\t\t{\n\t\t\t\t\t\"allow\": false,\n\t\t\t\t\t\"access\": \"rwm\"\n\t\t\t\t}\n\t\t\t]\n\t\t},\n",
        "MAPPINGS",
    ),
    ("\t\t\t{\n\t\t\t\t\"type\": \"network\"\n\t\t\t},\n", ""),
    (
        "\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}\n\t\t],",
        "\t\t\t\t\"type\": \"cgroup\"\n\t\t\t},\n\t\t\t{\n\t\t\t\t\"type\": \"user\"\n\t\t\t}\n\t\t],",
    ),
    // Group 5 has no mapping.
    ("\"mode=0620\",\n\t\t\t\t\"gid=5\"\n", "\"mode=0620\"\n"),
    // sysfs can't be mounted without owning the network namespace.
    (
        "\"type\": \"sysfs\",\n\t\t\t\"source\": \"sysfs\",\n\t\t\t\"options\": [\n",
        "\"type\": \"none\",\n\t\t\t\"source\": \"/sys\",\n\t\t\t\"options\": [\n\t\t\t\t\"rbind\",\n",
    ),
];

/// Writes the template to `config.json` in `bundle` or the working directory.
pub(super) fn spec(bundle: Option<&Path>, rootless: bool) -> Result<u8> {
    let path = bundle.unwrap_or(Path::new("")).join(CONFIG);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => wrong_state(format!("File {CONFIG} exists. Remove it first")),
        _ => failed("open", &path, &error),
    })?;
    let text = if rootless {
        rootless_template(machine::effective_uid(), machine::effective_gid())
    } else {
        TEMPLATE.to_owned()
    };
    file.write_all(text.as_bytes()).map_err(|error| failed("write", &path, &error))?;
    Ok(0)
}

fn failed(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::io(format!("{doing} {}", path.display()), error)
}

fn rootless_template(uid: u32, gid: u32) -> String {
    let text = ROOTLESS.iter().fold(TEMPLATE.to_owned(), |text, (from, to)| text.replace(from, to));
    text.replace("MAPPINGS", &(mapping("uidMappings", uid) + &mapping("gidMappings", gid)))
}

fn mapping(name: &str, host_id: u32) -> String {
    let entry = format!("\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": {host_id},\n\t\t\t\t\"size\": 1\n");
    format!("\t\t\"{name}\": [\n\t\t\t{{\n{entry}\t\t\t}}\n\t\t],\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn template() {
        let config: Value = serde_json::from_str(TEMPLATE).unwrap();
        assert_eq!(config["hostname"], "onggi");
        assert_eq!(config["ociVersion"], crate::container::report::OCI_VERSION);
        assert_eq!(config["mounts"].as_array().unwrap().len(), 7);
        assert!(!TEMPLATE.ends_with('\n'));
    }

    #[test]
    fn rootless() {
        for (from, _) in ROOTLESS {
            assert_eq!(TEMPLATE.matches(from).count(), 1, "{from}");
        }
        let config: Value = serde_json::from_str(&rootless_template(1000, 100)).unwrap();
        let linux = &config["linux"];
        assert_eq!(linux["uidMappings"], json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
        assert_eq!(linux["gidMappings"], json!([{"containerID": 0, "hostID": 100, "size": 1}]));
        assert_eq!(linux["resources"], Value::Null);
        let namespaces = linux["namespaces"].as_array().unwrap().iter().map(|n| n["type"].as_str().unwrap());
        assert_eq!(namespaces.collect::<Vec<_>>(), ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
        let mount = |destination: &str| {
            config["mounts"].as_array().unwrap().iter().find(|mount| mount["destination"] == destination).unwrap()
        };
        assert_eq!(
            *mount("/sys"),
            json!({"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]})
        );
        assert_eq!(mount("/dev/pts")["options"].as_array().unwrap().last().unwrap(), "mode=0620");
    }
}
