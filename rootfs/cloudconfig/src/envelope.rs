//! From the bytes of user-data to the documents in it.
//!
//! The whole may be packed with gzip, written as base64, or a MIME multi-part message whose parts
//! are documents again (cloud-init, "User data formats"). Scripts begin with `#!`, documents with
//! `#cloud-config`.

use crate::encoding::gunzip;
use crate::{SIZE_MAX, mime};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use document::{Place, Problem};

/// The first line of a document.
const HEADER: &str = "#cloud-config";
/// How often an envelope may be in an envelope.
const DEPTH_MAX: usize = 4;
/// Documents and scripts at most.
const PARTS_MAX: usize = 100;
/// Bytes of all that was unpacked, together.
const UNPACKED_MAX: usize = 8 * SIZE_MAX;
const START: Place = Place { line: 1, column: 1 };

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `#cloud-config`
    CloudConfig,
    /// `#!`
    Script,
}

/// One document or script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: Kind,
    /// Its text.
    pub text: String,
    origin: Origin,
}

/// Where the text of a part stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// In the bytes themselves, so many lines below the first.
    Verbatim { lines_before: usize },
    /// In something that was decoded: what (`part 2`), and where that stands.
    Decoded { label: String, place: Place },
}

impl Part {
    /// The place in the whole of a problem that has its place in this part.
    pub fn locate(&self, problem: Problem) -> Problem {
        self.origin.locate(problem)
    }
}

impl Origin {
    fn locate(&self, problem: Problem) -> Problem {
        match self {
            Self::Verbatim { lines_before } => {
                let place = Place { line: problem.place.line + lines_before, column: problem.place.column };
                Problem { place, message: problem.message }
            }
            Self::Decoded { label, place } => {
                Problem { place: *place, message: format!("{label}, {}: {}", problem.place, problem.message) }
            }
        }
    }

    /// The origin of what is decoded from text of this origin.
    fn decoded(&self, what: &str) -> Self {
        match self {
            Self::Verbatim { lines_before } => {
                Self::Decoded { label: what.to_owned(), place: Place { line: lines_before + 1, column: 1 } }
            }
            Self::Decoded { label, place } if label == what => {
                Self::Decoded { label: label.clone(), place: *place }
            }
            Self::Decoded { label, place } => {
                Self::Decoded { label: format!("{label}, {what}"), place: *place }
            }
        }
    }
}

/// What a part says of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// Nothing: its first bytes tell.
    None,
    Is(Kind),
}

/// Finds the documents and scripts. White space alone is none at all.
///
/// # Errors
/// The first thing in the bytes that cannot be opened, or that is neither.
pub fn open(bytes: &[u8]) -> Result<Vec<Part>, Problem> {
    let mut opener = Opener { parts: Vec::new(), unpacked: 0 };
    opener.open(bytes, Claim::None, &Origin::Verbatim { lines_before: 0 }, 0)?;
    Ok(opener.parts)
}

struct Opener {
    parts: Vec<Part>,
    unpacked: usize,
}

impl Opener {
    fn open(&mut self, bytes: &[u8], claim: Claim, origin: &Origin, depth: usize) -> Result<(), Problem> {
        let problem = |message: String| origin.locate(Problem { place: START, message });
        if bytes.len() > SIZE_MAX {
            return Err(problem(format!("{} bytes are more than the {SIZE_MAX} allowed", bytes.len())));
        }
        self.unpacked += bytes.len();
        if depth > DEPTH_MAX || self.unpacked > UNPACKED_MAX || self.parts.len() >= PARTS_MAX {
            return Err(problem(format!(
                "more than {DEPTH_MAX} envelopes in each other, {PARTS_MAX} parts or {UNPACKED_MAX} bytes unpacked"
            )));
        }
        if bytes.starts_with(b"\x1f\x8b") {
            let plain = gunzip(bytes, SIZE_MAX).map_err(|fault| problem(format!("the document {fault}")))?;
            return self.open(&plain, claim, &origin.decoded("unpacked"), depth + 1);
        }
        let text = text(bytes).map_err(|problem| origin.locate(problem))?;
        if text.trim().is_empty() {
            return Ok(());
        }
        let kind = match claim {
            Claim::Is(Kind::Script) if !text.starts_with("#!") => {
                return Err(problem("a script begins with `#!` and its interpreter".to_owned()));
            }
            Claim::Is(kind) => Some(kind),
            Claim::None => sniff(text),
        };
        if let Some(kind) = kind {
            self.parts.push(Part { kind, text: text.to_owned(), origin: origin.clone() });
            return Ok(());
        }
        if mime::is_message(text) {
            return self.message(text, origin, depth);
        }
        if let Some(decoded) = base64(text) {
            return self.open(&decoded, claim, &origin.decoded("decoded"), depth + 1);
        }
        Err(problem(if text.trim_start().starts_with('{') {
            "this is JSON, Ignition's perhaps: the first line must be `#cloud-config`".to_owned()
        } else {
            format!("the first line must be `{HEADER}`, or begin with `#!`")
        }))
    }

    fn message(&mut self, text: &str, origin: &Origin, depth: usize) -> Result<(), Problem> {
        let parts = mime::parts(text).map_err(|problem| origin.locate(problem))?;
        for (index, part) in parts.iter().enumerate() {
            let below = match (origin, part.is_verbatim) {
                (Origin::Verbatim { lines_before }, true) => {
                    Origin::Verbatim { lines_before: lines_before + part.line - 1 }
                }
                (Origin::Verbatim { lines_before }, false) => Origin::Decoded {
                    label: format!("part {}", index + 1),
                    place: Place { line: lines_before + part.line, column: 1 },
                },
                (decoded, _) => decoded.decoded(&format!("part {}", index + 1)),
            };
            let claim = match part.content_type.as_str() {
                "text/cloud-config" => Claim::Is(Kind::CloudConfig),
                "text/x-shellscript" => Claim::Is(Kind::Script),
                "text/plain" | "application/octet-stream" | "application/gzip" | "application/x-gzip" => {
                    Claim::None
                }
                nested if nested.starts_with("multipart/") => {
                    // Its headers were taken off; what opens it reads them again.
                    let whole = part.whole.clone();
                    self.open(whole.as_bytes(), Claim::None, &part_origin(origin, part), depth + 1)?;
                    continue;
                }
                other => {
                    let known = "text/cloud-config, text/x-shellscript, text/plain";
                    let message = format!("parts of type {other} are not supported; known: {known}");
                    return Err(
                        origin.locate(Problem { place: Place { line: part.head_line, column: 1 }, message })
                    );
                }
            };
            self.open(&part.body, claim, &below, depth + 1)?;
        }
        Ok(())
    }
}

/// The origin of a part with its headers.
fn part_origin(origin: &Origin, part: &mime::Part) -> Origin {
    match origin {
        Origin::Verbatim { lines_before } => {
            Origin::Verbatim { lines_before: lines_before + part.head_line - 1 }
        }
        decoded @ Origin::Decoded { .. } => decoded.clone(),
    }
}

fn sniff(text: &str) -> Option<Kind> {
    let first = text.lines().next()?;
    if first.trim_end() == HEADER {
        Some(Kind::CloudConfig)
    } else if first.starts_with("#!") {
        Some(Kind::Script)
    } else {
        None
    }
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let mut lines = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n');
        let line = lines.clone().count();
        let column = String::from_utf8_lossy(lines.next_back().unwrap_or_default()).chars().count() + 1;
        Problem { place: Place { line, column }, message: "not UTF-8".to_owned() }
    })
}

/// The bytes of a text that is base64 and nothing else.
fn base64(text: &str) -> Option<Vec<u8>> {
    let dense: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(dense).ok().filter(|bytes| !bytes.is_empty())
}
