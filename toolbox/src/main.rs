//! The `toolbox` command.

use clap::{CommandFactory, FromArgMatches};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use toolbox::images::{self, ImageError, Images};
use toolbox::kept::session::{self, Asked};
use toolbox::kept::{BoxError, Boxes, layer, verbs, words};
use toolbox::options::{Cli, Options, Verb};
use toolbox::run::code;
use toolbox::{facts, plan, run};
use toolbox_store::{Held, Progress, Stage, StoreError};

/// Shorter waits need no words.
const PATIENCE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    // The options of a box, where a kept one may come of them.
    let given = match matches.subcommand() {
        Some(("run", below)) => words::given(below),
        Some(_) => Vec::new(),
        None => words::given(&matches),
    };
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let is_root = nix::unistd::geteuid().is_root();
    let open = || Images::open(is_root, &environment, cli.options.insecure_registry.clone());
    let done = match cli.verb {
        None => return start(&cli.options, given, &[], &environment, is_root),
        Some(Verb::Run { options, command }) => {
            return start(&options, given, &command, &environment, is_root);
        }
        Some(Verb::Pull { source, name }) => {
            open().and_then(|images| pull(&images, &source, name.as_deref()))
        }
        Some(Verb::Images { json }) => open().and_then(|images| list(&images, json)),
        Some(verb) => return with_boxes(verb, open(), cli.options, &environment),
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

/// What is done with kept boxes.
fn with_boxes(
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
                    command: &command,
                    may_make: false,
                    only_plan: explain,
                };
                return Ok(enter(&asked, &images, environment));
            }
            Verb::Ls { json } => {
                let (text, failures) = verbs::list(&boxes()?, &facts(), json)?;
                println!("{text}");
                failures.iter().for_each(|error| eprintln!("toolbox: {error}"));
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
                let target = layer::Target::parse(&to)?;
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
            Verb::Import { source, name } if source == "-" => {
                let file = layer::spool(&images, std::io::stdin().lock())?;
                let path = file.path().display().to_string();
                pull(&images, &path, name.as_deref())?;
            }
            Verb::Import { source, name } => pull(&images, &source, name.as_deref())?,
            Verb::Rm { images: names, r#box } => {
                for name in &names {
                    println!("{}", verbs::remove(&boxes()?, &images, &facts(), name, r#box)?);
                }
            }
            Verb::Gc => collect(&images, &boxes()?, &facts())?,
            // These are done by `main`.
            Verb::Run { .. } | Verb::Pull { .. } | Verb::Images { .. } => {}
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
fn enter(asked: &Asked<'_>, images: &Images, environment: &BTreeMap<String, String>) -> ExitCode {
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
    options: &Options,
    given: Vec<String>,
    command: &[String],
    environment: &BTreeMap<String, String>,
    is_root: bool,
) -> ExitCode {
    if let Some(name) = &options.keep {
        let asked =
            Asked { name, options, words: given, command, may_make: true, only_plan: options.explain };
        return match Images::open(is_root, environment, options.insecure_registry.clone()) {
            Ok(images) => enter(&asked, &images, environment),
            Err(error) => fail(code::FAILED, &error, error.hint()),
        };
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let Some(source) = &options.from else {
        let hint =
            "toolbox --from SOURCE: a folder, an archive, a disk image, a registry's reference, or `host`";
        return fail(code::FAILED, &"no image is named, and there is no default yet", Some(hint));
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
        return explain(&plan, options.json);
    }
    tell_notes(&plan);
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

fn collect(images: &Images, boxes: &Boxes, facts: &facts::Facts) -> Result<(), BoxError> {
    let ids = (facts.uid != 0).then(|| plan::user_ids(facts));
    let (swept, failures) = boxes.sweep(ids.as_ref())?;
    // Looked at while no box is being made: one that comes later has its image in use.
    let mut freed = images.store().gc(&boxes.images()?).map_err(ImageError::from)?;
    freed.leftovers += swept;
    failures.iter().for_each(|error| eprintln!("toolbox: {error}"));
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
