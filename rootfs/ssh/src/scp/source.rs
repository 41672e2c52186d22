//! `scp -f`: files are sent to the client.

use super::message::{Entry, Message, Times};
use super::{Answer, CHUNK, DEPTH_MAX, Line, Manner};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Sends files; gives how many could not be.
///
/// # Errors
/// A stream fails, or the client gives up.
pub fn source<R: Read, W: Write>(
    line: &mut Line<R, W>,
    manner: Manner,
    paths: &[PathBuf],
) -> io::Result<usize> {
    line.answer()?;
    for path in paths {
        one(line, manner, path, 0)?;
    }
    Ok(line.errors)
}

fn one<R: Read, W: Write>(
    line: &mut Line<R, W>,
    manner: Manner,
    path: &Path,
    depth: usize,
) -> io::Result<()> {
    let opened = (|| {
        // A pipe that nobody writes must not hold the copy up.
        let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
        let about = file.metadata()?;
        let name = name(path)?;
        match about.is_file() || (about.is_dir() && manner.recursive && depth < DEPTH_MAX) {
            true => Ok((file, about, name)),
            false if about.is_dir() && manner.recursive => Err(io::Error::other("too deep a folder")),
            false => Err(io::Error::other("not a regular file")),
        }
    })();
    let (file, about, name) = match opened {
        Ok(opened) => opened,
        Err(error) => return line.bad(path, &error),
    };
    if manner.preserve {
        line.send(&Message::Times(times(&about)).line())?;
        if line.answer()? == Answer::Failed {
            return Ok(());
        }
    }
    let mode = about.mode() & 0o7777;
    if about.is_dir() {
        line.send(&Message::Folder(Entry { mode, size: 0, name }).line())?;
        if line.answer()? == Answer::Failed {
            return Ok(());
        }
        folder(line, manner, path, depth)?;
        line.send(&Message::End.line())?;
        line.answer()?;
        return Ok(());
    }
    line.send(&Message::File(Entry { mode, size: about.len(), name }).line())?;
    if line.answer()? == Answer::Failed {
        return Ok(());
    }
    match content(line, &file, about.len())? {
        Ok(()) => line.good()?,
        Err(error) => line.bad(path, &error)?,
    }
    line.answer()?;
    Ok(())
}

/// All in a folder, in the order of names.
fn folder<R: Read, W: Write>(
    line: &mut Line<R, W>,
    manner: Manner,
    path: &Path,
    depth: usize,
) -> io::Result<()> {
    let entries = fs::read_dir(path).and_then(|entries| {
        let mut names = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    });
    match entries {
        Ok(entries) => entries.iter().try_for_each(|entry| one(line, manner, entry, depth + 1)),
        Err(error) => line.bad(path, &error),
    }
}

/// As many bytes as were promised: zeros in place of what cannot be read.
fn content<R: Read, W: Write>(
    line: &mut Line<R, W>,
    mut file: &File,
    size: u64,
) -> io::Result<io::Result<()>> {
    let mut outcome = Ok(());
    let mut rest = size;
    let mut buffer = vec![0; CHUNK];
    while rest > 0 {
        let most = buffer.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        let length = match outcome {
            Ok(()) => match file.read(&mut buffer[..most]) {
                Ok(0) => {
                    outcome = Err(io::Error::other("it has become shorter"));
                    continue;
                }
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    outcome = Err(error);
                    continue;
                }
            },
            Err(_) => {
                buffer.fill(0);
                most
            }
        };
        line.send(&buffer[..length])?;
        rest -= length as u64;
    }
    Ok(outcome)
}

/// The last part of a path. The protocol has no quotes, so a name of two lines cannot be sent.
fn name(path: &Path) -> io::Result<Vec<u8>> {
    let whole = match path.file_name() {
        Some(_) => path.to_owned(),
        None => fs::canonicalize(path)?,
    };
    let name = whole.file_name().ok_or_else(|| io::Error::other("it has no name"))?.as_bytes();
    if name.contains(&b'\n') {
        return Err(io::Error::other("its name has a line's end"));
    }
    Ok(name.to_vec())
}

fn times(about: &Metadata) -> Times {
    // Times before 1970 have no form in the protocol.
    let time = |seconds: i64, nanos: i64| if seconds < 0 { (0, 0) } else { (seconds, nanos / 1000) };
    Times { changed: time(about.mtime(), about.mtime_nsec()), read: time(about.atime(), about.atime_nsec()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(paths: &[PathBuf], manner: Manner, input: &[u8]) -> (io::Result<usize>, String) {
        let mut line = Line::new(input, Vec::new());
        let outcome = source(&mut line, manner, paths);
        (outcome, String::from_utf8(line.output).unwrap())
    }

    #[test]
    fn files_are_sent_and_what_cannot_be_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "abc").unwrap();
        fs::create_dir(path("d")).unwrap();
        fs::set_permissions(path("a"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        let (outcome, output) = run(&[path("d"), path("a")], Manner::default(), &[0; 3]);
        assert_eq!(outcome.unwrap(), 1);
        assert_eq!(output, format!("\x01scp: {}: not a regular file\nC0640 3 a\nabc\0", path("d").display()));
        let recursive = Manner { recursive: true, ..Manner::default() };
        let (outcome, output) = run(&[path("d")], recursive, &[0; 3]);
        assert_eq!(outcome.unwrap(), 0);
        assert_eq!(output, "D0755 0 d\nE\n");
    }

    #[test]
    fn a_client_that_gives_up_ends_the_copy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "abc").unwrap();
        assert!(run(std::slice::from_ref(&file), Manner::default(), b"\0\x02no\n").0.is_err());
        assert!(run(std::slice::from_ref(&file), Manner::default(), b"").0.is_err());
        let (outcome, output) = run(&[file], Manner::default(), b"\0\x01no room\n");
        assert_eq!((outcome.unwrap(), output.ends_with("a\n")), (1, true));
    }
}
