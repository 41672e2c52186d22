//! `sftp-server`: file transfer on stdin and stdout, run by sshd as the user. What the user may
//! read and write the kernel decides; nothing is confined beyond that.

pub mod attributes;
pub mod packet;
pub mod serve;

use crate::applets::fail;
use packet::{PACKET_MAX, Packet, Reply, Status};
use serve::Files;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

/// The applet.
pub(crate) fn main(arguments: &[String]) -> u8 {
    if !arguments.is_empty() {
        eprintln!("error: sftp-server takes no arguments");
        return 2;
    }
    // The streams themselves: the standard library's have locks and buffers that are in the way.
    let streams =
        || Ok((io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?));
    let result = streams().and_then(|(input, output)| run(&mut File::from(input), &mut File::from(output)));
    match result {
        Ok(()) => 0,
        Err(error) => fail(&error),
    }
}

/// Serves a client until its end of file.
///
/// # Errors
/// A stream fails, or a packet is larger than [`PACKET_MAX`] or has no number.
pub fn run(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut files = Files::default();
    let mut packet = Vec::new();
    let mut greeted = false;
    while let Some(length) = length(input)? {
        let length = length as usize;
        if length > PACKET_MAX {
            return Err(io::Error::other(format!("a packet of {length} bytes")));
        }
        packet.resize(length, 0);
        input.read_exact(&mut packet)?;
        let answer = match packet::parse(&packet) {
            Ok(Packet::Init(_)) => {
                greeted = true;
                packet::version()
            }
            Ok(Packet::Request(number, request)) if greeted => files.serve(request).encode(number),
            Ok(Packet::Request(number, _)) | Err(Some(number)) => {
                Reply::Status(Status::BadMessage, "not understood".to_owned()).encode(number)
            }
            Err(None) => return Err(io::Error::other("a packet without a number")),
        };
        output.write_all(&answer)?;
    }
    Ok(())
}

/// The next packet's length; none at the end of file between two packets.
fn length(input: &mut impl Read) -> io::Result<Option<u32>> {
    let mut bytes = [0; 4];
    let mut filled = 0;
    while filled < 4 {
        match input.read(&mut bytes[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(u32::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_talks_nonsense_is_answered_or_left() {
        let mut output = Vec::new();
        run(&mut &[0, 0, 0, 5, 7, 0, 0, 0, 9][..], &mut output).unwrap();
        assert_eq!(output[4..13], [101, 0, 0, 0, 9, 0, 0, 0, 5]);
        for bytes in [&[0xff; 8][..], &[0, 0, 0, 1, 7], &[0, 0], &[0, 0, 0, 9, 1]] {
            assert!(run(&mut &*bytes, &mut Vec::new()).is_err(), "{bytes:?}");
        }
    }
}
