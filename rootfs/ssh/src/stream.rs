//! `ssh-stream PATH`: a UNIX socket on stdin and stdout, for a forwarded connection.
//!
//! Runs as the user, so that the socket's permissions and `SO_PEERCRED` are the user's. Says
//! [`CONNECTED`] first.

use crate::applets::fail;
use crate::server::CONNECTED;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// The applet.
pub(crate) fn main(arguments: &[String]) -> u8 {
    let [path] = arguments else {
        eprintln!("error: a path is needed\nhint: ssh-stream PATH");
        return 2;
    };
    match run(path) {
        Ok(()) => 0,
        Err(error) => fail(&error),
    }
}

fn run(path: &str) -> io::Result<()> {
    let socket = UnixStream::connect(path)?;
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    output.write_all(&[CONNECTED])?;
    let mut to = socket.try_clone()?;
    std::thread::spawn(move || {
        // Its end, or that of the connection, is the socket's end of file.
        let _ =
            io::stdin().as_fd().try_clone_to_owned().and_then(|input| copy(&mut File::from(input), &mut to));
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut from = socket;
    copy(&mut from, &mut output)
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => to.write_all(&buffer[..length])?,
        }
    }
}
