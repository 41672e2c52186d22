//! Where a member listens.

use crate::Error;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where a member listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As it was given.
    pub text: String,
    pub(crate) place: Place,
    /// `None`: TLS exactly where the settings have it.
    pub(crate) tls: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Host { host: String, port: u16 },
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `http://host:port`, `https://host:port`, `unix://path` or `host:port`.
    ///
    /// # Errors
    /// [`Error::BadEndpoint`].
    pub fn read(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::BadEndpoint { endpoint: text.to_owned(), why: why.to_owned() };
        let trimmed = text.trim();
        let (scheme, rest) = trimmed.split_once("://").unwrap_or(("", trimmed));
        let tls = match scheme {
            "" => None,
            "http" | "unix" => Some(false),
            "https" | "unixs" => Some(true),
            _ => return Err(bad("its scheme is unknown")),
        };
        if scheme.starts_with("unix") {
            let place = Place::Unix(PathBuf::from(rest));
            return Ok(Self { text: trimmed.to_owned(), place, tls });
        }
        let rest = rest.trim_end_matches('/');
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| bad("it has no port"))?;
        let port = port.parse().map_err(|_| bad("its port is no number below 65536"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(bad("its host is not a name or address"));
        }
        Ok(Self { text: trimmed.to_owned(), place: Place::Host { host: host.to_owned(), port }, tls })
    }

    /// Whether what is sent there stays on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match &self.place {
            Place::Unix(_) => true,
            Place::Host { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }

    /// For the `:authority` of requests.
    pub(crate) fn authority(&self) -> String {
        match &self.place {
            Place::Unix(_) => "localhost".to_owned(),
            Place::Host { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Host { host, port } => format!("{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        let read = |text: &str| Endpoint::read(text).unwrap();
        assert_eq!(read("127.0.0.1:2379").tls, None);
        assert_eq!(read(" http://a:1/").place, Place::Host { host: "a".into(), port: 1 });
        assert_eq!(read("https://[::1]:2379").authority(), "[::1]:2379");
        assert!(read("https://[::1]:2379").is_local() && !read("10.0.0.1:1").is_local());
        assert_eq!(read("unix:///run/kv").place, Place::Unix("/run/kv".into()));
        for bad in ["", "a", "a:", "a:70000", "ftp://a:1", ":1", "http://a/b:1"] {
            assert!(matches!(Endpoint::read(bad), Err(Error::BadEndpoint { .. })), "{bad}");
        }
    }
}
