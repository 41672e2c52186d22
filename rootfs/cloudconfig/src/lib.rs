//! The user-data document: parsed and validated as a whole.
//!
//! [`parse`] takes a document's bytes to a [`Plan`] or to *all* that is wrong with it, each with
//! line and column. Nothing here touches the machine, so that the verdict on a laptop is the one
//! at boot; the plan is carried out by crate `init`.
//!
//! Start with [`envelope`], which finds the documents in the bytes (gzip, base64, MIME parts,
//! scripts), then `document`, which reads the keys of one `#cloud-config`. Keys are
//! coreos-cloudinit's, `-` and `_` are the same in them, and a key that nobody knows is an error:
//! what a document asks for is done or refused, never ignored.

pub mod accounts;
mod daemon;
mod document_keys;
mod encoding;
pub mod envelope;
mod facts;
mod file;
mod generated;
mod hostname;
pub mod import;
pub mod keys;
pub mod metadata;
pub mod mime;
mod script;
mod substitute;
mod text_place;
mod unit;
mod user;

pub use document::{Place, Problem};
pub use facts::{Facts, Variable};
pub use file::{Account, File, Owner};
pub use generated::{Content, Generated, hosts};
pub use script::Script;
pub use unit::{DropIn, Unit, UnitCommand};
pub use user::User;

use document::Problems;
use envelope::{Kind, Part};

/// Longest document in bytes, packed or not. Those that come through `fw_cfg` are best far
/// below: the kernel reads them in quadratic time.
pub const SIZE_MAX: usize = 1 << 20;

/// What a document asks for, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// `hostname`
    pub hostname: Option<String>,
    /// `manage_etc_hosts: localhost`
    pub manage_etc_hosts: bool,
    /// `users`, and `core` when `ssh_authorized_keys` names keys for it.
    pub users: Vec<User>,
    /// `write_files`
    pub files: Vec<File>,
    /// Files that follow from other keys: environments of daemons, `/etc/coreos/update.conf`.
    pub generated: Vec<Generated>,
    /// `units` and `coreos.units`
    pub units: Vec<Unit>,
    /// `#!` documents
    pub scripts: Vec<Script>,
    /// What is suspicious, but no reason to refuse.
    pub warnings: Vec<Problem>,
}

/// Whether a text can be a host name (RFC 1123, section 2.1).
pub fn is_hostname(text: &str) -> bool {
    hostname::fault(text).is_none()
}

/// What is wrong in the text of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFault {
    /// Line of that text, from 1.
    pub line: usize,
    /// What, as a lower-case fragment.
    pub message: String,
    /// Whether the document is refused for it.
    pub fatal: bool,
}

/// Judges the text of a unit file or drop-in of the unit with this name.
pub type CheckUnit<'a> = &'a dyn Fn(&str, &str) -> Vec<UnitFault>;

/// What a document is judged with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What `$private_ipv4` and the like stand for.
    pub facts: &'a Facts,
    /// Judges units.
    pub check_unit: CheckUnit<'a>,
}

/// Parses and validates a document.
///
/// # Errors
/// Everything that is wrong with it, in the order of the document; never empty.
pub fn parse(bytes: &[u8], context: &Context<'_>) -> Result<Plan, Vec<Problem>> {
    let parts = envelope::open(bytes).map_err(|problem| vec![problem])?;
    let mut plan = Plan::default();
    let mut found = Vec::new();
    for part in &parts {
        let problems = Problems::default();
        let counts = [plan.warnings.len(), plan.users.len(), plan.files.len(), plan.scripts.len()];
        read(part, &mut plan, context, &problems);
        found.extend(problems.into_sorted().into_iter().map(|problem| part.locate(problem)));
        relocate(part, &mut plan, counts);
    }
    if found.is_empty() {
        generated::finish(&mut plan, context.facts);
        Ok(plan)
    } else {
        Err(found)
    }
}

/// Gives what was read from a part, that is all above these counts, its places in the whole.
fn relocate(part: &Part, plan: &mut Plan, [warnings, users, files, scripts]: [usize; 4]) {
    for warning in &mut plan.warnings[warnings..] {
        *warning = part.locate(warning.clone());
    }
    let new_users = plan.users[users..].iter_mut().map(|user| &mut user.place);
    let owners = plan.files[files..].iter_mut().filter_map(|file| file.owner.as_mut());
    let new_scripts = plan.scripts[scripts..].iter_mut().map(|script| &mut script.place);
    for place in new_users.chain(owners.map(|owner| &mut owner.place)).chain(new_scripts) {
        *place = part.locate(Problem { place: *place, message: String::new() }).place;
    }
}

fn read(part: &Part, plan: &mut Plan, context: &Context<'_>, problems: &Problems) {
    match part.kind {
        Kind::CloudConfig => document_keys::read(&part.text, plan, context, problems),
        Kind::Script => script::read(&part.text, plan, problems),
    }
}
