//! Specifiers: `%i`, `%H`, … (systemd.unit(5), "Specifiers").

use super::name::{UnitName, unescape};

/// What the specifiers say about the machine; read once, see [`Facts::read`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `%H`.
    pub hostname: String,
    /// `%m`, 32 hexadecimal digits.
    pub machine_id: String,
    /// `%b`, 32 hexadecimal digits.
    pub boot_id: String,
    /// `%v`, as `uname -r`.
    pub kernel_release: String,
    /// The lines of os-release(5), for `%o %w %A %M %B %W`.
    pub os_release: Vec<(String, String)>,
}

impl Facts {
    /// Reads them from /proc, /etc/machine-id and /usr/lib/os-release; what is absent stays empty.
    pub fn read() -> Self {
        let line =
            |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let os_release = line("/usr/lib/os-release")
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
            .collect();
        Self {
            hostname: line("/proc/sys/kernel/hostname"),
            machine_id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id").replace('-', ""),
            kernel_release: line("/proc/sys/kernel/osrelease"),
            os_release,
        }
    }

    /// A field of os-release(5), empty where absent.
    pub fn os(&self, key: &str) -> &str {
        self.os_release.iter().find(|(known, _)| known == key).map_or("", |(_, value)| value)
    }
}

/// A specifier that does not exist or is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("specifier %{0} is not known")]
pub struct UnknownSpecifier(pub char);

/// Replaces every specifier in `text` by its value for unit `name`.
///
/// # Errors
/// The first specifier that is not known. A `%` at the very end stays, as in systemd.
pub fn expand(text: &str, name: &UnitName, facts: &Facts) -> Result<String, UnknownSpecifier> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let Some(letter) = chars.next() else {
            out.push('%');
            break;
        };
        let instance = name.instance().unwrap_or("");
        let last = |text: &str| text.rsplit('-').next().unwrap_or(text).to_owned();
        match letter {
            '%' => out.push('%'),
            'n' => out.push_str(name.as_str()),
            'N' => out.push_str(name.stem()),
            'p' => out.push_str(name.prefix()),
            'P' => out.push_str(&unescape(name.prefix())),
            'i' => out.push_str(instance),
            'I' => out.push_str(&unescape(instance)),
            'j' => out.push_str(&last(name.prefix())),
            'J' => out.push_str(&unescape(&last(name.prefix()))),
            'f' => {
                let path = unescape(if instance.is_empty() { name.prefix() } else { instance });
                out.push('/');
                out.push_str(path.trim_start_matches('/'));
            }
            'H' => out.push_str(&facts.hostname),
            'l' => out.push_str(facts.hostname.split('.').next().unwrap_or("")),
            'm' => out.push_str(&facts.machine_id),
            'b' => out.push_str(&facts.boot_id),
            'v' => out.push_str(&facts.kernel_release),
            'a' => out.push_str("x86-64"),
            'o' => out.push_str(facts.os("ID")),
            'w' => out.push_str(facts.os("VERSION_ID")),
            'A' => out.push_str(facts.os("IMAGE_VERSION")),
            'M' => out.push_str(facts.os("IMAGE_ID")),
            'B' => out.push_str(facts.os("BUILD_ID")),
            'W' => out.push_str(facts.os("VARIANT_ID")),
            't' => out.push_str("/run"),
            'S' => out.push_str("/var/lib"),
            'C' => out.push_str("/var/cache"),
            'L' => out.push_str("/var/log"),
            'E' => out.push_str("/etc"),
            'T' => out.push_str("/tmp"),
            'V' => out.push_str("/var/tmp"),
            // The manager's own user, always root here.
            'u' | 'g' => out.push_str("root"),
            'U' | 'G' => out.push('0'),
            'h' => out.push_str("/root"),
            other => return Err(UnknownSpecifier(other)),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_of_an_instance() {
        let name = UnitName::parse("app-web@a-b\\x2dc.service").unwrap();
        let facts = Facts {
            hostname: "node1.example".into(),
            os_release: vec![("VERSION_ID".into(), "0.1.0".into())],
            ..Facts::default()
        };
        let expanded = expand("%n|%N|%p|%P|%i|%I|%j|%f|%H|%l|%w|%t|%%|100%", &name, &facts).unwrap();
        assert_eq!(
            expanded,
            "app-web@a-b\\x2dc.service|app-web@a-b\\x2dc|app-web|app/web|a-b\\x2dc|a/b-c|web|/a/b-c|\
             node1.example|node1|0.1.0|/run|%|100%"
        );
        assert_eq!(expand("%z", &name, &facts), Err(UnknownSpecifier('z')));
    }
}
