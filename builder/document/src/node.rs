//! The values of a document and how they are taken apart.

use crate::{Place, Problems};
use std::cell::RefCell;

/// One value with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it starts.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// A value. Scalars keep their text: what type they are is for the reader of the field to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Text; `plain` when it had no quotes and was no block.
    Scalar {
        /// The text after escapes.
        text: String,
        /// Whether it was unquoted.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// Keys with values, in the document's order.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// How many nodes it holds, itself included.
    pub(crate) fn count(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Scalar { .. } => 0,
            Value::Sequence(items) => items.iter().map(Self::count).sum(),
            Value::Mapping(pairs) => pairs.iter().map(|(key, value)| key.count() + value.count()).sum(),
        }
    }

    /// How many levels it nests.
    pub(crate) fn depth(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Scalar { .. } => 0,
            Value::Sequence(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Value::Mapping(pairs) => pairs.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
        }
    }

    /// The kind of the value in a reader's words.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    fn wrong<T>(&self, problems: &Problems, wanted: &str) -> Option<T> {
        let found = match &self.value {
            Value::Scalar { text, .. } if text.len() <= 60 => format!("`{text}`"),
            _ => self.kind().to_owned(),
        };
        problems.add(self.place, format!("expected {wanted}, found {found}"));
        None
    }

    /// The text of a scalar.
    pub fn text(&self, problems: &Problems) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => self.wrong(problems, "text"),
        }
    }

    /// `true` or `false`, also as YAML 1.1 writes them (`yes`, `no`, `on`, `off`).
    pub fn boolean(&self, problems: &Problems) -> Option<bool> {
        let Value::Scalar { text, plain: true } = &self.value else {
            return self.wrong(problems, "true or false");
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => self.wrong(problems, "true or false"),
        }
    }

    /// A decimal number that fits `T`.
    pub fn number<T: TryFrom<u64>>(&self, problems: &Problems) -> Option<T> {
        let Value::Scalar { text, .. } = &self.value else {
            return self.wrong(problems, "a whole number");
        };
        let digits = text.replace('_', "");
        let number = digits.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
        number.or_else(|| self.wrong(problems, "a whole number within bounds"))
    }

    /// Permission bits in octal, as `chmod(1)` takes them: `644`, `0644`, `4755`.
    pub fn mode(&self, problems: &Problems) -> Option<u16> {
        let Value::Scalar { text, .. } = &self.value else {
            return self.wrong(problems, "permission bits in octal");
        };
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let bits = u16::from_str_radix(digits, 8).ok();
        let bits = bits.filter(|&bits| bits <= 0o7777 && (3..=5).contains(&digits.len()));
        bits.or_else(|| self.wrong(problems, "permission bits in octal, such as 0644"))
    }

    /// A size in bytes: a number with an optional `K`, `M`, `G` or `T` (powers of 1024; `MiB` and `MB` mean the same).
    pub fn size(&self, problems: &Problems) -> Option<u64> {
        let Value::Scalar { text, .. } = &self.value else {
            return self.wrong(problems, "a size, such as 512M");
        };
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => Some(0),
            "k" | "kb" | "kib" => Some(10),
            "m" | "mb" | "mib" => Some(20),
            "g" | "gb" | "gib" => Some(30),
            "t" | "tb" | "tib" => Some(40),
            _ => None,
        };
        let size = digits
            .parse::<u64>()
            .ok()
            .zip(shift)
            .and_then(|(number, shift)| number.checked_mul(1u64 << shift))
            .filter(|&size| size < 1 << 60);
        size.or_else(|| self.wrong(problems, "a size, such as 512M"))
    }

    /// The items of a list; nothing is an empty one.
    pub fn items(&self, problems: &Problems) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            Value::Null => &[],
            _ => self.wrong(problems, "a list").unwrap_or(&[]),
        }
    }

    /// A list of texts.
    pub fn texts(&self, problems: &Problems) -> Vec<String> {
        self.items(problems).iter().filter_map(|item| item.text(problems).map(str::to_owned)).collect()
    }

    /// The fields of a mapping. Keys must be texts and stand once.
    pub fn fields<'a>(&'a self, problems: &'a Problems) -> Option<Fields<'a>> {
        let Value::Mapping(pairs) = &self.value else {
            return self.wrong(problems, "a mapping of keys to values");
        };
        let mut entries: Vec<(&str, Place, &Node)> = Vec::new();
        for (key, value) in pairs {
            let Some(name) = key.text(problems) else { continue };
            // `a-b` and `a_b` are one key, see `Fields::get`.
            let same = |known: &str| known.replace('-', "_") == name.replace('-', "_");
            if let Some((_, first, _)) = entries.iter().find(|(known, ..)| same(known)) {
                problems.add(key.place, format!("key `{name}` stands twice, first at {first}"));
            } else {
                entries.push((name, key.place, value));
            }
        }
        Some(Fields { place: self.place, entries, asked: RefCell::default(), problems })
    }
}

/// The fields of one mapping. What was not asked for by [`Fields::finish`] is unknown.
#[derive(Debug)]
pub struct Fields<'a> {
    /// Where the mapping starts.
    pub place: Place,
    entries: Vec<(&'a str, Place, &'a Node)>,
    asked: RefCell<Vec<&'static str>>,
    problems: &'a Problems,
}

impl<'a> Fields<'a> {
    /// The value of a key, when it stands there and is not null.
    pub fn get(&self, name: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(name);
        let same = |key: &str| key == name || (key.len() == name.len() && key.replace('-', "_") == name);
        let found = self.entries.iter().find(|(key, ..)| same(key))?;
        (found.2.value != Value::Null).then_some(found.2)
    }

    /// The value of a key that must be there.
    pub fn required(&self, name: &'static str) -> Option<&'a Node> {
        let found = self.get(name);
        if found.is_none() {
            self.problems.add(self.place, format!("key `{name}` is missing"));
        }
        found
    }

    /// The text under a key.
    pub fn text(&self, name: &'static str) -> Option<&'a str> {
        self.get(name)?.text(self.problems)
    }

    /// The list of texts under a key; none when it is absent.
    pub fn texts(&self, name: &'static str) -> Vec<String> {
        self.get(name).map(|node| node.texts(self.problems)).unwrap_or_default()
    }

    /// The items under a key; none when it is absent.
    pub fn items(&self, name: &'static str) -> &'a [Node] {
        self.get(name).map_or(&[], |node| node.items(self.problems))
    }

    /// Reports every key that was not asked for, with the nearest known one.
    pub fn finish(self) {
        let asked = self.asked.into_inner();
        for (key, place, _) in &self.entries {
            let underscored = key.replace('-', "_");
            if asked.contains(&underscored.as_str()) {
                continue;
            }
            let near = asked.iter().map(|known| (distance(known, &underscored), known)).min();
            match near {
                Some((steps, known)) if steps <= 2 && steps < known.len() => {
                    self.problems.add(*place, format!("unknown key `{key}`; did you mean `{known}`?"));
                }
                _ => {
                    let mut known = asked.clone();
                    known.sort_unstable();
                    let known = known.join(", ");
                    self.problems.add(*place, format!("unknown key `{key}`; known here: {known}"));
                }
            }
        }
    }
}

/// Edit distance (Levenshtein) between two short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replace = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
