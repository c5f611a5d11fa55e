//! `--version`: lines that Docker and go-runc take apart.

use super::print;
use crate::container::report::OCI_VERSION;
use crate::error::Result;

/// onggi's version.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What onggi was built from.
pub(super) const COMMIT: &str = match option_env!("ONGGI_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Prints the versions.
pub(super) fn version() -> Result<u8> {
    // Docker splits the first line on the word "version".
    print(&format!("onggi version {VERSION}\ncommit: {COMMIT}\nspec: {OCI_VERSION}\n"))?;
    Ok(0)
}
