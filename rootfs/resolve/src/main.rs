//! The service and its command by themselves, for tests: `resolve resolved`, `resolve resolvectl …`.
//! On the appliance both are applets of `host`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((name, rest)) if name == "resolved" => resolve::daemon::main(rest).into(),
        Some((name, rest)) if name == "resolvectl" => resolve::resolvectl::main(rest).into(),
        _ => {
            eprintln!("error: resolve is called as `resolve resolved` or `resolve resolvectl …`");
            2.into()
        }
    }
}
