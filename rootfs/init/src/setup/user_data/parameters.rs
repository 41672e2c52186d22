//! What the machine is told from outside besides user-data itself: SMBIOS OEM strings
//! `slipway.NAME=…`, `fw_cfg` items `opt/slipway/NAME`, and words of the kernel command line,
//! where `-` in a name is `_`. The command line wins, then `fw_cfg`.

use super::{smbios, source};
use cloudconfig::{Facts, Variable};
use std::fmt;
use std::fs;

/// Where a document is to be fetched from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The document itself: `cloud-config-url=` of `CoreOS`, or `slipway.user_data_url=`.
    pub document: Option<String>,
    /// An EC2-style metadata service: `slipway.metadata_url=`. It also has the document, unless
    /// that is somewhere else.
    pub metadata: Option<String>,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.document.as_ref().or(self.metadata.as_ref()).map_or("", String::as_str))
    }
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    /// `slipway.private_ipv4=` and so on.
    pub(super) facts: Facts,
    /// `slipway.recovery_key=`, a line of `authorized_keys`.
    pub(super) recovery_key: Option<String>,
    /// Where to fetch from.
    pub(super) network: Option<Network>,
}

impl Parameters {
    pub(super) fn read(log: &mut dyn FnMut(&str)) -> Self {
        let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let strings = source::oem_strings().unwrap_or_else(|error| {
            log(&format!("user-data: cannot read SMBIOS: {error}"));
            Vec::new()
        });
        let items = source::fw_cfg_items().unwrap_or_else(|error| {
            log(&format!("user-data: cannot read fw_cfg: {error}"));
            Vec::new()
        });
        Self::collect(&command_line, &items, &strings, log)
    }

    /// From the text of /proc/cmdline, pairs of `fw_cfg` (name and text), and raw structures of SMBIOS.
    fn collect(
        command_line: &str,
        items: &[(String, String)],
        strings: &[Vec<u8>],
        log: &mut dyn FnMut(&str),
    ) -> Self {
        let words = words(command_line);
        let value = |name: &str| -> Option<String> {
            let key = format!("slipway.{}", name.replace('-', "_"));
            let word = words.iter().rev().find(|(known, _)| *known == key).map(|(_, value)| value.clone());
            let item =
                || items.iter().find(|(known, _)| known == name).map(|(_, text)| text.trim().to_owned());
            let string = || {
                let value = strings.iter().find_map(|raw| smbios::value(raw, &format!("slipway.{name}=")))?;
                String::from_utf8(value.ok()?).ok().map(|text| text.trim().to_owned())
            };
            word.or_else(item).or_else(string).filter(|value| !value.is_empty())
        };
        let mut facts = Facts::default();
        for variable in Variable::ALL {
            let name = variable.name();
            // In items and strings a name has `-`.
            let Some(address) = value(&name.replace('_', "-")) else { continue };
            if facts.read_assignment(&format!("{name}={address}")).is_none() {
                log(&format!("user-data: slipway.{name}={address} is no such address"));
            }
        }
        let coreos = words.iter().rev().find(|(name, _)| name.replace('-', "_") == "cloud_config_url");
        let network = Network {
            document: coreos.map(|(_, url)| url.clone()).or_else(|| value("user-data-url")),
            metadata: value("metadata-url"),
        };
        Self {
            facts,
            recovery_key: value("recovery-key"),
            network: (network != Network::default()).then_some(network),
        }
    }
}

/// The `NAME=VALUE` words of a kernel command line. Double quotes, around the value or the whole
/// word, hold spaces (kernel.org, "The kernel's command-line parameters").
fn words(text: &str) -> Vec<(String, String)> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut is_quoted = false;
    for c in text.chars().chain([' ']) {
        match c {
            '"' => is_quoted = !is_quoted,
            c if c.is_ascii_whitespace() && !is_quoted => {
                if let Some((name, value)) = word.split_once('=') {
                    words.push((name.to_owned(), value.to_owned()));
                }
                word.clear();
            }
            c => word.push(c),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(command_line: &str, items: &[(&str, &str)]) -> (Parameters, Vec<String>) {
        let items: Vec<_> = items.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let string = b"\x0b\x05\x00\x00\x02slipway.public-ipv4=192.0.2.1\0slipway.recovery-key=smbios\0\0";
        let mut lines = Vec::new();
        let found = Parameters::collect(command_line, &items, &[string.to_vec()], &mut |line| {
            lines.push(line.to_owned());
        });
        (found, lines)
    }

    #[test]
    fn the_command_line_wins_and_all_are_found() {
        let (found, lines) = collected(
            "quiet slipway.recovery_key=\"ssh-ed25519 A me\" cloud-config-url=http://a/b slipway.private_ipv4=10.0.0.1\n",
            &[("recovery-key", "fw\n"), ("metadata-url", "http://m\n")],
        );
        assert_eq!(found.recovery_key.as_deref(), Some("ssh-ed25519 A me"));
        let network = found.network.unwrap();
        assert_eq!(network.to_string(), "http://a/b");
        assert_eq!(network.metadata.as_deref(), Some("http://m"));
        assert_eq!(found.facts.environment().len(), 2);
        assert!(lines.is_empty(), "{lines:?}");
        let (found, _) = collected("", &[("recovery-key", "fw\n")]);
        assert_eq!((found.recovery_key.as_deref(), found.network), (Some("fw"), None));
        assert_eq!(collected("", &[]).0.recovery_key.as_deref(), Some("smbios"));
    }

    #[test]
    fn an_address_that_is_none_is_said() {
        let (found, lines) = collected("slipway.private_ipv4=x", &[]);
        assert_eq!(lines, ["user-data: slipway.private_ipv4=x is no such address"]);
        assert_eq!(found.facts.get(Variable::PrivateIpv4), None);
    }
}
