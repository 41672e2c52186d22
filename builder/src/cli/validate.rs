//! `slipway validate`.

use super::{Failure, chain, print};
use cloudconfig::{Facts, metadata};
use slipway::inspect::OpenImage;
use slipway::user_data::{self, Target};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The documents
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The image whose users, groups and programs count [default: those of the default image]
    #[arg(long)]
    image: Option<PathBuf>,
    /// An address of the machine, such as `private_ipv4=10.0.0.1`
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = assignment)]
    set: Vec<String>,
    /// The metadata beside the documents (`meta_data.json` or `meta-data`)
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
}

fn assignment(text: &str) -> Result<String, String> {
    let known = Facts::default().read_assignment(text);
    known.map(|()| text.to_owned()).ok_or_else(|| {
        format!("`{text}` is not NAME=ADDRESS; names: private_ipv4, public_ipv4, private_ipv6, public_ipv6")
    })
}

pub(super) fn run(arguments: &Arguments, quiet: bool) -> Result<(), Failure> {
    let mut facts = Facts::default();
    for text in &arguments.set {
        facts.read_assignment(text);
    }
    if let Some(path) = &arguments.metadata {
        let bad = |error: String| Failure::new(format!("{}: {error}", path.display()), &[], 2);
        let bytes = user_data::read(path).map_err(|error| bad(error.to_string()))?;
        facts.complete(&metadata::read(&bytes).map_err(|error| bad(error.to_string()))?);
    }
    let target = match &arguments.image {
        None => Target::default_image(),
        Some(path) => {
            let opened = OpenImage::open(path).and_then(|image| Target::image(&image));
            opened.map_err(|error| Failure::new(chain(&error), error.hint().as_slice(), 2))?
        }
    };
    let mut errors = Vec::new();
    for path in &arguments.files {
        let shown = path.display();
        let bytes = match user_data::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                errors.push(format!("{shown}: {error}"));
                continue;
            }
        };
        match target.judge(&bytes, &facts) {
            Ok(plan) => {
                for warning in &plan.warnings {
                    eprintln!("warning: {shown}:{warning}");
                }
                if !quiet {
                    print(&format!("accepted {shown}\n"))?;
                }
            }
            Err(problems) => errors.extend(problems.iter().map(|problem| format!("{shown}:{problem}"))),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::new(errors.join("\n"), &[], 2)) }
}
