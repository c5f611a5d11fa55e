//! Puts what was measured into the documents, between marks.

use crate::results::Results;
use crate::{Done, tables};

/// A document and, by the names of the marks in it, what belongs there.
type Document = (&'static str, &'static [(&'static str, fn(&Results) -> String)]);

const DOCUMENTS: [Document; 2] = [
    (
        "docs/performance.md",
        &[
            ("machine", tables::machine),
            ("targets", tables::targets),
            ("times", tables::times),
            ("throughput", tables::throughput),
            ("counts", tables::counts),
            ("drivers", tables::drivers),
            ("memory", tables::memory),
            ("growth", tables::growth),
        ],
    ),
    ("README.md", &[("machine", tables::machine), ("short", tables::short)]),
];

/// Writes all documents again.
pub fn fill(results: &Results) -> Done<()> {
    for (path, parts) in DOCUMENTS {
        let mut text = std::fs::read_to_string(path)?;
        for (name, part) in parts {
            text = replace(&text, name, &part(results)).ok_or_else(|| format!("{path} lacks the marks of {name}"))?;
        }
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// `text` with `part` between the marks `<!-- measured: NAME -->` and `<!-- end -->`.
fn replace(text: &str, name: &str, part: &str) -> Option<String> {
    let mark = format!("<!-- measured: {name} -->\n");
    let begin = text.find(&mark)? + mark.len();
    let end = begin + text[begin..].find("<!-- end -->")?;
    Some(format!("{}{part}{}", &text[..begin], &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_the_marks() {
        let text = "a\n<!-- measured: x -->\nold\n<!-- end -->\nb\n<!-- measured: y -->\n<!-- end -->\n";
        let expected = "a\n<!-- measured: x -->\nnew\n<!-- end -->\nb\n<!-- measured: y -->\n<!-- end -->\n";
        assert_eq!(replace(text, "x", "new\n").as_deref(), Some(expected));
        assert_eq!(replace(text, "z", ""), None);
        assert_eq!(replace("<!-- measured: x -->\n", "x", ""), None);
    }
}
