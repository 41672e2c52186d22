//! MIME messages: RFC 2045 (headers, transfer encodings) and RFC 2046 (multi-part), as far as
//! `cloud-init devel make-mime` and mail libraries write them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use document::{Place, Problem};

/// Lines of headers at most.
const HEADER_LINES_MAX: usize = 100;

/// One part of a multi-part message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `Content-Type` in lower case, without parameters; `text/plain` when there is none.
    pub content_type: String,
    /// The content, its transfer encoding undone.
    pub body: Vec<u8>,
    /// The part as it stands, headers and all.
    pub whole: String,
    /// Line of its first header, from 1.
    pub head_line: usize,
    /// Line where the body begins, from 1.
    pub line: usize,
    /// Whether the body is as it stands in the message.
    pub is_verbatim: bool,
}

/// Headers and where the body begins.
struct Head {
    fields: Vec<(String, String)>,
    /// Lines before the body.
    lines: usize,
}

impl Head {
    /// A field; names have no case.
    fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn content_type(&self) -> String {
        let value = self.get("content-type").unwrap_or("text/plain");
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

/// Whether a text begins as a message does.
pub fn is_message(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let names = ["content-type:", "mime-version:"];
    let is_field = |line: &str| {
        let lower = line.get(..13).unwrap_or(line).to_ascii_lowercase();
        names.iter().any(|name| lower.starts_with(name))
    };
    // An mbox line, as Python's generator writes when it is asked to.
    is_field(first) || first.starts_with("From ") && text.lines().take(10).any(is_field)
}

/// Takes a multi-part message apart. A message that is not multi-part is its own only part.
///
/// # Errors
/// Headers that are none, a boundary that is missing, a transfer encoding that is unknown or broken.
pub fn parts(text: &str) -> Result<Vec<Part>, Problem> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let head = head(&lines, 1)?;
    if !head.content_type().starts_with("multipart/") {
        return Ok(vec![part(&lines, 1)?]);
    }
    let value = head.get("content-type").unwrap_or_default();
    let boundary = parameter(value, "boundary")
        .filter(|boundary| !boundary.is_empty() && boundary.len() <= 70)
        .ok_or_else(|| problem(1, "the multi-part message names no boundary of 1 to 70 characters"))?;
    let delimiter = format!("--{boundary}");
    let end = format!("{delimiter}--");
    let mut parts = Vec::new();
    let mut start = None;
    let mut is_ended = false;
    for (index, line) in lines.iter().enumerate().skip(head.lines) {
        let line = line.trim_end();
        if line != delimiter && line != end {
            continue;
        }
        if let Some(start) = start {
            parts.push(part(&lines[start..index], start + 1)?);
        }
        start = Some(index + 1);
        if line == end {
            is_ended = true;
            break;
        }
    }
    if start.is_none() {
        return Err(problem(1, "the boundary of the multi-part message never comes"));
    }
    if !is_ended {
        return Err(problem(
            lines.len(),
            "the multi-part message ends without its last boundary: is it cut short?",
        ));
    }
    Ok(parts)
}

/// A part from its lines, the first of which is line `first` of the message.
fn part(lines: &[&str], first: usize) -> Result<Part, Problem> {
    let head = head(lines, first)?;
    let text = lines[head.lines..].concat();
    // The line break before a boundary belongs to the boundary (RFC 2046, section 5.1.1).
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    let line = first + head.lines;
    let encoding = head.get("content-transfer-encoding").unwrap_or("7bit").trim().to_ascii_lowercase();
    let (body, is_verbatim) = match encoding.as_str() {
        "7bit" | "8bit" | "binary" => (text.as_bytes().to_vec(), true),
        "base64" => {
            let dense: String = text.split_ascii_whitespace().collect();
            let body =
                STANDARD.decode(dense).map_err(|error| problem(line, format!("not base64: {error}")))?;
            (body, false)
        }
        "quoted-printable" => (quoted_printable(text).map_err(|fault| problem(line, fault))?, false),
        other => return Err(problem(first, format!("unknown Content-Transfer-Encoding {other:?}"))),
    };
    Ok(Part {
        content_type: head.content_type(),
        body,
        whole: lines.concat(),
        head_line: first,
        line,
        is_verbatim,
    })
}

fn head(lines: &[&str], first: usize) -> Result<Head, Problem> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.trim().is_empty() {
            return Ok(Head { fields, lines: index + 1 });
        }
        if index >= HEADER_LINES_MAX {
            return Err(problem(first + index, "more than 100 lines of headers: is the empty line missing?"));
        }
        if index == 0 && line.starts_with("From ") {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            // RFC 5322, section 2.2.3: a folded field goes on.
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
        }
        let field = line
            .split_once(':')
            .filter(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        let Some((name, value)) = field else {
            return Err(problem(first + index, "neither a header nor the empty line that ends the headers"));
        };
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Head { fields, lines: lines.len() })
}

/// A parameter of a header's value (RFC 2045, section 5.1), quoted or not.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once(';') {
        let (name, value) = after.split_once('=')?;
        let value = value.trim_start();
        let text = match value.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"')?;
                rest = &quoted[end + 1..];
                &quoted[..end]
            }
            None => {
                let end = value.find([';', ' ', '\t']).unwrap_or(value.len());
                rest = &value[end..];
                &value[..end]
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text.to_owned());
        }
    }
    None
}

/// RFC 2045, section 6.7.
fn quoted_printable(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches(['\r', '\n']);
        let (body, is_soft) = match body.trim_end().strip_suffix('=') {
            Some(body) => (body, true),
            None => (body.trim_end(), false),
        };
        let mut rest = body.as_bytes();
        while let [first, after @ ..] = rest {
            if *first != b'=' {
                bytes.push(*first);
                rest = after;
                continue;
            }
            let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let byte = digits
                .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(byte.ok_or("not quoted-printable: `=` without two hexadecimal digits")?);
            rest = &after[2..];
        }
        if line.ends_with('\n') && !is_soft {
            bytes.push(b'\n');
        }
    }
    Ok(bytes)
}

fn problem(line: usize, message: impl Into<String>) -> Problem {
    Problem { place: Place { line, column: 1 }, message: message.into() }
}
