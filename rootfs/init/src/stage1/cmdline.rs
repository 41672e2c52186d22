//! The words of the kernel command line that are ours.

use formats::verity::{Digest32, digest_from_hex};

/// Tries that a boot entry has when the command line does not say.
const DEFAULT_TRIES: u32 = 3;

/// What the builder puts into the UKI's command line. Words of others are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// `roothash=`: root hash of the slot to boot; `None` when absent or malformed.
    pub root_hash: Option<Digest32>,
    /// `slipway.tries=`: full count of tries of a boot entry.
    pub tries: u32,
}

impl CommandLine {
    /// Parses the text of /proc/cmdline. As for the kernel, the last of two equal words counts.
    pub fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.split_ascii_whitespace().rev().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        };
        Self {
            root_hash: value("roothash").and_then(digest_from_hex),
            tries: value("slipway.tries")
                .and_then(|tries| tries.parse().ok())
                .filter(|tries| *tries > 0)
                .unwrap_or(DEFAULT_TRIES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_words_are_found_among_others() {
        let text =
            format!("console=ttyS0 roothash={} panic=-1 slipway.tries=5 roothashes=x\n", "0a".repeat(32));
        let command_line = CommandLine::parse(&text);
        assert_eq!(command_line, CommandLine { root_hash: Some([10; 32]), tries: 5 });
    }

    #[test]
    fn malformed_values_count_as_absent() {
        for text in ["", "roothash", "roothash=", "roothash=12", "slipway.tries=0", "slipway.tries=x"] {
            assert_eq!(CommandLine::parse(text), CommandLine { root_hash: None, tries: 3 }, "{text}");
        }
    }
}
