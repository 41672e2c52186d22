//! `.network`, `.netdev` and `.link` files: systemd.network(5), systemd.netdev(5), systemd.link(5).
//!
//! [`search`] finds the files and their drop-ins, [`Set::parse`] gives them their meaning. A line
//! that cannot be acted upon is a [`Problem`] with its place and changes nothing.

pub mod known;
pub mod link;
pub mod machine;
pub mod matching;
pub mod netdev;
pub mod network;
pub mod search;
pub mod value;

pub use link::LinkFile;
pub use machine::Machine;
pub use matching::{Candidate, Match};
pub use netdev::{Kind, Netdev};
pub use network::Network;

use inifile::Entry;
use std::fmt;
use std::path::{Path, PathBuf};

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It means nothing.
    #[error(transparent)]
    Malformed(#[from] inifile::Malformed),
    /// systemd has no such section either.
    #[error("unknown section [{0}]")]
    UnknownSection(String),
    /// systemd has no such key in this section either.
    #[error("unknown key `{1}=` in section [{0}]")]
    UnknownKey(String, String),
    /// systemd has it and this service does not act upon it.
    #[error("[{0}] {1} is not supported")]
    Unsupported(String, String),
    /// The value is not of the key's form.
    #[error("`{key}={value}`: {wanted} is wanted")]
    Value {
        /// The key.
        key: String,
        /// What stands there.
        value: String,
        /// What should.
        wanted: &'static str,
    },
    /// The section lacks what it needs, and is left out.
    #[error("section [{0}] has no {1}, so it is left out")]
    Incomplete(&'static str, &'static str),
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// A file without this would apply to everything.
    #[error("there is no [Match] section, so the file is left out")]
    NoMatch,
}

/// A line that is left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The line from 1; 0 for the whole file.
    pub line: u32,
    /// What is wrong.
    pub fault: Fault,
}

impl Problem {
    /// Whether the file asks for something that is not done; the rest is most likely misspelt.
    pub fn is_error(&self) -> bool {
        !matches!(self.fault, Fault::UnknownSection(_) | Fault::UnknownKey(..) | Fault::Malformed(_))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_error() { "error" } else { "warning" };
        write!(f, "{}:{}: {kind}: {}", self.path.display(), self.line, self.fault)
    }
}

/// The texts of one file and its drop-ins, in the order in which they apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file that gives the name.
    pub path: PathBuf,
    /// Each text with its path; the file itself first.
    pub texts: Vec<(PathBuf, Vec<u8>)>,
}

impl Source {
    /// One text without drop-ins.
    pub fn one(path: &Path, text: &[u8]) -> Self {
        Self { path: path.to_owned(), texts: vec![(path.to_owned(), text.to_owned())] }
    }
}

/// An assignment with the file that it stands in.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    path: PathBuf,
    entry: Entry,
}

impl Line {
    pub(crate) fn problem(&self, fault: Fault) -> Problem {
        Problem { path: self.path.clone(), line: self.entry.line, fault }
    }

    pub(crate) fn value_fault(&self, wanted: &'static str) -> Fault {
        Fault::Value {
            key: self.entry.key.clone(),
            value: self.entry.value.chars().take(80).collect(),
            wanted,
        }
    }

    pub(crate) fn unsupported(&self) -> Fault {
        Fault::Unsupported(
            self.entry.section.clone(),
            format!("{}={}", self.entry.key, self.entry.value.chars().take(80).collect::<String>()),
        )
    }

    /// What a key means that no reader here knows.
    pub(crate) fn not_read(&self, kind: &str) -> Fault {
        let Entry { section, key, .. } = &self.entry;
        if known::key(kind, section, key) {
            Fault::Unsupported(section.clone(), format!("{key}="))
        } else {
            Fault::UnknownKey(section.clone(), key.clone())
        }
    }
}

/// A section of a file: one header with its assignments. Drop-ins add sections.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) lines: Vec<Line>,
}

/// Splits a source into sections in order; each malformed line is a problem.
pub(crate) fn sections(source: &Source, problems: &mut Vec<Problem>) -> Vec<Section> {
    let mut all: Vec<Section> = Vec::new();
    for (path, text) in &source.texts {
        let document = inifile::parse(text);
        problems.extend(document.malformed.into_iter().map(|(line, fault)| Problem {
            path: path.clone(),
            line,
            fault: fault.into(),
        }));
        let mut header = 0;
        for entry in document.entries {
            if header != entry.header_line {
                header = entry.header_line;
                all.push(Section { name: entry.section.clone(), lines: Vec::new() });
            }
            if let Some(section) = all.last_mut() {
                section.lines.push(Line { path: path.clone(), entry });
            }
        }
    }
    all
}

/// Reports a section that nothing here reads.
pub(crate) fn not_read(kind: &str, section: &Section, problems: &mut Vec<Problem>) {
    let Some(first) = section.lines.first() else { return };
    let fault = if known::section(kind, &section.name) {
        Fault::Unsupported(section.name.clone(), "section".to_owned())
    } else {
        Fault::UnknownSection(section.name.clone())
    };
    problems.push(first.problem(fault));
}

/// All files of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// `.network` files, in the order in which they are tried.
    pub networks: Vec<Network>,
    /// `.netdev` files.
    pub netdevs: Vec<Netdev>,
    /// `.link` files, in the order in which they are tried.
    pub links: Vec<LinkFile>,
    /// Everything that is left out.
    pub problems: Vec<Problem>,
}

impl Set {
    /// Gives files their meaning. Never fails: what cannot be understood is in `problems`.
    pub fn parse(sources: &[Source]) -> Self {
        let mut set = Self::default();
        for source in sources {
            let problems = &mut set.problems;
            match source.path.extension().and_then(|extension| extension.to_str()) {
                Some("network") => set.networks.extend(Network::parse(source, problems)),
                Some("netdev") => set.netdevs.extend(Netdev::parse(source, problems)),
                Some("link") => set.links.extend(LinkFile::parse(source, problems)),
                _ => {}
            }
        }
        set
    }

    /// Reads the files below `root`.
    pub fn load(root: &Path) -> Self {
        let (sources, unreadable) = search::sources(root);
        let mut set = Self::parse(&sources);
        set.problems.splice(0..0, unreadable);
        set
    }

    /// The files whose conditions on the machine hold.
    #[must_use]
    pub fn for_machine(mut self, machine: &Machine) -> Self {
        self.networks.retain(|file| file.matcher.conditions.hold(machine));
        self.netdevs.retain(|file| file.matcher.conditions.hold(machine));
        self.links.retain(|file| file.matcher.conditions.hold(machine));
        self
    }

    /// The file for a link: the first that matches.
    pub fn network_for(&self, link: &Candidate) -> Option<&Network> {
        self.networks.iter().find(|network| network.matcher.accepts(link))
    }

    /// The `.link` file for a link: the first that matches.
    pub fn link_for(&self, link: &Candidate) -> Option<&LinkFile> {
        self.links.iter().find(|file| file.matcher.accepts(link))
    }
}
