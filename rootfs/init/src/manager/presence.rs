//! What comes and goes by itself: device nodes, mounts, the time zone's link.

use super::Manager;
use crate::engine::{ActiveState, Event, UnitId};
use crate::unit::config::Special;
use crate::unit::mount::mount_name;
use crate::unit::name::unescape;
use crate::unit::{Kind, LoadState, Unit, UnitName};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// What is known to be there.
pub(super) struct Presence {
    inotify: Inotify,
    nodes: BTreeMap<UnitId, (PathBuf, bool)>,
    table: File,
    mounted: BTreeSet<PathBuf>,
}

impl Presence {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let table = File::open("/proc/self/mountinfo")?;
        let presence = Self { inotify, nodes: BTreeMap::new(), table, mounted: BTreeSet::new() };
        presence.watch(Path::new("/etc/localtime"));
        Ok(presence)
    }

    /// The kernel's table of mounts: it has urgent data when it changed (proc(5)).
    pub(super) fn table(&self) -> BorrowedFd<'_> {
        self.table.as_fd()
    }

    /// Watches the folders on the way to a path, as far as they are there.
    fn watch(&self, path: &Path) {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM;
        for folder in path.ancestors().skip(1) {
            // One that is not there yet is watched once the folder above tells of it.
            let _ = self.inotify.add_watch(folder, flags);
        }
    }
}

impl AsFd for Presence {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// Mounts over single files of /proc, as containers have them, are nobody's units.
fn is_shown(target: &Path) -> bool {
    !target.starts_with("/proc") || target == Path::new("/proc")
}

/// A unit for a mount that no file describes.
pub(super) fn kernel_mount(name: UnitName, target: &Path) -> Unit {
    let mut unit = Unit::new(name, LoadState::Loaded);
    unit.ignore_on_isolate = true;
    unit.description = target.display().to_string();
    if let Special::Mount(mount) = &mut unit.special {
        target.clone_into(&mut mount.target);
    }
    unit.finish();
    unit
}

impl Manager {
    /// Looks for the nodes of device units that came since the last call.
    pub(super) fn watch_devices(&mut self) {
        for id in self.engine.ids() {
            let name = &self.engine.unit(id).name;
            if name.kind() != Kind::Device || self.presence.nodes.contains_key(&id) {
                continue;
            }
            let path = Path::new("/").join(unescape(name.stem()));
            self.presence.watch(&path);
            let present = path.exists();
            if present {
                self.events.push_back((id, Event::Present(true)));
            }
            self.presence.nodes.insert(id, (path, present));
        }
    }

    pub(super) fn nodes_changed(&mut self) {
        let mut zone = false;
        while let Ok(events) = self.presence.inotify.read_events() {
            zone |= events.iter().any(|event| event.name.as_deref().is_some_and(|name| name == "localtime"));
        }
        if zone {
            self.read_clock(false, true);
        }
        let nodes: Vec<(UnitId, PathBuf, bool)> =
            self.presence.nodes.iter().map(|(id, (path, present))| (*id, path.clone(), *present)).collect();
        for (id, path, before) in nodes {
            self.presence.watch(&path);
            let present = path.exists();
            if present != before {
                self.presence.nodes.insert(id, (path, present));
                self.events.push_back((id, Event::Present(present)));
            }
        }
    }

    /// Brings mount units in line with the kernel's table.
    pub(super) fn mounts_changed(&mut self) {
        let now: BTreeSet<PathBuf> = match sys::mount::mounts() {
            Ok(mounts) => {
                mounts.into_iter().map(|mount| mount.target).filter(|path| is_shown(path)).collect()
            }
            Err(error) => return self.tell(None, 4, &format!("/proc/self/mountinfo: {error}")),
        };
        let before = std::mem::replace(&mut self.presence.mounted, now.clone());
        let named = |path: &&PathBuf| mount_name(path).ok().map(|name| (name, (*path).clone()));
        let came: Vec<_> = now.difference(&before).filter_map(|path| named(&path)).collect();
        let is_unknown = |name: &UnitName| {
            self.engine.find(name).is_none_or(|id| self.engine.unit(id).load_state == LoadState::NotFound)
        };
        let unknown: Vec<_> = came.into_iter().filter(|(name, _)| is_unknown(name)).collect();
        let mut added = Vec::new();
        let loader = self.loader.indexed();
        for (name, path) in unknown {
            let loaded = loader.load(&name);
            if loaded.unit.load_state == LoadState::NotFound {
                added.push((kernel_mount(name, &path), None));
            } else {
                self.tell_problems(&loaded.unit);
                added.push((loaded.unit, loaded.alias));
            }
        }
        if !added.is_empty() {
            let names: Vec<UnitName> = added.iter().map(|(unit, _)| unit.name.clone()).collect();
            self.engine.add(added);
            self.load_missing();
            for id in names.iter().filter_map(|name| self.engine.find(name)).collect::<Vec<_>>() {
                if self.engine.unit(id).fragment.is_none() {
                    self.ephemeral.insert(id);
                }
            }
        }
        for (paths, present) in [(now.difference(&before), true), (before.difference(&now), false)] {
            for (name, _) in paths.filter_map(|path| named(&path)) {
                if let Some(id) = self.engine.find(&name) {
                    self.events.push_back((id, Event::Present(present)));
                }
            }
        }
    }

    /// Whether the kernel shows a mount that has no file.
    pub(super) fn mounted_path(&self, name: &UnitName) -> Option<PathBuf> {
        self.presence.mounted.iter().find(|path| mount_name(path).ok().as_ref() == Some(name)).cloned()
    }

    /// Forgets units that were there for one connection or one mount, once they are down.
    pub(super) fn forget_ephemeral(&mut self) {
        let down = |id: &&UnitId| {
            matches!(self.engine.active(**id), ActiveState::Inactive | ActiveState::Failed)
                && self.engine.state(**id).job.is_none()
        };
        let down: Vec<UnitId> = self.ephemeral.iter().filter(down).copied().collect();
        for id in down {
            self.forget_logging(id);
            if self.engine.forget(id) {
                self.forget_questions(id);
                self.ephemeral.remove(&id);
            }
        }
    }
}
