//! What the set-up did: plain data for the status table and the manager's decisions.

use super::SetupError;
use crate::bless::EntryName;
use crate::stage1;
use cloudconfig::UnitCommand;
use std::fmt;

/// A step of the set-up, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepName {
    /// proc, sys, devtmpfs, devpts, shm, /tmp, /run, cgroup v2, efivarfs.
    ApiFileSystems,
    /// Hardware watchdog, else softdog.
    Watchdog,
    /// Which boot entry this is, and whether the machine is in recovery.
    BootEntry,
    /// STATE found, formatted or grown where needed, checked and mounted at /var.
    State,
    /// The writable /etc with the slot's defaults, machine-id.
    Etc,
    /// User-data found, validated, kept and rendered; hostname.
    UserData,
}

impl fmt::Display for StepName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ApiFileSystems => "API file systems",
            Self::Watchdog => "watchdog",
            Self::BootEntry => "boot entry",
            Self::State => "STATE",
            Self::Etc => "/etc",
            Self::UserData => "user-data",
        })
    }
}

/// One step that was taken.
#[derive(Debug)]
pub struct Step {
    /// Which.
    pub name: StepName,
    /// Milliseconds it took.
    pub took_ms: u64,
    /// Why it failed.
    pub error: Option<SetupError>,
}

/// What was done to STATE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StateOutcome {
    /// There is none: the step failed.
    #[default]
    Missing,
    /// Formatted: this is the first boot, or an interrupted first boot begun anew.
    Formatted,
    /// Kept from an earlier boot.
    Kept,
    /// Kept, and grown because the disk is larger than it was.
    Grown,
    /// Kept, after its superblock was restored from a backup.
    Repaired,
}

/// What became of the user-data document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UserDataOutcome {
    /// No source has any.
    #[default]
    None,
    /// Rendered. It is the copy on STATE unless `first_boot`.
    Applied {
        /// Where it was read, at first boot or now (`NoCloud disk /dev/vdb`).
        source: String,
        /// Whether it was read from its source in this boot.
        first_boot: bool,
    },
    /// To be fetched: the manager starts user-data.target first.
    Pending {
        /// From where.
        url: String,
    },
    /// Refused as a whole: nothing of it was applied or kept.
    Rejected {
        /// Where it was read.
        source: String,
        /// Every fault, with line and column.
        errors: Vec<String>,
    },
}

impl fmt::Display for UserDataOutcome {
    /// As the status table has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Applied { source, first_boot: true } => write!(f, "applied, from {source}"),
            Self::Applied { .. } => f.write_str("applied, kept from an earlier boot"),
            Self::Pending { url } => write!(f, "to be fetched from {url}"),
            Self::Rejected { source, errors } => {
                let first = errors.first().map_or("", String::as_str);
                write!(f, "REFUSED, from {source}: {first} ({} errors)", errors.len())
            }
        }
    }
}

/// What user-data wants the manager to do with a unit once units are loaded. The unit's files
/// (content, drop-ins, mask) are in place already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRequest {
    /// Unit name (`hello.service`).
    pub name: String,
    /// Enable it as its `[Install]` section says.
    pub enable: bool,
    /// Enable it in /run, not /etc.
    pub runtime: bool,
    /// Job to enqueue at boot.
    pub command: Option<UnitCommand>,
}

/// What the set-up did.
#[derive(Debug, Default)]
pub struct SetupReport {
    /// The steps taken. It ends early when a step failed that the next ones need.
    pub steps: Vec<Step>,
    /// What stage 1 found.
    pub stage1: stage1::Report,
    /// Host name.
    pub hostname: String,
    /// /etc/machine-id, 32 hexadecimal digits; empty when that step was not reached.
    pub machine_id: String,
    /// Whether STATE was formatted in this boot.
    pub first_boot: bool,
    /// STATE.
    pub state: StateOutcome,
    /// User-data.
    pub user_data: UserDataOutcome,
    /// Units that user-data wants enabled or started, in its order.
    pub units: Vec<UnitRequest>,
    /// The boot entry and its counter; `None` after a direct kernel boot.
    pub boot_entry: Option<EntryName>,
    /// Every boot entry is out of tries: stay up in recovery.target and say why.
    pub recovery: bool,
}

impl SetupReport {
    /// The first failure: no unit may be started after it. The machine must reboot, or, in
    /// recovery, stay up without them. New user-data that is refused is none.
    pub fn fatal(&self) -> Option<(StepName, &SetupError)> {
        self.steps.iter().find_map(|step| Some((step.name, step.error.as_ref()?)))
    }
}
