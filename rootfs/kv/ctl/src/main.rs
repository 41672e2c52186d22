//! `kvctl`: the store's command-line client.

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outputs = kvctl::Outputs { out: Box::new(std::io::stdout()), err: Box::new(std::io::stderr()) };
    let code = runtime.block_on(kvctl::run(std::env::args_os(), std::env::vars_os(), outputs));
    // A thread that reads standard input must not hold the end up.
    runtime.shutdown_background();
    ExitCode::from(code)
}
