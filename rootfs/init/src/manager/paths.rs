//! What path units wait for, by inotify(7).

use super::Manager;
use super::poll::Source;
use crate::engine::{Event, UnitId};
use crate::unit::config::Special;
use crate::unit::far;
use crate::unit::path::{PathConfig, PathKind};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

/// What is watched for one unit.
pub(super) struct Watched {
    inotify: Inotify,
    token: u64,
    /// The watches of the paths themselves, by their position.
    own: HashMap<WatchDescriptor, Vec<usize>>,
    existed: Vec<bool>,
}

/// What happens to a folder above a path and may make or end it.
fn above() -> AddWatchFlags {
    AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
}

/// What of a path itself counts (systemd's path.c).
fn flags(kind: PathKind) -> AddWatchFlags {
    let itself = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ATTRIB;
    let entries = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_MOVED_TO;
    match kind {
        PathKind::Exists | PathKind::ExistsGlob => itself,
        PathKind::DirectoryNotEmpty => itself | entries,
        PathKind::Changed => itself | entries | AddWatchFlags::IN_CLOSE_WRITE,
        PathKind::Modified => itself | entries | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MODIFY,
    }
}

impl Watched {
    fn new(config: &PathConfig) -> io::Result<(Self, Vec<PathBuf>)> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut watched = Self { inotify, token: 0, own: HashMap::new(), existed: Vec::new() };
        let unwatched = watched.refresh(config);
        watched.existed = config.specs.iter().map(|(_, path)| path.exists()).collect();
        Ok((watched, unwatched))
    }

    /// Watches what has appeared on the way to the paths; gives those that cannot be watched.
    fn refresh(&mut self, config: &PathConfig) -> Vec<PathBuf> {
        let mut unwatched = Vec::new();
        // `#define IN_MASK_ADD 0x20000000`: to what is watched of it already, for another path.
        let mask_add = AddWatchFlags::from_bits_retain(nix::libc::IN_MASK_ADD);
        for (index, (kind, path)) in config.specs.iter().enumerate() {
            let is_glob = *kind == PathKind::ExistsGlob;
            for folder in path.ancestors() {
                let itself = folder == path;
                // Behind a pattern nothing has a fixed name: its folders are all watched.
                let places = if is_glob { glob(folder) } else { vec![folder.to_owned()] };
                for place in places {
                    let wanted = if itself { flags(*kind) } else { above() };
                    match self.inotify.add_watch(&place, wanted | mask_add) {
                        Ok(watch) if itself => {
                            let own = self.own.entry(watch).or_default();
                            if !own.contains(&index) {
                                own.push(index);
                            }
                        }
                        Ok(_) | Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => {}
                        Err(_) => unwatched.push(place),
                    }
                }
            }
        }
        unwatched
    }

    /// Whether something happened that a path waits for.
    fn happened(&mut self, config: &PathConfig) -> bool {
        let mut met = false;
        let mut gone: HashSet<WatchDescriptor> = HashSet::new();
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                for index in self.own.get(&event.wd).into_iter().flatten() {
                    let (kind, _) = &config.specs[*index];
                    let counts = matches!(kind, PathKind::Changed | PathKind::Modified);
                    met |= counts && event.mask.intersects(flags(*kind));
                }
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    gone.insert(event.wd);
                }
            }
        }
        self.own.retain(|watch, _| !gone.contains(watch));
        for (index, (kind, path)) in config.specs.iter().enumerate() {
            let exists = path.exists();
            let before = std::mem::replace(&mut self.existed[index], exists);
            met |= matches!(kind, PathKind::Changed | PathKind::Modified) && exists != before;
        }
        met
    }
}

/// Whether a path that is waited for is there.
fn is_met(config: &PathConfig) -> bool {
    config.specs.iter().any(|(kind, path)| match kind {
        PathKind::Exists => path.exists(),
        PathKind::ExistsGlob => !glob(path).is_empty(),
        PathKind::DirectoryNotEmpty => path.read_dir().is_ok_and(|mut entries| entries.next().is_some()),
        PathKind::Changed | PathKind::Modified => false,
    })
}

impl Manager {
    pub(super) fn watch_paths(&mut self, id: UnitId) {
        self.unwatch_paths(id);
        let Special::Path(config) = &self.engine.unit(id).special else { return };
        let config = config.clone();
        let silent = config.specs.iter().find(|(_, path)| {
            let found = far::within(path, Path::metadata);
            found.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
        });
        if let Some((_, path)) = silent {
            let said = format!("cannot watch {}: its file system does not answer", path.display());
            return self.tell(Some(id), 3, &said);
        }
        if config.make_directory {
            for (_, path) in config.specs.iter().filter(|(kind, _)| *kind != PathKind::ExistsGlob) {
                let made = fs::DirBuilder::new().recursive(true).mode(config.directory_mode).create(path);
                if let Err(error) = made {
                    self.tell(Some(id), 4, &format!("cannot make {}: {error}", path.display()));
                }
            }
        }
        let made = Watched::new(&config).and_then(|(mut watched, unwatched)| {
            watched.token = self.poll.add(&watched.inotify, Source::Paths(id))?;
            Ok((watched, unwatched))
        });
        match made {
            Ok((watched, unwatched)) => {
                for path in unwatched {
                    self.tell(Some(id), 4, &format!("{} cannot be watched", path.display()));
                }
                self.watched.insert(id, watched);
            }
            Err(error) => self.tell(Some(id), 3, &format!("cannot watch its paths: {error}")),
        }
        // Behind the watch, so that nothing falls between.
        if is_met(&config) {
            self.events.push_back((id, Event::PathMet));
        }
    }

    pub(super) fn unwatch_paths(&mut self, id: UnitId) {
        if let Some(watched) = self.watched.remove(&id) {
            self.poll.remove(&watched.inotify, watched.token);
        }
    }

    pub(super) fn paths_changed(&mut self, id: UnitId) {
        let Special::Path(config) = &self.engine.unit(id).special else { return };
        let Some(watched) = self.watched.get_mut(&id) else { return };
        // A reload may have given the unit other paths; it waits for those from its next start on.
        let met = watched.existed.len() == config.specs.len() && {
            let happened = watched.happened(config);
            watched.refresh(config);
            happened || is_met(config)
        };
        if met {
            self.events.push_back((id, Event::PathMet));
        }
    }
}

/// The paths that a pattern fits (glob(7)): `*`, `?` and `[…]`, none of which is a `/` or a first dot.
fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.components() {
        let Component::Normal(part) = part else { continue };
        let Some(text) = part.to_str() else { return Vec::new() };
        if !text.contains(['*', '?', '[']) {
            found = found.into_iter().map(|path| path.join(part)).filter(|path| path.exists()).collect();
            continue;
        }
        let entries = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
        found = found
            .into_iter()
            .flat_map(entries)
            .filter(|entry| fits(text.as_bytes(), entry.file_name().as_encoded_bytes()))
            .map(|entry| entry.path())
            .take(MAX_MATCHES)
            .collect();
    }
    found
}

/// More paths than these a pattern does not stand for: one is enough to be met.
const MAX_MATCHES: usize = 1024;

fn fits(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n, mut back) = (0, 0, None);
    loop {
        if pattern.get(p) == Some(&b'*') {
            back = Some((p + 1, n));
            p += 1;
            continue;
        }
        let step = match (pattern.get(p), name.get(n)) {
            (None, None) => return true,
            (Some(b'['), Some(byte)) => class(&pattern[p + 1..], *byte)
                .map_or((*byte == b'[').then_some(1), |(length, inside)| inside.then_some(length + 1)),
            (Some(b'?'), Some(_)) => Some(1),
            (Some(wanted), Some(byte)) => (wanted == byte).then_some(1),
            _ => None,
        };
        match (step, back) {
            (Some(length), _) => (p, n) = (p + length, n + 1),
            (None, Some((star, at))) if at < name.len() => {
                back = Some((star, at + 1));
                (p, n) = (star, at + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Whether a byte is in the class that begins behind `[`, and the length of that; `None` if it never ends.
fn class(text: &[u8], byte: u8) -> Option<(usize, bool)> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    // A bracket in the first place is one of its characters.
    let end = start + 1 + text.get(start + 1..)?.iter().position(|byte| *byte == b']')?;
    let members = &text[start..end];
    let mut inside = false;
    let mut at = 0;
    while let Some(low) = members.get(at) {
        match (members.get(at + 1), members.get(at + 2)) {
            (Some(b'-'), Some(high)) => {
                inside |= (*low..=*high).contains(&byte);
                at += 3;
            }
            _ => {
                inside |= *low == byte;
                at += 1;
            }
        }
    }
    Some((end + 1, inside != negated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let fits = |pattern: &str, name: &str| fits(pattern.as_bytes(), name.as_bytes());
        assert!(fits("*.conf", "a.conf") && fits("a*b*c", "aXbYbZc") && fits("?[a-c]x", "1bx"));
        assert!(fits("[!0-9]*", "x1") && fits("[]x]", "]") && fits("a[", "a[") && fits("*", ""));
        assert!(!fits("*.conf", ".conf") && !fits("[!0-9]", "5") && !fits("a*b", "ac") && !fits("?", ""));
        assert!(fits("*****a", "bbbbbbbbbbbbbbbba") && !fits("*a*a*a*a*a*b", &"a".repeat(200)));
    }
}
