//! Who is at a box: locks on single bytes of its `lock` file, which the kernel frees when their holders are dead.
//!
//! ```text
//! byte 0      the gate: held while somebody starts, enters, leaves or removes the box
//! byte 1      held by a running box
//! bytes 2…    one for each session; a box that ends takes all of them at once
//! ```
//! What is in the file is `record::Running`, of the box that runs or ran last: written in place, so that a box can
//! be entered, and rid of files, on a full disk too.
//!
//! They are locks of open files (fcntl(2), "Open file description locks"), so that a child inherits them.

use super::record::Running;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_RDLCK, F_UNLCK, F_WRLCK, SEEK_SET, flock, off_t};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const GATE: off_t = 0;
const RUNNING: off_t = 1;
const SESSIONS: off_t = 2;
/// The most sessions of a box.
const MOST: off_t = 4096;

/// Bytes of the file.
const SIZE: usize = 4096;

/// An open `lock` file. What it holds is held until it and its copies in other processes are closed.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Opens the lock of a box's folder, and makes it.
    ///
    /// # Errors
    /// open(2).
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("lock");
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        Ok(Self { file, path })
    }

    /// Makes the file of a new box, with all the bytes that it will have.
    ///
    /// # Errors
    /// open(2), write(2).
    pub fn make(folder: &Path) -> io::Result<()> {
        let lock = Self::open(folder)?;
        lock.file.write_all_at(&[b'\n'; SIZE], 0)?;
        lock.file.sync_all()
    }

    /// Writes down how the box can be joined. The caller has the gate, or its starter has.
    ///
    /// # Errors
    /// write(2).
    pub fn tell(&self, running: &Running) -> io::Result<()> {
        let mut text = serde_json::to_vec(running)?;
        if text.len() > SIZE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        text.resize(SIZE, b'\n');
        self.file.write_all_at(&text, 0)
    }

    /// How the box can be joined, if it runs.
    ///
    /// # Errors
    /// fcntl(2), read(2); [`io::ErrorKind::InvalidData`] for what no keeper wrote.
    pub fn running(&self) -> io::Result<Option<Running>> {
        if !self.is_running()? {
            return Ok(None);
        }
        let mut text = vec![0; SIZE];
        let count = self.file.read_at(&mut text, 0)?;
        Ok(Some(serde_json::from_slice(&text[..count])?))
    }

    /// Another open file of the same lock.
    ///
    /// # Errors
    /// open(2).
    pub fn again(&self) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(&self.path)?;
        Ok(Self { file, path: self.path.clone() })
    }

    /// Whether the box has neither been removed nor replaced since it was opened.
    pub fn is_current(&self) -> bool {
        let of = |meta: io::Result<std::fs::Metadata>| meta.map(|meta| (meta.dev(), meta.ino())).ok();
        let open = of(self.file.metadata());
        open.is_some() && open == of(std::fs::metadata(&self.path))
    }

    /// Takes the gate; waits for it.
    ///
    /// # Errors
    /// fcntl(2).
    pub fn close_gate(&self) -> io::Result<()> {
        self.wait(F_WRLCK, GATE, 1)
    }

    /// Gives the gate up.
    ///
    /// # Errors
    /// fcntl(2).
    pub fn open_gate(&self) -> io::Result<()> {
        self.free(GATE)
    }

    /// Says that the box runs, as long as this process lives. The caller, or who started it, has the gate.
    ///
    /// # Errors
    /// fcntl(2); [`io::ErrorKind::WouldBlock`] when it runs already.
    pub fn run(&self) -> io::Result<()> {
        if self.take(RUNNING)? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Whether the box runs.
    ///
    /// # Errors
    /// fcntl(2).
    pub fn is_running(&self) -> io::Result<bool> {
        Ok(self.conflict(RUNNING, 1)?.is_some())
    }

    /// Waits until the box does not run.
    ///
    /// # Errors
    /// fcntl(2).
    pub fn wait_ended(&self) -> io::Result<()> {
        self.wait(F_RDLCK, RUNNING, 1)?;
        self.free(RUNNING)
    }

    /// Takes a session's place; gives its number, and none when the box is just ending.
    ///
    /// # Errors
    /// fcntl(2); [`io::ErrorKind::QuotaExceeded`] when all are taken.
    pub fn enter(&self) -> io::Result<Option<i64>> {
        let mut place = SESSIONS;
        while place < SESSIONS + MOST {
            match self.conflict(place, 1)? {
                Some((_, length)) if length != 1 => return Ok(None),
                Some(_) => place += 1,
                None if self.take(place)? => return Ok(Some(place)),
                None => {}
            }
        }
        Err(io::ErrorKind::QuotaExceeded.into())
    }

    /// Gives a session's place up.
    ///
    /// # Errors
    /// fcntl(2).
    pub fn leave(&self, place: i64) -> io::Result<()> {
        self.free(place)
    }

    /// How many sessions others hold.
    ///
    /// # Errors
    /// fcntl(2).
    pub fn sessions(&self) -> io::Result<u64> {
        self.count(SESSIONS, SESSIONS + MOST)
    }

    fn count(&self, start: off_t, end: off_t) -> io::Result<u64> {
        if start >= end {
            return Ok(0);
        }
        match self.conflict(start, end - start)? {
            // The kernel tells of any lock in the range, not of the first.
            Some((place, 1)) => Ok(1 + self.count(start, place)? + self.count(place + 1, end)?),
            // The box is ending.
            _ => Ok(0),
        }
    }

    /// Waits until there is no session, and lets none in from then on.
    ///
    /// # Errors
    /// fcntl(2).
    pub fn wait_deserted(&self) -> io::Result<()> {
        self.wait(F_WRLCK, SESSIONS, MOST)
    }

    fn conflict(&self, start: off_t, length: off_t) -> io::Result<Option<(off_t, off_t)>> {
        let mut lock = range(F_WRLCK, start, length);
        fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut lock))?;
        Ok((i32::from(lock.l_type) != F_UNLCK).then_some((lock.l_start, lock.l_len)))
    }

    fn take(&self, place: off_t) -> io::Result<bool> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range(F_WRLCK, place, 1))) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&self, kind: i32, start: off_t, length: off_t) -> io::Result<()> {
        loop {
            match fcntl(&self.file, FcntlArg::F_OFD_SETLKW(&range(kind, start, length))) {
                Err(Errno::EINTR) => {}
                other => return Ok(other.map(drop)?),
            }
        }
    }

    fn free(&self, place: off_t) -> io::Result<()> {
        Ok(fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range(F_UNLCK, place, 1))).map(drop)?)
    }
}

/// A lock's kind and place.
fn range(kind: i32, start: off_t, length: off_t) -> flock {
    flock { l_type: kind as i16, l_whence: SEEK_SET as i16, l_start: start, l_len: length, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_and_the_last_one_ends_the_box() {
        let folder = tempfile::tempdir().unwrap();
        let keeper = Lock::open(folder.path()).unwrap();
        keeper.run().unwrap();
        let [one, two, look] = [(); 3].map(|()| keeper.again().unwrap());
        assert!(look.is_running().unwrap());
        assert_eq!(one.run().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let places = [one.enter().unwrap().unwrap(), two.enter().unwrap().unwrap()];
        assert_eq!((places, look.sessions().unwrap(), one.sessions().unwrap()), ([2, 3], 2, 1));
        one.leave(places[0]).unwrap();
        let third = keeper.again().unwrap();
        assert_eq!(third.enter().unwrap(), Some(2), "places are used again");
        drop((third, two));
        keeper.wait_deserted().unwrap();
        assert_eq!((look.enter().unwrap(), look.sessions().unwrap()), (None, 0), "nobody enters what ends");
        drop(keeper);
        look.wait_ended().unwrap();
        assert!(!look.is_running().unwrap());
        assert_eq!(look.enter().unwrap(), Some(2));
    }

    #[test]
    fn a_removed_box_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::open(folder.path()).unwrap();
        assert!(lock.is_current());
        std::fs::remove_file(folder.path().join("lock")).unwrap();
        assert!(!lock.is_current());
        assert!(Lock::open(folder.path()).unwrap().is_current() && !lock.is_current());
    }
}
