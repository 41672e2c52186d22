//! From what a device says of itself to the modules that answer to it: modules.alias, depmod(8).

/// Longest line and alias that are looked at, in bytes.
const LENGTH_MAX: usize = 1024;

/// The aliases of a kernel's modules.
#[derive(Debug, Clone, Default)]
pub struct Aliases {
    text: String,
}

impl Aliases {
    /// Takes the text of modules.alias: `alias PATTERN MODULE` a line.
    pub fn new(text: String) -> Self {
        Self { text }
    }

    /// The modules whose patterns match, in the file's order, each once.
    pub fn modules(&self, alias: &str) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        if alias.len() > LENGTH_MAX {
            return found;
        }
        // What a device says has `-` and `_` as it likes (modprobe(8)).
        for line in self.text.lines().filter(|line| line.len() <= LENGTH_MAX) {
            let Some(rest) = line.strip_prefix("alias ") else { continue };
            let Some((pattern, module)) = rest.trim().rsplit_once(' ') else { continue };
            if !found.contains(&module) && matches(pattern.trim().as_bytes(), alias.as_bytes()) {
                found.push(module);
            }
        }
        found
    }
}

/// Whether a pattern with `*`, `?` and `[…]` matches the whole text (fnmatch(3) without flags).
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: it takes one byte more.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(b'?') => Some(p + 1),
            Some(b'[') => set(&pattern[p..], text[t]).map(|length| p + length),
            Some(byte) if same(*byte, text[t]) => Some(p + 1),
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => (p, t) = (next, t + 1),
            (None, Some((after, from))) => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn same(a: u8, b: u8) -> bool {
    a == b || (matches!(a, b'-' | b'_') && matches!(b, b'-' | b'_'))
}

/// Length of the set at the start of a pattern, when the byte is in it.
fn set(pattern: &[u8], byte: u8) -> Option<usize> {
    let end = pattern.iter().position(|it| *it == b']')?;
    let mut members = &pattern[1..end];
    let mut is_in = false;
    while let [first, rest @ ..] = members {
        members = rest;
        if let [b'-', last, more @ ..] = rest {
            is_in |= (*first..=*last).contains(&byte);
            members = more;
        } else {
            is_in |= *first == byte;
        }
    }
    is_in.then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_the_shell() {
        let aliases = Aliases::new(
            "# Aliases\nalias virtio:d00000001v* virtio_net\nalias virtio:d00000002v* virtio_blk\n\
             alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci\nalias fs-ext4 ext4\nalias usb:v*p[0-3]?x r8152\nalias usb:v* other\n"
                .to_owned(),
        );
        assert_eq!(aliases.modules("virtio:d00000001v00001AF4"), ["virtio_net"]);
        assert_eq!(aliases.modules("pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00"), ["virtio_pci"]);
        assert_eq!(aliases.modules("usb:v1p22x"), ["r8152", "other"]);
        assert_eq!(aliases.modules("usb:v1p52x"), ["other"]);
        assert_eq!(aliases.modules("fs_ext4"), ["ext4"]);
        assert!(aliases.modules("pci:v00008086d").is_empty());
        assert!(aliases.modules("virtio:d00000001").is_empty());
    }

    #[test]
    fn many_stars_do_not_take_long() {
        let pattern = "*a".repeat(200);
        assert!(!matches(pattern.as_bytes(), "a".repeat(190).as_bytes()));
        assert!(matches(b"*", b"") && !matches(b"?", b"") && !matches(b"[a", b"a"));
    }
}
