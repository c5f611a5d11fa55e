//! The text of a group's `schemata` file: a resource, and for each of its domains what the group gets of it.

/// What `asked` has that `found`, the text of the file, has otherwise or not: that resource and domain. Masks are
/// compared as numbers. Of memory bandwidth the kernel gives the next of its steps, of `step` each.
pub(super) fn difference(asked: &[String], found: &str, step: u64) -> Option<String> {
    let there: Vec<Entry<'_>> = found.lines().flat_map(entries).collect();
    // What is written last counts.
    let mut wanted: Vec<Entry<'_>> = Vec::new();
    for entry in asked.iter().flat_map(|part| part.lines()).flat_map(entries) {
        wanted.retain(|earlier| !earlier.is_same_place(&entry));
        wanted.push(entry);
    }
    let missing = |entry: &&Entry<'_>| {
        !there.iter().any(|other| other.is_same_place(entry) && is_same(entry.resource, entry.value, other.value, step))
    };
    wanted.iter().find(missing).map(|entry| format!("{}:{}={}", entry.resource, entry.domain, entry.value))
}

/// The lines of `found`, the text of the file, about the resources that `asked` names: what undoes the writing of it.
pub(super) fn before(asked: &str, found: &str) -> String {
    let resource = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
    let asked: Vec<String> = asked.lines().filter_map(resource).collect();
    let lines = found.lines().filter(|line| resource(line).is_some_and(|name| asked.contains(&name)));
    lines.map(|line| format!("{}\n", line.trim())).collect()
}

/// `resource:domain=value`.
struct Entry<'a> {
    resource: &'a str,
    domain: &'a str,
    value: &'a str,
}

impl Entry<'_> {
    fn is_same_place(&self, other: &Entry<'_>) -> bool {
        self.resource == other.resource && self.domain == other.domain
    }
}

/// The entries of one line. What is none is left as a whole for a value that nothing equals.
fn entries(line: &str) -> impl Iterator<Item = Entry<'_>> {
    let (resource, rest) = line.split_once(':').unwrap_or((line, ""));
    rest.split(';').map(|part| part.trim()).filter(move |part| !part.is_empty() || rest.is_empty()).map(move |part| {
        let (domain, value) = part.split_once('=').unwrap_or((part, ""));
        Entry { resource: resource.trim(), domain: domain.trim(), value: value.trim() }
    })
}

fn is_same(resource: &str, asked: &str, found: &str, step: u64) -> bool {
    let number = |text: &str| match resource {
        "MB" | "SMBA" => text.parse::<u64>().ok(),
        _ => u64::from_str_radix(text.trim_start_matches("0x"), 16).ok(),
    };
    match (number(asked), number(found)) {
        (Some(asked), Some(found)) if resource == "MB" => {
            asked == found || asked.checked_next_multiple_of(step) == Some(found)
        }
        (Some(asked), Some(found)) => asked == found,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "    MB:0=100;1= 20\n    L3:0=7ff;1=01f\n    L2:0=f\n";

    #[test]
    fn differences() {
        for (asked, step, expected) in [
            (&[][..], 10, None),
            (&["L3:0=7ff;1=1f"], 10, None),
            (&["L3: 1 = 0x1F ;", "MB:0=100"], 10, None),
            (&["L3:0=7ff", "L3:0=1"], 10, Some("L3:0=1")),
            (&["L3:0=1", "L3:0=7ff"], 10, None),
            (&["L3:0=1\nL2:0=f"], 10, Some("L3:0=1")),
            (&["L3:2=1f"], 10, Some("L3:2=1f")),
            (&["L3CODE:0=7ff"], 10, Some("L3CODE:0=7ff")),
            (&["MB:1=15"], 10, None),
            (&["MB:1=15"], 1, Some("MB:1=15")),
            (&["MB:1=10"], 10, Some("MB:1=10")),
            (&["MB:1=15"], 0, Some("MB:1=15")),
            (&["MB:1=20"], 0, None),
            (&["L3:0=nonsense"], 10, Some("L3:0=nonsense")),
            (&["nonsense"], 10, Some("nonsense:=")),
            (&["L3:"], 10, Some("L3:=")),
        ] {
            let asked: Vec<String> = asked.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(difference(&asked, FILE, step).as_deref(), expected, "{asked:?} {step}");
        }
    }

    #[test]
    fn what_was_before() {
        assert_eq!(before("L3:0=1", FILE), "L3:0=7ff;1=01f\n");
        assert_eq!(before("MB:0=10\nL2:0=1", FILE), "MB:0=100;1= 20\nL2:0=f\n");
        assert_eq!(before("L3CODE:0=1", FILE), "");
    }
}
