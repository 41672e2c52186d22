//! The verdict on a user-data document: the same at boot, in `slipway validate` and in the builder.
//!
//! Crate `cloudconfig` judges the document by itself. What remains are the texts of its units,
//! which the unit loader's rules judge, and what the image has: users, groups, interpreters.

use crate::unit::load::apply_text;
use crate::unit::{Facts as UnitFacts, Fault, LoadState, Unit, UnitName};
use cloudconfig::accounts::{Accounts, Home};
use cloudconfig::{Context, Facts, Plan, Problem, UnitFault};
use std::path::Path;

/// What a document is judged against.
pub struct Image<'a> {
    /// Text of `/etc/passwd`.
    pub passwd: &'a str,
    /// Text of `/etc/group`.
    pub group: &'a str,
    /// Text of `/etc/shadow`.
    pub shadow: &'a str,
    /// Whether the image has a program, by its absolute path.
    pub has_program: &'a dyn Fn(&str) -> bool,
}

/// An accepted document.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// What it asks for.
    pub plan: Plan,
    /// The image's accounts with those of the document.
    pub accounts: Accounts,
    /// Homes to make.
    pub homes: Vec<Home>,
}

/// Judges a document.
///
/// # Errors
/// Everything that is wrong with it, with places; never empty.
pub fn judge(document: &[u8], facts: &Facts, image: &Image<'_>) -> Result<Accepted, Vec<Problem>> {
    let plan = cloudconfig::parse(document, &Context { facts, check_unit: &check_unit })?;
    let mut accounts = Accounts::read(image.passwd, image.group, image.shadow);
    let (homes, mut problems) = match accounts.add(&plan.users) {
        Ok(homes) => (homes, Vec::new()),
        Err(problems) => (Vec::new(), problems),
    };
    problems.extend(accounts.unknown_owners(&plan));
    problems.extend(plan.scripts.iter().filter(|script| !(image.has_program)(&script.interpreter)).map(
        |script| {
            let message = format!(
                "the image has no {}, so this script cannot be run: the slot has no shell, use units instead",
                script.interpreter
            );
            Problem { place: script.place, message }
        },
    ));
    problems.sort();
    if problems.is_empty() { Ok(Accepted { plan, accounts, homes }) } else { Err(problems) }
}

/// Judges the text of a unit or drop-in. What the loader would leave out for its form is fatal;
/// a key that is not known or not acted on is suspicious, as it is for units in files.
fn check_unit(name: &str, text: &str) -> Vec<UnitFault> {
    // Units of other services, such as `.network`, are theirs to judge.
    let Ok(parsed) = UnitName::parse(name) else { return Vec::new() };
    let facts = UnitFacts {
        hostname: "localhost".to_owned(),
        machine_id: "0".repeat(32),
        boot_id: "0".repeat(32),
        kernel_release: "0".to_owned(),
        os_release: Vec::new(),
    };
    let mut unit = Unit::new(parsed, LoadState::Loaded);
    apply_text(&mut unit, Path::new(name), text.as_bytes(), &facts)
        .into_iter()
        .map(|problem| UnitFault {
            line: problem.line as usize,
            message: problem.fault.to_string(),
            fatal: matches!(problem.fault, Fault::Malformed(_) | Fault::Invalid { .. } | Fault::Unit(_)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/:/\ncore:x:500:500::/var/home/core:/bin/bash\n";

    fn judged(text: &str) -> Result<Accepted, Vec<String>> {
        let has_program = |path: &str| path == "/usr/bin/busybox";
        let image = Image {
            passwd: PASSWD,
            group: "wheel:x:10:\ncore:x:500:\n",
            shadow: "",
            has_program: &has_program,
        };
        judge(text.as_bytes(), &Facts::default(), &image)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn units_are_judged_with_the_places_of_the_document() {
        let text = "#cloud-config\ncoreos:\n  units:\n    - name: a.service\n      drop-ins:\n        - name: 10-x.conf\n          content: |\n            [Service]\n            Restart=perhaps\n            what is this\n            Novel=1\n";
        let errors = judged(text).unwrap_err();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("9:13: a.service: `Restart=perhaps` is not valid"), "{errors:?}");
        assert!(errors[1].starts_with("10:13: a.service: `what is this` is neither"), "{errors:?}");
        let good = text.replace("            Restart=perhaps\n            what is this\n", "");
        let accepted = judged(&good).unwrap();
        assert!(accepted.plan.warnings[0].to_string().starts_with("9:13: a.service: key `Novel=`"));
    }

    #[test]
    fn what_the_image_lacks_is_said() {
        assert_eq!(
            judged("#!/bin/sh\n").unwrap_err(),
            [
                "1:3: the image has no /bin/sh, so this script cannot be run: the slot has no shell, use units instead"
            ]
        );
        assert_eq!(judged("#!/usr/bin/busybox sh\n").unwrap().plan.scripts.len(), 1);
        let errors = judged(
            "#cloud-config\nwrite_files: [{path: /etc/x, owner: nobody}]\nusers: [{name: a, groups: [x]}]\n",
        );
        assert_eq!(
            errors.unwrap_err(),
            ["2:37: no such user or group on this machine", "3:16: group x is not known on this machine"]
        );
        // A user of the document is one.
        let text = "#cloud-config\nwrite_files: [{path: /etc/x, owner: 'a:a'}]\nusers: [{name: a}]\n";
        assert_eq!(judged(text).unwrap().homes[0].path, "/var/home/a");
    }
}
