//! A simulated disk, for tests of whatever writes: all that happens follows from a seed.
//!
//! The fault model:
//! - **Power cut** ([`SimDisk::crash`]): of each sector that was written since its file's last sync,
//!   any of its versions can be on the disk, in any mix over sectors and files. Of the names that changed
//!   since their folder's last sync, the changes up to some point are there. What was open is dead.
//! - **Kill** ([`SimDisk::kill`]): all that was written can still be read, none of it is synced.
//! - **A call that fails** ([`SimDisk::fail_at`]), for lack of room or with an I/O error. A write that
//!   fails leaves some of its first sectors. A sync that fails drops what it was to write, though it
//!   can still be read: the kernel takes it for written ("fsyncgate").
//! - **No room** ([`SimDisk::set_room`]) and **damage** ([`SimDisk::flip`]).

use super::{Disk, DiskFile, SECTOR};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// ENOSPC.
    NoSpace,
    /// EIO.
    Io,
    /// The process stops before the call: neither it nor any later one does a thing. With a power cut
    /// next, that is a crash between two calls, with all that was not synced at stake.
    Stop,
}

/// A simulated disk. Clones are the same disk, as long as it lives.
#[derive(Clone, Debug)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    life: u64,
}

/// A file of it.
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    number: u64,
}

/// A folder that is locked.
#[derive(Debug)]
pub struct SimLock {
    disk: SimDisk,
    folder: PathBuf,
}

#[derive(Debug, Default)]
struct World {
    random: u64,
    /// How often the power was cut, or the process killed.
    life: u64,
    /// Calls that change something, since the beginning.
    calls: u64,
    fault: Option<(u64, Fault)>,
    room: Option<u64>,
    lies: bool,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    names: BTreeMap<PathBuf, u64>,
    synced_names: BTreeMap<PathBuf, u64>,
    /// Changes of names that are not synced.
    changes: Vec<Change>,
    locked: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct Content {
    synced: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum Change {
    Put(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Put(path, _) | Self::Rename(_, path) | Self::Remove(path) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Put(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(path) => drop(names.remove(path)),
        }
    }
}

impl World {
    /// A number below a bound.
    fn below(&mut self, bound: u64) -> u64 {
        // splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    /// Counts a call that changes something; fails if it is the one that must.
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        let Some((_, fault)) = self.fault.filter(|(at, _)| *at <= self.calls) else { return Ok(()) };
        if fault != Fault::Stop {
            self.fault = None;
        }
        Err(match fault {
            Fault::NoSpace => io::ErrorKind::StorageFull.into(),
            Fault::Io => io::Error::other("simulated I/O error"),
            Fault::Stop => io::ErrorKind::BrokenPipe.into(),
        })
    }

    /// Whether the process has stopped.
    fn stopped(&self) -> bool {
        self.fault.is_some_and(|(at, fault)| fault == Fault::Stop && at <= self.calls)
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn named(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn content(&mut self, file: u64) -> io::Result<&mut Content> {
        self.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn cut_power(&mut self) {
        let kept = self.below(self.changes.len() as u64 + 1) as usize;
        for change in self.changes.drain(..).take(kept) {
            change.apply(&mut self.synced_names);
        }
        self.names = self.synced_names.clone();
        let numbers: Vec<u64> = self.files.keys().copied().collect();
        // Now and then nothing is lost, or all.
        let mood = self.below(4);
        for number in numbers {
            let Some(mut content) = self.files.remove(&number) else { continue };
            if !self.names.values().any(|named| *named == number) {
                continue;
            }
            let mut sectors: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
            for (place, (offset, bytes)) in content.unsynced.iter().enumerate() {
                for sector in offset / SECTOR..(offset + bytes.len() as u64).div_ceil(SECTOR) {
                    sectors.entry(sector).or_default().push(place);
                }
            }
            for (sector, writes) in sectors {
                let kept = match mood {
                    0 => writes.len(),
                    1 => 0,
                    _ => self.below(writes.len() as u64 + 1) as usize,
                };
                for place in &writes[..kept] {
                    let (offset, bytes) = &content.unsynced[*place];
                    let from = (sector * SECTOR).max(*offset);
                    let to = ((sector + 1) * SECTOR).min(offset + bytes.len() as u64);
                    if content.synced.len() < to as usize {
                        content.synced.resize(to as usize, 0);
                    }
                    content.synced[from as usize..to as usize]
                        .copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
                }
            }
            content.current.clone_from(&content.synced);
            content.unsynced.clear();
            self.files.insert(number, content);
        }
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self { world: Arc::new(Mutex::new(World { random: seed, ..World::default() })), life: 0 }
    }

    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if world.life != self.life {
            return Err(io::Error::other("this disk's process is gone"));
        }
        Ok(world)
    }

    fn next_life(&self, cut: bool) -> Self {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if cut {
            world.cut_power();
        }
        world.life += 1;
        world.fault = None;
        world.locked.clear();
        Self { world: self.world.clone(), life: world.life }
    }

    /// Cuts the power; gives the disk as it is afterwards. Whoever has this one gets errors from now on.
    #[must_use]
    pub fn crash(&self) -> Self {
        self.next_life(true)
    }

    /// Kills the process; gives the disk to the next one.
    #[must_use]
    pub fn kill(&self) -> Self {
        self.next_life(false)
    }

    /// Lets the n-th call from now that changes something fail; 1 is the next one.
    ///
    /// # Errors
    /// The disk is another process's by now; so with all that follows.
    pub fn fail_at(&self, n: u64, fault: Fault) -> io::Result<()> {
        let mut world = self.world()?;
        world.fault = Some((world.calls + n, fault));
        Ok(())
    }

    /// How many bytes all files together can have; none for no limit.
    pub fn set_room(&self, bytes: Option<u64>) -> io::Result<()> {
        self.world()?.room = bytes;
        Ok(())
    }

    /// Lets syncs of files do nothing from now on, though they say that all is well: for tests of tests.
    pub fn lie(&self) -> io::Result<()> {
        self.world()?.lies = true;
        Ok(())
    }

    /// Changes bits of a file for good.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let mut world = self.world()?;
        let file = world.named(path)?;
        let content = world.content(file)?;
        for bytes in [&mut content.synced, &mut content.current] {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= mask;
            }
        }
        Ok(())
    }

    /// A file's bytes, as they can be read.
    pub fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut world = self.world()?;
        let file = world.named(path)?;
        Ok(world.content(file)?.current.clone())
    }

    /// Puts a file there, synced.
    pub fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world()?;
        let file = world.next_file;
        world.next_file += 1;
        let content = Content { synced: bytes.to_vec(), current: bytes.to_vec(), unsynced: Vec::new() };
        world.files.insert(file, content);
        world.names.insert(path.to_owned(), file);
        world.synced_names.insert(path.to_owned(), file);
        Ok(())
    }

    /// A disk with the same files, all synced, and nothing else in common.
    pub fn copy(&self) -> io::Result<Self> {
        let copy = Self::new(0);
        let paths: Vec<PathBuf> = self.world()?.names.keys().cloned().collect();
        for path in paths {
            copy.put(&path, &self.bytes(&path)?)?;
        }
        Ok(copy)
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        // Folders are their files' paths here.
        self.world().map(drop)
    }

    fn lock(&self, folder: &Path) -> io::Result<Option<SimLock>> {
        let free = self.world()?.locked.insert(folder.to_owned());
        Ok(free.then(|| SimLock { disk: self.clone(), folder: folder.to_owned() }))
    }

    fn create(&self, path: &Path) -> io::Result<SimFile> {
        let mut world = self.world()?;
        world.call()?;
        let number = world.next_file;
        world.next_file += 1;
        world.files.insert(number, Content::default());
        world.change(Change::Put(path.to_owned(), number));
        Ok(SimFile { disk: self.clone(), number })
    }

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        let number = self.world()?.named(path)?;
        Ok(SimFile { disk: self.clone(), number })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world()?;
        world.call()?;
        world.named(from)?;
        world.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world()?;
        world.call()?;
        world.named(path)?;
        world.change(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let world = self.world()?;
        let here = world.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(here.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut world = self.world()?;
        world.call()?;
        let changes = std::mem::take(&mut world.changes);
        for change in changes {
            if change.folder() == Some(folder) {
                change.apply(&mut world.synced_names);
            } else {
                world.changes.push(change);
            }
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world()?;
        let bytes = &world.content(self.number)?.current;
        let end = (offset as usize).checked_add(buffer.len());
        let part = end.and_then(|end| bytes.get(offset as usize..end));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world()?;
        let failed = world.call();
        let count = match failed {
            Ok(()) => bytes.len() as u64,
            Err(_) if world.stopped() => 0,
            // Some of the first sectors got there.
            Err(_) => {
                let end = offset + world.below(bytes.len() as u64 + 1);
                (end / SECTOR * SECTOR).saturating_sub(offset)
            }
        };
        let bytes = &bytes[..count as usize];
        let content = world.content(self.number)?;
        let end = offset as usize + bytes.len();
        if content.current.len() < end {
            content.current.resize(end, 0);
        }
        content.current[offset as usize..end].copy_from_slice(bytes);
        content.unsynced.push((offset, bytes.to_vec()));
        failed
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.disk.world()?;
        let failed = world.call();
        if world.lies || world.stopped() {
            return failed;
        }
        let content = world.content(self.number)?;
        let size = content.current.len();
        content.synced.resize(size, 0);
        for (offset, bytes) in content.unsynced.drain(..) {
            if failed.is_ok() {
                content.synced[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
            }
        }
        failed
    }

    fn preallocate(&self, size: u64) -> io::Result<()> {
        let mut world = self.disk.world()?;
        world.call()?;
        let named: BTreeSet<u64> = world.names.values().copied().collect();
        let kept = world.files.iter().filter(|(number, _)| named.contains(number));
        let used: u64 = kept.map(|(_, content)| content.current.len() as u64).sum();
        if world.room.is_some_and(|room| used + size > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.content(self.number)?.current.resize(size as usize, 0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.world()?.content(self.number)?.current.len() as u64)
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        // After a crash nobody has a lock.
        if let Ok(mut world) = self.disk.world() {
            world.locked.remove(&self.folder);
        }
    }
}
