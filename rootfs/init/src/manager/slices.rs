//! Slices: cgroups with limits, in which those of services lie (systemd.slice(5)).

use super::Manager;
use super::cgroup::{delegate_controllers, set_limits};
use super::spawn::slice_path;
use crate::engine::UnitId;
use crate::unit::config::Special;
use std::fs;

impl Manager {
    /// Makes the cgroup and sets its limits. Without a cgroup tree its services run all the same.
    pub(super) fn make_slice(&mut self, id: UnitId) {
        let unit = self.engine.unit(id);
        let Special::Slice(context) = &unit.special else { return };
        let mut folder = self.paths.cgroup.clone();
        let mut failed = Vec::new();
        delegate_controllers(&folder);
        for part in slice_path(unit.name.as_str()).split('/').filter(|part| !part.is_empty()) {
            folder.push(part);
            if let Err(error) = fs::create_dir(&folder)
                && error.kind() != std::io::ErrorKind::AlreadyExists
            {
                failed.push(format!("{}: {error}", folder.display()));
            }
            delegate_controllers(&folder);
        }
        let limits = set_limits(&folder, &context.cgroup.effective(self.is_booting()));
        failed.extend(limits.into_iter().map(|limit| format!("limit not set: {limit}")));
        for message in failed {
            self.tell(Some(id), 4, &message);
        }
    }

    /// Whether `Startup…=` limits hold: until the default target is reached.
    pub(super) fn is_booting(&self) -> bool {
        self.gate.ready_at.is_none()
    }

    /// The boot is over, and with it the limits that were only for it.
    pub(super) fn end_boot_limits(&mut self) {
        for id in self.engine.ids() {
            let unit = self.engine.unit(id);
            let of_service = unit.service.as_ref().map(|service| &service.context.cgroup);
            match (&unit.special, of_service) {
                (Special::Slice(context), _)
                    if !context.cgroup.startup.is_empty() && self.engine.active(id).is_active() =>
                {
                    self.make_slice(id);
                }
                (_, Some(limits)) if !limits.startup.is_empty() => self.apply_limits(id),
                _ => {}
            }
        }
    }

    /// Removes the cgroup of a slice, if nothing is in it any more.
    pub(super) fn remove_slice(&self, id: UnitId) {
        let path = slice_path(self.engine.unit(id).name.as_str());
        if !path.is_empty() {
            let _ = fs::remove_dir(self.paths.cgroup.join(path));
        }
    }
}
