//! `encoding` of a file's content.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use document::{Node, Problems};
use flate2::read::MultiGzDecoder;
use std::io::Read;

/// Longest file after unpacking, in bytes: a small document cannot fill memory.
const UNPACKED_MAX: u64 = 16 << 20;

/// Decodes `content` as `encoding` says; plain text without one.
pub(crate) fn decode(encoding: Option<&Node>, content: &Node, problems: &Problems) -> Option<Vec<u8>> {
    let text = content.text(problems)?;
    let Some(encoding) = encoding else { return Some(text.as_bytes().to_vec()) };
    match encoding.text(problems)? {
        "base64" | "b64" => base64(text, content, problems),
        "gzip+base64" | "gzip+b64" | "gz+base64" | "gz+b64" => {
            gunzip(&base64(text, content, problems)?, content, problems)
        }
        "gzip" | "gz" => {
            problems.add(encoding.place, "text cannot hold gzip's bytes: use `gzip+base64`");
            None
        }
        other => {
            problems.add(
                encoding.place,
                format!("unknown encoding {other:?}; known: base64, b64, and either after `gzip+` or `gz+`"),
            );
            None
        }
    }
}

fn base64(text: &str, content: &Node, problems: &Problems) -> Option<Vec<u8>> {
    let dense: String = text.split_ascii_whitespace().collect();
    STANDARD
        .decode(dense)
        .map_err(|error| problems.add(content.place, format!("content is not base64: {error}")))
        .ok()
}

fn gunzip(packed: &[u8], content: &Node, problems: &Problems) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut limited = MultiGzDecoder::new(packed).take(UNPACKED_MAX + 1);
    if let Err(error) = limited.read_to_end(&mut bytes) {
        problems.add(content.place, format!("content is not gzip: {error}"));
        return None;
    }
    if bytes.len() as u64 > UNPACKED_MAX {
        problems.add(content.place, format!("content unpacks to more than {UNPACKED_MAX} bytes"));
        return None;
    }
    Some(bytes)
}
