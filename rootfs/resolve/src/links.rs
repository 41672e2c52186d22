//! What the network service says about a link: `/run/systemd/netif/links/INDEX`, a line each
//! (as `systemd-networkd` writes them).

use crate::config::{Domains, Llmnr, Server, name};
use service::config::boolean;

/// Where those files are.
pub const FOLDER: &str = "/run/systemd/netif/links";

/// Settings of one link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its servers.
    pub servers: Vec<Server>,
    /// Its domains.
    pub domains: Domains,
    /// `LLMNR=`, when said.
    pub llmnr: Option<Llmnr>,
    /// `DNS_DEFAULT_ROUTE=`, when said: whether it serves names that no domain routes.
    pub default_route: Option<bool>,
}

impl Settings {
    /// Reads the file of a link. Keys that are of no interest here are passed over; what is wrong
    /// is told in the second list and left out.
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut settings = Self::default();
        let mut problems = Vec::new();
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            let words = value.split_whitespace();
            match key.trim() {
                "DNS" => {
                    for word in words {
                        match word.parse() {
                            Ok(server) if !settings.servers.contains(&server) => {
                                settings.servers.push(server);
                            }
                            Ok(_) => {}
                            Err(error) => problems.push(error.to_string()),
                        }
                    }
                }
                "DOMAINS" => {
                    for word in words {
                        let added = match name(word) {
                            Some(_) => settings.domains.add(word),
                            None => Err(format!("`{word}` is not a domain")),
                        };
                        problems.extend(added.err());
                    }
                }
                "ROUTE_DOMAINS" => {
                    for word in words {
                        let word = format!("~{}", word.trim_start_matches('~'));
                        problems.extend(settings.domains.add(&word).err());
                    }
                }
                "LLMNR" => settings.llmnr = Llmnr::parse(value),
                "DNS_DEFAULT_ROUTE" => settings.default_route = boolean(value),
                _ => {}
            }
        }
        (settings, problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_networkd() {
        let text = "# This is private data. Do not parse.\nADMIN_STATE=configured\nDNS=10.0.2.3 fe80::1%2 9.9.9.9#dns.quad9.net\n\
                    NTP=10.0.2.4\nDOMAINS=lan.example\nROUTE_DOMAINS=corp.example .\nLLMNR=resolve\nDNS_DEFAULT_ROUTE=no\n";
        let (settings, problems) = Settings::parse(text);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            settings.servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.2.3", "fe80::1%2", "9.9.9.9#dns.quad9.net"]
        );
        assert_eq!(settings.domains.search, [name("lan.example").unwrap()]);
        assert_eq!(settings.domains.routing, [name("corp.example").unwrap(), name(".").unwrap()]);
        assert_eq!((settings.llmnr, settings.default_route), (Some(Llmnr::Resolve), Some(false)));
    }

    #[test]
    fn what_is_wrong_is_left_out() {
        let (settings, problems) =
            Settings::parse("DNS=x 1.2.3.4 0.0.0.0\nDOMAINS=a..b\nROUTE_DOMAINS=\n=\n");
        assert_eq!(settings.servers, ["1.2.3.4".parse().unwrap()]);
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
