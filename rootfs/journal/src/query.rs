//! Which entries are wanted, by their fields.

use crate::entry::Entry;

/// A condition on fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Every entry.
    All,
    /// Entries with this field, `NAME=value`.
    Field(Vec<u8>),
    /// Entries for which one of these holds.
    Any(Vec<Query>),
    /// Entries for which all of these hold.
    Every(Vec<Query>),
}

impl Query {
    /// Entries with a field.
    pub fn field(name: &str, value: impl AsRef<[u8]>) -> Self {
        Self::Field(crate::field::join(name, value))
    }

    /// Entries of a unit: said by it, or about it by PID 1, the journal or
    /// a core dump's handler.
    pub fn unit(unit: &str) -> Self {
        Self::Any(vec![
            Self::field("_SYSTEMD_UNIT", unit),
            Self::Every(vec![Self::field("UNIT", unit), Self::field("_PID", "1")]),
            Self::Every(vec![Self::field("OBJECT_SYSTEMD_UNIT", unit), Self::field("_UID", "0")]),
            Self::Every(vec![Self::field("COREDUMP_UNIT", unit), Self::field("_UID", "0")]),
        ])
    }

    /// Entries between two priorities, both included; 0 is the most urgent.
    pub fn priorities(from: u8, to: u8) -> Self {
        Self::Any((from..=to).map(|priority| Self::field("PRIORITY", priority.to_string())).collect())
    }

    /// Matches as journalctl(1) takes them: those of one field are alternatives, those of
    /// different fields must all hold, and `+` separates alternatives of the whole.
    pub fn matches<'a>(matches: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut whole = Vec::new();
        let mut part: Vec<(Vec<u8>, Vec<Query>)> = Vec::new();
        let mut close = |part: &mut Vec<(Vec<u8>, Vec<Query>)>| {
            let fields = part.drain(..).map(|(_, fields)| Query::Any(fields)).collect::<Vec<_>>();
            if !fields.is_empty() {
                whole.push(Query::Every(fields));
            }
        };
        for one in matches {
            if one == b"+" {
                close(&mut part);
                continue;
            }
            let name = crate::field::split(one).0.to_vec();
            let field = Query::Field(one.to_vec());
            match part.iter_mut().find(|(known, _)| *known == name) {
                Some((_, fields)) => fields.push(field),
                None => part.push((name, vec![field])),
            }
        }
        close(&mut part);
        if whole.is_empty() { Self::All } else { Self::Any(whole) }
    }

    /// Both conditions.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (Self::Every(mut parts), other) => {
                parts.push(other);
                Self::Every(parts)
            }
            (one, other) => Self::Every(vec![one, other]),
        }
    }

    /// Whether an entry is wanted.
    pub fn takes(&self, entry: &Entry) -> bool {
        match self {
            Self::All => true,
            Self::Field(field) => entry.fields.iter().any(|own| own == field),
            Self::Any(parts) => parts.iter().any(|part| part.takes(entry)),
            Self::Every(parts) => parts.iter().all(|part| part.takes(entry)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_combine_as_journalctl_says() {
        let of = |text: &str| Query::matches(text.split_whitespace().map(str::as_bytes));
        let entry = |text: &str| Entry {
            fields: text.split_whitespace().map(|field| field.as_bytes().to_vec()).collect(),
            ..Entry::default()
        };
        for (query, fields, wanted) in [
            ("A=1", "A=1 B=1", true),
            ("A=1 B=2", "A=1 B=1", false),
            ("A=1 A=2 B=1", "A=2 B=1", true),
            ("A=1 B=2 + B=1", "A=1 B=1", true),
            ("A=1 +", "A=2", false),
            ("", "A=2", true),
        ] {
            assert_eq!(of(query).takes(&entry(fields)), wanted, "{query}");
        }
        assert_eq!(of("A=1").and(Query::All), of("A=1"));
    }
}
