//! `Condition…=` and `Assert…=` (systemd.unit(5), "Conditions and Asserts").

use super::value;
use std::path::Path;

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the key behind Condition or Assert")]
pub enum Test {
    PathExists,
    PathIsDirectory,
    PathIsSymbolicLink,
    PathIsMountPoint,
    PathIsReadWrite,
    FileNotEmpty,
    FileIsExecutable,
    DirectoryNotEmpty,
    KernelCommandLine,
    Virtualization,
    FirstBoot,
    Host,
    Architecture,
    PathExistsGlob,
    Firmware,
    Security,
    Capability,
    ACPower,
    NeedsUpdate,
    User,
    Group,
    ControlGroupController,
    Memory,
    CPUs,
    CPUFeature,
    OSRelease,
    KernelVersion,
    Credential,
    Environment,
}

const TESTS: [(&str, Test); 29] = [
    ("PathExists", Test::PathExists),
    ("PathIsDirectory", Test::PathIsDirectory),
    ("PathIsSymbolicLink", Test::PathIsSymbolicLink),
    ("PathIsMountPoint", Test::PathIsMountPoint),
    ("PathIsReadWrite", Test::PathIsReadWrite),
    ("FileNotEmpty", Test::FileNotEmpty),
    ("FileIsExecutable", Test::FileIsExecutable),
    ("DirectoryNotEmpty", Test::DirectoryNotEmpty),
    ("KernelCommandLine", Test::KernelCommandLine),
    ("Virtualization", Test::Virtualization),
    ("FirstBoot", Test::FirstBoot),
    ("Host", Test::Host),
    ("Architecture", Test::Architecture),
    ("PathExistsGlob", Test::PathExistsGlob),
    ("Firmware", Test::Firmware),
    ("Security", Test::Security),
    ("Capability", Test::Capability),
    ("ACPower", Test::ACPower),
    ("NeedsUpdate", Test::NeedsUpdate),
    ("User", Test::User),
    ("Group", Test::Group),
    ("ControlGroupController", Test::ControlGroupController),
    ("Memory", Test::Memory),
    ("CPUs", Test::CPUs),
    ("CPUFeature", Test::CPUFeature),
    ("OSRelease", Test::OSRelease),
    ("KernelVersion", Test::KernelVersion),
    ("Credential", Test::Credential),
    ("Environment", Test::Environment),
];

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is tested.
    pub test: Test,
    /// Against what, specifiers replaced.
    pub argument: String,
    /// `!`: the result is reversed.
    pub negated: bool,
    /// `|`: of all such lines one must hold.
    pub trigger: bool,
}

impl Test {
    /// The test of a key without its `Condition` or `Assert`.
    pub fn from_key(key: &str) -> Option<Self> {
        TESTS.iter().find(|(name, _)| *name == key).map(|(_, test)| *test)
    }

    /// The key without its `Condition` or `Assert`.
    pub fn key(self) -> &'static str {
        TESTS.iter().find(|(_, test)| *test == self).map_or("", |(name, _)| name)
    }
}

impl Condition {
    /// Reads the value of a condition line; `None` if nothing follows the `|` and `!`.
    pub fn parse(test: Test, text: &str) -> Option<Self> {
        let (trigger, text) = text.strip_prefix('|').map_or((false, text), |rest| (true, rest.trim_start()));
        let (negated, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest.trim_start()));
        (!text.is_empty()).then(|| Self { test, argument: text.to_owned(), negated, trigger })
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (bar, not) = (if self.trigger { "|" } else { "" }, if self.negated { "!" } else { "" });
        write!(f, "{}={bar}{not}{}", self.test.key(), self.argument)
    }
}

/// Facts about the machine that conditions ask for and that no path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The kernel command line, split at white space.
    pub kernel_command_line: Vec<String>,
    /// `kvm`, `qemu`, …, or empty on bare metal.
    pub virtualization: String,
    /// Whether STATE was made in this boot.
    pub first_boot: bool,
    /// Host name.
    pub hostname: String,
    /// Machine id.
    pub machine_id: String,
}

/// Whether an answer may depend on a file system other than the root's, the kernel's own and PID 1's:
/// one that may not answer.
pub fn asks_disk(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| {
        let is_path = matches!(
            condition.test,
            Test::PathExists
                | Test::PathIsDirectory
                | Test::PathIsSymbolicLink
                | Test::PathIsMountPoint
                | Test::PathIsReadWrite
                | Test::FileNotEmpty
                | Test::FileIsExecutable
                | Test::DirectoryNotEmpty
                | Test::PathExistsGlob
                | Test::NeedsUpdate
        );
        let is_kernel = ["/sys/", "/proc/sys/"].iter().any(|own| condition.argument.starts_with(own));
        is_path && (!is_kernel || condition.argument.contains(".."))
    })
}

/// The first line of `conditions` because of which the unit is not started; `None` if all hold.
pub fn first_failed<'a>(conditions: &'a [Condition], machine: &Machine) -> Option<&'a Condition> {
    let mut failed_trigger = None;
    let mut triggered = false;
    for condition in conditions {
        let holds = holds(condition, machine);
        if condition.trigger {
            triggered |= holds;
            failed_trigger = failed_trigger.or(Some(condition));
        } else if !holds {
            return Some(condition);
        }
    }
    if triggered { None } else { failed_trigger }
}

fn holds(condition: &Condition, machine: &Machine) -> bool {
    let path = Path::new(&condition.argument);
    let found = match condition.test {
        Test::PathExists => path.exists(),
        Test::PathIsDirectory => path.is_dir(),
        Test::PathIsSymbolicLink => path.is_symlink(),
        Test::PathIsMountPoint => is_mount_point(path),
        Test::PathIsReadWrite => nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok(),
        Test::FileNotEmpty => path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() > 0),
        Test::FileIsExecutable => {
            path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
        }
        Test::DirectoryNotEmpty => path.read_dir().is_ok_and(|mut entries| entries.next().is_some()),
        Test::KernelCommandLine => {
            // Without `=` the name of an assignment is enough: systemd.unit(5).
            let wanted = &condition.argument;
            machine.kernel_command_line.iter().any(|word| {
                word == wanted
                    || !wanted.contains('=') && word.split_once('=').is_some_and(|(name, _)| name == wanted)
            })
        }
        Test::Virtualization => match (condition.argument.as_str(), value::boolean(&condition.argument)) {
            (_, Some(wanted)) => machine.virtualization.is_empty() != wanted,
            ("vm", _) => !machine.virtualization.is_empty(),
            ("container", _) => false,
            (kind, _) => machine.virtualization == kind,
        },
        Test::FirstBoot => value::boolean(&condition.argument) == Some(machine.first_boot),
        Test::Host => {
            condition.argument == machine.machine_id
                || glob(condition.argument.as_bytes(), machine.hostname.as_bytes())
        }
        Test::Architecture => matches!(condition.argument.as_str(), "x86-64" | "native"),
        test => super::probe::holds(test, &condition.argument),
    };
    found != condition.negated
}

fn is_mount_point(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|point| Path::new(point) == path))
}

/// `*` and `?`; linear in time but for one point to go back to.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut back) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((star, at)) => {
                    back = Some((star, at + 1));
                    p = star;
                    t = at + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &[(Test, &str)]) -> Option<String> {
        let machine = Machine {
            kernel_command_line: vec!["quiet".into(), "root=/dev/x".into()],
            virtualization: "qemu".into(),
            hostname: "node-7".into(),
            ..Machine::default()
        };
        let conditions: Vec<_> =
            lines.iter().map(|(test, text)| Condition::parse(*test, text).unwrap()).collect();
        first_failed(&conditions, &machine).map(ToString::to_string)
    }

    #[test]
    fn paths_may_wait_for_a_disk_and_the_kernels_never() {
        let asks = |test, text| asks_disk(&[Condition::parse(test, text).unwrap()]);
        assert!(asks(Test::PathExists, "|!/run/x") && asks(Test::PathExistsGlob, "/mnt/*"));
        assert!(asks(Test::DirectoryNotEmpty, "/sys/../mnt"));
        assert!(!asks(Test::PathExists, "/sys/firmware/efi") && !asks(Test::KernelCommandLine, "/mnt"));
        assert!(!asks_disk(&[]));
    }

    #[test]
    fn all_plain_lines_and_one_trigger_must_hold() {
        use Test::{FirstBoot, Host, KernelCommandLine, PathExists, Virtualization};
        assert_eq!(verdict(&[(PathExists, "/proc"), (KernelCommandLine, "root"), (Host, "node-*")]), None);
        assert_eq!(verdict(&[(PathExists, "!/proc")]).unwrap(), "PathExists=!/proc");
        assert_eq!(verdict(&[(KernelCommandLine, "|nope"), (KernelCommandLine, "|quiet")]), None);
        assert_eq!(
            verdict(&[(KernelCommandLine, "|nope"), (FirstBoot, "|yes")]).unwrap(),
            "KernelCommandLine=|nope"
        );
        assert_eq!(
            verdict(&[(Virtualization, "!container"), (Virtualization, "vm"), (Virtualization, "qemu")]),
            None
        );
    }
}
