//! The `toolbox` command.

mod boxes;

use clap::{ArgMatches, CommandFactory};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use toolbox::images::{self, ImageError, Images};
use toolbox::kept::session::Asked;
use toolbox::kept::words;
use toolbox::options::{self, Cli, Line, Options, Verb};
use toolbox::run::code;
use toolbox::{config, default, facts, plan, run};
use toolbox_store::{Held, Progress, Stage, StoreError};

/// Shorter waits need no words.
const PATIENCE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let line: Vec<OsString> = std::env::args_os().collect();
    // What is wrong with the line is said before what is wrong with a file.
    let typed = parse(&line);
    if let Some(Verb::Completions { shell }) = typed.cli.verb {
        clap_complete::generate(shell, &mut Cli::command(), "toolbox", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    if let Some(Verb::Man) = typed.cli.verb {
        return match clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error, None),
        };
    }
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let defaults = match config::load(&environment) {
        Ok(defaults) => defaults,
        Err(error) => return fail(code::FAILED, &error, None),
    };
    if std::io::stderr().is_terminal() {
        defaults.notes.iter().for_each(|note| eprintln!("toolbox: note: {note}"));
    }
    let merged = (!defaults.options.is_empty())
        .then(|| parse(&config::insert(&line, typed.verb.as_deref(), &defaults.options)));
    let is_root = nix::unistd::geteuid().is_root();
    let both = merged.as_ref().unwrap_or(&typed);
    if let (Some((typed_options, _)), Some((options, command))) = (box_of(&typed.cli), box_of(&both.cli)) {
        let said = Said { options, given: &both.given, typed: typed_options, typed_given: &typed.given };
        return start(&said, command, &environment, is_root);
    }
    let cli = merged.unwrap_or(typed).cli;
    let insecure = match &cli.verb {
        Some(Verb::Pull { registries, .. } | Verb::Import { registries, .. }) => {
            registries.insecure_registry.clone()
        }
        // These ask none.
        _ => Vec::new(),
    };
    let images = Images::open(is_root, &environment, insecure);
    let done = match cli.verb {
        Some(Verb::Pull { source, name, .. }) => {
            images.and_then(|images| pull(&images, &source, name.as_deref()))
        }
        Some(Verb::Images { json }) => images.and_then(|images| list(&images, json)),
        Some(verb) => return boxes::act(verb, images, cli.options, &environment),
        // A box, which has been by now.
        None => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error, error.hint()),
    }
}

/// Reads a command line, or ends with what is to be said of it.
fn parse(line: &[OsString]) -> Line {
    options::read(line).unwrap_or_else(|error| error.exit())
}

/// The options and the command of a box, if one is asked for.
fn box_of(cli: &Cli) -> Option<(&Options, &[String])> {
    match &cli.verb {
        None => Some((&cli.options, &[])),
        Some(Verb::Run(run)) => Some((&run.options, &run.command)),
        Some(_) => None,
    }
}

/// Options of a box, with the files' and as they were typed.
struct Said<'a> {
    options: &'a Options,
    given: &'a ArgMatches,
    typed: &'a Options,
    typed_given: &'a ArgMatches,
}

fn fail(code: u8, error: &dyn Display, hint: Option<&str>) -> ExitCode {
    eprintln!("toolbox: error: {error}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(code)
}

fn explain(plan: &plan::Plan, json: bool) -> ExitCode {
    match if json { plan::json(plan) } else { Ok(plan::explain(plan)) } {
        Ok(text) => println!("{}", text.trim_end()),
        Err(error) => return fail(code::FAILED, &error, None),
    }
    ExitCode::SUCCESS
}

fn tell_notes(plan: &plan::Plan) {
    if plan.terminal {
        plan.notes.iter().for_each(|note| eprintln!("toolbox: note: {note}"));
    }
}

/// A box, from its image to its end.
fn start(
    said: &Said<'_>,
    command: &[String],
    environment: &BTreeMap<String, String>,
    is_root: bool,
) -> ExitCode {
    let options = said.options;
    if let Some(name) = &options.keep {
        // A box that is there needs none.
        let from = options.from.clone().or_else(|| default::default_image(is_root, environment).ok());
        let asked = Asked {
            name,
            options: &Options { from, ..options.clone() },
            words: words::given(said.given),
            typed: said.typed,
            typed_words: words::given(said.typed_given),
            command,
            may_make: true,
            only_plan: options.explain,
        };
        return match Images::open(is_root, environment, options.registries.insecure_registry.clone()) {
            Ok(images) => boxes::enter(&asked, &images, environment),
            Err(error) => fail(code::FAILED, &error, error.hint()),
        };
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let named = options.from.clone().map_or_else(|| default::default_image(is_root, environment), Ok);
    let source = &match named {
        Ok(source) => source,
        Err(error) => return fail(code::FAILED, &error, Some(error.hint())),
    };
    let found = if let Some(found) = images::in_place(source) {
        found.map(|image| (image, None))
    } else {
        Images::open(is_root, environment, options.registries.insecure_registry.clone()).and_then(|images| {
            let (image, held) = with_progress(|progress| images::image(&images, source, progress))?;
            Ok((image, Some(held)))
        })
    };
    // Held until the box has ended: the monitor and init have the lock too.
    let (image, _held) = match found {
        Ok(found) => found,
        Err(error) => return fail(code::FAILED, &error, error.hint()),
    };
    let mut facts = facts::gather(environment.clone(), terminal);
    if let Some(name) = &options.target {
        facts = match facts.with_target(name) {
            Ok(facts) => facts,
            Err(why) => return fail(code::FAILED, &why, None),
        };
    }
    let plan = match plan::decide(options, command, &facts, &image) {
        Ok(plan) => plan,
        Err(refusal) => return fail(code::FAILED, &refusal, None),
    };
    if options.explain {
        return explain(&plan, options.json);
    }
    tell_notes(&plan);
    match run::run(&plan) {
        // Nothing is left to be written or freed, and the way by way of `main` costs a thirtieth of the whole.
        Ok(code) => sys::fork::end(code),
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
    tell(images, &held, source, name)
}

/// Names an image that came, and tells of it.
fn tell(images: &Images, held: &Held, source: &str, name: Option<&str>) -> Result<(), ImageError> {
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
