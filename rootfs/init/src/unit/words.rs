//! Splitting a value into words with quotes and C escapes (systemd.syntax(7), "Quoting").

/// Why a value does not split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// A quote without its end.
    #[error("a {0} is never closed")]
    OpenQuote(char),
    /// Escapes that make bytes which are not UTF-8, or NUL.
    #[error("escapes make bytes that are not UTF-8 text")]
    Encoding,
}

/// Splits at white space. Single and double quotes group, C escapes are undone everywhere, an
/// unknown escape stays as it is written.
///
/// # Errors
/// An open quote, or escapes that give no text.
pub fn split(text: &str) -> Result<Vec<String>, WordError> {
    Ok(split_marked(text)?.into_iter().map(|(word, _)| word).collect())
}

/// As [`split`], and says of each word whether it was written plain: without quotes or escapes.
/// (A plain `;` separates commands, `\;` and `";"` are arguments: systemd.service(5).)
///
/// # Errors
/// As [`split`].
pub fn split_marked(text: &str) -> Result<Vec<(String, bool)>, WordError> {
    let bytes = text.as_bytes();
    let mut words = Vec::new();
    let mut word: Option<(Vec<u8>, bool)> = None;
    let mut quote: Option<u8> = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (_, b'\\') => {
                let (out, plain) = word.get_or_insert((Vec::new(), true));
                *plain = false;
                at += unescape_one(&bytes[at..], out);
            }
            (Some(_), _) => {
                if let Some((out, _)) = &mut word {
                    out.push(byte);
                }
            }
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                word.get_or_insert((Vec::new(), true)).1 = false;
            }
            (None, _) if byte.is_ascii_whitespace() => {
                if let Some(done) = word.take() {
                    words.push(done);
                }
            }
            (None, _) => word.get_or_insert((Vec::new(), true)).0.push(byte),
        }
    }
    if let Some(open) = quote {
        return Err(WordError::OpenQuote(char::from(open)));
    }
    words.extend(word);
    words
        .into_iter()
        .map(|(bytes, plain)| match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Ok((text, plain)),
            _ => Err(WordError::Encoding),
        })
        .collect()
}

/// Undoes the C escapes of a whole text, which is not split; `None` if they make no text.
pub fn unescape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte == b'\\' {
            at += unescape_one(&bytes[at..], &mut out);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Undoes the escape whose backslash was just read; gives the bytes used of `rest`.
fn unescape_one(rest: &[u8], out: &mut Vec<u8>) -> usize {
    let Some(&kind) = rest.first() else {
        out.push(b'\\');
        return 0;
    };
    let number = |from: usize, len: usize, radix: u32| -> Option<u32> {
        let digits = std::str::from_utf8(rest.get(from..from + len)?).ok()?;
        if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
    };
    let simple = match kind {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b's' => b' ',
        b'\\' | b'"' | b'\'' | b';' => kind,
        b'x' => {
            if let Some(value) = number(1, 2, 16) {
                out.push(value as u8);
                return 3;
            }
            out.extend_from_slice(b"\\x");
            return 1;
        }
        b'u' | b'U' => {
            let len = if kind == b'u' { 4 } else { 8 };
            if let Some(found) = number(1, len, 16).and_then(char::from_u32) {
                out.extend_from_slice(found.encode_utf8(&mut [0; 4]).as_bytes());
                return 1 + len;
            }
            out.extend_from_slice(&[b'\\', kind]);
            return 1;
        }
        b'0'..=b'7' => {
            if let Some(value) = number(0, 3, 8).filter(|value| *value <= 255) {
                out.push(value as u8);
                return 3;
            }
            out.extend_from_slice(&[b'\\', kind]);
            return 1;
        }
        _ => {
            out.extend_from_slice(&[b'\\', kind]);
            return 1;
        }
    };
    out.push(simple);
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(
            split(r#"/bin/echo 'one two' "th\"ree" f\x6fur \u00e9 a"b c"d "" \101 \q"#).unwrap(),
            ["/bin/echo", "one two", "th\"ree", "four", "é", "ab cd", "", "A", "\\q"]
        );
        assert_eq!(split("a 'b"), Err(WordError::OpenQuote('\'')));
        assert_eq!(split(r"\xff"), Err(WordError::Encoding));
        assert_eq!(split_marked(r"a ; \;").unwrap()[1..], [(";".into(), true), (";".into(), false)]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = split(&text);
        }
    }
}
