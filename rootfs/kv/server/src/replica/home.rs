//! Where a member's database is.

use std::io::Read;
use std::path::PathBuf;

use kv_core::{Error, Options, State};

/// Where a member's database is: a file in production, a simulated disk in a simulation.
pub trait Home: Send + 'static {
    /// Opens it, or makes an empty one.
    ///
    /// # Errors
    /// Those of [`State::open`].
    fn open(&self) -> Result<State, Error>;

    /// Makes one from a snapshot, in the place of the one that was there, which stays readable for
    /// who has it open. Whole or not at all; on the disk when this returns.
    ///
    /// # Errors
    /// Those of [`State::restore`]; the old one is there then.
    fn restore(&self, snapshot: &mut dyn Read) -> Result<State, Error>;
}

/// A file.
#[derive(Clone, Debug)]
pub struct FileHome(pub PathBuf);

impl Home for FileHome {
    fn open(&self) -> Result<State, Error> {
        State::open_file(&self.0, Options::default())
    }

    fn restore(&self, mut snapshot: &mut dyn Read) -> Result<State, Error> {
        State::restore_file(&self.0, Options::default(), &mut snapshot)
    }
}
