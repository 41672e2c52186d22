//! Kept boxes, from the command line.

use crate::{explain, fail, pull, tell, tell_notes, with_progress};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use toolbox::images::{ImageError, Images};
use toolbox::kept::session::{self, Asked};
use toolbox::kept::target::Target;
use toolbox::kept::{BoxError, Boxes, layer, verbs};
use toolbox::options::{Options, Verb};
use toolbox::{facts, plan, run};
use toolbox_store::Source;

/// What is done with kept boxes.
pub(crate) fn act(
    verb: Verb,
    images: Result<Images, ImageError>,
    options: Options,
    environment: &BTreeMap<String, String>,
) -> ExitCode {
    let facts = || facts::gather(environment.clone(), false);
    let done = images.map_err(BoxError::from).and_then(|images| {
        let boxes = || Boxes::open(images.store().root());
        match verb {
            Verb::Enter { name, command, explain, json } => {
                let options = Options { explain, json, ..options };
                let asked = Asked {
                    name: &name,
                    options: &options,
                    words: Vec::new(),
                    typed: &options,
                    typed_words: Vec::new(),
                    command: &command,
                    may_make: false,
                    only_plan: explain,
                };
                return Ok(enter(&asked, &images, environment));
            }
            Verb::Ls { json } => {
                let (text, failures) = verbs::list(&boxes()?, &facts(), json)?;
                println!("{text}");
                warn(&failures);
                if !failures.is_empty() {
                    return Ok(ExitCode::from(1));
                }
            }
            Verb::Diff { name } => {
                let kept = boxes()?.get(&name)?;
                let text = layer::diff(&kept, &images, session::ids(&kept.record, &facts()).as_ref())?;
                return Ok(show(&text));
            }
            Verb::Commit { name, to } => {
                let target = Target::parse(&to)?;
                let kept = boxes()?.get(&name)?;
                if kept.running().is_some() {
                    eprintln!(
                        "toolbox: note: box `{name}` runs; what changes meanwhile may be in it by half"
                    );
                }
                let ids = session::ids(&kept.record, &facts());
                let said =
                    with_progress(|progress| layer::commit(&kept, &images, ids.as_ref(), &target, progress))?;
                if !said.is_empty() {
                    println!("{said}");
                }
            }
            Verb::Import { source, name, .. } if source == "-" => {
                let file = layer::spool(&images, std::io::stdin().lock())?;
                let origin = "standard input";
                let file = Source::Path(file.path());
                let held = with_progress(|progress| images.take(&file, origin, progress))?;
                tell(&images, &held, origin, name.as_deref())?;
            }
            Verb::Import { source, name, .. } => pull(&images, &source, name.as_deref())?,
            Verb::Rm { images: names, r#box } => {
                for name in &names {
                    println!("{}", verbs::remove(&boxes()?, &images, &facts(), name, r#box)?);
                }
            }
            Verb::Gc => collect(&images, &boxes()?, &facts())?,
            // These are done by `main`.
            Verb::Run(_) | Verb::Pull { .. } | Verb::Images { .. } | Verb::Completions { .. } | Verb::Man => {
            }
        }
        Ok(ExitCode::SUCCESS)
    });
    done.unwrap_or_else(|error| fail(1, &error, error.hint().as_deref()))
}

/// Writes data to standard output; whoever reads it may have had enough.
fn show(text: &[u8]) -> ExitCode {
    match std::io::stdout().write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(1, &format!("cannot write to standard output: {error}"), None)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// A session of a kept box.
pub(crate) fn enter(asked: &Asked<'_>, images: &Images, environment: &BTreeMap<String, String>) -> ExitCode {
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let facts = facts::gather(environment.clone(), terminal);
    let prepared = match with_progress(|progress| session::prepare(asked, images, &facts, progress)) {
        Ok(prepared) => prepared,
        Err(error) => return fail(error.code(), &error, error.hint().as_deref()),
    };
    let kept = match prepared.kept {
        Some(kept) if !asked.only_plan => kept,
        _ => return explain(&prepared.plan, asked.options.json),
    };
    tell_notes(&prepared.plan);
    match run::enter(&prepared.plan, &kept) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(error.code(), &error, error.hint().as_deref()),
    }
}

/// What could not be done, and did not keep the rest from being done.
fn warn(failures: &[BoxError]) {
    for error in failures {
        eprintln!("toolbox: {error}");
    }
}

fn collect(images: &Images, boxes: &Boxes, facts: &facts::Facts) -> Result<(), BoxError> {
    let ids = (facts.uid != 0).then(|| plan::user_ids(facts));
    let (swept, failures) = boxes.sweep(ids.as_ref())?;
    // Looked at while no box is being made: one that comes later has its image in use.
    let mut freed = images.store().gc(&boxes.images()?).map_err(ImageError::from)?;
    freed.leftovers += swept;
    warn(&failures);
    println!(
        "{} images and {} interrupted pieces of work removed, {:.1} MiB freed",
        freed.images.len(),
        freed.leftovers,
        freed.bytes as f64 / f64::from(1 << 20)
    );
    for (path, why) in &freed.failures {
        eprintln!("toolbox: {}: {why}", path.display());
    }
    Ok(())
}
