//! `kv`: a member of the store.

use std::process::ExitCode;
use std::sync::Arc;

use kv::error::Error;
use kv::flags::{self, Wanted};
use kv::member::{API_VERSION, chain};
use kv::restore;
use kv::server::Server;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if let Some(("snapshot", words)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return snapshot(words);
    }
    let flags = match flags::parse(words, std::env::vars()) {
        Ok(Wanted::Serve(flags)) => flags,
        Ok(Wanted::Version) => {
            println!("kv {} (etcd API {API_VERSION})", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Ok(Wanted::Help) => {
            print!("{}", flags::help());
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("error: {wrong}");
            return ExitCode::from(2);
        }
    };
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// `kv snapshot restore`, while no member runs on the data directory.
fn snapshot(words: &[String]) -> ExitCode {
    let restore = match restore::parse(words) {
        Ok(restore) => restore,
        Err(wrong) => {
            eprintln!(
                "error: {wrong}\nhint: kv snapshot restore FILE --data-dir DIR [--name NAME] [--initial-cluster NAME=URL] [--initial-cluster-token TOKEN] [--initial-advertise-peer-urls URL] [--skip-hash-check] [--bump-revision NUMBER --mark-compacted]"
            );
            return ExitCode::from(2);
        }
    };
    match restore.run() {
        Ok(restored) => {
            println!("restored {} keys at revision {}", restored.keys, restored.revision);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &flags::Flags) -> Result<(), Arc<Error>> {
    let failed = |doing: &str| {
        let doing = doing.to_owned();
        move |source| Arc::new(Error::Io { doing, source })
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(failed("start threads"))?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate()).map_err(failed("wait for SIGTERM"))?;
        let mut int = signal(SignalKind::interrupt()).map_err(failed("wait for SIGINT"))?;
        let server = Server::open(flags).await.map_err(Arc::new)?;
        for endpoint in server.client_endpoints() {
            eprintln!("kv: serving clients on {endpoint}");
        }
        for endpoint in server.page_endpoints() {
            eprintln!("kv: serving metrics on {endpoint}");
        }
        let stop = async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        server.serve(stop).await
    })
}
