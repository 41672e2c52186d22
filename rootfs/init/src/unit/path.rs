//! `[Path]` (systemd.path(5)).

use super::config::{Special, Unit};
use super::directive::Scope;
use super::name::UnitName;
use super::timer::unit_key;
use super::value::{self, Span};
use super::{Fault, Kind};
use std::path::PathBuf;
use std::time::Duration;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the key of the same name")]
pub enum PathKind {
    Exists,
    ExistsGlob,
    Changed,
    Modified,
    DirectoryNotEmpty,
}

/// `[Path]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathConfig {
    /// What is waited for, in order.
    pub specs: Vec<(PathKind, PathBuf)>,
    /// `MakeDirectory=`.
    pub make_directory: bool,
    /// `DirectoryMode=`.
    pub directory_mode: u32,
    /// `Unit=`.
    pub unit: Option<UnitName>,
    /// `TriggerLimitIntervalSec=`; zero turns the limit off.
    pub trigger_interval: Span,
    /// `TriggerLimitBurst=`.
    pub trigger_burst: u32,
}

impl Default for PathConfig {
    fn default() -> Self {
        Self {
            specs: Vec::new(),
            make_directory: false,
            directory_mode: 0o755,
            unit: None,
            trigger_interval: Some(Duration::from_secs(2)),
            trigger_burst: 200,
        }
    }
}

pub(super) fn section(unit: &mut Unit, at: &Scope<'_>) -> Result<(), Fault> {
    let Special::Path(path) = &mut unit.special else { return Err(at.no_section()) };
    let kinds = [
        ("PathExists", PathKind::Exists),
        ("PathExistsGlob", PathKind::ExistsGlob),
        ("PathChanged", PathKind::Changed),
        ("PathModified", PathKind::Modified),
        ("DirectoryNotEmpty", PathKind::DirectoryNotEmpty),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(known, _)| *known == at.key()) {
        if at.text().is_empty() {
            path.specs.clear();
        } else {
            path.specs.push((*kind, at.absolute(at.text())?));
        }
        return Ok(());
    }
    match at.key() {
        "MakeDirectory" => path.make_directory = at.boolean_or(false)?,
        "DirectoryMode" => path.directory_mode = at.want(value::mode(at.text()), "an octal mode")?,
        "Unit" => path.unit = unit_key(at, Kind::Path)?,
        "TriggerLimitIntervalSec" => path.trigger_interval = at.span()?,
        "TriggerLimitBurst" => path.trigger_burst = at.number(0..=u32::MAX)?,
        _ => return Err(at.unknown()),
    }
    Ok(())
}
