//! The status table: what this machine is and how its boot went.

use super::{Manager, now};
use crate::control::Row;
use crate::engine::ActiveState;
use crate::unit::LoadState;
use std::fmt::Write;

/// What the set-up knows; the manager adds units and times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Label of the booted slot.
    pub slot: String,
    /// `VERSION_ID` of os-release(5).
    pub version: String,
    /// Verity root hash.
    pub root_hash: String,
    /// What STATE was found to be.
    pub state: String,
    /// What became of user-data.
    pub user_data: String,
    /// What became of the keys that user-data imports; without any there is no such row.
    pub ssh_keys: String,
    /// Stages of the boot before units, each with the milliseconds it took.
    pub stages: Vec<(String, u64)>,
    /// When the set-up was over, milliseconds since the kernel started.
    pub setup_ms: u64,
}

/// Longest text of a row that a service tells, in characters.
const TOLD_MAX: usize = 500;

impl Table {
    /// Takes what a service tells; a table has no room for more than a line.
    pub fn tell(&mut self, row: Row, text: &str) {
        let line = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TOLD_MAX).collect();
        match row {
            Row::UserData => self.user_data = line,
            Row::SshKeys => self.ssh_keys = line,
        }
    }

    /// The table; the last line is for programs.
    pub fn render(&self, boot_ms: u64, active: usize, failed: &[String], ready: bool) -> String {
        let mut out = String::new();
        let units_ms = boot_ms.saturating_sub(self.setup_ms);
        let mut stages: Vec<String> = self.stages.iter().map(|(name, ms)| format!("{name} {ms}")).collect();
        stages.push(format!("units {units_ms}"));
        let failed_names = if failed.is_empty() { String::new() } else { format!(": {}", failed.join(" ")) };
        let short = self.root_hash.get(..16).unwrap_or(&self.root_hash);
        let rows: [(&str, String); 8] = [
            ("slot", self.slot.clone()),
            ("version", self.version.clone()),
            ("verity", if short.is_empty() { "none".into() } else { format!("{short}…") }),
            ("state", self.state.clone()),
            ("user-data", self.user_data.clone()),
            ("ssh keys", self.ssh_keys.clone()),
            ("boot (ms)", format!("{} = {boot_ms}", stages.join(" + "))),
            ("units", format!("{active} active, {} failed{failed_names}", failed.len())),
        ];
        for (name, value) in rows.iter().filter(|(name, value)| *name != "ssh keys" || !value.is_empty()) {
            // Writing into a string does not fail.
            let _ = writeln!(out, "  {name:<10} {value}");
        }
        let word = if ready { "ready" } else { "not ready" };
        let field = |text: &str| if text.is_empty() { "none".to_owned() } else { text.replace(' ', "_") };
        let _ = write!(
            out,
            "slipway: {word} slot={} version={} boot_ms={boot_ms}",
            field(&self.slot),
            field(&self.version)
        );
        out
    }
}

impl Manager {
    pub(super) fn status_table(&self) -> String {
        let at = self.gate.ready_at;
        let boot_ms = at.unwrap_or_else(now).as_millis() as u64;
        let mut active = 0;
        let mut failed = Vec::new();
        for id in self.engine.ids() {
            let unit = self.engine.unit(id);
            match self.engine.active(id) {
                // What has no file is there by itself: slices, device nodes, the kernel's mounts.
                ActiveState::Active | ActiveState::Reloading => {
                    active += usize::from(unit.fragment.is_some());
                }
                ActiveState::Failed => failed.push(unit.name.to_string()),
                _ if matches!(unit.load_state, LoadState::BadSetting(_)) => {
                    failed.push(unit.name.to_string());
                }
                _ => {}
            }
        }
        self.table.render(boot_ms, active, &failed, at.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_well_and_its_last_line_is_for_programs() {
        let table = Table {
            slot: "SLOT-A".into(),
            version: "0.1.0".into(),
            root_hash: "ab".repeat(32),
            state: "kept".into(),
            user_data: "none".into(),
            ssh_keys: String::new(),
            stages: vec![("kernel".into(), 800), ("modules".into(), 100)],
            setup_ms: 1000,
        };
        let expected = "  slot       SLOT-A\n  version    0.1.0\n  verity     abababababababab…\n  state      kept\n  \
            user-data  none\n  boot (ms)  kernel 800 + modules 100 + units 234 = 1234\n  \
            units      5 active, 1 failed: x.service\nslipway: ready slot=SLOT-A version=0.1.0 boot_ms=1234";
        assert_eq!(table.render(1234, 5, &["x.service".into()], true), expected);
        let mut told = table.clone();
        told.tell(Row::SshKeys, &format!("core: 1 key\n{}", "x".repeat(TOLD_MAX)));
        let row = format!("\n  ssh keys   core: 1 key {}\n", "x".repeat(TOLD_MAX - 12));
        assert!(told.render(1, 0, &[], true).contains(&row), "{told:?}");
        told.tell(Row::UserData, "applied, from http://x/");
        assert!(told.render(1, 0, &[], true).contains("\n  user-data  applied, from http://x/\n"));
    }
}
