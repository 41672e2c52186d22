//! What `systemctl` and PID 1 say to each other: one JSON object a line over a UNIX socket.
//!
//! The socket is root's and the group wheel's. [`client`] is the near end; the far end is in [`crate::manager`].

pub mod analyze;
mod call;
pub mod client;
mod listing;
mod settings;
mod status;
pub mod systemctl;
mod usage;
mod waiting;

use crate::setup::End;
use serde::{Deserialize, Serialize};

/// Where PID 1 listens.
pub const SOCKET: &str = "/run/systemd/private";

/// A wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Jobs on units; answered when all are over, or at once.
    Jobs {
        /// What to do.
        verb: Verb,
        /// The units, as typed.
        units: Vec<String>,
        /// Answer without waiting for the jobs.
        no_block: bool,
    },
    /// Every unit in memory.
    List,
    /// One unit, loaded if need be.
    Show(String),
    /// Read all unit files again.
    Reload,
    /// Send a signal to the processes of a unit.
    Kill {
        /// The unit.
        unit: String,
        /// The signal.
        signal: i32,
        /// Only the main process.
        main_only: bool,
    },
    /// Forget failures; of all units if none is named.
    ResetFailed(Vec<String>),
    /// End the machine.
    End {
        /// How.
        how: Ending,
        /// Without stopping units.
        force: bool,
    },
    /// The boot's times, for the status table.
    Status,
    /// A row of the status table, from the service that knows.
    Tell {
        /// Which.
        row: Row,
        /// One line.
        text: String,
    },
    /// Answered when all of these units are down.
    WaitDown(Vec<String>),
    /// Set the limits of a running unit's cgroup again, after a reload.
    ApplyLimits(String),
    /// Change the environment that every process gets, and give it.
    Environment {
        /// `NAME=value`.
        set: Vec<String>,
        /// Names.
        unset: Vec<String>,
    },
}

/// Rows of the status table that services tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// What became of user-data that was to be fetched.
    UserData,
    /// What became of keys that were to be imported.
    SshKeys,
}

/// How the machine is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each variant is the systemctl verb of the same name")]
pub enum Ending {
    Reboot,
    Poweroff,
    Halt,
}

impl Ending {
    /// The set-up's word for it.
    pub fn end(self) -> End {
        match self {
            Self::Reboot => End::Reboot,
            Self::Poweroff => End::PowerOff,
            Self::Halt => End::Halt,
        }
    }

    /// The target that stands for it.
    pub fn target(self) -> &'static str {
        match self {
            Self::Reboot => "reboot.target",
            Self::Poweroff => "poweroff.target",
            Self::Halt => "halt.target",
        }
    }
}

/// Verbs that make jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each variant is the systemctl verb of the same name")]
pub enum Verb {
    Start,
    Stop,
    Restart,
    TryRestart,
    Reload,
    ReloadOrRestart,
    Isolate,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Done; with what there is to say, a line each.
    Done(Vec<String>),
    /// Jobs are over: those that did not end well, with their results.
    Jobs(Vec<(String, String)>),
    /// Units.
    Units(Vec<UnitStatus>),
    /// It cannot be done.
    Refused(String),
    /// The status table.
    Status(String),
}

/// A unit as others see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the property of the same name in systemctl show")]
pub struct UnitStatus {
    pub id: String,
    pub names: Vec<String>,
    pub description: String,
    pub load_state: String,
    pub load_error: String,
    pub active_state: String,
    pub sub_state: String,
    pub job: String,
    pub fragment_path: String,
    pub drop_in_paths: Vec<String>,
    pub result: String,
    pub main_pid: i32,
    pub control_pid: i32,
    pub control_group: String,
    pub status_text: String,
    pub exit_code: String,
    pub n_restarts: u32,
    /// Microseconds of `CLOCK_BOOTTIME`; 0 if never.
    pub active_enter_us: u64,
    pub inactive_enter_us: u64,
    pub condition: String,
    pub relations: Vec<(String, Vec<String>)>,
    /// Of a socket: where it listens.
    pub listen: Vec<String>,
    /// Of a socket with `Accept=yes`: its connections, now.
    pub n_connections: u32,
    /// Of a service: descriptors that are kept for it.
    pub n_file_descriptor_store: usize,
    /// Of a timer: when it elapses next, in microseconds of `CLOCK_BOOTTIME`; 0 if it will not.
    pub next_elapse_us: u64,
    /// Of a timer: when it elapsed last, in microseconds since 1970; 0 if never.
    pub last_trigger_wall_us: i64,
    /// When it last left and reached the down and up states.
    pub times: Times,
    /// Its cgroup's folder, absolute.
    pub cgroup_folder: String,
}

/// Microseconds of `CLOCK_BOOTTIME`; 0 if never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// It began to start.
    pub inactive_exit_us: u64,
    /// It was up.
    pub active_enter_us: u64,
    /// It began to stop.
    pub active_exit_us: u64,
    /// It was down.
    pub inactive_enter_us: u64,
}
