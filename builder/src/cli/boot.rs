//! `slipway boot`.

use super::Failure;
use clap::ValueEnum;
use slipway::boot::{self, BootError, Outcome, Request};
use slipway::inputs::cache::Cache;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Arguments {
    /// The image, raw or qcow2
    image: PathBuf,
    /// A user-data document for the machine
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Memory in MiB
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(96..))]
    memory: u32,
    /// Processors
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    cpus: u32,
    /// Forward a TCP port of this host's loopback address to the machine
    #[arg(long, value_name = "HOST:GUEST", value_parser = forward)]
    forward: Vec<(u16, u16)>,
    /// Keep what the machine writes to its disk [default: the image file is not changed]
    #[arg(long, overrides_with = "snapshot")]
    keep: bool,
    /// Do not change the image file (the default)
    #[arg(long, overrides_with = "keep")]
    snapshot: bool,
    /// Start the kernel itself, without firmware and boot loader
    #[arg(long)]
    direct: bool,
    /// How instructions are run; auto proves KVM by a short start
    #[arg(long, value_enum, default_value = "auto")]
    accel: AccelChoice,
    /// End with success once the machine is ready; with --keep once it is blessed and shut down
    #[arg(long)]
    until_ready: bool,
    /// Seconds that the machine may take until it is ready; 0: as long as it wants
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AccelChoice {
    Auto,
    Kvm,
    Tcg,
}

fn forward(text: &str) -> Result<(u16, u16), String> {
    let ports =
        text.split_once(':').and_then(|(host, guest)| Some((host.parse().ok()?, guest.parse().ok()?)));
    ports
        .filter(|(host, guest)| *host != 0 && *guest != 0)
        .ok_or_else(|| format!("`{text}` is not HOST:GUEST, such as 2222:22"))
}

pub(super) fn run(arguments: &Arguments, cache: &Cache, quiet: bool) -> Result<(), Failure> {
    let request = Request {
        image: arguments.image.clone(),
        user_data: arguments.user_data.clone(),
        memory_mib: arguments.memory,
        cpus: arguments.cpus,
        forwards: arguments.forward.clone(),
        snapshot: !arguments.keep,
        direct: arguments.direct,
        accel: match arguments.accel {
            AccelChoice::Auto => None,
            AccelChoice::Kvm => Some(slipway::machine::Accel::Kvm),
            AccelChoice::Tcg => Some(slipway::machine::Accel::Tcg),
        },
    };
    let failed = |error: BootError| {
        let code = if error.is_bad_input() { 2 } else { 1 };
        Failure::new(error.to_string(), error.hint().as_slice(), code)
    };
    let prepared = boot::prepare(&request, cache).map_err(failed)?;
    let interactive = std::io::stdin().is_terminal();
    if !quiet {
        let how_to_end = if interactive { "; Ctrl-A X ends it" } else { "" };
        eprintln!("booting {} with {}{how_to_end}", arguments.image.display(), prepared.describe());
    }
    let timeout = (arguments.timeout > 0).then(|| Duration::from_secs(arguments.timeout));
    let outcome =
        boot::run(&prepared, Box::new(std::io::stdout()), interactive, arguments.until_ready, timeout)
            .map_err(failed)?;
    match outcome {
        Outcome::Ready | Outcome::ShutDown => Ok(()),
        Outcome::Stopped { error, tail } => {
            let mut lines = vec![error];
            lines.extend(tail.into_iter().map(|line| format!("  console: {line}")));
            Err(Failure::new(lines.join("\n"), &[], 1))
        }
    }
}
