//! A kernel event as netlink carries it (kernel.org, `kobject_uevent`), and as udev passes it on.

use std::collections::BTreeMap;

/// Most properties of one event; the kernel's own limit is 64 (`UEVENT_NUM_ENVP`), udev adds to them.
const PROPERTIES_MAX: usize = 512;
/// First bytes of what udev sends, and not the kernel: `struct monitor_netlink_header`.
const UDEV_PREFIX: &[u8] = b"libudev\0";
const UDEV_MAGIC: u32 = 0xfeed_cafe;
const UDEV_HEADER: usize = 40;

/// A device's properties.
pub type Properties = BTreeMap<String, String>;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// `add`, `remove`, `change`, `move`, `online`, `offline`, `bind`, `unbind`.
    pub action: String,
    /// The device's folder below /sys, with a leading slash.
    pub devpath: String,
    /// `block`, `net` …; empty for what has none.
    pub subsystem: String,
    /// All properties, these included.
    pub properties: Properties,
}

impl Event {
    /// Decodes one datagram: `ACTION@DEVPATH`, then `KEY=VALUE`, each ended by NUL; or the same
    /// behind udev's header. `None`: it is neither.
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let (fields, has_title) = if datagram.starts_with(UDEV_PREFIX) {
            let number = |at: usize| Some(u32::from_ne_bytes(*datagram.get(at..)?.first_chunk()?));
            if number(8)? != UDEV_MAGIC.to_be() {
                return None;
            }
            let (start, length) = (number(16)? as usize, number(20)? as usize);
            (datagram.get(start..start.checked_add(length)?)?, false)
        } else {
            (datagram, true)
        };
        let text = std::str::from_utf8(fields).ok()?;
        let mut fields = text.split('\0');
        if has_title {
            fields.next()?.split_once('@')?;
        }
        Self::from_properties(properties(fields)?)
    }

    /// An event from its properties. `None`: it has no action or no clean path.
    pub fn from_properties(properties: Properties) -> Option<Self> {
        let value = |key: &str| properties.get(key).cloned();
        let devpath = value("DEVPATH")?;
        let is_clean = devpath.starts_with('/')
            && !devpath.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
        let action = value("ACTION").filter(|action| !action.is_empty())?;
        let subsystem = value("SUBSYSTEM").unwrap_or_default();
        is_clean.then_some(Self { action, devpath, subsystem, properties })
    }

    /// The datagram that udev sends after its work, for group 2 of the netlink family: libudev
    /// and sd-device read it.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (key, value) in &self.properties {
            body.extend(key.as_bytes());
            body.push(b'=');
            body.extend(value.as_bytes());
            body.push(0);
        }
        let mut datagram = UDEV_PREFIX.to_vec();
        let hash = |text: Option<&str>| {
            text.filter(|text| !text.is_empty()).map_or(0, |it| murmur2(it.as_bytes()).to_be())
        };
        let devtype = self.properties.get("DEVTYPE").map(String::as_str);
        for number in [
            UDEV_MAGIC.to_be(),
            UDEV_HEADER as u32,
            UDEV_HEADER as u32,
            u32::try_from(body.len()).unwrap_or(u32::MAX),
            hash(Some(&self.subsystem)),
            hash(devtype),
            0,
            0,
        ] {
            datagram.extend(number.to_ne_bytes());
        }
        datagram.extend(body);
        datagram
    }
}

/// The properties in `KEY=VALUE` texts. `None`: there are too many.
fn properties<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Properties> {
    let mut properties = Properties::new();
    for field in fields {
        let Some((key, value)) = field.split_once('=') else { continue };
        if key.is_empty() || value.contains('\n') {
            continue;
        }
        properties.insert(key.to_owned(), value.to_owned());
        if properties.len() > PROPERTIES_MAX {
            return None;
        }
    }
    Some(properties)
}

/// The text of a `uevent` file in sysfs.
pub fn uevent_file(text: &str) -> Properties {
    properties(text.lines()).unwrap_or_default()
}

/// `MurmurHash2` with seed 0, by which receivers filter.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = bytes.len() as u32;
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail: u32, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DATAGRAM: &[u8] =
        b"add@/devices/vda\0ACTION=add\0DEVPATH=/devices/vda\0SUBSYSTEM=block\0DEVNAME=vda\0DEVTYPE=disk\0";

    #[test]
    fn events_come_apart_and_together() {
        let event = Event::decode(DATAGRAM).unwrap();
        assert_eq!((event.action.as_str(), event.subsystem.as_str()), ("add", "block"));
        assert_eq!(event.properties["DEVNAME"], "vda");
        assert_eq!(Event::decode(&event.encode()), Some(event));
    }

    #[test]
    fn what_is_no_event_is_none() {
        for bytes in [
            b"".as_slice(),
            b"add@/x\0ACTION=add\0",
            b"libudev\0\xfe\xed",
            b"add@/x\0ACTION=add\0DEVPATH=/x/../y\0",
            b"add@/x\0ACTION=add\0DEVPATH=x\0",
            b"x\0ACTION=add\0DEVPATH=/x\0",
        ] {
            assert_eq!(Event::decode(bytes), None, "{bytes:?}");
        }
        let mut cut = Event::decode(DATAGRAM).unwrap().encode();
        cut.truncate(60);
        assert_eq!(Event::decode(&cut), None);
    }

    #[test]
    fn the_hash_is_murmur_2() {
        // Known values of MurmurHash2, 32 bits, seed 0.
        assert_eq!(murmur2(b""), 0);
        assert_eq!(murmur2(b"a"), 0x9268_5f5e);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            drop(Event::decode(&bytes));
            drop(Event::decode(&[UDEV_PREFIX, &UDEV_MAGIC.to_be().to_ne_bytes(), &bytes].concat()));
        }
    }
}
