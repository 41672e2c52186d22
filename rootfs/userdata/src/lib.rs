//! User-data from the network: a document at a URL, or an EC2-style metadata service.
//!
//! PID 1 starts `user-data.target` instead of the default one when a machine is told to fetch its
//! document and has none yet. Its service is [`main`]: it fetches, has the document judged and
//! rendered by the rules of every other source (`init::setup::accept`), and then starts the
//! default target. Whatever goes wrong is said on the console; the machine gets ready without.
//!
//! And the keys that a document imports for its users: a service of its own, [`import_main`], fetches
//! them with [`import`] while the machine runs, and keeps them on STATE.
//!
//! Start with [`fetch`], which decides what to ask for, over the [`Client`] that asks.

mod client;
mod ec2;
mod fetch;
mod import;
mod keyring;
mod run;
mod run_import;
mod tell;

pub use client::{Client, Failure, Header, Method, Reply, Web};
pub use fetch::{Found, Patience, fetch};
pub use import::{GITHUB, Job, Shell, State, import};
pub use keyring::Keyring;
pub use run::main;
pub use run_import::main as import_main;
