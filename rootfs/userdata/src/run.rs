//! The service: fetch, render, and on to the default target.

use crate::client::Web;
use crate::fetch::{Patience, fetch};
use crate::tell::{say, tell};
use init::control::{Request, Response, Row, SOCKET, Verb, client};
use init::manager::boot;
use init::setup::{self, UserDataOutcome};
use std::path::Path;

/// Fetches user-data, has it rendered, and starts the default target; waits until that is
/// reached. Gives 0 when it is, whatever became of the document.
pub fn main(arguments: &[String]) -> u8 {
    if let Some(argument) = arguments.first() {
        say(&format!("error: `{argument}` is not supported: there are no options"));
        return 2;
    }
    let mut log = |line: &str| say(line);
    let wishes = render(&mut log);
    match go_on(&wishes) {
        Ok(()) => 0,
        Err(error) => {
            say(&format!("error: {error}"));
            1
        }
    }
}

/// What the document wants of units.
type Wishes = Vec<(String, Verb)>;

/// Fetches and renders; none on failure, which is said.
fn render(log: &mut dyn FnMut(&str)) -> Wishes {
    let Some(network) = setup::network(log) else {
        log("user-data: nothing says where it is to be fetched from");
        return Vec::new();
    };
    let source = network.to_string();
    let found = match fetch(&Web::default(), &network, Patience::usual(), log) {
        Ok(found) => found,
        Err(error) => {
            log(&format!("user-data: not fetched: {error}"));
            tell(Row::UserData, &format!("NOT FETCHED: {error}"));
            return Vec::new();
        }
    };
    let found = setup::Found { document: found.document, source, facts: found.facts };
    let accepted = setup::accept(found, log);
    match &accepted {
        Ok(rendered) => tell(Row::UserData, &rendered.outcome.to_string()),
        Err(error) => tell(Row::UserData, &format!("NOT APPLIED: {error}")),
    }
    match accepted {
        Ok(rendered) if matches!(rendered.outcome, UserDataOutcome::Applied { .. }) => {
            let wishes = boot::wishes(&rendered.units, log);
            wishes.into_iter().map(|(name, verb)| (name.as_str().to_owned(), verb)).collect()
        }
        // Refused: said already.
        Ok(_) => Vec::new(),
        Err(error) => {
            log(&format!("user-data: {error}"));
            Vec::new()
        }
    }
}

/// Has PID 1 read the units anew and start what the machine is for.
fn go_on(wishes: &Wishes) -> Result<(), String> {
    let ask = |request: &Request| match client::ask(Path::new(SOCKET), request) {
        Ok(Response::Refused(why)) => Err(why),
        Ok(answer) => Ok(answer),
        Err(error) => Err(error.to_string()),
    };
    let jobs = |verb, unit: &str, no_block| Request::Jobs { verb, units: vec![unit.to_owned()], no_block };
    ask(&Request::Reload)?;
    let target = boot::default_target();
    ask(&jobs(Verb::Start, &target, true))?;
    for (unit, verb) in wishes {
        if let Err(why) = ask(&jobs(*verb, unit, true)) {
            say(&format!("user-data: {verb:?} of {unit}: {why}"));
        }
    }
    match ask(&jobs(Verb::Start, &target, false))? {
        Response::Jobs(failed) if !failed.is_empty() => {
            let failed: Vec<String> =
                failed.into_iter().map(|(unit, result)| format!("{unit} ({result})")).collect();
            Err(format!("not started: {}", failed.join(", ")))
        }
        _ => Ok(()),
    }
}
