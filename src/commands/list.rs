//! `list`: all containers of this `--root`.

use super::{Global, observe, print};
use crate::container::report::Report;
use crate::container::store::{Entry, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::Errno;
use std::io::Write;

/// How the list looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListFormat {
    /// One id per line.
    Quiet,
    /// The format of `--format`, not checked yet.
    Named(String),
}

/// Lists the containers, sorted by id.
pub(super) fn list(global: &Global, format: ListFormat) -> Result<u8> {
    let root = &global.root;
    let store = root.open()?;
    if store.is_none() && root.must_exist() {
        return Err(Error::sys(format!("open {}", root.path().display()), Errno::ENOENT));
    }
    let reports = store.map_or_else(|| Ok(Vec::new()), |store| reports(&store))?;
    let text = match format {
        ListFormat::Quiet => reports.iter().map(|report| format!("{}\n", report.id)).collect(),
        ListFormat::Named(name) => match name.as_str() {
            "table" => table(&reports),
            "json" => json(&reports)?,
            _ => return Err(Error::new(ErrorKind::InvalidArgument, "invalid format option")),
        },
    };
    print(&text)?;
    Ok(0)
}

/// What can't be loaded is told on stderr and skipped.
fn reports(store: &Store) -> Result<Vec<Report>> {
    let mut owners = Owners::default();
    let mut reports = Vec::new();
    for id in store.ids()? {
        match store.find(&id).and_then(|entry| report(&entry, &mut owners)) {
            Ok(report) => reports.push(report),
            Err(error) => {
                let _ = std::io::stderr().write_all(format!("load container {id}: {error}\n").as_bytes());
            }
        }
    }
    Ok(reports)
}

fn report(entry: &Entry, owners: &mut Owners) -> Result<Report> {
    let container = observe(entry, entry.load()?)?;
    let status = container.status();
    Ok(Report::new(container.into_parts().0, status, owners.name(entry.owner())))
}

/// runc prints null for none.
fn json(reports: &[Report]) -> Result<String> {
    if reports.is_empty() {
        return Ok("null\n".to_owned());
    }
    let json = serde_json::to_string(reports)
        .map_err(|error| Error::new(ErrorKind::System, format!("list of containers: {error}")))?;
    Ok(json + "\n")
}

/// Columns as Go's tabwriter makes them for runc: at least 12 wide, three spaces after the longest cell; the last
/// column is not padded.
fn table(reports: &[Report]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(reports.iter().map(|report| {
        [
            report.id.clone(),
            report.pid.to_string(),
            report.status.to_string(),
            report.bundle.clone(),
            report.created.clone(),
            report.owner.clone(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count() + 3).max().unwrap_or(0).max(12);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("{cell:<width$}"));
        }
        text.push_str(&row[5]);
        text.push('\n');
    }
    text
}

/// Names of users from the host's `/etc/passwd`, read once and only if needed. A static program has no other source.
#[derive(Default)]
struct Owners {
    passwd: Option<String>,
}

impl Owners {
    fn name(&mut self, uid: u32) -> String {
        let passwd = self.passwd.get_or_insert_with(|| std::fs::read_to_string("/etc/passwd").unwrap_or_default());
        user_name(passwd, uid).map_or_else(|| format!("#{uid}"), str::to_owned)
    }
}

fn user_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::container::status::Status;

    fn report(id: &str) -> Report {
        Report {
            oci_version: "1.3.0",
            id: id.to_owned(),
            pid: 7,
            status: Status::Running,
            bundle: "/var/lib/bundle".to_owned(),
            rootfs: "/r".to_owned(),
            created: "T".to_owned(),
            annotations: std::collections::BTreeMap::default(),
            owner: "root".to_owned(),
        }
    }

    #[test]
    fn tables() {
        let head = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
        assert_eq!(table(&[]), head);
        let text = "ID               PID         STATUS      BUNDLE            CREATED     OWNER\n\
                    twelve-letters   7           running     /var/lib/bundle   T           root\n";
        assert_eq!(table(&[report("twelve-letters")]), text);
    }

    #[test]
    fn documents() {
        assert_eq!(json(&[]).unwrap(), "null\n");
        let text = json(&[report("a")]).unwrap();
        assert!(
            text.starts_with("[{\"ociVersion\":\"1.3.0\",\"id\":\"a\",\"pid\":7,\"status\":\"running\","),
            "{text}"
        );
        assert!(text.ends_with("\"owner\":\"root\"}]\n"), "{text}");
    }

    #[test]
    fn owners() {
        let passwd = "root:x:0:0::/root:/bin/sh\n\n#\nann:x:1000:1000::/:/bin/sh\n";
        assert_eq!(user_name(passwd, 0), Some("root"));
        assert_eq!(user_name(passwd, 1000), Some("ann"));
        assert_eq!(user_name(passwd, 5), None);
    }
}
