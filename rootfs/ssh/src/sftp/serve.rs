//! Requests carried out on the file system, with the rights of this process.

use super::attributes::{Attributes, long_name};
use super::packet::{DATA_MAX, Name, PACKET_MAX, Reply, Request, Status};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{Statvfs, fstatvfs, statvfs};
use nix::unistd::{Gid, Uid, fchown};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions, ReadDir};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Handles that may be open at once.
const HANDLES_MAX: usize = 256;
/// Files named in one reply.
const NAMES_MAX: usize = 100;

enum Handle {
    File(File),
    Folder(PathBuf, ReadDir),
}

/// The open handles of a client.
#[derive(Default)]
pub struct Files {
    handles: HashMap<u32, Handle>,
    last: u32,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("handles", &self.handles.len()).finish_non_exhaustive()
    }
}

impl Files {
    /// Carries a request out.
    pub fn serve(&mut self, request: Request) -> Reply {
        match self.reply(request) {
            Ok(reply) => reply,
            Err(error) => failure(&error),
        }
    }

    fn reply(&mut self, request: Request) -> io::Result<Reply> {
        match request {
            Request::Open { path, flags, attributes } => {
                let file = open(&path, flags, &attributes)?;
                return self.add(Handle::File(file));
            }
            Request::Opendir { path } => {
                let path = PathBuf::from(as_path(&path));
                let entries = fs::read_dir(&path)?;
                return self.add(Handle::Folder(path, entries));
            }
            Request::Close { handle } => {
                self.handles.remove(&key(&handle)?).ok_or_else(no_handle)?;
            }
            Request::Read { handle, offset, length } => {
                let mut data = vec![0; (length as usize).min(DATA_MAX)];
                let read = self.file(&handle)?.read_at(&mut data, offset)?;
                if read == 0 && !data.is_empty() {
                    return Ok(Reply::Status(Status::Eof, "end of file".to_owned()));
                }
                data.truncate(read);
                return Ok(Reply::Data(data));
            }
            Request::Write { handle, offset, data } => self.file(&handle)?.write_all_at(&data, offset)?,
            Request::Lstat { path } => return Ok(about(&fs::symlink_metadata(as_path(&path))?)),
            Request::Stat { path } => return Ok(about(&fs::metadata(as_path(&path))?)),
            Request::Fstat { handle } => return Ok(about(&self.file(&handle)?.metadata()?)),
            Request::Setstat { path, attributes } => set_path(as_path(&path), &attributes)?,
            Request::Lsetstat { path, attributes } => set_link(as_path(&path), &attributes)?,
            Request::Fsetstat { handle, attributes } => set_file(self.file(&handle)?, &attributes)?,
            Request::Readdir { handle } => return self.names(&handle),
            Request::Remove { path } => fs::remove_file(as_path(&path))?,
            Request::Mkdir { path, attributes } => {
                fs::DirBuilder::new()
                    .mode(attributes.mode.unwrap_or(0o777) & 0o7777)
                    .create(as_path(&path))?;
            }
            Request::Rmdir { path } => fs::remove_dir(as_path(&path))?,
            Request::Realpath { path } => return Ok(one_name(real_path(&path)?)),
            Request::Readlink { path } => return Ok(one_name(fs::read_link(as_path(&path))?)),
            // Version 3 replaces nothing; what does is an extension.
            Request::Rename { from, to } => {
                renameat2(AT_FDCWD, as_path(&from), AT_FDCWD, as_path(&to), RenameFlags::RENAME_NOREPLACE)?;
            }
            Request::PosixRename { from, to } => fs::rename(as_path(&from), as_path(&to))?,
            Request::Symlink { target, link } => symlink(as_path(&target), as_path(&link))?,
            Request::Hardlink { from, to } => fs::hard_link(as_path(&from), as_path(&to))?,
            Request::Fsync { handle } => self.file(&handle)?.sync_all()?,
            Request::Statvfs { path } => return Ok(space(&statvfs(as_path(&path))?)),
            Request::Fstatvfs { handle } => return Ok(space(&fstatvfs(self.file(&handle)?)?)),
            Request::Limits => {
                let numbers = [PACKET_MAX, DATA_MAX, DATA_MAX, HANDLES_MAX];
                return Ok(Reply::Numbers(numbers.iter().map(|number| *number as u64).collect()));
            }
            Request::Unsupported => {
                return Ok(Reply::Status(Status::OpUnsupported, "there is no such request".to_owned()));
            }
        }
        Ok(Reply::Status(Status::Ok, "done".to_owned()))
    }

    fn add(&mut self, handle: Handle) -> io::Result<Reply> {
        if self.handles.len() >= HANDLES_MAX {
            return Err(io::Error::other("too many open handles"));
        }
        while self.handles.contains_key(&self.last) {
            self.last = self.last.wrapping_add(1);
        }
        self.handles.insert(self.last, handle);
        Ok(Reply::Handle(self.last.to_be_bytes().to_vec()))
    }

    fn file(&self, handle: &[u8]) -> io::Result<&File> {
        match self.handles.get(&key(handle)?) {
            Some(Handle::File(file)) => Ok(file),
            _ => Err(no_handle()),
        }
    }

    fn names(&mut self, handle: &[u8]) -> io::Result<Reply> {
        let Some(Handle::Folder(path, entries)) = self.handles.get_mut(&key(handle)?) else {
            return Err(no_handle());
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64);
        let mut names = Vec::new();
        for entry in entries.take(NAMES_MAX) {
            let name = entry?.file_name();
            // What is gone meanwhile is not named.
            if let Ok(about) = fs::symlink_metadata(path.join(&name)) {
                let name = name.into_vec();
                let long = long_name(&name, &about, now);
                names.push(Name { name, long, attributes: (&about).into() });
            }
        }
        if names.is_empty() {
            return Ok(Reply::Status(Status::Eof, "no more files".to_owned()));
        }
        Ok(Reply::Names(names))
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(if bytes.is_empty() { b"." } else { bytes }))
}

fn key(handle: &[u8]) -> io::Result<u32> {
    handle.try_into().map(u32::from_be_bytes).map_err(|_| no_handle())
}

fn no_handle() -> io::Error {
    io::Error::other("there is no such handle")
}

fn about(metadata: &Metadata) -> Reply {
    Reply::Attributes(metadata.into())
}

fn one_name(path: PathBuf) -> Reply {
    let name = path.into_os_string().into_vec();
    Reply::Names(vec![Name { long: name.clone(), name, attributes: Attributes::default() }])
}

/// A whole path; the last part need not exist, for a client asks before it makes a file.
fn real_path(path: &[u8]) -> io::Result<PathBuf> {
    let path = as_path(path);
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(fs::canonicalize(parent)?.join(name))
        }
        other => other,
    }
}

fn open(path: &[u8], flags: u32, attributes: &Attributes) -> io::Result<File> {
    let mut how = match (flags & 1 != 0, flags & 2 != 0) {
        (true, true) => OFlag::O_RDWR,
        (false, true) => OFlag::O_WRONLY,
        _ => OFlag::O_RDONLY,
    };
    for (bit, flag) in
        [(4, OFlag::O_APPEND), (8, OFlag::O_CREAT), (0x10, OFlag::O_TRUNC), (0x20, OFlag::O_EXCL)]
    {
        if flags & bit != 0 {
            how |= flag;
        }
    }
    let mode = Mode::from_bits_truncate(attributes.mode.unwrap_or(0o666) & 0o7777);
    Ok(nix::fcntl::open(as_path(path), how | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, mode)?.into())
}

fn time(seconds: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::from(seconds))
}

fn set_file(file: &File, attributes: &Attributes) -> io::Result<()> {
    if let Some(size) = attributes.size {
        file.set_len(size)?;
    }
    if let Some((user, group)) = attributes.owner {
        fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    if let Some(mode) = attributes.mode {
        file.set_permissions(Permissions::from_mode(mode & 0o7777))?;
    }
    if let Some((access, change)) = attributes.times {
        file.set_times(fs::FileTimes::new().set_accessed(time(access)).set_modified(time(change)))?;
    }
    Ok(())
}

fn set_path(path: &Path, attributes: &Attributes) -> io::Result<()> {
    if let Some(size) = attributes.size {
        nix::unistd::truncate(path, i64::try_from(size).map_err(io::Error::other)?)?;
    }
    if let Some((user, group)) = attributes.owner {
        chown(path, Some(user), Some(group))?;
    }
    if let Some(mode) = attributes.mode {
        fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))?;
    }
    if let Some((access, change)) = attributes.times {
        set_times(path, access, change, AtFlags::empty())?;
    }
    Ok(())
}

/// The same of a link itself, as far as a link has them.
fn set_link(path: &Path, attributes: &Attributes) -> io::Result<()> {
    if attributes.size.is_some() || attributes.mode.is_some() {
        return Err(io::Error::other("a link has no size and no mode that could be set"));
    }
    if let Some((user, group)) = attributes.owner {
        lchown(path, Some(user), Some(group))?;
    }
    if let Some((access, change)) = attributes.times {
        set_times(path, access, change, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn set_times(path: &Path, access: u32, change: u32, flags: AtFlags) -> io::Result<()> {
    use nix::sys::stat::{UtimensatFlags, utimensat};
    use nix::sys::time::TimeSpec;
    let flags =
        if flags.is_empty() { UtimensatFlags::FollowSymlink } else { UtimensatFlags::NoFollowSymlink };
    let time = |seconds: u32| TimeSpec::new(i64::from(seconds), 0);
    Ok(utimensat(AT_FDCWD, path, &time(access), &time(change), flags)?)
}

/// OpenSSH's PROTOCOL, section 4.4.
fn space(about: &Statvfs) -> Reply {
    let flags = u64::from(about.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY))
        | (u64::from(about.flags().contains(nix::sys::statvfs::FsFlags::ST_NOSUID)) << 1);
    Reply::Numbers(vec![
        about.block_size(),
        about.fragment_size(),
        about.blocks(),
        about.blocks_free(),
        about.blocks_available(),
        about.files(),
        about.files_free(),
        about.files_available(),
        about.filesystem_id(),
        flags,
        about.name_max(),
    ])
}

fn failure(error: &io::Error) -> Reply {
    let status = match error.kind() {
        io::ErrorKind::NotFound => Status::NoSuchFile,
        io::ErrorKind::PermissionDenied => Status::PermissionDenied,
        _ => Status::Failure,
    };
    Reply::Status(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_have_a_bound_and_are_of_their_kind() {
        let mut files = Files::default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().as_os_str().as_bytes().to_vec();
        let Reply::Handle(handle) = files.serve(Request::Opendir { path: path.clone() }) else { panic!() };
        let read = files.serve(Request::Read { handle: handle.clone(), offset: 0, length: 1 });
        assert!(matches!(read, Reply::Status(Status::Failure, _)));
        for _ in 1..HANDLES_MAX {
            assert!(matches!(files.serve(Request::Opendir { path: path.clone() }), Reply::Handle(_)));
        }
        assert!(matches!(files.serve(Request::Opendir { path }), Reply::Status(Status::Failure, _)));
        assert!(matches!(
            files.serve(Request::Close { handle: handle.clone() }),
            Reply::Status(Status::Ok, _)
        ));
        assert!(matches!(files.serve(Request::Close { handle }), Reply::Status(Status::Failure, _)));
    }

    #[test]
    fn a_rename_replaces_only_as_an_extension() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).into_os_string().into_vec();
        fs::write(folder.path().join("a"), "1").unwrap();
        fs::write(folder.path().join("b"), "2").unwrap();
        let mut files = Files::default();
        let reply = files.serve(Request::Rename { from: path("a"), to: path("b") });
        assert!(matches!(reply, Reply::Status(Status::Failure, _)));
        let reply = files.serve(Request::PosixRename { from: path("a"), to: path("b") });
        assert!(matches!(reply, Reply::Status(Status::Ok, _)));
        assert_eq!(fs::read_to_string(folder.path().join("b")).unwrap(), "1");
    }
}
