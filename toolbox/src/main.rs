//! The `toolbox` command.

use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use toolbox::options::{Cli, Verb};
use toolbox::run::code;
use toolbox::{facts, plan, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (options, command) = match cli.verb {
        None => (cli.options, Vec::new()),
        Some(Verb::Run { options, command }) => (*options, command),
    };
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let facts = facts::gather(std::env::vars().collect(), terminal);
    let fail = |code: u8, text: &dyn std::fmt::Display| {
        eprintln!("toolbox: error: {text}");
        ExitCode::from(code)
    };
    let Some(source) = &options.from else {
        return fail(
            code::FAILED,
            &"no image is named, and there is no default yet\nhint: toolbox --from FOLDER, or --from host",
        );
    };
    let image = match facts::image(source) {
        Ok(image) => image,
        Err(text) => return fail(code::FAILED, &text),
    };
    let plan = match plan::decide(&options, &command, &facts, &image) {
        Ok(plan) => plan,
        Err(refusal) => return fail(code::FAILED, &refusal),
    };
    if options.explain {
        match if options.json { plan::json(&plan) } else { Ok(plan::explain(&plan)) } {
            Ok(text) => println!("{}", text.trim_end()),
            Err(error) => return fail(code::FAILED, &error),
        }
        return ExitCode::SUCCESS;
    }
    if plan.terminal {
        plan.notes.iter().for_each(|note| eprintln!("toolbox: note: {note}"));
    }
    match run::run(&plan) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(error.code(), &error),
    }
}
