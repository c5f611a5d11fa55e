//! The container's groups in the resctrl filesystem, which divides caches and memory bandwidth and measures their use.
//! Spec: config-linux.md, IntelRdt; Documentation/filesystems/resctrl.rst.
//!
//! A control group has a name, `linux.intelRdt.closID` or else the container's; its `schemata` file says what its
//! processes get. A monitoring group lies in one, is named after the container, and counts the container alone.

mod groups;
mod made;
mod schemata;
mod tree;

pub use groups::{Divided, Groups};
pub use made::Made;
pub use tree::check;

use crate::error::{Error, Result};
use oci_spec::runtime::LinuxIntelRdt;

/// What `linux.intelRdt` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The control group's name; empty for the root of the filesystem, the group of everybody.
    pub group: String,
    /// Whether it is the container's own, which is removed with it.
    pub own: bool,
    /// What its `schemata` file is to have, each to be written at once.
    pub schemata: Vec<String>,
    /// Whether a part of it needs the control of L3 caches, or of memory bandwidth.
    needs: Needs,
    /// The monitoring group's name, if there is to be one.
    pub monitor: Option<String>,
}

/// Fields that name what they control.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Needs {
    l3_cache: bool,
    memory_bandwidth: bool,
}

/// Directories of the filesystem that are no groups.
const NOT_GROUPS: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// Plans `linux.intelRdt` for the container `id`. (`enableCMT` and `enableMBM`, which version 1.3 of the specification has
/// taken out, never meant anything to anybody.)
///
/// # Errors
/// A name that no group can have, and schemata that are none.
pub fn plan(wanted: Option<&LinuxIntelRdt>, id: &str) -> Result<Option<Plan>> {
    let Some(wanted) = wanted else { return Ok(None) };
    let clos = filled(wanted.clos_id().as_deref());
    check_name(clos, id)?;
    let l3_cache = filled(wanted.l3_cache_schema().as_deref());
    let bandwidth = filled(wanted.mem_bw_schema().as_deref());
    if let Some(schema) = bandwidth {
        memory_bandwidth(schema).map_err(|why| Error::config("linux.intelRdt.memBwSchema", why))?;
    }
    let lines = wanted.schemata().as_deref().unwrap_or_default();
    if let Some(at) = lines.iter().position(|line| line.contains('\n')) {
        return Err(Error::config(format!("linux.intelRdt.schemata[{at}]"), "has a newline: make it two elements"));
    }
    let schemata = l3_cache.into_iter().chain(bandwidth).chain(lines.iter().filter_map(|line| filled(Some(line))));
    Ok(Some(Plan {
        group: if clos == Some("/") { String::new() } else { clos.unwrap_or(id).to_owned() },
        own: clos.is_none(),
        schemata: schemata.map(str::to_owned).collect(),
        needs: Needs { l3_cache: l3_cache.is_some(), memory_bandwidth: bandwidth.is_some() },
        monitor: (*wanted.enable_monitoring() == Some(true)).then(|| id.to_owned()),
    }))
}

/// Go has no difference between a text that is empty and one that is not there.
fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn check_name(clos: Option<&str>, id: &str) -> Result<()> {
    let refuse = |why: String| Err(Error::config("linux.intelRdt.closID", why));
    match clos {
        Some("/") => Ok(()),
        Some(name) if name == "." || name == ".." || name.contains(['/', '\n', '\0']) || NOT_GROUPS.contains(&name) => {
            refuse(format!("{name:?} is not the name of a group: choose one without slashes, or \"/\" alone"))
        }
        None if NOT_GROUPS.contains(&id) => {
            refuse(format!("a group can't be called {id} as the container is: name another"))
        }
        _ => Ok(()),
    }
}

/// Whether `schema` is one of memory bandwidth.
///
/// # Errors
/// What is wrong with it.
fn memory_bandwidth(schema: &str) -> std::result::Result<(), String> {
    if schema.starts_with("MB:") && !schema.contains('\n') {
        return Ok(());
    }
    Err(format!("{schema:?} is not a line that starts with \"MB:\", such as MB:0=20;1=70"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn planned(text: &str, id: &str) -> std::result::Result<Plan, String> {
        let wanted: LinuxIntelRdt = serde_json::from_str(text).unwrap();
        plan(Some(&wanted), id).map(Option::unwrap).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_asked_for() {
        assert_eq!(plan(None, "web"), Ok(None));
    }

    #[test]
    fn groups_and_what_is_written() {
        let named = |group: &str| Plan { group: group.to_owned(), ..Plan::default() };
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let both = Needs { l3_cache: true, memory_bandwidth: true };
        for (text, expected) in [
            ("{}", Plan { own: true, ..named("web") }),
            (r#"{"closID": ""}"#, Plan { own: true, ..named("web") }),
            (r#"{"closID": "gold"}"#, named("gold")),
            (r#"{"closID": "web"}"#, named("web")),
            (r#"{"closID": "/"}"#, named("")),
            (r#"{"closID": "...", "enableMonitoring": false}"#, named("...")),
            (
                r#"{"closID": "gold", "enableMonitoring": true}"#,
                Plan { monitor: Some("web".to_owned()), ..named("gold") },
            ),
            (
                r#"{"schemata": ["L2:0=f", "", "MB:0=30"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f"}"#,
                Plan {
                    own: true,
                    schemata: lines(&["L3:0=f", "MB:0=20", "L2:0=f", "MB:0=30"]),
                    needs: both,
                    ..named("web")
                },
            ),
            (
                r#"{"l3CacheSchema": "L3CODE:0=f\nL3DATA:0=f", "memBwSchema": ""}"#,
                Plan {
                    own: true,
                    schemata: lines(&["L3CODE:0=f\nL3DATA:0=f"]),
                    needs: Needs { l3_cache: true, memory_bandwidth: false },
                    ..named("web")
                },
            ),
        ] {
            assert_eq!(planned(text, "web"), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, id, says) in [
            (r#"{"closID": "."}"#, "web", "closID: \".\" is not the name of a group"),
            (r#"{"closID": ".."}"#, "web", "closID: \"..\" is not the name of a group"),
            (r#"{"closID": "a/b"}"#, "web", "closID: \"a/b\" is not the name of a group"),
            (r#"{"closID": "/a"}"#, "web", "closID: \"/a\" is not the name of a group"),
            (r#"{"closID": "a\nb"}"#, "web", "closID: \"a\\nb\" is not the name of a group"),
            (r#"{"closID": "info"}"#, "web", "closID: \"info\" is not the name of a group"),
            ("{}", "mon_groups", "closID: a group can't be called mon_groups as the container is"),
            (r#"{"memBwSchema": "L3:0=f"}"#, "web", "memBwSchema: \"L3:0=f\" is not a line that starts with \"MB:\""),
            (r#"{"memBwSchema": "MB:0=1\nL3:0=f"}"#, "web", "memBwSchema: \"MB:0=1\\nL3:0=f\" is not a line"),
            (r#"{"schemata": ["L3:0=f", "MB:0=1\n"]}"#, "web", "schemata[1]: has a newline"),
        ] {
            let refused = planned(text, id).unwrap_err();
            assert!(refused.starts_with(&format!("config.json: linux.intelRdt.{says}")), "{text}: {refused}");
        }
        assert!(planned(r#"{"closID": "gold"}"#, "info").is_ok(), "the container's name is nobody's then");
    }
}
