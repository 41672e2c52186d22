//! `.link` files: a link's own properties, set once when it is found (systemd.link(5)).

use super::value::{Mac, bytes, link_name};
use super::{Fault, Line, Match, Problem, Source, not_read, sections};
use std::path::PathBuf;

/// A `.link` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFile {
    /// The file.
    pub path: PathBuf,
    /// Which links.
    pub matcher: Match,
    /// `Name=`: the name to give.
    pub name: Option<String>,
    /// `MACAddress=`.
    pub mac: Option<Mac>,
    /// `MTUBytes=`.
    pub mtu: Option<u32>,
}

impl LinkFile {
    /// Reads a file; `None` when it has no `[Match]`.
    pub fn parse(source: &Source, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut file =
            Self { path: source.path.clone(), matcher: Match::default(), name: None, mac: None, mtu: None };
        for section in &sections(source, problems) {
            if section.name != "Match" && section.name != "Link" {
                not_read("link", section, problems);
                continue;
            }
            for line in &section.lines {
                let taken =
                    if section.name == "Match" { file.matcher.take("link", line) } else { file.link(line) };
                if let Err(fault) = taken {
                    problems.push(line.problem(fault));
                }
            }
        }
        if file.matcher.is_empty() {
            problems.push(Problem { path: source.path.clone(), line: 0, fault: Fault::NoMatch });
            return None;
        }
        Some(file)
    }

    fn link(&mut self, line: &Line) -> Result<(), Fault> {
        let value = line.entry.value.as_str();
        let wrong = |wanted| move || line.value_fault(wanted);
        match line.entry.key.as_str() {
            "Description" => {}
            "Name" => self.name = Some(link_name(value).ok_or_else(wrong("a link's name"))?.to_owned()),
            "MACAddress" => {
                self.mac = Some(value.parse().map_err(|()| line.value_fault("a hardware address"))?);
            }
            "MTUBytes" => {
                self.mtu =
                    Some(bytes(value).filter(|n| *n >= 68).ok_or_else(wrong("a number of bytes from 68"))?);
            }
            // The kernel's own name and address are what these ask for.
            "NamePolicy" if value.is_empty() || value.split_ascii_whitespace().next() == Some("kernel") => {}
            "MACAddressPolicy" if value == "none" => {}
            _ => return Err(line.not_read("link")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn names_and_addresses() {
        let mut problems = Vec::new();
        let text = b"[Match]\nMACAddress=02:00:00:00:00:01\n[Link]\nName=lan\nMTUBytes=9000\nNamePolicy=slot path\nWakeOnLan=magic\n";
        let file = LinkFile::parse(&Source::one(Path::new("n"), text), &mut problems).unwrap();
        assert_eq!((file.name.as_deref(), file.mtu), (Some("lan"), Some(9000)));
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "n:6: error: [Link] NamePolicy= is not supported",
                "n:7: error: [Link] WakeOnLan= is not supported"
            ]
        );
    }
}
