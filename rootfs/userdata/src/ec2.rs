//! The instance metadata service of EC2 and of those who speak like it: version 2 with a token
//! where there is one, else version 1 ("Use the Instance Metadata Service", `IMDSv2`).

use crate::client::{Client, Failure, Header, Method, Reply};
use cloudconfig::{Facts, Variable};

/// Names of addresses below `meta-data`.
const ADDRESSES: [(&str, Variable); 3] = [
    ("local-ipv4", Variable::PrivateIpv4),
    ("public-ipv4", Variable::PublicIpv4),
    ("ipv6", Variable::PublicIpv6),
];
/// Public keys that are asked for at most.
const KEYS_MAX: usize = 32;

/// A service, with the token that it gave.
pub(crate) struct Service<'a> {
    client: &'a dyn Client,
    base: String,
    token: Option<Header>,
}

impl<'a> Service<'a> {
    /// Asks for a token. A service of version 1 has none to give.
    pub(crate) fn open(client: &'a dyn Client, base: &str) -> Result<Self, Failure> {
        let base = base.trim_end_matches('/').to_owned();
        let url = format!("{base}/latest/api/token");
        // A token is used for some seconds only; a minute is enough.
        let lifetime = ("X-aws-ec2-metadata-token-ttl-seconds", "60".to_owned());
        let reply = client.ask(Method::Put, &url, &[lifetime])?;
        let token = match reply.status {
            200 => {
                let text = String::from_utf8(reply.body).unwrap_or_default().trim().to_owned();
                let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
                if !is_token {
                    return Err(Failure::Passing { url, reason: "the token is none".to_owned() });
                }
                Some(("X-aws-ec2-metadata-token", text))
            }
            400..=499 => None,
            status => return Err(passing(&url, status)),
        };
        Ok(Self { client, base, token })
    }

    /// What is below `/latest`; `None` when there is no such thing.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        let url = format!("{}/latest/{path}", self.base);
        let headers: Vec<Header> = self.token.iter().cloned().collect();
        let Reply { status, body } = self.client.ask(Method::Get, &url, &headers)?;
        match status {
            200 => Ok(Some(body)),
            401 | 403 => {
                Err(Failure::Passing { url, reason: format!("status {status}: the token is not taken") })
            }
            408 | 429 => Err(passing(&url, status)),
            400..=499 => Ok(None),
            _ => Err(passing(&url, status)),
        }
    }

    fn text(&self, path: &str) -> Result<Option<String>, Failure> {
        let text = self.get(path)?.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    /// Addresses, host name and keys.
    pub(crate) fn facts(&self) -> Result<Facts, Failure> {
        let mut facts = Facts::default();
        for (name, variable) in ADDRESSES {
            let Some(text) = self.text(&format!("meta-data/{name}"))? else { continue };
            if let Ok(address) = text.parse() {
                facts.set(variable, address);
            }
        }
        facts.hostname = self.text("meta-data/hostname")?.filter(|name| cloudconfig::is_hostname(name));
        // A line a key: `NUMBER=NAME`.
        let list = self.text("meta-data/public-keys/")?.unwrap_or_default();
        for line in list.lines().take(KEYS_MAX) {
            let number = line.split('=').next().unwrap_or_default().trim();
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let key = self.text(&format!("meta-data/public-keys/{number}/openssh-key"))?;
            facts.keys.extend(key.iter().flat_map(|key| key.lines()).map(str::to_owned));
        }
        Ok(facts)
    }
}

fn passing(url: &str, status: u16) -> Failure {
    Failure::Passing { url: url.to_owned(), reason: format!("status {status}") }
}
