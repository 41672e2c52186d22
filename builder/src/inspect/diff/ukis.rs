//! The UKIs of the entries that would boot. Their files have the version in their names, so a
//! comparison of files only sees one gone and one new.

use super::super::error::InspectError;
use super::super::image::OpenImage;
use super::super::shown;
use super::super::uki::Uki;
use super::bytes::same;
use super::change::{Changes, Field, What};
use formats::uki::PeSection;

const PLACE: &str = "UKI";

/// Compares the sections of the entry that would boot from each image.
pub(super) fn compare(a: &OpenImage, b: &OpenImage, changes: &mut Changes) -> Result<(), InspectError> {
    let (old, new) = (a.entries()?, b.entries()?);
    match (old.first(), new.first()) {
        (Some(old), Some(new)) => {
            a.with_uki(old, |old| b.with_uki(new, |new| sections(old, new, changes)))?;
        }
        (Some(old), None) => changes.put(PLACE, "", What::Removed(old.file_name.clone())),
        (None, Some(new)) => changes.put(PLACE, "", What::Added(new.file_name.clone())),
        (None, None) => {}
    }
    Ok(())
}

fn sections(old: &Uki<'_>, new: &Uki<'_>, changes: &mut Changes) -> Result<(), InspectError> {
    let names = |uki: &Uki<'_>| uki.sections().iter().map(|section| section.name.clone()).collect::<Vec<_>>();
    let mut all = [names(old), names(new)].concat();
    all.sort_unstable();
    all.dedup();
    for name in all {
        let find = |uki: &Uki<'_>| uki.sections().iter().find(|section| section.name == name).cloned();
        let described = |section: PeSection| format!("{} bytes", section.size);
        match (find(old), find(new)) {
            (Some(one), Some(other)) => changes.add(PLACE, &name, section((old, &one), (new, &other))?),
            (Some(one), None) => changes.put(PLACE, &name, What::Removed(described(one))),
            (None, Some(other)) => changes.put(PLACE, &name, What::Added(described(other))),
            (None, None) => {}
        }
    }
    Ok(())
}

fn section(
    (a, old): (&Uki<'_>, &PeSection),
    (b, new): (&Uki<'_>, &PeSection),
) -> Result<Vec<Field>, InspectError> {
    match old.name.as_str() {
        ".osrel" => Ok(Field::compare_lists(&pairs(&a.text(".osrel")?), &pairs(&b.text(".osrel")?))),
        ".cmdline" => Ok(texts(&a.text(".cmdline")?, &b.text(".cmdline")?)),
        ".uname" => Ok(texts(&a.text(".uname")?, &b.text(".uname")?)),
        _ => {
            let same = same(&a.window(old), &b.window(new)).map_err(|failure| {
                let (uki, section) = failure.of((a, old), (b, new));
                uki.unreadable(section.offset.saturating_add(failure.offset), failure.source)
            })?;
            let mut fields =
                Vec::from_iter(Field::compare("size", old.size.to_string(), new.size.to_string()));
            if !same {
                fields.push(Field::named("content"));
            }
            Ok(fields)
        }
    }
}

fn texts(old: &str, new: &str) -> Vec<Field> {
    Vec::from_iter(Field::compare("", shown::quoted(old), shown::quoted(new)))
}

/// The keys and values of os-release(5); what has neither is kept as a key.
fn pairs(text: &str) -> Vec<(String, String)> {
    text.lines()
        .map(|line| {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            (shown::name(key.as_bytes()), shown::quoted(value.trim_matches('"')))
        })
        .collect()
}
