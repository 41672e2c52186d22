//! `boot`: the boot entries with their counters, and what is in their UKIs.

use super::entry::BootEntry;
use super::error::InspectError;
use super::image::OpenImage;
use super::uki::Uki;
use super::{Output, Verdict, shown};
use serde_json::{Value, json};

/// Sections that are text, and worth being read.
const TEXTS: [&str; 3] = [".uname", ".cmdline", ".osrel"];

pub(super) fn show(image: &OpenImage, json: bool, out: &mut Output<'_>) -> Result<Verdict, InspectError> {
    let entries = image.entries()?;
    let mut values = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let boots = index == 0 && entry.problem.is_none();
        let uki = match &entry.problem {
            // What is broken was said already.
            Some(_) => None,
            None => Some(image.with_uki(entry, read)?),
        };
        if json {
            values.push(to_json(entry, boots, uki));
        } else {
            if index > 0 {
                out.line("")?;
            }
            print(entry, boots, uki, out)?;
        }
    }
    if json {
        out.json(&Value::from(values))?;
    } else if entries.is_empty() {
        out.line("no boot entries in /EFI/Linux")?;
    }
    Ok(Verdict::Done)
}

/// A UKI's sections in order with their sizes, and the text of those that are text.
struct Contents {
    sections: Vec<(String, u64, u64)>,
    texts: Vec<(&'static str, String)>,
}

fn read(uki: &Uki<'_>) -> Result<Contents, InspectError> {
    let sections = uki.sections().iter();
    let sections =
        sections.map(|section| (section.name.clone(), section.offset, section.size)).collect::<Vec<_>>();
    let texts = TEXTS
        .into_iter()
        .filter(|name| sections.iter().any(|(section, ..)| section == name))
        .map(|name| Ok((name, uki.text(name)?)))
        .collect::<Result<_, InspectError>>()?;
    Ok(Contents { sections, texts })
}

fn print(
    entry: &BootEntry,
    boots: bool,
    uki: Option<Contents>,
    out: &mut Output<'_>,
) -> Result<(), InspectError> {
    let next = if boots { "  (boots next)" } else { "" };
    out.line(&format!("{}{next}", shown::name(entry.file_name.as_bytes())))?;
    match (entry.left, entry.done) {
        (Some(left), Some(done)) => out.line(&format!("  tries:    {left} left, {done} done"))?,
        _ => out.line("  tries:    not counted")?,
    }
    if let Some(version) = &entry.version {
        out.line(&format!("  version:  {}", shown::name(version.as_bytes())))?;
    }
    out.line(&format!("  size:     {}", entry.size))?;
    if let Some(problem) = &entry.problem {
        out.line(&format!("  not shown by systemd-boot: {}", shown::name(problem.as_bytes())))?;
    }
    let Some(Contents { sections, texts }) = uki else { return Ok(()) };
    for (name, offset, size) in sections {
        out.line(&format!("  section:  {name:<8} {size:>10} bytes at {offset}"))?;
    }
    for (name, text) in texts {
        for line in text.lines() {
            out.line(&format!("  {name:<9} {}", shown::name(line.as_bytes())))?;
        }
    }
    Ok(())
}

fn to_json(entry: &BootEntry, boots: bool, uki: Option<Contents>) -> Value {
    let mut value = json!({
        "file": entry.file_name,
        "name": entry.base,
        "tries_left": entry.left,
        "tries_done": entry.done,
        "version": entry.version,
        "size": entry.size,
        "boots_next": boots,
        "problem": entry.problem,
    });
    if let Some(Contents { sections, texts }) = uki {
        let section = |(name, offset, size)| json!({ "name": name, "offset": offset, "size": size });
        value["sections"] = sections.into_iter().map(section).collect();
        let text =
            |(name, text): (&str, String)| (name.trim_start_matches('.').to_owned(), Value::from(text));
        value["texts"] = Value::Object(texts.into_iter().map(text).collect());
    }
    value
}
