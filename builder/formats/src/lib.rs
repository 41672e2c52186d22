//! The image's on-disk formats, pure over `Read`, `Write` and `Seek`.
//!
//! Each module is one format, named as its specification names it. Nothing here opens
//! a file by itself except to read the content that a [`tree::Tree`] points at, reads
//! the clock, the environment or a random number: the same arguments give the same bytes.
//!
//! Start with [`tree`] (what goes into a file system) and [`stream`] (how an image comes
//! out: in ascending order, once), then the format of interest.

pub mod cpio;
pub mod esp;
pub mod ext4;
pub mod fat;
pub mod gpt;
pub mod qcow2;
pub mod read_at;
pub mod sparse;
pub mod stream;
pub mod tree;
pub mod uki;
pub mod verity;
pub mod window;
