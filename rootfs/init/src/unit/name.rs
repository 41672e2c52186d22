//! Unit names: `prefix[@instance].kind` (systemd.unit(5), "String escaping").

use std::fmt;
use std::sync::Arc;

/// What a unit manages; the part of its name after the last dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant is the suffix of the same name")]
pub enum Kind {
    Service,
    Target,
    Socket,
    Timer,
    Path,
    Mount,
    Automount,
    Swap,
    Slice,
    Scope,
    Device,
}

const KINDS: [(&str, Kind); 11] = [
    ("service", Kind::Service),
    ("target", Kind::Target),
    ("socket", Kind::Socket),
    ("timer", Kind::Timer),
    ("path", Kind::Path),
    ("mount", Kind::Mount),
    ("automount", Kind::Automount),
    ("swap", Kind::Swap),
    ("slice", Kind::Slice),
    ("scope", Kind::Scope),
    ("device", Kind::Device),
];

impl Kind {
    /// The suffix without its dot.
    pub fn suffix(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(suffix, _)| suffix)
    }

    /// Whether its units run processes: with states, time-outs and results as a service has.
    pub fn has_processes(self) -> bool {
        matches!(self, Self::Service | Self::Socket | Self::Mount)
    }

    /// Whether this PID 1 can start units of the kind.
    pub fn is_supported(self) -> bool {
        !matches!(self, Self::Automount | Self::Swap | Self::Scope)
    }
}

/// Why a string is not a unit name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty or longer than 255 bytes.
    #[error("unit name of {0} bytes, want 1 to 255")]
    Length(usize),
    /// A byte outside `[A-Za-z0-9:_.@\-]`.
    #[error("`{name}` has the character {found:?}, which a unit name cannot hold")]
    Character {
        /// The name.
        name: String,
        /// The first such character.
        found: char,
    },
    /// No dot, or an unknown word behind the last one.
    #[error("`{0}` does not end in .service, .target or another unit type")]
    Suffix(String),
    /// Nothing before the suffix or before the `@`.
    #[error("`{0}` has an empty prefix")]
    Prefix(String),
}

/// A valid unit name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitName(Arc<str>);

impl UnitName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError`] says which rule of systemd.unit(5) the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > 255 {
            return Err(NameError::Length(text.len()));
        }
        if let Some(found) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !":_.@\\-".contains(*c)) {
            return Err(NameError::Character { name: text.into(), found });
        }
        let Some((stem, suffix)) = text.rsplit_once('.') else {
            return Err(NameError::Suffix(text.into()));
        };
        if !KINDS.iter().any(|(known, _)| *known == suffix) {
            return Err(NameError::Suffix(text.into()));
        }
        if stem.is_empty() || stem.starts_with('@') {
            return Err(NameError::Prefix(text.into()));
        }
        Ok(Self(text.into()))
    }

    /// A name as typed by a person: `.service` is added where no type is given,
    /// and characters that need it are escaped.
    ///
    /// # Errors
    /// As [`UnitName::parse`].
    pub fn from_user(text: &str) -> Result<Self, NameError> {
        match Self::parse(text) {
            Err(NameError::Suffix(_)) => Self::parse(&format!("{text}.service")),
            other => other,
        }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The type in the suffix.
    pub fn kind(&self) -> Kind {
        let suffix = self.0.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        KINDS.iter().find(|(known, _)| *known == suffix).map_or(Kind::Service, |(_, kind)| *kind)
    }

    /// The name without its suffix (`%N`).
    pub fn stem(&self) -> &str {
        self.0.rsplit_once('.').map_or(&*self.0, |(stem, _)| stem)
    }

    /// The part before `@`, or the stem where there is none (`%p`).
    pub fn prefix(&self) -> &str {
        self.stem().split_once('@').map_or(self.stem(), |(prefix, _)| prefix)
    }

    /// The part between `@` and the suffix (`%i`); empty in a template.
    pub fn instance(&self) -> Option<&str> {
        self.stem().split_once('@').map(|(_, instance)| instance)
    }

    /// `foo@.service`.
    pub fn is_template(&self) -> bool {
        self.instance() == Some("")
    }

    /// The template of an instance: `foo@.service` of `foo@x.service`.
    pub fn template(&self) -> Option<Self> {
        match self.instance() {
            Some(instance) if !instance.is_empty() => {
                Some(Self(format!("{}@.{}", self.prefix(), self.kind().suffix()).into()))
            }
            _ => None,
        }
    }

    /// An instance of this template.
    ///
    /// # Errors
    /// The instance has characters that a unit name cannot hold.
    pub fn instantiate(&self, instance: &str) -> Result<Self, NameError> {
        Self::parse(&format!("{}@{instance}.{}", self.prefix(), self.kind().suffix()))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path as part of a unit name, as `systemd-escape --path` writes it: `/` is `-`, and what a name
/// cannot hold is `\xHH`.
pub fn escape_path(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() {
        return "-".into();
    }
    escape(&parts.join("/"))
}

/// As `systemd-escape` writes it.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => out.push('-'),
            b'.' if at == 0 => out.push_str("\\x2e"),
            b':' | b'_' | b'.' => out.push(byte as char),
            _ if byte.is_ascii_alphanumeric() => out.push(byte as char),
            // Writing into a string does not fail.
            _ => _ = fmt::Write::write_fmt(&mut out, format_args!("\\x{byte:02x}")),
        }
    }
    out
}

/// Undoes systemd-escape(1): `-` becomes `/`, `\xHH` becomes the byte.
pub fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = bytes.get(at + 2..at + 4).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, bytes.get(at + 1), code.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'\\', Some(b'x'), Some(value)) => {
                out.push(value);
                at += 4;
                continue;
            }
            (b'-', ..) => out.push(b'/'),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_instance() {
        let name = UnitName::parse("var-lib@a-b.service").unwrap();
        assert_eq!((name.prefix(), name.instance(), name.kind()), ("var-lib", Some("a-b"), Kind::Service));
        assert_eq!(name.template().unwrap().as_str(), "var-lib@.service");
        assert_eq!(unescape("dev-disk\\x2dby"), "dev/disk-by");
        assert_eq!(UnitName::from_user("sshd").unwrap().as_str(), "sshd.service");
    }

    #[test]
    fn refuses_what_systemd_refuses() {
        assert_eq!(UnitName::parse(""), Err(NameError::Length(0)));
        assert_eq!(UnitName::parse("a.exe"), Err(NameError::Suffix("a.exe".into())));
        assert_eq!(UnitName::parse(".service"), Err(NameError::Prefix(".service".into())));
        assert!(matches!(UnitName::parse("a/b.service"), Err(NameError::Character { found: '/', .. })));
        assert_eq!(UnitName::parse(&"x".repeat(256)), Err(NameError::Length(256)));
    }
}
