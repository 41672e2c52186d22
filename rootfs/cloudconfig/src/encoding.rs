//! `encoding` of a file's content.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use document::{Node, Problems};
use flate2::read::MultiGzDecoder;
use std::io::Read;

/// Longest file after unpacking, in bytes: a small document cannot fill memory.
const UNPACKED_MAX: usize = 16 << 20;

/// Decodes `content` as `encoding` says; plain text without one.
pub(crate) fn decode(encoding: Option<&Node>, content: &Node, problems: &Problems) -> Option<Vec<u8>> {
    let text = content.text(problems)?;
    let Some(encoding) = encoding else { return Some(text.as_bytes().to_vec()) };
    match encoding.text(problems)? {
        "base64" | "b64" => base64(text, content, problems),
        "gzip+base64" | "gzip+b64" | "gz+base64" | "gz+b64" => {
            gunzip(&base64(text, content, problems)?, UNPACKED_MAX)
                .map_err(|fault| problems.add(content.place, format!("content {fault}")))
                .ok()
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

/// Unpacks gzip, to at most `limit` bytes. The error goes on from "the content …".
pub(crate) fn gunzip(packed: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut limited = MultiGzDecoder::new(packed).take(limit as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(|error| format!("is not gzip: {error}"))?;
    if bytes.len() > limit {
        return Err(format!("unpacks to more than {limit} bytes"));
    }
    Ok(bytes)
}
