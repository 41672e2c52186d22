//! Whole frames of one link: packet(7), with a filter that the kernel runs (socket(7),
//! `SO_ATTACH_FILTER`).

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// One instruction of a classic BPF program: code, jump if true, jump if false, operand.
pub type Instruction = (u16, u8, u8, u32);

/// A non-blocking socket that receives the whole frames of the link `index` with this Ethernet
/// type that `filter` lets through, and sends whole frames there.
///
/// # Errors
/// The kernel's: no such link, no right to do so, a program that it does not accept.
pub fn open(index: u32, ethernet_type: u16, filter: &[Instruction]) -> io::Result<OwnedFd> {
    // Without a protocol nothing arrives before the filter stands.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
    let mut program: Vec<libc::sock_filter> =
        filter.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies `len` instructions from `filter`, which lives until the call
    // returns. Needed because nix has no SO_ATTACH_FILTER.
    let code = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    let index = i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ethernet_type.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is whole and of the length that is said. Needed because nix cannot make
    // an address of a link.
    let code = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if code == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_filter_lets_through_arrives() {
        use nix::sys::socket::{MsgFlags, recv, send};
        let loopback = nix::net::if_::if_nametoindex("lo").unwrap();
        // The length of a frame must be 61: BPF_LD|W|LEN, BPF_JMP|JEQ|K, BPF_RET|K.
        let filter = [(0x80, 0, 0, 0), (0x15, 0, 1, 61), (6, 0, 0, 0xffff), (6, 0, 0, 0)];
        let socket = open(loopback, 0x88b5, &filter).unwrap();
        let sender = open(loopback, 0x88b6, &[(6, 0, 0, 0)]).unwrap();
        let mut frame = vec![0; 62];
        frame[12..14].copy_from_slice(&0x88b5_u16.to_be_bytes());
        send(sender.as_raw_fd(), &frame, MsgFlags::empty()).unwrap();
        frame.pop();
        send(sender.as_raw_fd(), &frame, MsgFlags::empty()).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()), Ok(61));
    }

    #[test]
    fn a_link_that_is_not_there_is_an_error() {
        assert!(open(u32::MAX, 0x0800, &[(6, 0, 0, 0)]).is_err());
        assert!(open(i32::MAX as u32, 0x0800, &[(6, 0, 0, 0)]).is_err());
    }
}
