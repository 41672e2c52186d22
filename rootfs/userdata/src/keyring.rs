//! The imported keys of one user, in the form of `authorized_keys`: a section for each source, which
//! begins with a comment that names it. A source that cannot be reached keeps the keys that it had.

use cloudconfig::keys;

const HEAD: &str = "# imported from ";

/// Sources, each with its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring(Vec<(String, Vec<String>)>);

impl Keyring {
    /// Reads what [`Keyring::render`] wrote; only the sections of these sources, and of them whole
    /// keys only.
    pub fn read(text: &[u8], sources: &[String]) -> Self {
        let mut ring = Self::default();
        let mut at = None;
        for line in String::from_utf8_lossy(text).lines() {
            if let Some(source) = line.strip_prefix(HEAD) {
                at = sources.iter().any(|known| known == source).then(|| source.to_owned());
            } else if let Some(source) = &at
                && keys::fault(line).is_none()
            {
                ring.entry(source).push(line.to_owned());
            }
        }
        ring
    }

    /// Puts these keys in place of those that the source had. Gives whether anything is new.
    pub fn set(&mut self, source: &str, keys: Vec<String>) -> bool {
        let known = self.entry(source);
        let is_new = *known != keys;
        *known = keys;
        is_new
    }

    /// How many keys a source has; `None` when it never answered.
    pub fn count(&self, source: &str) -> Option<usize> {
        self.0.iter().find(|(known, _)| known == source).map(|(_, keys)| keys.len())
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let section = |(source, keys): &(String, Vec<String>)| {
            let keys: String = keys.iter().map(|key| format!("{key}\n")).collect();
            format!("{HEAD}{source}\n{keys}")
        };
        self.0.iter().map(section).collect()
    }

    fn entry(&mut self, source: &str) -> &mut Vec<String> {
        let at = self.0.iter().position(|(known, _)| known == source).unwrap_or_else(|| {
            self.0.push((source.to_owned(), Vec::new()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvcLRmK4Jf8GuTgqh2vGkYBSXgx9oPE7DHxyQ+xJ7Eh";

    #[test]
    fn a_source_keeps_its_keys_until_it_answers() {
        let sources = ["github a".to_owned(), "url https://x/".to_owned()];
        let mut ring = Keyring::default();
        assert!(ring.set(&sources[0], vec![KEY.to_owned()]));
        assert!(!ring.set(&sources[0], vec![KEY.to_owned()]));
        let text = ring.render();
        assert_eq!(text, format!("# imported from github a\n{KEY}\n"));
        let mut ring =
            Keyring::read(format!("{text}broken\n# imported from other\n{KEY}\n").as_bytes(), &sources);
        assert_eq!((ring.count(&sources[0]), ring.count(&sources[1])), (Some(1), None));
        // Taken back at the source: gone here.
        assert!(ring.set(&sources[0], Vec::new()));
        assert_eq!(ring.render(), "# imported from github a\n");
    }
}
