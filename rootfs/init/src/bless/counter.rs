//! File names of boot entries with counters: UAPI.1, "Boot counting".

use std::fmt;

/// Tries of a boot entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootCounter {
    /// Tries left.
    pub left: u32,
    /// Tries used.
    pub done: u32,
}

/// `NAME+LEFT-DONE.efi`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName {
    /// What stands before the counter.
    pub stem: String,
    /// The counter.
    pub counter: BootCounter,
    /// What stands behind it, with its dot.
    pub suffix: String,
}

impl EntryName {
    /// Parses a file name; `None` when it carries no counter.
    pub fn parse(name: &str) -> Option<Self> {
        let dot = name.rfind('.')?;
        let plus = name[..dot].rfind('+')?;
        let digits = |text: &str| -> Option<u32> {
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
        };
        let tries = &name[plus + 1..dot];
        let (left, done) = match tries.split_once('-') {
            Some((left, done)) => (digits(left)?, digits(done)?),
            None => (digits(tries)?, 0),
        };
        Some(Self {
            stem: name[..plus].to_owned(),
            counter: BootCounter { left, done },
            suffix: name[dot..].to_owned(),
        })
    }

    /// The same entry with all its tries.
    #[must_use]
    pub fn rearmed(&self, tries: u32) -> Self {
        Self { counter: BootCounter { left: tries, done: 0 }, ..self.clone() }
    }

    /// Whether even this entry, the best there was, has no tries left. systemd-boot sorts an
    /// entry at zero behind all others, so every entry is at zero: falling back is over.
    ///
    /// The counter is read *after* systemd-boot has counted this start, so the last regular
    /// try (`tries` of them were allowed) shows as 0 left, `tries` done.
    pub fn is_exhausted(&self, tries: u32) -> bool {
        self.counter.left == 0 && self.counter.done > tries
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stem, counter: BootCounter { left, done }, suffix } = self;
        match done {
            0 => write!(formatter, "{stem}+{left}{suffix}"),
            _ => write!(formatter, "{stem}+{left}-{done}{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart_and_together_again() {
        for name in ["slipway_0.1.0+3.efi", "slipway_1.10.0+0-3.efi", "a+b+2-1.conf"] {
            assert_eq!(EntryName::parse(name).unwrap().to_string(), name);
        }
        let entry = EntryName::parse("slipway_0.1.0+2-1.efi").unwrap();
        assert_eq!(entry.counter, BootCounter { left: 2, done: 1 });
        assert_eq!(entry.rearmed(3).to_string(), "slipway_0.1.0+3.efi");
    }

    #[test]
    fn names_without_a_counter_are_told_apart() {
        for name in ["slipway.efi", "slipway+.efi", "slipway+x.efi", "slipway+1-.efi", "+1", "a.b+1", ""] {
            assert_eq!(EntryName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn exhausted_is_the_start_after_the_last_try() {
        let exhausted = |name| EntryName::parse(name).unwrap().is_exhausted(3);
        assert!(!exhausted("s+2-1.efi"));
        assert!(!exhausted("s+0-3.efi"));
        assert!(exhausted("s+0-4.efi"));
    }
}
