//! `scp -t`: what the client sends becomes files.

use super::message::{Entry, Message, Times, parse};
use super::{Answer, CHUNK, DEPTH_MAX, Line, Manner, as_path};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A folder that is being received.
struct Open {
    path: PathBuf,
    times: Option<Times>,
    /// Set when all is in it: it was made with more rights, or `-p` says so.
    mode: Option<u32>,
}

/// Receives files until the client ends; gives how many could not be.
///
/// # Errors
/// A stream fails, the client breaks the protocol or gives up.
pub fn sink<R: Read, W: Write>(line: &mut Line<R, W>, manner: Manner, target: &Path) -> io::Result<usize> {
    if manner.into_folder && !target.is_dir() {
        line.bad(target, &io::Error::from(io::ErrorKind::NotADirectory))?;
        return Ok(line.errors);
    }
    line.good()?;
    let mut folders: Vec<Open> = Vec::new();
    let mut times = None;
    while let Some(text) = line.line()? {
        let message = parse(&text).map_err(|error| line.over(&error.to_string()))?;
        let pending = times.take();
        match message {
            Message::Times(given) => {
                times = Some(given).filter(|_| manner.preserve);
                line.good()?;
            }
            Message::File(entry) => {
                let path = place(&folders, target, &entry.name);
                receive(line, manner, &path, &entry, pending)?;
            }
            Message::Folder(_) if !manner.recursive => {
                return Err(line.over("received directory without -r"));
            }
            Message::Folder(_) if folders.len() >= DEPTH_MAX => return Err(line.over("too deep a folder")),
            Message::Folder(entry) => {
                let path = place(&folders, target, &entry.name);
                match enter(&path, &entry, manner) {
                    Ok(mode) => {
                        folders.push(Open { path, times: pending, mode });
                        line.good()?;
                    }
                    Err(error) => line.bad(&path, &error)?,
                }
            }
            Message::End => {
                let Some(folder) = folders.pop() else { return Err(line.over("unexpected end")) };
                match leave(&folder) {
                    Ok(()) => line.good()?,
                    Err(error) => line.bad(&folder.path, &error)?,
                }
            }
            // The client has told its user already.
            Message::Warning(_) => line.errors += 1,
            Message::Fatal(_) => return Err(io::Error::other("the client gives up")),
        }
    }
    Ok(line.errors)
}

/// Where something goes: into the folder that is open, into the target when that is a folder, else
/// the target is its name.
fn place(folders: &[Open], target: &Path, name: &[u8]) -> PathBuf {
    match folders.last() {
        Some(folder) => folder.path.join(as_path(name)),
        None if target.is_dir() => target.join(as_path(name)),
        None => target.to_owned(),
    }
}

/// Makes the folder, unless it is there; gives the mode that it shall have in the end.
fn enter(path: &Path, entry: &Entry, manner: Manner) -> io::Result<Option<u32>> {
    match fs::metadata(path) {
        Ok(about) if about.is_dir() => Ok(manner.preserve.then_some(entry.mode)),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Writable until all is in it.
            DirBuilder::new().mode(entry.mode | 0o700).create(path)?;
            if manner.preserve || entry.mode & 0o700 == 0o700 {
                return Ok(manner.preserve.then_some(entry.mode));
            }
            let made = fs::metadata(path)?.permissions().mode();
            Ok(Some(made & (entry.mode | 0o077)))
        }
        Err(error) => Err(error),
    }
}

fn leave(folder: &Open) -> io::Result<()> {
    if let Some(times) = folder.times {
        set_times(&folder.path, times)?;
    }
    match folder.mode {
        Some(mode) => fs::set_permissions(&folder.path, Permissions::from_mode(mode)),
        None => Ok(()),
    }
}

/// Receives a file. Its bytes are read in any case, for the next message is behind them.
fn receive<R: Read, W: Write>(
    line: &mut Line<R, W>,
    manner: Manner,
    path: &Path,
    entry: &Entry,
    times: Option<Times>,
) -> io::Result<()> {
    // Written over in place, as scp does: a link's target stays where it is. A pipe that nobody
    // reads must not hold the copy up.
    let fresh = fs::symlink_metadata(path).is_err();
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(entry.mode | 0o200)
        .custom_flags(nix::libc::O_NOCTTY | nix::libc::O_NONBLOCK)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => return line.bad(path, &error),
    };
    line.good()?;
    let mut outcome = Ok(());
    let mut rest = entry.size;
    let mut buffer = vec![0; CHUNK];
    while rest > 0 {
        let most = buffer.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        let length = match line.input.read(&mut buffer[..most]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        rest -= length as u64;
        if outcome.is_ok() {
            outcome = file.write_all(&buffer[..length]);
        }
    }
    outcome = outcome.and_then(|()| finish(&file, path, entry, fresh, manner, times));
    // The sender's word on its side of it.
    if line.answer()? == Answer::Failed {
        return line.good();
    }
    match outcome {
        Ok(()) => line.good(),
        Err(error) => line.bad(path, &error),
    }
}

fn finish(
    file: &File,
    path: &Path,
    entry: &Entry,
    fresh: bool,
    manner: Manner,
    times: Option<Times>,
) -> io::Result<()> {
    let about = file.metadata()?;
    if about.is_file() {
        file.set_len(entry.size)?;
    }
    if manner.preserve {
        file.set_permissions(Permissions::from_mode(entry.mode))?;
    } else if fresh && entry.mode & 0o200 == 0 {
        // It was made writable only to be written.
        file.set_permissions(Permissions::from_mode(about.permissions().mode() & 0o7577))?;
    }
    times.map_or(Ok(()), |times| set_times(path, times))
}

fn set_times(path: &Path, times: Times) -> io::Result<()> {
    let spec = |(seconds, micros): (i64, i64)| TimeSpec::new(seconds, micros * 1000);
    let (read, changed) = (spec(times.read), spec(times.changed));
    Ok(utimensat(nix::fcntl::AT_FDCWD, path, &read, &changed, UtimensatFlags::FollowSymlink)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(target: &Path, manner: Manner, input: &[u8]) -> (io::Result<usize>, Vec<u8>) {
        let mut line = Line::new(input, Vec::new());
        let outcome = sink(&mut line, manner, target);
        (outcome, line.output)
    }

    const RECURSIVE: Manner = Manner { recursive: true, preserve: false, into_folder: false };

    #[test]
    fn files_and_folders_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let input = b"D0750 0 a b\nC0640 3 f\nabc\0E\nC0400 0 g\n\0";
        let (outcome, output) = run(folder.path(), RECURSIVE, input);
        assert_eq!((outcome.unwrap(), output), (0, vec![0; 7]));
        assert_eq!(fs::read(folder.path().join("a b/f")).unwrap(), b"abc");
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a b"), mode("a b/f"), mode("g")), (0o750, 0o640, 0o400));
    }

    #[test]
    fn a_shorter_file_replaces_a_longer_and_times_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "longer").unwrap();
        let manner = Manner { preserve: true, ..Manner::default() };
        run(&path, manner, b"T1000 0 2000 5\nC0600 2 name\nab\0").0.unwrap();
        let about = fs::metadata(&path).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mtime(&about), 1000);
        assert_eq!(std::os::unix::fs::MetadataExt::atime_nsec(&about), 5000);
        assert_eq!(fs::read(&path).unwrap(), b"ab");
    }

    #[test]
    fn what_cannot_be_written_is_told_and_the_rest_is_received() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        let (outcome, output) = run(folder.path(), Manner::default(), b"C0644 1 d\nC0644 1 e\nx\0");
        assert_eq!(outcome.unwrap(), 1);
        assert_eq!(fs::read(folder.path().join("e")).unwrap(), b"x");
        let text = String::from_utf8(output).unwrap();
        assert!(text.starts_with("\0\x01scp: ") && text.ends_with("\n\0\0"), "{text:?}");
    }

    #[test]
    fn the_protocol_is_kept_or_the_copy_ends() {
        let folder = tempfile::tempdir().unwrap();
        for input in [
            &b"C0644 1 ../x\nx\0"[..],
            b"D0755 0 ..\nC0644 1 x\nx\0E\n",
            b"D0755 0 a\n",
            b"E\n",
            b"C0644 9 short\nx",
            b"\x02over\n",
            b"hello\n",
            &[b'A'; 10_000],
        ] {
            let (outcome, _) = run(&folder.path().join("."), Manner::default(), input);
            assert!(outcome.is_err(), "{input:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn nothing_is_made_outside_of_the_target(
            lines in proptest::collection::vec("(C0644 1 [a./]{1,4}\nx\u{0}|D0755 0 [a./]{1,4}\n|E\n|T1 0 2 0\n|[ -~]{0,9}\n)", 0..9)
        ) {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join("target");
            fs::create_dir(&target).unwrap();
            let _ = run(&target, RECURSIVE, lines.concat().as_bytes());
            prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
