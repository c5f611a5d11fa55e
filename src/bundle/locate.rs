//! Which field of a JSON text a parser had reached: its errors tell line and column, people think in fields.

/// One open object or array.
enum Frame {
    Object(String),
    Array(usize),
}

/// The path of the value that ends at or contains the place `line`, `column` (both from 1, the column in bytes), such
/// as `linux.namespaces[2].type`; empty for the whole document.
pub fn locate(json: &[u8], line: usize, column: usize) -> String {
    let end = offset(json, line, column);
    let mut frames: Vec<Frame> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let start = at;
        at = token_end(json, at);
        match byte {
            b'{' => frames.push(Frame::Object(String::new())),
            b'[' => frames.push(Frame::Array(0)),
            b'}' | b']' => drop(frames.pop()),
            b',' => {
                if let Some(Frame::Array(index)) = frames.last_mut() {
                    *index += 1;
                }
            }
            b'"' if is_key(json, at) => {
                if let Some(Frame::Object(key)) = frames.last_mut() {
                    *key = String::from_utf8_lossy(&json[start + 1..at.saturating_sub(1).max(start + 1)]).into_owned();
                }
            }
            _ => {}
        }
        if at >= end && !byte.is_ascii_whitespace() {
            break;
        }
    }
    path(&frames)
}

fn offset(json: &[u8], line: usize, column: usize) -> usize {
    let lines = json.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1));
    lines.map(<[u8]>::len).sum::<usize>() + column
}

/// Where the token that starts at `at` ends: a string, a run of other characters, or one structural character.
fn token_end(json: &[u8], at: usize) -> usize {
    let structural = |byte: u8| b"{}[],:\"".contains(&byte) || byte.is_ascii_whitespace();
    let rest = &json[at + 1..];
    let length = match json[at] {
        b'"' => {
            let mut escaped = false;
            let closing = rest.iter().position(|byte| match byte {
                _ if escaped => {
                    escaped = false;
                    false
                }
                b'\\' => {
                    escaped = true;
                    false
                }
                byte => *byte == b'"',
            });
            closing.map_or(rest.len(), |closing| closing + 1)
        }
        byte if structural(byte) => 0,
        _ => rest.iter().position(|byte| structural(*byte)).unwrap_or(rest.len()),
    };
    at + 1 + length
}

fn is_key(json: &[u8], after: usize) -> bool {
    json[after..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

fn path(frames: &[Frame]) -> String {
    let mut path = String::new();
    for frame in frames {
        match frame {
            Frame::Object(key) if key.is_empty() => {}
            Frame::Object(key) if path.is_empty() => path.push_str(key),
            Frame::Object(key) => {
                path.push('.');
                path.push_str(key);
            }
            Frame::Array(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, marked: &str, expected: &str) {
        let end = json.find(marked).map_or(0, |start| start + marked.len());
        let line = json[..end].matches('\n').count() + 1;
        let column = end - json[..end].rfind('\n').map_or(0, |newline| newline + 1);
        assert_eq!(locate(json.as_bytes(), line, column), expected, "{marked} in {json}");
    }

    #[test]
    fn places_have_paths() {
        let json = "{\"a\": 1,\n \"linux\": {\"namespaces\": [{\"type\": \"pid\"},\n  {\"type\": \"nosuch\", \"x\": -7}],\n \
                    \"q\\\"\": \"}{\"}, \"z\": {}}";
        check(json, "1", "a");
        check(json, "\"pid\"", "linux.namespaces[0].type");
        check(json, "\"nosuch\"", "linux.namespaces[1].type");
        check(json, "-7", "linux.namespaces[1].x");
        check(json, "-7}", "linux.namespaces[1]");
        check(json, "-7}]", "linux.namespaces");
        check(json, "\"}{\"", "linux.q\\\"");
        check(json, "\"}{\"}", "linux");
        check(json, "{}", "z");
        check("[", "[", "[0]");
        check("", "", "");
    }
}
