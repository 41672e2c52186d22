//! Unified kernel images (UAPI.5): systemd's stub, a PE program, with the kernel, the
//! initramfs, the command line and os-release appended to it as sections.
//!
//! [`Uki::assemble`] appends them; [`sections`] lists those of a PE file that may be
//! hostile. The PE structures are crate `object`'s (Microsoft "PE Format").

mod assemble;
mod checksum;
mod read;

pub use assemble::{Uki, UkiError};
pub use read::{PeError, PeSection, section_bytes, sections, verify_checksum};
