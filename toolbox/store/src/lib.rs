//! Images of the toolbox: where they come from, how they are unpacked, and the store they are kept in.
//!
//! [`Source::parse`] reads what a person wrote; [`Store::get`] gives the image of it: a tree of
//! files, unpacked once, held by a lock as long as it is in use ([`Held`]). Archives may be
//! hostile: every path is found below the tree ([`tree`]), every size has a limit ([`Limits`]).
//!
//! What this deliberately does not do: mount anything, run anything, print anything, or read the
//! environment. The caller says where the store is.

pub mod commit;
mod digest;
mod disk;
mod error;
pub mod ext4;
mod import;
pub mod layer;
pub mod oci;
pub mod registry;
mod source;
mod store;
pub mod tar;
pub mod tree;
mod unpacked;

pub use digest::{Digest, DigestError};
pub use disk::DiskError;
pub use error::StoreError;
pub use ext4::Ext4Error;
pub use oci::OciError;
pub use registry::{Reference, Registries, RegistryError};
pub use source::{Source, SourceError};
pub use store::{Config, Freed, Held, Image, ImageId, Progress, Stage, Store, close};
pub use tree::{Limits, Notes, Ownership, Policy};
pub use unpacked::{Finished, Packing, Unpacked};
