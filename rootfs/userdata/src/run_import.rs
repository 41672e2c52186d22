//! The service that imports keys.

use crate::client::Web;
use crate::import::{self, GITHUB, Shell, State};
use crate::tell::{say, tell};
use init::control::Row;
use init::setup::Imports;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// `import-ssh-keys [--github-api=URL]`: another base URL than GitHub's serves a proxy, or a test.
///
/// Gives 0 when every source has given its keys, 1 when one has refused.
pub fn main(arguments: &[String]) -> u8 {
    let mut github = GITHUB;
    for argument in arguments {
        match argument.strip_prefix("--github-api=") {
            Some(url) if url.starts_with("https://") || url.starts_with("http://") => github = url,
            _ => {
                say(&format!(
                    "error: `{argument}` is not supported\nhint: import-ssh-keys [--github-api=URL]"
                ));
                return 2;
            }
        }
    }
    let imports = Imports::at(Path::new("/"));
    match import::import(&Web::default(), &imports, github, &mut Machine) {
        Ok(jobs) => u8::from(jobs.iter().any(|job| matches!(job.state, State::Failed(_)))),
        Err(error) => {
            say(&format!("error: {error}"));
            tell(Row::SshKeys, &format!("FAILED: {error}"));
            1
        }
    }
}

struct Machine;

impl Shell for Machine {
    fn log(&mut self, line: &str) {
        say(line);
    }

    fn show(&mut self, row: &str) {
        tell(Row::SshKeys, row);
    }

    fn pause(&mut self, pause: Duration) {
        thread::sleep(pause);
    }
}
