//! `scp -t` and `scp -f`: the other end of a client that speaks scp's old protocol (`scp -O`, and
//! every scp before OpenSSH 9.0). It runs as the user; what the user may read and write the kernel
//! decides. A client of its own it is not: there is no ssh in the slot to copy with.
//!
//! The protocol has no specification; OpenSSH's scp.c is the reference. The sending side tells of
//! each file in a line ([`message`]) and the receiving one answers with a byte: 0 go on, 1 and a
//! line that this one failed, 2 and a line that all is over.

pub mod message;
mod sink;
mod source;

pub use sink::sink;
pub use source::source;

use crate::applets::fail;
use message::LINE_MAX;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Folders in folders that are followed.
const DEPTH_MAX: usize = 256;
/// Bytes of a file copied at once.
const CHUNK: usize = 64 << 10;

/// How a copy is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    /// `-r`: folders with all in them.
    pub recursive: bool,
    /// `-p`: times and modes too.
    pub preserve: bool,
    /// `-d`: the target must be a folder.
    pub into_folder: bool,
}

/// What the client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// `-f`: send these.
    Send(Vec<PathBuf>),
    /// `-t`: receive to this.
    Receive(PathBuf),
}

/// The applet.
pub(crate) fn main(arguments: &[String]) -> u8 {
    let words: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let (manner, task) = match read_arguments(&words) {
        Ok(read) => read,
        Err(why) => {
            eprintln!("error: {why}\nhint: run scp where you are: it copies to and from this machine");
            return 2;
        }
    };
    // The streams themselves: the standard library's have locks and buffers that are in the way.
    let streams =
        || Ok((io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?));
    let copied = streams().and_then(|(input, output)| {
        let mut line = Line::new(File::from(input), File::from(output));
        match task {
            Task::Send(paths) => source(&mut line, manner, &paths),
            Task::Receive(target) => sink(&mut line, manner, &target),
        }
    });
    match copied {
        Ok(0) => 0,
        Ok(_) => 1,
        Err(error) => fail(&error),
    }
}

/// Reads the arguments that scp gives the scp of the other machine.
///
/// # Errors
/// A sentence: they are none of these.
pub fn read_arguments(arguments: &[OsString]) -> Result<(Manner, Task), String> {
    let mut manner = Manner::default();
    let (mut send, mut receive) = (false, false);
    let mut rest = arguments.iter();
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(argument) = rest.next() {
        let text = argument.as_bytes();
        if text == b"--" || !text.starts_with(b"-") || text == b"-" {
            paths.extend((text != b"--").then(|| argument.into()));
            paths.extend(rest.map(PathBuf::from));
            break;
        }
        for letter in &text[1..] {
            match letter {
                b'r' => manner.recursive = true,
                b'p' => manner.preserve = true,
                b'd' => manner.into_folder = true,
                b'f' => send = true,
                b't' => receive = true,
                // What is told of the copy goes to the client's own scp alone.
                b'v' | b'q' => {}
                other => return Err(format!("`-{}` is not an option of scp here", other.escape_ascii())),
            }
        }
    }
    match (send, receive) {
        (true, false) if !paths.is_empty() => Ok((manner, Task::Send(paths))),
        (false, true) => match <[PathBuf; 1]>::try_from(paths) {
            Ok([target]) => Ok((manner, Task::Receive(target))),
            Err(_) => Err("-t needs one target".to_owned()),
        },
        _ => Err("there is only the far end of scp here, -f FILE… and -t TARGET".to_owned()),
    }
}

/// The way to the client.
pub struct Line<R, W> {
    input: BufReader<R>,
    output: W,
    /// What could not be done.
    errors: usize,
}

impl<R, W> std::fmt::Debug for Line<R, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("errors", &self.errors).finish_non_exhaustive()
    }
}

/// The client's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    GoOn,
    /// It has told its user why.
    Failed,
}

impl<R: Read, W: Write> Line<R, W> {
    /// On two streams.
    pub fn new(input: R, output: W) -> Self {
        Self { input: BufReader::with_capacity(CHUNK, input), output, errors: 0 }
    }

    /// Sends bytes.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)
    }

    /// Says that all is well.
    fn good(&mut self) -> io::Result<()> {
        self.send(&[0])
    }

    /// Says that something failed, and goes on.
    fn bad(&mut self, what: impl AsRef<Path>, why: &dyn std::fmt::Display) -> io::Result<()> {
        self.errors += 1;
        let what = what.as_ref().to_string_lossy().into_owned();
        let text = format!("scp: {what}: {why}").replace(|c: char| c.is_control(), "?");
        self.send(&message::Message::Warning(text.into_bytes()).line())
    }

    /// Says that the copy ends here.
    fn over(&mut self, why: &str) -> io::Error {
        let line = message::Message::Fatal(format!("scp: protocol error: {why}").into_bytes()).line();
        // It may be gone already.
        let _ = self.send(&line);
        io::Error::other(format!("protocol error: {why}"))
    }

    /// The next line without its end; none at the end between two lines.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.input).take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line)?;
        match line.pop() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(line)),
            Some(_) if line.len() >= LINE_MAX => Err(self.over("too long a line")),
            Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The client's answer to what was sent.
    fn answer(&mut self) -> io::Result<Answer> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        match byte[0] {
            0 => Ok(Answer::GoOn),
            1 => {
                self.errors += 1;
                self.line()?.ok_or(io::ErrorKind::UnexpectedEof)?;
                Ok(Answer::Failed)
            }
            _ => Err(io::Error::other("the client gives up")),
        }
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Manner, Task), String> {
        read_arguments(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn arguments() {
        let plain = Manner::default();
        assert_eq!(read("-t ."), Ok((plain, Task::Receive(".".into()))));
        assert_eq!(read("-f -- -a"), Ok((plain, Task::Send(vec!["-a".into()]))));
        let all = Manner { recursive: true, preserve: true, into_folder: true };
        assert_eq!(read("-v -rp -d -t x"), Ok((all, Task::Receive("x".into()))));
        assert_eq!(read("-f a -r"), Ok((plain, Task::Send(vec!["a".into(), "-r".into()]))));
        for line in ["a b:c", "-t", "-t a b", "-f", "-t -f a", "-S ssh -t a", ""] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
