//! `linux.mountLabel`: SELinux's label for the filesystems that the runtime makes. Spec: config-linux.md, Mount Label.

use crate::error::{Error, Result};
use oci_spec::runtime as spec;
use std::collections::HashMap;

/// crun's annotation for how much of a filesystem the label is for.
const ANNOTATION: &str = "run.oci.mount_context_type";

/// The options that give labels: for all of a filesystem, for itself, for what has none, for its root; mount(8). The first
/// is what callers know.
const OPTIONS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// A label for new filesystems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The option that gives it.
    pub(super) option: &'static str,
    /// The label, not empty.
    pub(super) value: String,
}

/// Reads the label, if any is asked for. (Without SELinux it is refused by `process::labels`.)
///
/// # Errors
/// An annotation that names no such option.
pub fn mount_label(
    linux: Option<&spec::Linux>,
    annotations: Option<&HashMap<String, String>>,
) -> Result<Option<Label>> {
    let [usual, ..] = OPTIONS;
    let wanted = annotations.and_then(|all| all.get(ANNOTATION)).map_or(usual, String::as_str);
    let option = OPTIONS.into_iter().find(|option| *option == wanted).ok_or_else(|| {
        let text = format!("{wanted:?} is none of {}", OPTIONS.join(", "));
        Error::config(format!("annotations[{ANNOTATION:?}]"), text)
    })?;
    let value = linux.and_then(|linux| linux.mount_label().clone()).filter(|label| !label.is_empty());
    Ok(value.map(|value| Label { option, value }))
}
