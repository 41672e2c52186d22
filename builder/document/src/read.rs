//! Text to [`Node`]s, over the YAML library's event parser.

use crate::{Node, Place, Problem, Value};
use serde_yaml::granit_parser::{Event, Options, Parser, ScalarStyle, Span};
use std::collections::BTreeMap;

/// Nesting past which a document is refused; the reader is recursive.
const DEPTH_MAX: usize = 64;
/// Nodes past which a document is refused: aliases can multiply a small text without bound.
const NODES_MAX: usize = 250_000;

/// Reads one YAML document. An empty text is a null node.
///
/// # Errors
/// The first syntax error; more than one document; a tag; nesting deeper than 64; more than
/// 250,000 nodes after aliases are expanded; an alias inside its own anchor.
pub fn read(text: &str) -> Result<Node, Problem> {
    let mut options = Options::default();
    // As events they are counted, and a hundred in a row would be refused.
    options.emit_comments = false;
    let events = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { events, anchors: BTreeMap::new(), nodes: 0 };
    let start = Place { line: 1, column: 1 };
    let mut root = None;
    while let Some((event, place)) = reader.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
            _ if root.is_some() => {
                return Err(problem(place, "a second document: one file holds one document"));
            }
            event => root = Some(reader.node(event, place, 0)?),
        }
    }
    Ok(root.unwrap_or(Node { place: start, value: Value::Null }))
}

struct Reader<'a> {
    events: Parser<'a, serde_yaml::granit_parser::StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    /// The next event that is not a comment.
    fn next(&mut self) -> Result<Option<(Event<'a>, Place)>, Problem> {
        loop {
            match self.events.next() {
                None => return Ok(None),
                Some(Err(error)) => {
                    let marker = error.marker();
                    let place = Place { line: marker.line().max(1), column: marker.col() + 1 };
                    return Err(problem(place, error.info()));
                }
                #[allow(
                    unreachable_patterns,
                    reason = "comments are events only with a feature of the parser"
                )]
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok(Some((event, place_of(&span)))),
            }
        }
    }

    fn count(&mut self, place: Place, more: usize) -> Result<(), Problem> {
        self.nodes += more;
        if self.nodes > NODES_MAX {
            return Err(problem(place, format!("more than {NODES_MAX} values, aliases expanded")));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Node, Problem> {
        self.count(place, 1)?;
        if depth > DEPTH_MAX {
            return Err(problem(place, format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let (value, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null { Value::Null } else { Value::Scalar { text: text.into_owned(), plain } };
                (value, anchor, tag)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let mut items = Vec::new();
                while let Some((event, place)) = self.next()? {
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.push(self.node(event, place, depth + 1)?);
                }
                (Value::Sequence(items), anchor, tag)
            }
            Event::MappingStart(_, anchor, tag) => {
                let mut pairs: Vec<(Node, Node)> = Vec::new();
                while let Some((event, place)) = self.next()? {
                    if matches!(event, Event::MappingEnd) {
                        break;
                    }
                    let key = self.node(event, place, depth + 1)?;
                    let Some((event, place)) = self.next()? else { break };
                    pairs.push((key, self.node(event, place, depth + 1)?));
                }
                (Value::Mapping(pairs), anchor, tag)
            }
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor).cloned() else {
                    return Err(problem(place, "this alias stands inside its own anchor"));
                };
                self.count(place, target.count())?;
                if depth + target.depth() > DEPTH_MAX {
                    return Err(problem(place, format!("nested deeper than {DEPTH_MAX} levels")));
                }
                return Ok(target);
            }
            _ => return Err(problem(place, "unexpected end of a value")),
        };
        if tag.is_some() {
            return Err(problem(place, "tags are not used here: write the plain value"));
        }
        let node = Node { place, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }
}

fn place_of(span: &Span) -> Place {
    Place { line: span.start.line().max(1), column: span.start.col() + 1 }
}

fn problem(place: Place, message: impl Into<String>) -> Problem {
    Problem { place, message: message.into() }
}
