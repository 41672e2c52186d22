//! Where a piece of a value stands in the text of its document.

use document::{Node, Place, Value};

/// The lines of a document.
pub(crate) struct Source<'a> {
    lines: Vec<&'a str>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { lines: text.lines().collect() }
    }

    /// Line `line` (from 1) of a block of text. The value begins where its first line that is
    /// not empty begins; where the text is folded or escaped, its own place is the best there is.
    pub(crate) fn line_of(&self, node: &Node, line: usize) -> Place {
        let Value::Scalar { text, .. } = &node.value else { return node.place };
        let empty = text.bytes().take_while(|byte| *byte == b'\n').count();
        let index = (node.place.line - 1 + line - 1).checked_sub(empty);
        let wanted = text.lines().nth(line - 1).unwrap_or_default().trim();
        let found = index.and_then(|index| Some((index, self.lines.get(index)?)));
        match found {
            // Up to a variable, which has another text in the value.
            Some((index, raw)) if wanted.starts_with(raw.trim().split('$').next().unwrap_or_default()) => {
                let column = raw.chars().take_while(|c| c.is_whitespace()).count() + 1;
                Place { line: index + 1, column }
            }
            _ => node.place,
        }
    }

    /// Where `needle` stands for the `number`-th time (from 0) from a place on.
    pub(crate) fn find(&self, from: Place, needle: &str, number: usize) -> Option<Place> {
        let mut left = number;
        let lines = self.lines.iter().enumerate().skip(from.line - 1);
        for (index, line) in lines {
            let is_first = index + 1 == from.line;
            let start = if is_first {
                line.char_indices().nth(from.column - 1).map_or(line.len(), |(at, _)| at)
            } else {
                0
            };
            for (at, _) in line[start..].match_indices(needle) {
                if left == 0 {
                    let column = line[..start + at].chars().count() + 1;
                    return Some(Place { line: index + 1, column });
                }
                left -= 1;
            }
        }
        None
    }
}
