//! What the rarer conditions ask of the machine (systemd.unit(5), "Conditions and Asserts").
//! Reads small files of the kernel's; each answer is "no" when its file is absent.

use super::condition::{Test, glob};
use super::value;
use std::cmp::Ordering;
use std::fs;
use std::path::Path;

/// Whether the test holds for the argument.
pub(super) fn holds(test: Test, argument: &str) -> bool {
    match test {
        Test::PathExistsGlob => glob_exists(argument),
        Test::Firmware => firmware(argument),
        Test::Security => security(argument),
        Test::Capability => capability(argument),
        Test::ACPower => value::boolean(argument) == Some(on_ac_power(Path::new("/sys/class/power_supply"))),
        Test::NeedsUpdate => needs_update(Path::new(argument), Path::new("/usr")),
        Test::User => user(argument),
        Test::Group => group(argument),
        Test::ControlGroupController => controllers(argument),
        Test::Memory => {
            let total = nix::sys::sysinfo::sysinfo().map_or(0, |info| info.ram_total());
            compared(argument, |wanted| Some(total.cmp(&value::size(wanted)?)))
        }
        Test::CPUs => {
            let count = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
            compared(argument, |wanted| Some(count.cmp(&wanted.parse().ok()?)))
        }
        Test::CPUFeature => words_of("/proc/cpuinfo", "flags").any(|flag| flag == argument),
        Test::OSRelease => os_release(argument, &small("/etc/os-release")),
        Test::KernelVersion => {
            let release = small("/proc/sys/kernel/osrelease");
            kernel_version(argument, release.trim())
        }
        Test::Credential => Path::new("/run/credentials/@system").join(argument).exists(),
        Test::Environment => match argument.split_once('=') {
            Some((name, text)) => std::env::var(name).is_ok_and(|found| found == text),
            None => std::env::var_os(argument).is_some(),
        },
        _ => false,
    }
}

fn small(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The words behind the first line of a file that has the key.
fn words_of(path: &str, key: &str) -> std::vec::IntoIter<String> {
    let text = small(path);
    let line = text.lines().find_map(|line| {
        let (name, rest) = line.split_once(':')?;
        (name.trim() == key).then_some(rest)
    });
    line.unwrap_or("").split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Reads folders along the pattern; at most this many names, so that no pattern takes for ever.
const MAX_NAMES: usize = 20_000;

fn glob_exists(pattern: &str) -> bool {
    let mut left = MAX_NAMES;
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    below(Path::new("/"), &parts, &mut left)
}

fn below(folder: &Path, parts: &[&str], left: &mut usize) -> bool {
    let Some((part, rest)) = parts.split_first() else { return folder.exists() };
    if !part.contains(['*', '?', '[']) {
        return below(&folder.join(part), rest, left);
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if *left == 0 {
            return false;
        }
        *left -= 1;
        let name = entry.file_name();
        let hidden = name.as_encoded_bytes().first() == Some(&b'.') && !part.starts_with('.');
        if !hidden && glob(part.as_bytes(), name.as_encoded_bytes()) && below(&entry.path(), rest, left) {
            return true;
        }
    }
    false
}

/// `uefi`, `device-tree`, `smbios-field(NAME = VALUE)`.
fn firmware(argument: &str) -> bool {
    if let Some(inner) = argument.strip_prefix("smbios-field(").and_then(|rest| rest.strip_suffix(')')) {
        let at = inner.find(['=', '!', '<', '>', '$']).unwrap_or(inner.len());
        let (field, check) = inner.split_at(at);
        let field = field.trim();
        if field.is_empty() || field.contains('/') {
            return false;
        }
        let found = small(&format!("/sys/class/dmi/id/{field}"));
        return compared_text(check.trim(), found.trim());
    }
    match argument {
        "uefi" => Path::new("/sys/firmware/efi").exists(),
        "device-tree" => Path::new("/sys/firmware/devicetree").exists(),
        _ => false,
    }
}

fn security(argument: &str) -> bool {
    match argument {
        "selinux" | "apparmor" | "tomoyo" | "smack" => {
            small("/sys/kernel/security/lsm").trim().split(',').any(|name| name == argument)
        }
        "ima" => Path::new("/sys/kernel/security/ima").exists(),
        "audit" => Path::new("/proc/self/loginuid").exists(),
        "tpm2" => Path::new("/sys/class/tpmrm/tpmrm0").exists(),
        "uefi-secureboot" => {
            // Four bytes of attributes, then the value (UEFI, global variables).
            let name = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
            fs::read(name).is_ok_and(|bytes| bytes.get(4) == Some(&1))
        }
        _ => false,
    }
}

/// Whether PID 1 may pass the capability on: it is in its bounding set.
fn capability(argument: &str) -> bool {
    let bounding = words_of("/proc/self/status", "CapBnd").next();
    let mask = bounding.and_then(|hex| u64::from_str_radix(&hex, 16).ok()).unwrap_or(0);
    sys::process::capability_by_name(argument).is_some_and(|number| mask & (1 << number) != 0)
}

/// On, if any mains is online, or if there is no battery that is used up.
fn on_ac_power(folder: &Path) -> bool {
    let read = |path: &Path, name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
    let mut discharging = false;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match read(&path, "type").trim() {
            "Mains" if read(&path, "online").trim() == "1" => return true,
            "Battery" if read(&path, "status").trim() == "Discharging" => discharging = true,
            _ => {}
        }
    }
    !discharging
}

/// `/etc` or `/var` was last updated before `/usr` was (systemd-update-done.service(8)).
fn needs_update(path: &Path, usr: &Path) -> bool {
    let Ok(usr) = usr.metadata().and_then(|meta| meta.modified()) else { return false };
    match path.join(".updated").metadata().and_then(|meta| meta.modified()) {
        Ok(updated) => updated < usr,
        Err(_) => true,
    }
}

fn user(argument: &str) -> bool {
    let own = nix::unistd::getuid().as_raw();
    match argument {
        "@system" => own < 1000,
        "root" => own == 0,
        number if number.parse() == Ok(own) => true,
        name => named("/etc/passwd", name) == Some(own),
    }
}

fn group(argument: &str) -> bool {
    let mut own = nix::unistd::getgroups().unwrap_or_default();
    own.push(nix::unistd::getgid());
    let wanted = match argument {
        "@system" => return nix::unistd::getgid().as_raw() < 1000,
        "root" => Some(0),
        number => number.parse().ok().or_else(|| named("/etc/group", number)),
    };
    wanted.is_some_and(|wanted: u32| own.iter().any(|group| group.as_raw() == wanted))
}

/// The number of a name in passwd(5) or group(5).
fn named(path: &str, name: &str) -> Option<u32> {
    let text = small(path);
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// `v2`, or controllers that are all there.
fn controllers(argument: &str) -> bool {
    match argument {
        "v1" => false,
        "v2" => Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        names => {
            let found = small("/sys/fs/cgroup/cgroup.controllers");
            names.split_whitespace().all(|name| found.split_whitespace().any(|known| known == name))
        }
    }
}

const OPERATORS: [&str; 8] = ["<=", ">=", "==", "!=", "<", ">", "=", ""];

fn operator(text: &str) -> (&'static str, &str) {
    let found =
        OPERATORS.iter().find_map(|operator| text.strip_prefix(operator).map(|rest| (*operator, rest)));
    found.map_or(("", text), |(operator, rest)| (operator, rest.trim_start()))
}

fn satisfies(operator: &str, default: &str, order: Ordering) -> bool {
    match if operator.is_empty() { default } else { operator } {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "!=" => order.is_ne(),
        _ => order.is_eq(),
    }
}

/// A number behind an operator; without one, at least that many.
fn compared(argument: &str, order: impl Fn(&str) -> Option<Ordering>) -> bool {
    let (operator, wanted) = operator(argument);
    order(wanted).is_some_and(|order| satisfies(operator, ">=", order))
}

/// `=` and `!=` compare with patterns, the others as versions.
fn compared_text(check: &str, found: &str) -> bool {
    let (operator, wanted) = operator(check);
    let wanted = wanted.trim_matches('"');
    match operator {
        "=" | "" => glob(wanted.as_bytes(), found.as_bytes()),
        "!=" => !glob(wanted.as_bytes(), found.as_bytes()),
        operator => satisfies(operator, "=", versions(found, wanted)),
    }
}

/// Assignments of os-release(5), all of which must hold.
fn os_release(argument: &str, text: &str) -> bool {
    let Ok(words) = super::words::split(argument) else { return false };
    words.iter().all(|word| {
        let at = word.find(['=', '!', '<', '>']).unwrap_or(word.len());
        let (key, check) = word.split_at(at);
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        compared_text(check, line.unwrap_or("").trim_matches('"'))
    })
}

/// Expressions with operators, or patterns, all of which must hold.
fn kernel_version(argument: &str, release: &str) -> bool {
    let mut words: Vec<String> = Vec::new();
    for word in argument.split_whitespace() {
        // `>= 6.1` is one expression.
        match words.last_mut() {
            Some(last) if OPERATORS.contains(&last.as_str()) && !last.is_empty() => last.push_str(word),
            _ => words.push(word.to_owned()),
        }
    }
    !words.is_empty() && words.iter().all(|word| compared_text(word, release))
}

/// Numbers as numbers, `~` before everything, the rest as text (UAPI.10, Version Format, without
/// its rarer marks).
fn versions(a: &str, b: &str) -> Ordering {
    let part = |text: &str| -> (String, usize) {
        let digits = text.starts_with(|c: char| c.is_ascii_digit());
        let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
        (text[..end].to_owned(), end)
    };
    let (mut a, mut b) = (a, b);
    loop {
        match (a.is_empty(), b.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return if b.starts_with('~') { Ordering::Greater } else { Ordering::Less },
            (false, true) => return if a.starts_with('~') { Ordering::Less } else { Ordering::Greater },
            (false, false) => {}
        }
        let ((left, left_end), (right, right_end)) = (part(a), part(b));
        let order = match (left.parse::<u64>(), right.parse::<u64>()) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            _ => left.cmp(&right),
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (&a[left_end..], &b[right_end..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_by_pattern() {
        assert!(holds(Test::PathExistsGlob, "/proc/self/stat*"));
        assert!(holds(Test::PathExistsGlob, "/pro*/self"));
        assert!(!holds(Test::PathExistsGlob, "/proc/self/nope*"));
    }

    #[test]
    fn numbers_take_operators_and_mean_at_least_without() {
        for (argument, expected) in
            [(">=1", true), ("1", true), ("<1", false), (">100000", false), ("x", false)]
        {
            assert_eq!(holds(Test::CPUs, argument), expected, "{argument}");
        }
        assert!(holds(Test::Memory, ">=1M"));
        assert!(!holds(Test::Memory, "900T"));
    }

    #[test]
    fn versions_compare_by_their_numbers() {
        for (argument, expected) in [
            (">=6.1", true),
            (">= 6.1 <7", true),
            ("<6.1", false),
            ("6.1.*", true),
            ("!=6.1.*", false),
            (">6.1.100", false),
            ("", false),
        ] {
            assert_eq!(kernel_version(argument, "6.1.0-21-cloud-amd64"), expected, "{argument}");
        }
        assert_eq!(versions("1~rc1", "1"), Ordering::Less);
    }

    #[test]
    fn releases_users_capabilities() {
        let text = "ID=slipway\nVERSION_ID=\"1.10.0\"\n";
        assert!(os_release("ID=slipway VERSION_ID>=1.9", text));
        assert!(!os_release("ID=slipway VERSION_ID<1.9", text));
        assert!(os_release("NOPE!=x", text));
        assert!(holds(Test::User, "root") && holds(Test::User, "@system"));
        assert!(!holds(Test::User, "nobody"));
        assert!(holds(Test::Group, "root"));
        assert!(holds(Test::Capability, "CAP_CHOWN"));
        assert!(!holds(Test::Capability, "CAP_NOPE"));
    }

    #[test]
    fn power_and_updates() {
        let folder = tempfile::tempdir().unwrap();
        let supply = |name: &str, files: &[(&str, &str)]| {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).unwrap();
            for (file, text) in files {
                fs::write(path.join(file), text).unwrap();
            }
        };
        assert!(on_ac_power(folder.path()));
        supply("BAT0", &[("type", "Battery\n"), ("status", "Discharging\n")]);
        assert!(!on_ac_power(folder.path()));
        supply("AC", &[("type", "Mains\n"), ("online", "1\n")]);
        assert!(on_ac_power(folder.path()));

        let (etc, usr) = (folder.path().join("etc"), folder.path().join("usr"));
        fs::create_dir_all(&etc).unwrap();
        fs::create_dir_all(&usr).unwrap();
        assert!(needs_update(&etc, &usr));
        fs::write(etc.join(".updated"), "").unwrap();
        assert!(!needs_update(&etc, &usr));
    }
}
