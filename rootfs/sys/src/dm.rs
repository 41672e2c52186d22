//! Device-mapper by its ioctls: just enough to map one read-only target. linux/dm-ioctl.h.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

/// `sizeof(struct dm_ioctl)`.
const HEADER: usize = 312;
/// `sizeof(struct dm_target_spec)`.
const TARGET_SPEC: usize = 40;
/// `DM_NAME_LEN`, with the terminating NUL.
const NAME_LEN: usize = 128;
/// `DM_MAX_TYPE_NAME`, with the terminating NUL.
const TYPE_LEN: usize = 16;
/// `DM_READONLY_FLAG`
const READONLY: u32 = 1 << 0;

mod ioctl {
    /// Stands for `struct dm_ioctl`: the opcode carries its size.
    #[repr(C, align(8))]
    pub struct Header(pub [u8; super::HEADER]);
    // #define DM_DEV_CREATE _IOWR(DM_IOCTL, DM_DEV_CREATE_CMD, struct dm_ioctl)
    nix::ioctl_readwrite!(dev_create, 0xfd, 3, Header);
    // #define DM_DEV_SUSPEND _IOWR(DM_IOCTL, DM_DEV_SUSPEND_CMD, struct dm_ioctl)
    nix::ioctl_readwrite!(dev_suspend, 0xfd, 6, Header);
    // #define DM_TABLE_LOAD _IOWR(DM_IOCTL, DM_TABLE_LOAD_CMD, struct dm_ioctl)
    nix::ioctl_readwrite!(table_load, 0xfd, 9, Header);
}

/// A target that covers a whole device, as `dmsetup create --table "0 SECTORS TYPE PARAMETERS"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Length in sectors of 512 bytes.
    pub sectors: u64,
    /// Target type (`verity`).
    pub target_type: &'static str,
    /// Its parameters: Documentation/admin-guide/device-mapper.
    pub parameters: String,
}

/// A device that could not be mapped.
#[derive(Debug, thiserror::Error)]
pub enum DmError {
    /// The name does not fit.
    #[error("device-mapper name or target type {0:?} is too long or holds a NUL")]
    Name(String),
    /// There is no control device.
    #[error("cannot open /dev/mapper/control (is dm-mod loaded?): {0}")]
    Control(io::Error),
    /// One of the requests was refused.
    #[error("device-mapper refused {request} of {name} ({table}): {cause}")]
    Refused {
        /// The ioctl.
        request: &'static str,
        /// Name of the mapping.
        name: String,
        /// The target's parameters.
        table: String,
        /// The kernel's reason; its log says more.
        cause: io::Error,
    },
}

/// Maps `target` read-only under `name`; gives the device's node (`/dev/dm-0`, made by devtmpfs).
///
/// # Errors
/// See [`DmError`].
pub fn map_read_only(name: &str, target: &Target) -> Result<String, DmError> {
    let control =
        OpenOptions::new().read(true).write(true).open("/dev/mapper/control").map_err(DmError::Control)?;
    let refused = |request| {
        move |cause: nix::Error| DmError::Refused {
            request,
            name: name.to_owned(),
            table: target.parameters.clone(),
            cause: cause.into(),
        }
    };
    let mut create = request(name, READONLY, &[])?;
    call(&control, ioctl::dev_create, &mut create).map_err(refused("DM_DEV_CREATE"))?;
    let mut load = request(name, READONLY, &table(target)?)?;
    load[20..24].copy_from_slice(&1_u32.to_ne_bytes()); // target_count
    call(&control, ioctl::table_load, &mut load).map_err(refused("DM_TABLE_LOAD"))?;
    // Without DM_SUSPEND_FLAG this request resumes, which makes the loaded table live.
    let mut resume = request(name, 0, &[])?;
    call(&control, ioctl::dev_suspend, &mut resume).map_err(refused("DM_DEV_SUSPEND"))?;
    let mut dev = [0; 8];
    dev.copy_from_slice(&resume[40..48]);
    // The device number as huge_encode_dev() makes it; dm has one major, minors below 256 fill the low byte.
    let dev = u64::from_ne_bytes(dev);
    let minor = (dev & 0xff) | ((dev >> 12) & 0xfff_ff00);
    Ok(format!("/dev/dm-{minor}"))
}

type Ioctl = unsafe fn(libc::c_int, *mut ioctl::Header) -> nix::Result<libc::c_int>;

fn call(control: &File, ioctl: Ioctl, buffer: &mut [u8]) -> nix::Result<()> {
    // SAFETY: the buffer begins with a struct dm_ioctl whose data_size is the buffer's length; the kernel
    // reads and writes nothing beyond that. It copies bytes, so the pointer's alignment does not matter.
    unsafe { ioctl(control.as_raw_fd(), buffer.as_mut_ptr().cast()) }?;
    Ok(())
}

/// A `struct dm_ioctl` with `data` behind it.
fn request(name: &str, flags: u32, data: &[u8]) -> Result<Vec<u8>, DmError> {
    let mut bytes = vec![0; HEADER];
    let mut put = |offset: usize, value: u32| bytes[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    put(0, 4); // version[0]: DM_VERSION_MAJOR; minor and patch level 0 are compatible with every later one
    put(12, (HEADER + data.len()) as u32); // data_size
    put(16, HEADER as u32); // data_start
    put(28, flags);
    put_string(&mut bytes[48..48 + NAME_LEN], name)?;
    bytes.extend_from_slice(data);
    Ok(bytes)
}

/// A `struct dm_target_spec` with its parameters.
fn table(target: &Target) -> Result<Vec<u8>, DmError> {
    let mut bytes = vec![0; TARGET_SPEC];
    bytes[8..16].copy_from_slice(&target.sectors.to_ne_bytes()); // length; sector_start is 0
    put_string(&mut bytes[24..24 + TYPE_LEN], target.target_type)?;
    bytes.extend_from_slice(target.parameters.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    Ok(bytes)
}

fn put_string(field: &mut [u8], text: &str) -> Result<(), DmError> {
    if text.len() >= field.len() || text.contains('\0') {
        return Err(DmError::Name(text.to_owned()));
    }
    field[..text.len()].copy_from_slice(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_laid_out_as_the_header_says() {
        let target = Target { sectors: 16, target_type: "verity", parameters: "1 /dev/vda2".to_owned() };
        let bytes = request("root", READONLY, &table(&target).unwrap()).unwrap();
        assert_eq!(bytes.len(), 312 + 56);
        assert_eq!(bytes[12..20], [112, 1, 0, 0, 56, 1, 0, 0]);
        assert_eq!(bytes[48..53], *b"root\0");
        assert_eq!(bytes[320..328], 16_u64.to_ne_bytes());
        assert_eq!(bytes[336..343], *b"verity\0");
        assert_eq!(bytes[352..364], *b"1 /dev/vda2\0");
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert!(matches!(request(&"r".repeat(128), 0, &[]), Err(DmError::Name(_))));
        assert!(matches!(request("a\0b", 0, &[]), Err(DmError::Name(_))));
    }
}
