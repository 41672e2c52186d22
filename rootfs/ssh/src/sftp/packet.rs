//! Packets of the SSH File Transfer Protocol, version 3 (draft-ietf-secsh-filexfer-02), with the
//! extensions of OpenSSH's PROTOCOL file. Names are bytes, as files have them.

use super::attributes::Attributes;

/// The largest packet that is taken, in bytes behind its length, as OpenSSH's.
pub const PACKET_MAX: usize = 256 << 10;
/// The most bytes of one read or write.
pub const DATA_MAX: usize = PACKET_MAX - 1024;

/// A packet that ends too early, or is of no known form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a packet of no known form")]
pub struct Malformed;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names and fields are the draft's")]
pub enum Request {
    Open { path: Vec<u8>, flags: u32, attributes: Attributes },
    Close { handle: Vec<u8> },
    Read { handle: Vec<u8>, offset: u64, length: u32 },
    Write { handle: Vec<u8>, offset: u64, data: Vec<u8> },
    Lstat { path: Vec<u8> },
    Fstat { handle: Vec<u8> },
    Setstat { path: Vec<u8>, attributes: Attributes },
    Fsetstat { handle: Vec<u8>, attributes: Attributes },
    Opendir { path: Vec<u8> },
    Readdir { handle: Vec<u8> },
    Remove { path: Vec<u8> },
    Mkdir { path: Vec<u8>, attributes: Attributes },
    Rmdir { path: Vec<u8> },
    Realpath { path: Vec<u8> },
    Stat { path: Vec<u8> },
    Rename { from: Vec<u8>, to: Vec<u8> },
    Readlink { path: Vec<u8> },
    Symlink { target: Vec<u8>, link: Vec<u8> },
    PosixRename { from: Vec<u8>, to: Vec<u8> },
    Hardlink { from: Vec<u8>, to: Vec<u8> },
    Fsync { handle: Vec<u8> },
    Lsetstat { path: Vec<u8>, attributes: Attributes },
    Statvfs { path: Vec<u8> },
    Fstatvfs { handle: Vec<u8> },
    Limits,
    Unsupported,
}

/// A packet from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// The first one, with the client's version.
    Init(u32),
    /// A request and its number.
    Request(u32, Request),
}

/// Reads a packet, without its length. A request whose fields are wrong keeps its number.
///
/// # Errors
/// There is not even a number: `Err(None)`; else `Err(Some(number))`.
pub fn parse(packet: &[u8]) -> Result<Packet, Option<u32>> {
    let mut fields = Fields(packet);
    let kind = fields.byte().map_err(|_| None)?;
    let number = fields.u32().map_err(|_| None)?;
    if kind == 1 {
        return Ok(Packet::Init(number));
    }
    request(kind, &mut fields)
        .map(|request| Packet::Request(number, request))
        .map_err(|Malformed| Some(number))
}

fn request(kind: u8, fields: &mut Fields<'_>) -> Result<Request, Malformed> {
    Ok(match kind {
        3 => Request::Open { path: fields.text()?, flags: fields.u32()?, attributes: fields.attributes()? },
        4 => Request::Close { handle: fields.text()? },
        5 => Request::Read { handle: fields.text()?, offset: fields.u64()?, length: fields.u32()? },
        6 => Request::Write { handle: fields.text()?, offset: fields.u64()?, data: fields.text()? },
        7 => Request::Lstat { path: fields.text()? },
        8 => Request::Fstat { handle: fields.text()? },
        9 => Request::Setstat { path: fields.text()?, attributes: fields.attributes()? },
        10 => Request::Fsetstat { handle: fields.text()?, attributes: fields.attributes()? },
        11 => Request::Opendir { path: fields.text()? },
        12 => Request::Readdir { handle: fields.text()? },
        13 => Request::Remove { path: fields.text()? },
        14 => Request::Mkdir { path: fields.text()?, attributes: fields.attributes()? },
        15 => Request::Rmdir { path: fields.text()? },
        16 => Request::Realpath { path: fields.text()? },
        17 => Request::Stat { path: fields.text()? },
        18 => Request::Rename { from: fields.text()?, to: fields.text()? },
        19 => Request::Readlink { path: fields.text()? },
        // The draft has them the other way round; every client does as OpenSSH does.
        20 => Request::Symlink { target: fields.text()?, link: fields.text()? },
        200 => match fields.text()?.as_slice() {
            b"posix-rename@openssh.com" => Request::PosixRename { from: fields.text()?, to: fields.text()? },
            b"hardlink@openssh.com" => Request::Hardlink { from: fields.text()?, to: fields.text()? },
            b"fsync@openssh.com" => Request::Fsync { handle: fields.text()? },
            b"lsetstat@openssh.com" => {
                Request::Lsetstat { path: fields.text()?, attributes: fields.attributes()? }
            }
            b"statvfs@openssh.com" => Request::Statvfs { path: fields.text()? },
            b"fstatvfs@openssh.com" => Request::Fstatvfs { handle: fields.text()? },
            b"limits@openssh.com" => Request::Limits,
            _ => Request::Unsupported,
        },
        _ => Request::Unsupported,
    })
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes(&mut self, length: usize) -> Result<&[u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.bytes(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok((u64::from(self.u32()?) << 32) | u64::from(self.u32()?))
    }

    fn text(&mut self) -> Result<Vec<u8>, Malformed> {
        let length = self.u32()? as usize;
        Ok(self.bytes(length)?.to_vec())
    }

    fn attributes(&mut self) -> Result<Attributes, Malformed> {
        let flags = self.u32()?;
        let mut attributes = Attributes::default();
        if flags & 1 != 0 {
            attributes.size = Some(self.u64()?);
        }
        if flags & 2 != 0 {
            attributes.owner = Some((self.u32()?, self.u32()?));
        }
        if flags & 4 != 0 {
            attributes.mode = Some(self.u32()?);
        }
        if flags & 8 != 0 {
            attributes.times = Some((self.u32()?, self.u32()?));
        }
        // Extended attributes are of no kind that is known here.
        Ok(attributes)
    }
}

/// The codes of `SSH_FXP_STATUS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the draft's")]
pub enum Status {
    Ok = 0,
    Eof = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    BadMessage = 5,
    OpUnsupported = 8,
}

/// A file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Its name.
    pub name: Vec<u8>,
    /// Its line as `ls -l` has it.
    pub long: Vec<u8>,
    /// Its attributes.
    pub attributes: Attributes,
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// `SSH_FXP_STATUS` with a message.
    Status(Status, String),
    /// `SSH_FXP_HANDLE`
    Handle(Vec<u8>),
    /// `SSH_FXP_DATA`
    Data(Vec<u8>),
    /// `SSH_FXP_NAME`
    Names(Vec<Name>),
    /// `SSH_FXP_ATTRS`
    Attributes(Attributes),
    /// `SSH_FXP_EXTENDED_REPLY`, numbers only.
    Numbers(Vec<u64>),
}

impl Reply {
    /// The packet with its length.
    pub fn encode(&self, number: u32) -> Vec<u8> {
        let kind = match self {
            Self::Status(..) => 101,
            Self::Handle(_) => 102,
            Self::Data(_) => 103,
            Self::Names(_) => 104,
            Self::Attributes(_) => 105,
            Self::Numbers(_) => 201,
        };
        let mut packet = vec![0, 0, 0, 0, kind];
        packet.extend(number.to_be_bytes());
        match self {
            Self::Status(status, message) => {
                packet.extend((*status as u32).to_be_bytes());
                put(&mut packet, message.as_bytes());
                put(&mut packet, b"en");
            }
            Self::Handle(bytes) | Self::Data(bytes) => put(&mut packet, bytes),
            Self::Names(names) => {
                packet.extend((names.len() as u32).to_be_bytes());
                for name in names {
                    put(&mut packet, &name.name);
                    put(&mut packet, &name.long);
                    put_attributes(&mut packet, &name.attributes);
                }
            }
            Self::Attributes(attributes) => put_attributes(&mut packet, attributes),
            Self::Numbers(numbers) => numbers.iter().for_each(|number| packet.extend(number.to_be_bytes())),
        }
        finish(packet)
    }
}

/// The answer to the first packet, with the extensions.
pub fn version() -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0, 2];
    packet.extend(3_u32.to_be_bytes());
    for (name, version) in [
        ("posix-rename@openssh.com", "1"),
        ("statvfs@openssh.com", "2"),
        ("fstatvfs@openssh.com", "2"),
        ("hardlink@openssh.com", "1"),
        ("fsync@openssh.com", "1"),
        ("lsetstat@openssh.com", "1"),
        ("limits@openssh.com", "1"),
    ] {
        put(&mut packet, name.as_bytes());
        put(&mut packet, version.as_bytes());
    }
    finish(packet)
}

fn finish(mut packet: Vec<u8>) -> Vec<u8> {
    let length = (packet.len() - 4) as u32;
    packet[..4].copy_from_slice(&length.to_be_bytes());
    packet
}

fn put(packet: &mut Vec<u8>, bytes: &[u8]) {
    packet.extend((bytes.len() as u32).to_be_bytes());
    packet.extend(bytes);
}

fn put_attributes(packet: &mut Vec<u8>, attributes: &Attributes) {
    let flag = |present: bool, bit: u32| if present { bit } else { 0 };
    let flags = flag(attributes.size.is_some(), 1)
        | flag(attributes.owner.is_some(), 2)
        | flag(attributes.mode.is_some(), 4)
        | flag(attributes.times.is_some(), 8);
    packet.extend(flags.to_be_bytes());
    packet.extend(attributes.size.iter().flat_map(|size| size.to_be_bytes()));
    let pairs =
        |pair: Option<(u32, u32)>| pair.into_iter().flat_map(|(a, b)| [a, b]).flat_map(u32::to_be_bytes);
    packet.extend(pairs(attributes.owner));
    packet.extend(attributes.mode.iter().flat_map(|mode| mode.to_be_bytes()));
    packet.extend(pairs(attributes.times));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_that_end_too_early_keep_the_number() {
        assert_eq!(parse(&[]), Err(None));
        assert_eq!(parse(&[5, 0, 0, 0]), Err(None));
        assert_eq!(parse(&[1, 0, 0, 0, 3]), Ok(Packet::Init(3)));
        assert_eq!(parse(&[7, 0, 0, 0, 9, 0, 0, 0, 5, b'a']), Err(Some(9)));
        assert_eq!(parse(&[7, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff]), Err(Some(9)));
        let lstat = Request::Lstat { path: b"a".to_vec() };
        assert_eq!(parse(&[7, 0, 0, 0, 9, 0, 0, 0, 1, b'a']), Ok(Packet::Request(9, lstat)));
        assert_eq!(parse(&[99, 0, 0, 0, 9]), Ok(Packet::Request(9, Request::Unsupported)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_packet_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
