//! The command line: arguments in, words and exit codes out. Everything else is the library's.

mod boot;
mod validate;

use clap::{Parser, Subcommand};
use slipway::image::{self, BuildError, Context, Interrupt};
use slipway::inputs::cache::Cache;
use slipway::progress::Progress;
use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Builds, inspects and boots immutable appliance images
#[derive(Debug, Parser)]
#[command(name = "slipway", version, max_term_width = 100)]
struct Arguments {
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image from a YAML file
    Build {
        /// The spec
        #[arg(default_value = "rootfs/image.yaml")]
        spec: PathBuf,
        /// Where the image and its companions go
        #[arg(long, short, default_value = "out")]
        output: PathBuf,
        /// Print the manifest
        #[arg(long)]
        json: bool,
        /// Never ask the package client
        #[arg(long)]
        offline: bool,
    },
    /// Pin a spec's inputs: write image.lock beside it
    Lock {
        /// The spec
        #[arg(default_value = "rootfs/image.yaml")]
        spec: PathBuf,
    },
    /// Bring a spec's pinned inputs into the cache, so that builds need no network
    Fetch {
        /// The spec
        #[arg(default_value = "rootfs/image.yaml")]
        spec: PathBuf,
    },
    /// Look into an image, without root and without mounting
    Inspect(slipway::inspect::Args),
    /// Judge user-data documents as a machine will
    Validate(validate::Arguments),
    /// Boot an image in QEMU, its console on this terminal
    Boot(boot::Arguments),
}

/// An error for a person: what happened, and what to try.
struct Failure {
    lines: String,
    hints: Vec<String>,
    code: u8,
}

impl Failure {
    fn new(lines: impl Into<String>, hints: &[&str], code: u8) -> Self {
        Self { lines: lines.into(), hints: hints.iter().map(ToString::to_string).collect(), code }
    }

    fn tell(self) -> ExitCode {
        for line in self.lines.lines() {
            eprintln!("error: {line}");
        }
        for hint in self.hints {
            eprintln!("hint: {hint}");
        }
        ExitCode::from(self.code)
    }
}

/// An error with its causes, each told once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let bad_input = matches!(
            error,
            BuildError::Document { .. }
                | BuildError::File { .. }
                | BuildError::NoLock(_)
                | BuildError::Input(_)
        );
        Self::new(chain(&error), &error.hints(), if bad_input { 2 } else { 1 })
    }
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Inspect(more) => return inspect(&more, arguments.quiet),
        Command::Build { spec, output, json, offline } => {
            build(&spec, &output, json, offline, arguments.quiet)
        }
        Command::Lock { spec } => lock(&spec, arguments.quiet),
        Command::Fetch { spec } => fetch(&spec, arguments.quiet),
        Command::Validate(more) => validate::run(&more, arguments.quiet),
        Command::Boot(more) => cache().and_then(|cache| boot::run(&more, &cache, arguments.quiet)),
    };
    done.map_or_else(Failure::tell, |()| ExitCode::SUCCESS)
}

/// Runs `inspect`: its code also says whether images differ or are damaged.
fn inspect(arguments: &slipway::inspect::Args, quiet: bool) -> ExitCode {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let verdict = if quiet && arguments.is_judgement() {
        slipway::inspect::run(arguments, &mut std::io::sink())
    } else {
        slipway::inspect::run(arguments, &mut out)
    };
    let flushed = out.flush();
    match verdict {
        Err(error) => Failure::new(chain(&error), error.hint().as_slice(), 2).tell(),
        Ok(_) if flushed.is_err_and(|error| error.kind() != std::io::ErrorKind::BrokenPipe) => {
            Failure::new("stdout cannot be written", &[], 2).tell()
        }
        Ok(verdict) => ExitCode::from(verdict.exit_code()),
    }
}

fn say(line: &str) {
    eprintln!("{line}");
}

/// `$SLIPWAY_CACHE`, else `slipway` in `$XDG_CACHE_HOME`, else in `~/.cache`.
fn cache_folder() -> Result<PathBuf, Failure> {
    let given = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    given("SLIPWAY_CACHE")
        .or_else(|| Some(given("XDG_CACHE_HOME")?.join("slipway")))
        .or_else(|| Some(given("HOME")?.join(".cache/slipway")))
        .ok_or_else(|| Failure::new("no cache folder: HOME is not set", &["set SLIPWAY_CACHE"], 2))
}

fn cache() -> Result<Cache, Failure> {
    let folder = cache_folder()?;
    Cache::open(&folder).map_err(|error| {
        let hint = "set SLIPWAY_CACHE to a folder that you may write";
        Failure::new(format!("cache {}: {error}", folder.display()), &[hint], 1)
    })
}

/// Gives `work` what a build needs.
fn with_context<T>(
    offline: bool,
    quiet: bool,
    work: impl FnOnce(&Context<'_>) -> Result<T, BuildError>,
) -> Result<T, Failure> {
    let cache = cache()?;
    let interrupt = Interrupt::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let flag = Arc::clone(&interrupt.0);
        signal_hook::flag::register(signal, flag)
            .map_err(|error| Failure::new(format!("signals: {error}"), &[], 1))?;
    }
    let builder =
        env::current_exe().map_err(|error| Failure::new(format!("own program: {error}"), &[], 1))?;
    // `@NAME` in a spec is a program in a folder that the environment names, or beside this one.
    let named = env::var_os("SLIPWAY_PROGRAMS").map(PathBuf::from);
    let programs: Vec<PathBuf> = named.into_iter().chain(builder.parent().map(Path::to_owned)).collect();
    let progress = Progress::detect(quiet, say);
    let context = Context {
        cache: &cache,
        programs: &programs,
        builder: &builder,
        progress: &progress,
        interrupt: &interrupt,
        offline,
    };
    work(&context).map_err(Failure::from)
}

fn build(spec: &Path, output: &Path, json: bool, offline: bool, quiet: bool) -> Result<(), Failure> {
    let built = with_context(offline, quiet, |context| image::build(spec, output, context))?;
    if json {
        print(&format!("{:#}\n", built.manifest))?;
    } else if !quiet {
        let word = if built.unchanged { "unchanged" } else { "built" };
        for file in &built.files {
            print(&format!("{word} {}\n", file.display()))?;
        }
    }
    Ok(())
}

fn lock(spec: &Path, quiet: bool) -> Result<(), Failure> {
    let (file, lock) =
        with_context(false, quiet, |context| image::lock(spec, context.cache, context.progress))?;
    if !quiet {
        for package in &lock.packages {
            print(&format!("{} {}\n", package.name, package.version))?;
        }
        print(&format!("wrote {}\n", file.display()))?;
    }
    Ok(())
}

fn fetch(spec: &Path, quiet: bool) -> Result<(), Failure> {
    let count = with_context(false, quiet, |context| image::fetch(spec, context))?;
    if !quiet {
        print(&format!("{count} packages in the cache\n"))?;
    }
    Ok(())
}

/// Writes data to stdout; a reader that went away is no error.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("stdout: {error}"), &[], 1))
        }
        _ => Ok(()),
    }
}
