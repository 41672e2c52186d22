//! Changing the size of what is on a disk while it is in use, and how it is read.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// linux/blkpg.h: `BLKPG_RESIZE_PARTITION`
const BLKPG_RESIZE_PARTITION: libc::c_int = 3;

/// linux/blkpg.h: `struct blkpg_ioctl_arg`
#[repr(C)]
struct BlkpgIoctlArg {
    op: libc::c_int,
    flags: libc::c_int,
    datalen: libc::c_int,
    data: *mut BlkpgPartition,
}

/// linux/blkpg.h: `struct blkpg_partition`
#[repr(C)]
struct BlkpgPartition {
    start: libc::c_longlong,
    length: libc::c_longlong,
    pno: libc::c_int,
    devname: [libc::c_char; 64],
    volname: [libc::c_char; 64],
}

mod ioctl {
    // #define BLKPG _IO(0x12,105)
    nix::ioctl_write_ptr_bad!(blkpg, nix::request_code_none!(0x12, 105), super::BlkpgIoctlArg);
    // #define BLKRASET _IO(0x12,98)
    nix::ioctl_write_int_bad!(blkraset, nix::request_code_none!(0x12, 98));
    // #define EXT4_IOC_RESIZE_FS _IOW('f', 16, __u64)
    nix::ioctl_write_ptr!(ext4_resize_fs, b'f', 16, u64);
}

/// Tells the kernel the new length of a partition that may be in use. `start` and `length` are
/// in bytes of `disk`; the start cannot change.
///
/// # Errors
/// The kernel's: `EBUSY` when it would overlap another partition.
pub fn resize_partition(disk: &File, number: u32, start: u64, length: u64) -> io::Result<()> {
    let signed = |value: u64| libc::c_longlong::try_from(value).map_err(|_| io::ErrorKind::InvalidInput);
    let mut partition = BlkpgPartition {
        start: signed(start)?,
        length: signed(length)?,
        pno: libc::c_int::try_from(number).map_err(|_| io::ErrorKind::InvalidInput)?,
        devname: [0; 64],
        volname: [0; 64],
    };
    let argument = BlkpgIoctlArg {
        op: BLKPG_RESIZE_PARTITION,
        flags: 0,
        datalen: size_of::<BlkpgPartition>() as libc::c_int,
        data: &raw mut partition,
    };
    // SAFETY: the argument points at a struct blkpg_partition of the length given; both outlive the
    // call, and the kernel only reads them.
    unsafe { ioctl::blkpg(disk.as_raw_fd(), &raw const argument) }?;
    Ok(())
}

/// Sets how many bytes of a block device the kernel reads at once beyond what is asked for, for all files
/// of it that are opened from now on. A multiple of 512.
///
/// # Errors
/// The kernel's: `EACCES` without `CAP_SYS_ADMIN`.
pub fn set_read_ahead(device: &File, bytes: u32) -> io::Result<()> {
    let sectors = bytes.div_ceil(512).try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the argument is the number itself.
    unsafe { ioctl::blkraset(device.as_raw_fd(), sectors) }?;
    Ok(())
}

/// Grows the mounted ext4 that `within` (any open file or directory of it) lies on.
///
/// # Errors
/// The kernel's: `ENOSPC` when the device is smaller, `EBUSY` when another growth is under way.
pub fn resize_ext4(within: &File, block_count: u64) -> io::Result<()> {
    // SAFETY: the kernel reads one u64, which outlives the call.
    unsafe { ioctl::ext4_resize_fs(within.as_raw_fd(), &raw const block_count) }?;
    Ok(())
}
