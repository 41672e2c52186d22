//! What the tests that boot real images share: images built once, disks to break, machines that
//! tell their console when they fail.
//!
//! A test makes a [`Disk`] from an [`Image`], starts it with a [`Boot`], and asks the disk
//! afterwards, with tools of others as the second opinion. Nothing here is used outside of
//! tests, so every failure is a panic that says what to do.

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod boot;
mod disk;
mod image;
mod ssh;
mod tool;
mod user_data;

pub use boot::{BLESSED, Boot, LONG, READY, add_disk, give, row};
pub use disk::{Disk, seed};
pub use image::Image;
pub use ssh::Ssh;
pub use tool::tool;
pub use user_data::{POWER_OFF, document, oneshot};
