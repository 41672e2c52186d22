//! Links whose other end is a program: the kernel's `Documentation/networking/tuntap.rst`.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;

/// `IFF_TUN`: packets of IP.
pub const TUN: u16 = 0x0001;
/// `IFF_TAP`: frames of Ethernet.
pub const TAP: u16 = 0x0002;
/// `IFF_MULTI_QUEUE`
pub const MULTI_QUEUE: u16 = 0x0100;
/// `IFF_NO_PI`: no four bytes before each packet.
pub const NO_PACKET_INFO: u16 = 0x1000;
/// `IFF_VNET_HDR`
pub const VNET_HEADER: u16 = 0x4000;
/// `IFF_TUN_EXCL`: one that is there already is an error.
const EXCLUSIVE: u16 = 0x8000;

nix::ioctl_write_ptr_bad!(
    /// `#define TUNSETIFF _IOW('T', 202, int)`, though it takes a `struct ifreq`.
    set_interface,
    nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
    libc::ifreq
);
nix::ioctl_write_int_bad!(
    /// `#define TUNSETPERSIST _IOW('T', 203, int)`
    set_persist,
    nix::request_code_write!(b'T', 203, size_of::<libc::c_int>())
);
nix::ioctl_write_int_bad!(
    /// `#define TUNSETOWNER _IOW('T', 204, int)`
    set_owner,
    nix::request_code_write!(b'T', 204, size_of::<libc::c_int>())
);
nix::ioctl_write_int_bad!(
    /// `#define TUNSETGROUP _IOW('T', 206, int)`
    set_group,
    nix::request_code_write!(b'T', 206, size_of::<libc::c_int>())
);

/// Makes a link that stays, of the kind and with the options that `flags` says, which this user
/// and this group may use; without either only who may administer the network.
///
/// # Errors
/// The kernel's: `EBUSY` when it is there already, `ENOENT` without the driver; a name that is too
/// long is `InvalidInput`.
pub fn create(name: &str, flags: u16, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    if name.len() >= libc::IFNAMSIZ {
        return Err(invalid());
    }
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let flags = (flags | EXCLUSIVE).cast_signed();
    let request = libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    let id = |id: u32| i32::try_from(id).map_err(|_| invalid());
    let fd = device.as_raw_fd();
    // SAFETY: the descriptor is open and the request is whole, with its name ended by a NUL.
    // Needed because the driver is told what to do by ioctl only.
    unsafe { set_interface(fd, &raw const request) }?;
    if let Some(owner) = owner {
        // SAFETY: an open descriptor and a number. Needed as above.
        unsafe { set_owner(fd, id(owner)?) }?;
    }
    if let Some(group) = group {
        // SAFETY: an open descriptor and a number. Needed as above.
        unsafe { set_group(fd, id(group)?) }?;
    }
    // Last: when anything before fails, the link goes with the descriptor.
    // SAFETY: an open descriptor and a number. Needed as above.
    unsafe { set_persist(fd, 1) }?;
    Ok(())
}
