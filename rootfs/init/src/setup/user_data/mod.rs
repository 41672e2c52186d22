//! User-data: found once, validated as a whole, kept on STATE, rendered at every boot.
//!
//! It is read from its source until a document has been accepted; that one is kept, and no
//! source is looked at again. A document that is refused changes nothing: nothing of it is
//! applied, and it is not kept, so that the next boot reads its source anew. (One that passes but
//! cannot be rendered is refused in the middle; what it left in /etc is gone with the next boot.)
//!
//! That the kept document is refused, after an update say, is a failure of the step: a machine
//! without its configuration must not pass for a good one.

mod apply;
mod hostname;
mod label;
mod smbios;
mod source;

use super::{SetupError, UnitRequest, UserDataOutcome};
use cloudconfig::Plan;
use std::fs;
use std::io;
use std::path::Path;

/// The document, once accepted.
const KEPT: &str = "/var/lib/slipway/user-data";
/// Where it came from, for people.
const KEPT_SOURCE: &str = "/var/lib/slipway/user-data.source";
/// Users and groups that a document may name.
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// What the step gives to the report.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    pub(super) outcome: UserDataOutcome,
    pub(super) hostname: String,
    pub(super) units: Vec<UnitRequest>,
}

/// Renders user-data and sets the host name. Of `boot_disk` no partition is a source.
///
/// The host name is set in any case, and [`Rendered`] tells what was done before an error.
pub(super) fn set_up(boot_disk: &Path, log: &mut dyn FnMut(&str)) -> (Rendered, Result<(), SetupError>) {
    let mut rendered = Rendered { hostname: hostname::default(), ..Rendered::default() };
    let result = render(boot_disk, &mut rendered, log);
    let named = hostname::set(&rendered.hostname);
    (rendered, result.and(named))
}

fn render(boot_disk: &Path, rendered: &mut Rendered, log: &mut dyn FnMut(&str)) -> Result<(), SetupError> {
    let accounts = apply::Accounts::read(Path::new(PASSWD), Path::new(GROUP))?;
    let kept = Path::new(KEPT);
    match fs::read(kept) {
        Ok(bytes) => {
            let source = fs::read_to_string(KEPT_SOURCE).unwrap_or_default().trim_end().to_owned();
            let plan = match judge(&bytes, &accounts) {
                Ok(plan) => plan,
                Err(errors) => {
                    let refused = SetupError::KeptUserData(errors.join("; "));
                    rendered.outcome = reject(source, errors, log);
                    return Err(refused);
                }
            };
            apply_plan(plan, &accounts, false, rendered)?;
            rendered.outcome = UserDataOutcome::Applied { source, first_boot: false };
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(found) = source::find(boot_disk, log) else { return Ok(()) };
            let plan = match judge(&found.document, &accounts) {
                Ok(plan) => plan,
                Err(errors) => {
                    rendered.outcome = reject(found.source, errors, log);
                    return Ok(());
                }
            };
            // It may ask for what is well formed but cannot be, such as a file below a file.
            if let Err(error) = apply_plan(plan, &accounts, true, rendered) {
                rendered.outcome = reject(found.source, vec![error.to_string()], log);
                return Ok(());
            }
            // Kept last: a power cut before this only makes the next boot the first one.
            let keep = |path: &Path, bytes: &[u8]| {
                SetupError::writing(path, super::etc::replace(path, bytes, 0o600))
            };
            keep(Path::new(KEPT_SOURCE), format!("{}\n", found.source).as_bytes())?;
            keep(kept, &found.document)?;
            log(&format!("user-data: {} bytes from {}", found.document.len(), found.source));
            rendered.outcome = UserDataOutcome::Applied { source: found.source, first_boot: true };
        }
        Err(cause) => return Err(SetupError::File { verb: "read", path: kept.to_owned(), cause }),
    }
    Ok(())
}

/// The document's plan, or everything that is wrong with it on this machine.
fn judge(document: &[u8], accounts: &apply::Accounts) -> Result<Plan, Vec<String>> {
    let plan = cloudconfig::parse(document)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let unknown = accounts.unknown(&plan);
    if unknown.is_empty() { Ok(plan) } else { Err(unknown) }
}

fn reject(source: String, errors: Vec<String>, log: &mut dyn FnMut(&str)) -> UserDataOutcome {
    log(&format!("user-data: REFUSED: {source}"));
    for error in &errors {
        log(&format!("user-data: {error}"));
    }
    UserDataOutcome::Rejected { source, errors }
}

fn apply_plan(
    plan: Plan,
    accounts: &apply::Accounts,
    first_boot: bool,
    rendered: &mut Rendered,
) -> Result<(), SetupError> {
    for file in plan.files.iter().filter(|file| first_boot || file.is_volatile()) {
        apply::write_file(Path::new("/"), file, accounts)?;
    }
    for unit in &plan.units {
        apply::write_unit(Path::new("/"), unit)?;
    }
    rendered.units = plan
        .units
        .into_iter()
        .filter(|unit| unit.enable || unit.command.is_some())
        .map(|unit| UnitRequest {
            name: unit.name,
            enable: unit.enable,
            runtime: unit.runtime,
            command: unit.command,
        })
        .collect();
    if let Some(hostname) = plan.hostname {
        rendered.hostname = hostname;
    }
    Ok(())
}
