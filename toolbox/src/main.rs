//! The `toolbox` command.

use clap::Parser;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use toolbox::images::{self, ImageError, Images};
use toolbox::options::{Cli, Options, Verb};
use toolbox::run::code;
use toolbox::{default, facts, plan, run};
use toolbox_store::{Held, Progress, Stage, StoreError};

/// Shorter waits need no words.
const PATIENCE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let is_root = nix::unistd::geteuid().is_root();
    let open = || Images::open(is_root, &environment, cli.options.insecure_registry.clone());
    let done = match cli.verb {
        None => return start(&cli.options, &[], &environment, is_root),
        Some(Verb::Run { options, command }) => return start(&options, &command, &environment, is_root),
        Some(Verb::Pull { source, name }) => {
            open().and_then(|images| pull(&images, &source, name.as_deref()))
        }
        Some(Verb::Images { json }) => open().and_then(|images| list(&images, json)),
        Some(Verb::Rm { images: names }) => open().and_then(|images| remove(&images, &names)),
        Some(Verb::Gc) => open().and_then(|images| collect(&images)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error, error.hint()),
    }
}

fn fail(code: u8, error: &dyn Display, hint: Option<&str>) -> ExitCode {
    eprintln!("toolbox: error: {error}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(code)
}

/// A box, from its image to its end.
fn start(
    options: &Options,
    command: &[String],
    environment: &BTreeMap<String, String>,
    is_root: bool,
) -> ExitCode {
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let named = options.from.clone().map_or_else(|| default::default_image(is_root, environment), Ok);
    let source = &match named {
        Ok(source) => source,
        Err(error) => return fail(code::FAILED, &error, Some(error.hint())),
    };
    let found = if let Some(found) = images::in_place(source) {
        found.map(|image| (image, None))
    } else {
        Images::open(is_root, environment, options.insecure_registry.clone()).and_then(|images| {
            let (image, held) = with_progress(|progress| images::image(&images, source, progress))?;
            Ok((image, Some(held)))
        })
    };
    // Held until the box has ended: the monitor and init have the lock too.
    let (image, _held) = match found {
        Ok(found) => found,
        Err(error) => return fail(code::FAILED, &error, error.hint()),
    };
    let facts = facts::gather(environment.clone(), terminal);
    let plan = match plan::decide(options, command, &facts, &image) {
        Ok(plan) => plan,
        Err(refusal) => return fail(code::FAILED, &refusal, None),
    };
    if options.explain {
        match if options.json { plan::json(&plan) } else { Ok(plan::explain(&plan)) } {
            Ok(text) => println!("{}", text.trim_end()),
            Err(error) => return fail(code::FAILED, &error, None),
        }
        return ExitCode::SUCCESS;
    }
    if plan.terminal {
        plan.notes.iter().for_each(|note| eprintln!("toolbox: note: {note}"));
    }
    match run::run(&plan) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(error.code(), &error, None),
    }
}

/// Shows, on a terminal, how far a long wait has come.
fn with_progress<T>(work: impl FnOnce(&mut dyn FnMut(Progress)) -> T) -> T {
    let shown = std::io::stderr().is_terminal();
    let begin = Instant::now();
    let mut last: Option<Instant> = None;
    let result = work(&mut |progress| {
        let due = last.map_or(begin + PATIENCE, |last| last + Duration::from_millis(100));
        if !shown || Instant::now() < due {
            return;
        }
        last = Some(Instant::now());
        let what = match progress.stage {
            Stage::Download => "downloading",
            Stage::Unpack => "unpacking",
        };
        let total = progress.total.map_or_else(String::new, |total| format!(" of {}", total >> 20));
        eprint!("\rtoolbox: {what}: {}{total} MiB ", progress.done >> 20);
        let _ = std::io::stderr().flush();
    });
    if last.is_some() {
        eprint!("\r\x1b[K");
    }
    result
}

fn pull(images: &Images, source: &str, name: Option<&str>) -> Result<(), ImageError> {
    let held: Held = with_progress(|progress| images.pull(source, progress))?;
    let image = &held.image;
    match (&image.id, name) {
        (Some(id), Some(name)) => images.store().name(id, name)?,
        (None, Some(name)) => return Err(StoreError::Unknown { name: name.to_owned() }.into()),
        _ => {}
    }
    println!("{}", image.id.as_ref().map_or(source, |id| id.as_str()));
    let notes = image.notes;
    for (count, what) in [
        (notes.devices_skipped, "device nodes were left out: a box has its own /dev"),
        (notes.attributes_dropped, "extended attributes cannot be kept here"),
        (notes.owners_unmapped, "files have owners without an id here"),
        (notes.set_id_dropped, "files lost setuid or setgid"),
    ] {
        if count > 0 {
            eprintln!("toolbox: note: {count} {what}");
        }
    }
    Ok(())
}

fn list(images: &Images, json: bool) -> Result<(), ImageError> {
    let all = images.store().images()?;
    if json {
        let rows: Vec<_> = all
            .iter()
            .map(|image| {
                serde_json::json!({
                    "id": image.id.as_ref().map(toolbox_store::ImageId::as_str), "names": image.names, "source": image.source,
                    "size_bytes": image.size_bytes, "created": image.created,
                })
            })
            .collect();
        println!("{}", serde_json::Value::from(rows));
        return Ok(());
    }
    println!("{:<14} {:>9}  {:<28} SOURCE", "ID", "MiB", "NAMES");
    for image in &all {
        let id = image.id.as_ref().map_or("-", |id| id.as_str());
        let short = id.get(..12).unwrap_or(id);
        let mib = image.size_bytes as f64 / f64::from(1 << 20);
        println!("{short:<14} {mib:>9.1}  {:<28} {}", image.names.join(" "), image.source);
    }
    Ok(())
}

fn remove(images: &Images, names: &[String]) -> Result<(), ImageError> {
    for name in names {
        let gone = images.store().remove(name)?;
        println!("{name}: {}", if gone { "removed" } else { "the name is gone, the image has others" });
    }
    Ok(())
}

fn collect(images: &Images) -> Result<(), ImageError> {
    let freed = images.store().gc(&[])?;
    println!(
        "{} images and {} interrupted unpackings removed, {:.1} MiB freed",
        freed.images.len(),
        freed.leftovers,
        freed.bytes as f64 / f64::from(1 << 20)
    );
    for (path, why) in &freed.failures {
        eprintln!("toolbox: {}: {why}", path.display());
    }
    Ok(())
}
