//! YAML read with places: every problem of a document at once, each with line and column.
//!
//! Deriving `Deserialize` stops at the first problem and guesses the type of a plain
//! scalar (`0644` becomes a number). The documents that people write for Slipway are small
//! and must be refused as a whole with all that is wrong in them, so they are read here into
//! a tree of [`Node`]s by the YAML library's event parser, and then taken apart field by field:
//! a [`Fields`] remembers which keys were asked for, so that a key nobody knows is always an
//! error and never silently ignored.
//!
//! It deliberately has no merge keys (`<<`) and no tags: an anchor and its aliases are enough.

mod node;
mod problem;
mod read;

pub use node::{Fields, Node, Value};
pub use problem::{Place, Problem, Problems};
pub use read::read;
