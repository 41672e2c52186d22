//! Files that follow from other keys than `write_files`.

use crate::{Facts, Plan, daemon, keys, user};

/// A file to write before those of `write_files`, with mode 0644.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Absolute.
    pub path: String,
    /// What it holds, or what is put over it.
    pub text: Content,
}

/// What a generated file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The whole.
    Whole(String),
    /// Assignments, that replace those of the same name in the image's file.
    Merged(Vec<(String, String)>),
}

impl Generated {
    /// The file's text, when the image's own is `before`.
    pub fn render(&self, before: &str) -> String {
        match &self.text {
            Content::Whole(text) => text.clone(),
            Content::Merged(assignments) => {
                let is_replaced = |line: &&str| {
                    let name = line.split('=').next().unwrap_or_default().trim();
                    assignments.iter().any(|(known, _)| known == name)
                };
                let kept = before.lines().filter(|line| !is_replaced(line)).map(str::to_owned);
                let new = assignments.iter().map(|(name, value)| format!("{name}={value}"));
                kept.chain(new).map(|line| line + "\n").collect()
            }
        }
    }
}

/// `/etc/hosts` for `manage_etc_hosts: localhost`.
pub fn hosts(hostname: &str) -> String {
    let short = hostname.split('.').next().unwrap_or_default();
    let names = if short == hostname { hostname.to_owned() } else { format!("{hostname} {short}") };
    format!("127.0.0.1 localhost {names}\n::1 localhost {names}\n")
}

/// Adds what follows from the plan as a whole and from metadata.
pub(crate) fn finish(plan: &mut Plan, facts: &Facts) {
    let environment = facts.environment();
    if !environment.is_empty() {
        plan.generated
            .push(Generated { path: "/etc/environment".to_owned(), text: Content::Merged(environment) });
    }
    daemon::mask_locksmith(plan);
    plan.hostname = plan.hostname.take().or_else(|| facts.hostname.clone());
    let whole = facts.keys.iter().filter(|key| keys::fault(key).is_none()).cloned().collect();
    user::add_keys(&mut plan.users, "core", whole);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_replace_lines_of_their_name() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let file = Generated {
            path: "/etc/x".to_owned(),
            text: Content::Merged(vec![pair("GROUP", "beta"), pair("SERVER", "x")]),
        };
        assert_eq!(file.render("# c\nGROUP=stable\nA=b\n"), "# c\nA=b\nGROUP=beta\nSERVER=x\n");
        assert_eq!(file.render(""), "GROUP=beta\nSERVER=x\n");
    }
}
