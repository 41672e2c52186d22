//! Forms of values: addresses, hardware addresses, numbers.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<String> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.write_str(&bytes.join(":"))
    }
}

impl FromStr for Mac {
    type Err = ();

    /// Six bytes with `:` or `-`, or three words with `.`, or twelve digits.
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits: String = match text.chars().find(|c| !c.is_ascii_hexdigit()) {
            Some(mark @ (':' | '-')) => text
                .split(mark)
                .map(|part| if part.len() < 3 { format!("{part:0>2}") } else { "x".to_owned() })
                .collect(),
            Some('.') => text.split('.').map(|part| if part.len() == 4 { part } else { "x" }).collect(),
            Some(_) => return Err(()),
            None => text.to_owned(),
        };
        if digits.len() != 12 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        let number = u64::from_str_radix(&digits, 16).map_err(|_| ())?;
        let [_, _, bytes @ ..] = number.to_be_bytes();
        Ok(Self(bytes))
    }
}

/// An address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Prefixed {
    /// The address.
    pub address: IpAddr,
    /// Bits of the prefix, 0 to 32 or 128.
    pub length: u8,
}

impl Prefixed {
    /// The network: the bits behind the prefix are zero.
    #[must_use]
    pub fn network(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length.min(32))).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length.min(128))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        };
        Self { address, ..self }
    }

    /// A single address.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl fmt::Display for Prefixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefixed {
    type Err = ();

    /// `ADDRESS/LENGTH`, or `ADDRESS` alone for a single address.
    fn from_str(text: &str) -> Result<Self, ()> {
        let Some((address, length)) = text.split_once('/') else {
            return text.parse().map(Self::host).map_err(|_| ());
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let length: u8 = length.parse().map_err(|_| ())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if length > longest { Err(()) } else { Ok(Self { address, length }) }
    }
}

/// `yes`, `true`, `on`, `1` and their opposites (systemd.syntax(7)).
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// Bytes with an optional `K`, `M` or `G`, base 1024.
pub fn bytes(text: &str) -> Option<u32> {
    let (number, unit) = match text.char_indices().last()? {
        (at, 'K') => (&text[..at], 1 << 10),
        (at, 'M') => (&text[..at], 1 << 20),
        (at, 'G') => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u32>().ok()?.checked_mul(unit)
}

/// A time of systemd.time(7) in `s` (also without a unit), `ms` or `min`, in milliseconds.
pub fn milliseconds(text: &str) -> Option<u32> {
    let text = text.trim();
    let (number, unit) = [("ms", 1), ("min", 60_000), ("s", 1000)]
        .into_iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number.trim_end(), factor)))
        .unwrap_or((text, 1000));
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if part.is_empty()
        || part.len() > 3
        || ![whole, part].iter().all(|text| text.bytes().all(|b| b.is_ascii_digit()))
    {
        return None;
    }
    let part: u32 = format!("{part:0<3}").parse().ok()?;
    whole
        .parse::<u32>()
        .ok()?
        .checked_mul(unit)?
        .checked_add(u32::try_from(u64::from(part) * u64::from(unit) / 1000).ok()?)
}

/// A link's name as the kernel takes it: 1 to 15 bytes, no `/`, no white space.
pub fn link_name(text: &str) -> Option<&str> {
    let good = (1..16).contains(&text.len())
        && text != "."
        && text != ".."
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'));
    good.then_some(text)
}

/// A domain name, without its last dot: labels of letters, digits, `-` and `_`, at most 253 bytes.
pub fn domain(text: &str) -> Option<&str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..64).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
    };
    (name.len() <= 253 && name.split('.').all(label)).then_some(name)
}

/// Whether `text` matches a pattern with `*`, `?` and `[set]` (glob(7)).
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when a match fails: behind the last star, one character further.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                p += 1;
                retry = Some((p, t));
                continue;
            }
            None => (t == text.len()).then_some(p),
            Some(_) => text.get(t).and_then(|c| one(&pattern[p..], *c)).map(|used| p + used),
        };
        match step {
            Some(_) if t == text.len() => return true,
            Some(next) => {
                p = next;
                t += 1;
            }
            None => match retry {
                Some((star, from)) if from < text.len() => {
                    retry = Some((star, from + 1));
                    (p, t) = (star, from + 1);
                }
                _ => return false,
            },
        }
    }
}

/// Matches one character against the pattern's first element; gives its length.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', rest @ ..] => {
            let negated = matches!(rest.first(), Some('!' | '^'));
            let set = if negated { &rest[1..] } else { rest };
            // A bracket that comes first stands for itself.
            let Some(end) = set.iter().skip(1).position(|c| *c == ']').map(|at| at + 1) else {
                return (c == '[').then_some(1);
            };
            let mut found = false;
            let mut members = &set[..end];
            while let [first, rest @ ..] = members {
                if let ['-', last, rest @ ..] = rest {
                    found |= (*first..=*last).contains(&c);
                    members = rest;
                } else {
                    found |= *first == c;
                    members = rest;
                }
            }
            (found != negated).then_some(end + 2 + usize::from(negated))
        }
        ['\\', escaped, ..] => (*escaped == c).then_some(2),
        [first, ..] => (*first == c).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_the_shells() {
        for (pattern, text, wanted) in [
            ("eth*", "eth0", true),
            ("eth*", "et", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("e?0", "en0", true),
            ("en[op]*", "enp3s0", true),
            ("en[!op]*", "ens3", true),
            ("en[!op]*", "eno1", false),
            ("e[a-z][0-9]", "en5", true),
            ("*a*b*c", "xaybzc", true),
            ("*a*b*c", "xaybz", false),
            ("a[", "a[", true),
            ("[]]", "]", true),
            ("a*", "a", true),
        ] {
            assert_eq!(glob(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn hardware_addresses_in_every_spelling() {
        let wanted = Ok(Mac([0, 0x1a, 0x2b, 0x3c, 0x4d, 0x5e]));
        for text in
            ["00:1a:2b:3c:4d:5e", "00-1A-2B-3C-4D-5E", "001a.2b3c.4d5e", "0:1a:2b:3c:4d:5e", "001a2b3c4d5e"]
        {
            assert_eq!(text.parse(), wanted, "{text}");
        }
        for text in ["", "00:1a:2b:3c:4d", "00:1a:2b:3c:4d:5e:6f", "001:a:2b:3c:4d:5e", "zz:1a:2b:3c:4d:5e"] {
            assert_eq!(text.parse::<Mac>(), Err(()), "{text}");
        }
    }

    #[test]
    fn networks_of_addresses() {
        for (text, wanted) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3/0", "0.0.0.0/0"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("fd00::1:2/64", "fd00::/64"),
            ("::1/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Prefixed>().unwrap().network().to_string(), wanted);
        }
        for text in ["10.0.0.1/33", "fd00::/129", "x", "10.0.0.1/", "/8"] {
            assert_eq!(text.parse::<Prefixed>(), Err(()), "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, wanted) in [
            ("100ms", Some(100)),
            ("1", Some(1000)),
            ("0.1", Some(100)),
            ("1.5s", Some(1500)),
            ("2min", Some(120_000)),
            ("2 s", Some(2000)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1.", None),
            ("5000000", None),
        ] {
            assert_eq!(milliseconds(text), wanted, "{text}");
        }
    }

    #[test]
    fn names_are_checked() {
        assert_eq!((domain("a.example."), domain("a..b"), domain("a b")), (Some("a.example"), None, None));
        assert_eq!(
            (link_name("eth0"), link_name("a/b"), link_name("sixteen-bytes-xx")),
            (Some("eth0"), None, None)
        );
        assert_eq!((bytes("9000"), bytes("2K"), bytes("9G")), (Some(9000), Some(2048), None));
    }

    proptest::proptest! {
        #[test]
        fn a_glob_ends(pattern in "[a*?\\[\\]!-]{0,12}", text in "[a-c]{0,20}") {
            glob(&pattern, &text);
        }
    }
}
