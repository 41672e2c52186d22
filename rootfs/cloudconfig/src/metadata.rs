//! Metadata that comes beside user-data on a disk: `OpenStack`'s `meta_data.json` and NoCloud's
//! `meta-data`. JSON is YAML, so one reader takes both. Others write these files, so what is not
//! known in them is passed over.

use crate::{Facts, Variable};
use document::{Node, Place, Problem, Problems, Value};

/// Names of an address in metadata, `-` for `_`.
const ADDRESSES: [(&str, Variable); 8] = [
    ("local_ipv4", Variable::PrivateIpv4),
    ("private_ipv4", Variable::PrivateIpv4),
    ("public_ipv4", Variable::PublicIpv4),
    ("local_ipv6", Variable::PrivateIpv6),
    ("private_ipv6", Variable::PrivateIpv6),
    ("public_ipv6", Variable::PublicIpv6),
    ("ipv6", Variable::PublicIpv6),
    ("public_ip", Variable::PublicIpv4),
];

/// What the metadata says. Addresses are also taken from the mapping `meta`, where `OpenStack`
/// puts what the machine's owner wrote.
///
/// # Errors
/// It is no YAML mapping, or an address in it is none.
pub fn read(bytes: &[u8]) -> Result<Facts, Problem> {
    let start = Place { line: 1, column: 1 };
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Problem { place: start, message: "the metadata is not UTF-8".to_owned() })?;
    let root = document::read(text)?;
    let mut facts = Facts::default();
    match &root.value {
        Value::Null => Ok(facts),
        Value::Mapping(pairs) => {
            take(pairs, &mut facts)?;
            Ok(facts)
        }
        _ => Err(Problem { place: root.place, message: "the metadata is no mapping".to_owned() }),
    }
}

/// The same as text that [`read`] takes.
pub fn write(facts: &Facts) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let addresses = Variable::ALL.into_iter().filter_map(|variable| Some((variable, facts.get(variable)?)));
    let mut text: String =
        addresses.map(|(variable, address)| format!("{}: '{address}'\n", variable.name())).collect();
    if let Some(hostname) = &facts.hostname {
        text.extend(["hostname: ", &quoted(hostname), "\n"]);
    }
    if !facts.keys.is_empty() {
        let keys: Vec<String> = facts.keys.iter().map(|key| quoted(key)).collect();
        text.extend(["public_keys: [", &keys.join(", "), "]\n"]);
    }
    text
}

fn take(pairs: &[(Node, Node)], facts: &mut Facts) -> Result<(), Problem> {
    let quiet = Problems::default();
    for (key, value) in pairs {
        let name = key.text(&quiet).unwrap_or_default().replace('-', "_");
        if let Some((_, variable)) = ADDRESSES.iter().find(|(known, _)| *known == name) {
            let text = value.text(&quiet).unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            let address = text.parse().map_err(|_| Problem {
                place: value.place,
                message: format!("metadata: {name}: `{text}` is no address"),
            })?;
            facts.set(*variable, address);
        }
        match (name.as_str(), &value.value) {
            ("hostname" | "local_hostname", Value::Scalar { text, .. }) => {
                facts.hostname = crate::hostname::fault(text).is_none().then(|| text.clone());
            }
            ("meta", Value::Mapping(pairs)) => take(pairs, facts)?,
            ("public_keys" | "ssh_authorized_keys", _) => keys(value, facts),
            _ => {}
        }
    }
    Ok(())
}

/// A key, a list of keys, or a mapping of names to keys.
fn keys(node: &Node, facts: &mut Facts) {
    match &node.value {
        Value::Null => {}
        Value::Scalar { text, .. } => {
            facts.keys.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        }
        Value::Sequence(items) => items.iter().for_each(|item| keys(item, facts)),
        Value::Mapping(pairs) => pairs.iter().for_each(|(_, value)| keys(value, facts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let openstack = br#"{"uuid": "x", "hostname": "node-1", "public_keys": {"mine": "ssh-ed25519 A\n"},
            "meta": {"private_ipv4": "10.0.0.7"}, "devices": []}"#;
        let facts = read(openstack).unwrap();
        assert_eq!(facts.hostname.as_deref(), Some("node-1"));
        assert_eq!(facts.keys, ["ssh-ed25519 A"]);
        assert_eq!(facts.get(Variable::PrivateIpv4).unwrap().to_string(), "10.0.0.7");
        let nocloud =
            b"instance-id: i-1\nlocal-hostname: n\nlocal-ipv4: 10.1.1.1\npublic-keys:\n  - a\n  - b\n";
        let facts = read(nocloud).unwrap();
        assert_eq!((facts.hostname.as_deref(), facts.keys.len()), (Some("n"), 2));
        assert_eq!(facts.get(Variable::PublicIpv4), None);
        assert!(read(b"local-ipv4: x\n").unwrap_err().to_string().contains("no address"));
        assert_eq!(read(b"").unwrap(), Facts::default());
        assert!(read(b"- a\n").is_err());
        let mut facts = Facts::assumed();
        facts.hostname = Some("node-1".to_owned());
        facts.keys = vec!["ssh-ed25519 A it's # me".to_owned()];
        assert_eq!(read(write(&facts).as_bytes()).unwrap(), facts);
        assert_eq!(write(&Facts::default()), "");
    }
}
