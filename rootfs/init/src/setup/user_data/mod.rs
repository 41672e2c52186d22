//! User-data: found once, validated as a whole, kept on STATE, rendered at every boot.
//!
//! It is read from its source until a document has been accepted; that one is kept, and no
//! source is looked at again. A document that is refused changes nothing: nothing of it is
//! applied, and it is not kept, so that the next boot reads its source anew. (One that passes but
//! cannot be rendered is refused in the middle; what it left in /etc is gone with the next boot.)
//! While it is refused, and only then, a recovery key opens the machine for `core`.
//!
//! That the kept document is refused, after an update say, is a failure of the step: a machine
//! without its configuration must not pass for a good one.
//!
//! A source that needs the network is [`UserDataOutcome::Pending`]: the manager starts
//! user-data.target first, whose service fetches the document and calls [`accept`].

mod apply;
mod hostname;
mod imports;
mod label;
mod parameters;
mod smbios;
mod source;

pub use imports::Imports;
pub use parameters::Network;

use super::{SetupError, UnitRequest, UserDataOutcome};
use crate::verdict::{self, Accepted};
use cloudconfig::accounts::Accounts;
use cloudconfig::{Facts, UnitCommand, metadata};
use parameters::Parameters;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The document, once accepted.
const KEPT: &str = "/var/lib/slipway/user-data";
/// Where it came from, for people.
const KEPT_SOURCE: &str = "/var/lib/slipway/user-data.source";
/// The metadata that came with it: the document is judged anew with the same.
const KEPT_METADATA: &str = "/var/lib/slipway/metadata";
/// Where sshd reads a user's keys, a file a user.
const AUTHORIZED_KEYS: &str = "/etc/ssh/authorized_keys.d";
/// Who gets the recovery key, and the keys of `ssh_authorized_keys`.
const CORE: &str = "core";

/// What the step gives to the report.
#[derive(Debug, Default)]
pub struct Rendered {
    /// What became of the document.
    pub outcome: UserDataOutcome,
    /// The host name that was set.
    pub hostname: String,
    /// What the document wants of units.
    pub units: Vec<UnitRequest>,
}

/// A document that was found.
#[derive(Debug)]
pub struct Found {
    /// Its bytes.
    pub document: Vec<u8>,
    /// Where, for people.
    pub source: String,
    /// What the metadata beside it says.
    pub facts: Facts,
}

/// Renders user-data and sets the host name. Of `boot_disk` no partition is a source.
///
/// The host name is set in any case, and [`Rendered`] tells what was done before an error.
pub(super) fn set_up(boot_disk: &Path, log: &mut dyn FnMut(&str)) -> (Rendered, Result<(), SetupError>) {
    let mut rendered = Rendered { hostname: hostname::default(), ..Rendered::default() };
    // Reading them takes time, and a machine with a kept document has no use for them.
    let parameters = if Path::new(KEPT).exists() { None } else { Some(Parameters::read(log)) };
    let result = make_homes(log).and_then(|()| render(boot_disk, parameters.as_ref(), &mut rendered, log));
    if matches!(rendered.outcome, UserDataOutcome::Rejected { .. }) {
        recover(&parameters.unwrap_or_else(|| Parameters::read(log)), log);
    }
    let named = hostname::set(&rendered.hostname);
    (rendered, result.and(named))
}

/// What the machine is told where to fetch a document from, for the service that does so.
pub fn network(log: &mut dyn FnMut(&str)) -> Option<Network> {
    Parameters::read(log).network
}

/// Judges a document that was fetched after the set-up, renders it, sets the host name and keeps
/// it, as the set-up does with one that is at hand.
///
/// # Errors
/// What fails in rendering or keeping; that it is refused is an outcome.
pub fn accept(mut found: Found, log: &mut dyn FnMut(&str)) -> Result<Rendered, SetupError> {
    let parameters = Parameters::read(log);
    let mut rendered = Rendered { hostname: hostname::default(), ..Rendered::default() };
    let mut facts = parameters.facts.clone();
    facts.complete(&found.facts);
    found.facts = facts;
    take(found, &mut rendered, log)?;
    if matches!(rendered.outcome, UserDataOutcome::Rejected { .. }) {
        recover(&parameters, log);
    } else {
        hostname::set(&rendered.hostname)?;
    }
    Ok(rendered)
}

fn render(
    boot_disk: &Path,
    parameters: Option<&Parameters>,
    rendered: &mut Rendered,
    log: &mut dyn FnMut(&str),
) -> Result<(), SetupError> {
    let kept = Path::new(KEPT);
    match fs::read(kept) {
        Ok(bytes) => {
            let source = fs::read_to_string(KEPT_SOURCE).unwrap_or_default().trim_end().to_owned();
            let facts = match fs::read(KEPT_METADATA) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Facts::default(),
                other => metadata::read(&SetupError::reading(Path::new(KEPT_METADATA), other)?)
                    .map_err(|error| SetupError::KeptUserData(error.to_string()))?,
            };
            let accepted = match judge(&bytes, &facts)? {
                Ok(accepted) => accepted,
                Err(errors) => {
                    let refused = SetupError::KeptUserData(errors.join("; "));
                    rendered.outcome = reject(source, errors, log);
                    return Err(refused);
                }
            };
            apply_all(accepted, false, rendered)?;
            rendered.outcome = UserDataOutcome::Applied { source, first_boot: false };
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parameters) = parameters else { return Ok(()) };
            if let Some(found) = source::find(boot_disk, parameters, log) {
                return take(found, rendered, log);
            }
            if let Some(network) = &parameters.network {
                rendered.outcome = UserDataOutcome::Pending { url: network.to_string() };
            }
            Ok(())
        }
        Err(cause) => Err(SetupError::File { verb: "read", path: kept.to_owned(), cause }),
    }
}

/// Judges a new document, renders it and keeps it.
fn take(found: Found, rendered: &mut Rendered, log: &mut dyn FnMut(&str)) -> Result<(), SetupError> {
    let Found { document, source, facts } = found;
    let accepted = match judge(&document, &facts)? {
        Ok(accepted) => accepted,
        Err(errors) => {
            rendered.outcome = reject(source, errors, log);
            return Ok(());
        }
    };
    for warning in &accepted.plan.warnings {
        log(&format!("user-data: warning: {warning}"));
    }
    // It may ask for what is well formed but cannot be, such as a file below a file.
    if let Err(error) = apply_all(accepted, true, rendered) {
        rendered.units = Vec::new();
        rendered.outcome = reject(source, vec![error.to_string()], log);
        return Ok(());
    }
    // Kept last: a power cut before this only makes the next boot the first one.
    let keep = |path: &str, bytes: &[u8]| {
        let path = Path::new(path);
        SetupError::writing(path, super::etc::replace(path, bytes, 0o600))
    };
    keep(KEPT_SOURCE, format!("{source}\n").as_bytes())?;
    keep(KEPT_METADATA, metadata::write(&facts).as_bytes())?;
    keep(KEPT, &document)?;
    log(&format!("user-data: {} bytes from {source}", document.len()));
    rendered.outcome = UserDataOutcome::Applied { source, first_boot: true };
    Ok(())
}

/// The image's tables of accounts: passwd, group, shadow.
fn account_texts() -> Result<[String; 3], SetupError> {
    let mut texts = [const { String::new() }; 3];
    for (text, name) in texts.iter_mut().zip(["passwd", "group", "shadow"]) {
        let path = Path::new("/etc").join(name);
        *text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => SetupError::reading(&path, other)?,
        };
    }
    Ok(texts)
}

/// The document's plan, or everything that is wrong with it on this machine.
fn judge(document: &[u8], facts: &Facts) -> Result<Result<Accepted, Vec<String>>, SetupError> {
    let [passwd, group, shadow] = account_texts()?;
    let has_program = |path: &str| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let image = verdict::Image { passwd: &passwd, group: &group, shadow: &shadow, has_program: &has_program };
    let verdict = verdict::judge(document, facts, &image);
    Ok(verdict.map_err(|problems| problems.iter().map(ToString::to_string).collect()))
}

fn reject(source: String, errors: Vec<String>, log: &mut dyn FnMut(&str)) -> UserDataOutcome {
    log(&format!("user-data: REFUSED: {source}"));
    for error in &errors {
        log(&format!("user-data: {error}"));
    }
    UserDataOutcome::Rejected { source, errors }
}

/// Lets the holder of the recovery key in, when one was given.
fn recover(parameters: &Parameters, log: &mut dyn FnMut(&str)) {
    let Some(key) = &parameters.recovery_key else { return };
    let done = match cloudconfig::keys::fault(key) {
        Some(fault) => Err(fault),
        None => apply::write_keys(Path::new("/"), CORE, std::slice::from_ref(key))
            .map_err(|error| error.to_string()),
    };
    log(&match done {
        Ok(()) => format!("user-data: the recovery key opens this machine for {CORE}"),
        Err(error) => format!("user-data: the recovery key is of no use: {error}"),
    });
}

/// Makes the homes of the image's users. One that cannot be made is said, and no more: it is
/// missed by one user.
fn make_homes(log: &mut dyn FnMut(&str)) -> Result<(), SetupError> {
    let [passwd, group, shadow] = account_texts()?;
    for home in Accounts::read(&passwd, &group, &shadow).homes() {
        if let Err(error) = apply::make_home(Path::new("/"), &home) {
            log(&format!("home: {error}"));
        }
    }
    Ok(())
}

fn apply_all(accepted: Accepted, first_boot: bool, rendered: &mut Rendered) -> Result<(), SetupError> {
    let root = Path::new("/");
    let Accepted { plan, accounts, homes } = accepted;
    if !plan.users.is_empty() {
        apply::write_accounts(root, &accounts)?;
        homes.iter().try_for_each(|home| apply::make_home(root, home))?;
        apply::write_all_keys(root, &plan.users)?;
        Imports::at(root).install(&plan.users)?;
    }
    if let Some(hostname) = plan.hostname {
        rendered.hostname = hostname;
    }
    if plan.manage_etc_hosts {
        let path = Path::new("/etc/hosts");
        let text = cloudconfig::hosts(&rendered.hostname);
        SetupError::writing(path, super::etc::replace(path, text.as_bytes(), 0o644))?;
    }
    plan.generated.iter().try_for_each(|file| apply::write_generated(root, file))?;
    for file in plan.files.iter().filter(|file| first_boot || file.is_volatile()) {
        apply::write_file(root, file, &accounts)?;
    }
    plan.units.iter().try_for_each(|unit| apply::write_unit(root, unit))?;
    plan.scripts.iter().try_for_each(|script| apply::write_script(root, script))?;
    let asked = plan.units.into_iter().filter(|unit| unit.enable || unit.command.is_some());
    rendered.units = asked
        .map(|unit| UnitRequest {
            name: unit.name,
            enable: unit.enable,
            runtime: unit.runtime,
            command: unit.command,
        })
        .chain(plan.scripts.iter().map(|script| UnitRequest {
            name: script.unit_name(),
            enable: false,
            runtime: true,
            command: Some(UnitCommand::Start),
        }))
        .collect();
    Ok(())
}
