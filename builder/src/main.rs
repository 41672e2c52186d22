//! The `slipway` command. Exit codes: 0 done, 1 the operation failed (`inspect diff`: the images
//! differ), 2 usage or bad input.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
