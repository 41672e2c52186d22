//! Conditions of `[Match]` on the machine and not on a link: `Host=`, `KernelCommandLine=`, …

use super::value::{boolean, glob};
use super::{Fault, Line};

/// What the conditions are held against.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Host name.
    pub host: String,
    /// `/etc/machine-id`.
    pub id: String,
    /// Words of the kernel's command line.
    pub command_line: Vec<String>,
    /// The hypervisor, as systemd-detect-virt(1) names it; empty without one.
    pub virtualization: String,
    /// `uname -r`.
    pub kernel: String,
    /// systemd's word: `x86-64`.
    pub architecture: String,
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Host,
    KernelCommandLine,
    Virtualization,
    KernelVersion,
    Architecture,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    test: Test,
    negated: bool,
    argument: String,
}

/// The conditions of a file: all must hold. Of each key the last one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// Takes a key; `None` when it is none of these.
    pub(super) fn take(&mut self, line: &Line) -> Option<Result<(), Fault>> {
        let test = match line.entry.key.as_str() {
            "Host" => Test::Host,
            "KernelCommandLine" => Test::KernelCommandLine,
            "Virtualization" => Test::Virtualization,
            "KernelVersion" => Test::KernelVersion,
            "Architecture" => Test::Architecture,
            _ => return None,
        };
        let value = line.entry.value.as_str();
        let (negated, argument) = match value.strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, value),
        };
        if test == Test::KernelVersion && argument.starts_with(['<', '>', '=']) {
            // Comparisons of versions are not made.
            return Some(Err(line.unsupported()));
        }
        if negated && argument.is_empty() {
            return Some(Err(line.value_fault("what must not be, behind the !")));
        }
        self.0.retain(|condition| condition.test != test);
        if !argument.is_empty() {
            self.0.push(Condition { test, negated, argument: argument.to_owned() });
        }
        Some(Ok(()))
    }

    /// Whether all hold on a machine.
    pub fn hold(&self, machine: &Machine) -> bool {
        self.0.iter().all(|condition| condition.is_true(machine) != condition.negated)
    }
}

impl Condition {
    fn is_true(&self, machine: &Machine) -> bool {
        let argument = self.argument.as_str();
        match self.test {
            Test::Host => glob(argument, &machine.host) || (!machine.id.is_empty() && argument == machine.id),
            // `key` is also held by `key=value` (systemd.unit(5)).
            Test::KernelCommandLine => machine.command_line.iter().any(|word| {
                word == argument
                    || (!argument.contains('=')
                        && word.split_once('=').is_some_and(|(key, _)| key == argument))
            }),
            Test::Virtualization => match (boolean(argument), argument) {
                (Some(any), _) => machine.virtualization.is_empty() != any,
                // This service runs on machines only.
                (_, "vm") => !machine.virtualization.is_empty(),
                _ => machine.virtualization == argument,
            },
            Test::KernelVersion => glob(argument, &machine.kernel),
            Test::Architecture => argument == machine.architecture || argument == "native",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Network, Set, Source};
    use super::*;
    use std::path::Path;

    fn machine() -> Machine {
        Machine {
            host: "node-7".into(),
            id: "0123456789abcdef0123456789abcdef".into(),
            command_line: ["quiet", "role=db"].map(str::to_owned).to_vec(),
            virtualization: "qemu".into(),
            kernel: "6.1.0-9-cloud-amd64".into(),
            architecture: "x86-64".into(),
        }
    }

    #[test]
    fn each_must_hold_of_the_machine() {
        for (text, wanted) in [
            ("Host=node-*", true),
            ("Host=!node-*", false),
            ("Host=0123456789abcdef0123456789abcdef", true),
            ("KernelCommandLine=role", true),
            ("KernelCommandLine=role=db", true),
            ("KernelCommandLine=role=web", false),
            ("KernelCommandLine=!debug", true),
            ("Virtualization=yes", true),
            ("Virtualization=no", false),
            ("Virtualization=qemu", true),
            ("Virtualization=!vm", false),
            ("Virtualization=container", false),
            ("KernelVersion=6.1.*", true),
            ("Architecture=x86-64", true),
            ("Architecture=arm64", false),
            ("Host=node-7\nVirtualization=kvm", false),
            ("Virtualization=kvm\nVirtualization=qemu", true),
            ("Virtualization=kvm\nVirtualization=", true),
        ] {
            let mut problems = Vec::new();
            let text = format!("[Match]\nName=*\n{text}\n");
            let source = Source::one(Path::new("a.network"), text.as_bytes());
            let network = Network::parse(&source, &mut problems).unwrap();
            assert_eq!(problems, []);
            let set = Set { networks: vec![network], ..Set::default() };
            assert_eq!(set.for_machine(&machine()).networks.len(), usize::from(wanted), "{text}");
        }
    }

    #[test]
    fn a_comparison_is_refused_by_name() {
        let mut problems = Vec::new();
        let source = Source::one(Path::new("a.network"), b"[Match]\nName=*\nKernelVersion=>=6.1\n");
        Network::parse(&source, &mut problems);
        assert_eq!(
            problems[0].to_string(),
            "a.network:3: error: [Match] KernelVersion=>=6.1 is not supported"
        );
    }
}
