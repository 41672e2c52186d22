//! User-data from the network: a document at a URL, or an EC2-style metadata service.
//!
//! PID 1 starts `user-data.target` instead of the default one when a machine is told to fetch its
//! document and has none yet. Its service is [`main`]: it fetches, has the document judged and
//! rendered by the rules of every other source (`init::setup::accept`), and then starts the
//! default target. Whatever goes wrong is said on the console; the machine gets ready without.
//!
//! Start with [`fetch`], which decides what to ask for, over the [`Client`] that asks.

mod client;
mod ec2;
mod fetch;
mod run;

pub use client::{Client, Failure, Header, Method, Reply, Web};
pub use fetch::{Found, Patience, fetch};
pub use run::main;
