//! The command line of `systemctl`.

use super::SOCKET;
use super::systemctl::Failure;
use crate::unit::value;
use journal::show::Form;
use journal::words::{Word, Words};
use std::path::PathBuf;

/// What follows `systemctl`, and where it works.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as the manual has them")]
pub(super) struct Call {
    pub(super) socket: PathBuf,
    pub(super) verb: String,
    pub(super) operands: Vec<String>,
    pub(super) now: bool,
    pub(super) all: bool,
    pub(super) json: bool,
    /// Of log lines.
    pub(super) form: Form,
    pub(super) no_block: bool,
    pub(super) force: bool,
    pub(super) quiet: bool,
    pub(super) runtime: bool,
    pub(super) properties: Vec<String>,
    pub(super) value_only: bool,
    pub(super) kinds: Vec<String>,
    pub(super) states: Vec<String>,
    pub(super) signal: i32,
    pub(super) main_only: bool,
    pub(super) reverse: bool,
    /// `list-dependencies` by order: what comes before a unit, or behind it.
    pub(super) after: bool,
    pub(super) before: bool,
    pub(super) plain: bool,
    pub(super) legend: bool,
    pub(super) lines: usize,
    pub(super) wait: bool,
    pub(super) reload: bool,
    pub(super) folders: Option<Vec<PathBuf>>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            socket: SOCKET.into(),
            verb: String::new(),
            operands: Vec::new(),
            now: false,
            all: false,
            json: false,
            form: Form::Short,
            no_block: false,
            force: false,
            quiet: false,
            runtime: false,
            properties: Vec::new(),
            value_only: false,
            kinds: Vec::new(),
            states: Vec::new(),
            signal: 15,
            main_only: false,
            reverse: false,
            after: false,
            before: false,
            plain: false,
            legend: true,
            lines: 10,
            wait: false,
            reload: true,
            folders: None,
        }
    }
}

/// Options of systemctl(1) that are not there, and what to do instead.
const REFUSED: [(&str, &str); 28] = [
    ("-H", "log in there by SSH and ask its own PID 1"),
    ("--host", "log in there by SSH and ask its own PID 1"),
    ("--show-types", "list-sockets shows addresses"),
    ("-M", "log in there by SSH and ask its own PID 1"),
    ("--machine", "log in there by SSH and ask its own PID 1"),
    ("-C", "log in there by SSH and ask its own PID 1"),
    ("--capsule", "there are no user managers"),
    ("--user", "there are no user managers: units are the system's"),
    ("--global", "there are no user managers: units are the system's"),
    ("--root", "name the folders of unit files: --unit-path=FOLDER:…"),
    ("--image", "unpack it and name the folders of unit files: --unit-path=FOLDER:…"),
    ("--job-mode", "jobs replace those in their way; isolate is a verb"),
    ("-T", "list-jobs shows what waits"),
    ("--show-transaction", "list-jobs shows what waits"),
    ("--dry-run", "verify and list-dependencies show what would be done"),
    ("-r", "there are no containers with a PID 1 of their own"),
    ("--recursive", "there are no containers with a PID 1 of their own"),
    ("--with-dependencies", "list-dependencies names them"),
    ("--what", "remove the folder under /var, or stop the unit"),
    ("--preset-mode", "enable or disable after preset"),
    ("--firmware-setup", "the firmware's menu opens with its key"),
    ("--boot-loader-menu", "the boot loader's menu opens with its key"),
    ("--boot-loader-entry", "slots are chosen by the updater"),
    ("--message", "the journal says who ended the machine"),
    ("--when", "a timer unit that starts reboot.target does it"),
    ("--read-only", "BindPaths= and BindReadOnlyPaths= in a drop-in do it at the next start"),
    ("--mkdir", "BindPaths= and BindReadOnlyPaths= in a drop-in do it at the next start"),
    ("--marked", "name the units"),
];

/// Options with a value that must be there.
const VALUED: [&str; 19] = [
    "-o",
    "--output",
    "-p",
    "--property",
    "-P",
    "-t",
    "--type",
    "--state",
    "-n",
    "--lines",
    "-s",
    "--signal",
    "--kill-whom",
    "--kill-who",
    "--legend",
    "--timestamp",
    "--check-inhibitors",
    "--socket",
    "--unit-path",
];

/// Reads a command line.
pub(super) fn parse(arguments: &[String]) -> Result<Call, Failure> {
    let mut call = Call::default();
    let mut words = Words::new(arguments);
    while let Some(word) = words.next() {
        let (name, inline) = match word {
            Word::Option(name, inline) => (name, inline),
            Word::Operand(word) if call.verb.is_empty() => {
                call.verb = word;
                continue;
            }
            Word::Operand(word) => {
                call.operands.push(word);
                continue;
            }
        };
        if let Some((_, cure)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(Failure::Usage(format!("option {name} is not supported: {cure}")));
        }
        if name == "--json" {
            call.json = inline.as_deref() != Some("off");
            continue;
        }
        if switch(&mut call, &name) {
            match inline {
                None => continue,
                Some(_) => return Err(Failure::Usage(format!("{name} takes no value"))),
            }
        }
        if !VALUED.contains(&name.as_str()) {
            return Err(Failure::Usage(format!("option {name} is not supported")));
        }
        let text = words.value(&name, inline).map_err(Failure::Usage)?;
        valued(&mut call, &name, &text)?;
    }
    if call.verb.is_empty() {
        "list-units".clone_into(&mut call.verb);
    }
    Ok(call)
}

/// Options without a value; false if it is none of them.
fn switch(call: &mut Call, name: &str) -> bool {
    match name {
        "--now" => call.now = true,
        "--failed" => call.states.push("failed".into()),
        "--all" | "-a" => call.all = true,
        "--no-block" => call.no_block = true,
        "--force" | "-f" => call.force = true,
        "--quiet" | "-q" => call.quiet = true,
        "--runtime" => call.runtime = true,
        "--wait" => call.wait = true,
        "--value" => call.value_only = true,
        "--reverse" => call.reverse = true,
        "--after" => call.after = true,
        "--before" => call.before = true,
        "--plain" => call.plain = true,
        "--no-legend" => call.legend = false,
        "--no-reload" => call.reload = false,
        "-h" | "--help" => "--help".clone_into(&mut call.verb),
        "--version" => "--version".clone_into(&mut call.verb),
        // Nothing is ever paged, asked, shortened or announced here, and nobody can inhibit: the wish is met.
        "--no-pager"
        | "--no-ask-password"
        | "-l"
        | "--full"
        | "--system"
        | "--no-wall"
        | "-i"
        | "--ignore-inhibitors"
        | "--no-warn" => {}
        _ => return false,
    }
    true
}

fn valued(call: &mut Call, name: &str, text: &str) -> Result<(), Failure> {
    let bad = || Failure::Usage(format!("{name} does not take `{text}`"));
    let list = || text.split(',').map(str::to_owned);
    match name {
        "-o" | "--output" => match Form::by_name(text).ok_or_else(bad)? {
            Form::Json | Form::JsonPretty => call.json = true,
            form => call.form = form,
        },
        "-p" | "--property" => call.properties.extend(list()),
        "-P" => {
            call.properties.extend(list());
            call.value_only = true;
        }
        "-t" | "--type" => {
            for one in list() {
                let kinds = [
                    "service",
                    "socket",
                    "target",
                    "timer",
                    "path",
                    "mount",
                    "slice",
                    "device",
                    "automount",
                    "swap",
                    "scope",
                ];
                if !kinds.contains(&one.as_str()) {
                    return Err(bad());
                }
                call.kinds.push(one);
            }
        }
        "--state" => call.states.extend(list()),
        "-n" | "--lines" => call.lines = text.parse().map_err(|_| bad())?,
        "-s" | "--signal" => {
            let signal = value::signal(text).or_else(|| text.parse().ok().filter(|n| (1..=64).contains(n)));
            call.signal = signal.ok_or_else(bad)?;
        }
        "--kill-whom" | "--kill-who" => {
            call.main_only = match text {
                "main" => true,
                "all" => false,
                _ => return Err(bad()),
            };
        }
        "--legend" => call.legend = value::boolean(text).ok_or_else(bad)?,
        "--timestamp" if matches!(text, "pretty" | "utc") => {}
        "--check-inhibitors" if matches!(text, "auto" | "no" | "yes") => {}
        // For trees that are not this machine's: tests, images on a laptop.
        "--socket" => call.socket = text.into(),
        "--unit-path" => call.folders = Some(text.split(':').map(PathBuf::from).collect()),
        _ => return Err(bad()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Call, Failure> {
        parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_stand_anywhere_and_unknown_ones_are_refused() {
        let call = parsed("--no-pager kill -s INT a.service --kill-whom=main").unwrap();
        assert_eq!((call.verb.as_str(), call.signal, call.main_only), ("kill", 2, true));
        assert_eq!(call.operands, ["a.service"]);
        let call = parsed("-aqln5 status -tservice,socket --state=failed,active -pId -- -.mount").unwrap();
        assert_eq!((call.all, call.quiet, call.lines), (true, true, 5));
        assert_eq!(call.kinds, ["service", "socket"]);
        assert_eq!(call.states, ["failed", "active"]);
        assert_eq!(call.operands, ["-.mount"]);
        assert!(parsed("show -P Id a").unwrap().value_only);
        for bad in [
            "start --frobnicate a",
            "kill -s NOPE a",
            "kill --kill-whom=control a",
            "-t socks",
            "-n x",
            "-o xml",
            "--now=1",
        ] {
            assert!(matches!(parsed(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }

    /// Every option of systemctl(1) of systemd 252 is obeyed, or refused by name with a cure.
    #[test]
    fn no_option_is_unknown() {
        let all = "-h --version --system --user -Hx -Mx -tservice --state=failed --failed -px -Px -a -l -r \
            --with-dependencies --reverse --job-mode=fail -T --show-transaction --value --check-inhibitors=no -i \
            -s9 --kill-whom=main --what=all --now --dry-run -q --wait --no-block --no-wall --no-reload --legend=no \
            --no-legend --no-pager --no-ask-password --global --runtime -f --preset-mode=full --root=/ --image=x \
            -n1 -ocat --firmware-setup --boot-loader-menu=1 --boot-loader-entry=x --plain --timestamp=utc \
            --read-only --mkdir --marked --after --before --message=x";
        for option in all.split_whitespace() {
            let unknown = match parsed(option) {
                Err(Failure::Usage(why)) => why.ends_with("is not supported"),
                result => result.is_err(),
            };
            assert!(!unknown, "{option}");
        }
    }
}
