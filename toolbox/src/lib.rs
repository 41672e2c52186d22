//! A throwaway, namespaced shell on any Linux host.
//!
//! Options and facts of the host go in, a [`plan::Plan`] comes out ([`plan::decide`], pure); `--explain` prints
//! it ([`plan::explain`]) and [`run::run`] carries it out. A session is three processes: the *front* in the
//! user's terminal, a *monitor* that cleans up whatever becomes of the front, and the box's *init*.

pub mod capabilities;
pub mod config;
pub mod default;
pub mod facts;
pub mod images;
pub mod kept;
pub mod namespace;
pub mod options;
pub mod plan;
pub mod run;
pub mod target;
