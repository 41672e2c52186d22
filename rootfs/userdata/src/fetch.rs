//! What is asked for, and for how long.

use crate::client::{Client, Failure, Method};
use crate::ec2::Service;
use cloudconfig::Facts;
use init::setup::Network;
use std::time::{Duration, Instant};

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The document; empty when a metadata service has none.
    pub document: Vec<u8>,
    /// What the metadata says.
    pub facts: Facts,
}

/// How long to try, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// After this no attempt is begun.
    pub deadline: Instant,
    /// Pause after the first attempt; each is twice as long as the one before.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
}

impl Patience {
    /// Two minutes, with pauses of 100 ms to 5 s.
    pub fn usual() -> Self {
        Self {
            deadline: Instant::now() + Duration::from_mins(2),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// Fetches the document and the metadata. A failure that may pass is tried again.
///
/// # Errors
/// The last failure.
pub fn fetch(
    client: &dyn Client,
    network: &Network,
    patience: Patience,
    log: &mut dyn FnMut(&str),
) -> Result<Found, Failure> {
    let mut pause = patience.first_pause;
    let mut said = String::new();
    loop {
        let failure = match attempt(client, network) {
            Ok(found) => return Ok(found),
            Err(failure @ Failure::Final { .. }) => return Err(failure),
            Err(failure) => failure,
        };
        if Instant::now() + pause >= patience.deadline {
            return Err(failure);
        }
        let text = failure.to_string();
        if text != said {
            log(&format!("user-data: {text}; trying again"));
            said = text;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(patience.longest_pause);
    }
}

fn attempt(client: &dyn Client, network: &Network) -> Result<Found, Failure> {
    let service = network.metadata.as_ref().map(|base| Service::open(client, base)).transpose()?;
    let facts = service.as_ref().map(Service::facts).transpose()?.unwrap_or_default();
    let document = match (&network.document, &service) {
        (Some(url), _) => {
            let reply = client.ask(Method::Get, url, &[])?;
            let reason = format!("status {}", reply.status);
            match reply.status {
                200 => reply.body,
                408 | 429 | 500..=599 => return Err(Failure::Passing { url: url.clone(), reason }),
                _ => return Err(Failure::Final { url: url.clone(), reason }),
            }
        }
        (None, Some(service)) => service.get("user-data")?.unwrap_or_default(),
        (None, None) => Vec::new(),
    };
    Ok(Found { document, facts })
}
