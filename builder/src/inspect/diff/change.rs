//! Changes as data, and as lines for a reader.

use serde_json::{Value, json};

/// One thing that differs between two others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// Empty when the subject says it already.
    name: String,
    /// Both values; none when they are too large to be shown.
    values: Option<(String, String)>,
}

impl Field {
    /// A difference without values.
    pub(super) fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), values: None }
    }

    pub(super) fn changed(name: impl Into<String>, old: impl Into<String>, new: impl Into<String>) -> Self {
        Self { name: name.into(), values: Some((old.into(), new.into())) }
    }

    /// A field where the values differ.
    pub(super) fn compare(name: &str, old: impl Into<String>, new: impl Into<String>) -> Option<Self> {
        let (old, new) = (old.into(), new.into());
        (old != new).then(|| Self::changed(name, old, new))
    }

    /// Fields for what two lists by name do not have in common.
    pub(super) fn compare_lists<N: AsRef<str>>(old: &[(N, String)], new: &[(N, String)]) -> Vec<Self> {
        let value = |list: &[(N, String)], name: &str| {
            list.iter()
                .find(|(other, _)| other.as_ref() == name)
                .map_or("none", |(_, value)| value)
                .to_owned()
        };
        let mut names = old.iter().chain(new).map(|(name, _)| name.as_ref()).collect::<Vec<_>>();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| Self::compare(name, value(old, name), value(new, name))).collect()
    }

    fn text(&self) -> String {
        let name = &self.name;
        match &self.values {
            None => name.clone(),
            Some((old, new)) if name.is_empty() => format!("{old} -> {new}"),
            Some((old, new)) => format!("{name} {old} -> {new}"),
        }
    }
}

/// What happened to a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Added(String),
    Removed(String),
    Changed(Vec<Field>),
}

/// A line of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// `disk`, `GPT`, `UKI`, or a partition's label.
    place: String,
    /// A path, a partition, a section; empty for the place as a whole.
    subject: String,
    what: What,
}

impl Change {
    pub(super) fn line(&self) -> String {
        let Self { place, subject, what } = self;
        let space = if subject.is_empty() { "" } else { " " };
        let what = match what {
            What::Added(what) => format!("added ({what})"),
            What::Removed(what) => format!("removed ({what})"),
            What::Changed(fields) => fields.iter().map(Field::text).collect::<Vec<_>>().join(", "),
        };
        format!("{place}{space}{subject}  {what}")
    }

    pub(super) fn json(&self) -> Value {
        let Self { place, subject, what } = self;
        let mut value = json!({ "place": place, "subject": subject });
        match what {
            What::Added(what) => value["added"] = json!(what),
            What::Removed(what) => value["removed"] = json!(what),
            What::Changed(fields) => {
                let field = |Field { name, values }: &Field| match values {
                    Some((old, new)) => json!({ "name": name, "old": old, "new": new }),
                    None => json!({ "name": name }),
                };
                value["changed"] = fields.iter().map(field).collect();
            }
        }
        value
    }
}

/// All changes, in the order of the disk, within a partition by path.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<Change>);

impl Changes {
    /// Notes fields that changed; none is no change.
    pub(super) fn add(&mut self, place: &str, subject: &str, fields: Vec<Field>) {
        if !fields.is_empty() {
            self.put(place, subject, What::Changed(fields));
        }
    }

    pub(super) fn put(&mut self, place: &str, subject: &str, what: What) {
        self.0.push(Change { place: place.to_owned(), subject: subject.to_owned(), what });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Change> {
        self.0.iter()
    }
}
