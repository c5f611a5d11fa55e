//! `state`: prints the state document of one container.

use super::{Global, observe, print};
use crate::container::report::Report;
use crate::error::{Error, ErrorKind, Result};

/// Prints the state of `id`: two spaces of indent and no newline at the end, as runc does.
pub(super) fn state(global: &Global, id: &str) -> Result<u8> {
    let entry = global.find(id)?;
    let container = observe(&entry, entry.load()?)?;
    let status = container.status();
    let report = Report::new(container.into_parts().0, status, String::new());
    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| Error::new(ErrorKind::System, format!("state document: {error}")))?;
    print(&json)?;
    Ok(0)
}
