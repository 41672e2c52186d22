//! `hostnamectl`: shows and sets what the machine is called.
//!
//! What is set holds until the machine is started again: `/etc` is rendered from the user-data
//! document at every boot, so that a name that is to stay belongs there. The command says so.

use crate::demand::{self, Refusal};
use crate::hostnamed::{Request, SOCKET};
use crate::identity::{Identity, check_hostname, check_info};
use std::fmt::Write as _;
use std::path::Path;

const USAGE: &str = "hint: hostnamectl [--json] [status] | [--static] [--transient] [--pretty] hostname [NAME] | \
                     icon-name [NAME] | chassis [KIND] | deployment [WORD] | location [TEXT]";

#[derive(Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
struct Options {
    json: bool,
    help: bool,
    is_static: bool,
    is_transient: bool,
    is_pretty: bool,
    words: Vec<String>,
}

/// What a call is to do.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Status { json: bool },
    Show(&'static str),
    Set(Request),
}

/// The command. Exit code: 0 done, 1 failed, 2 usage or a bad name.
pub fn main(arguments: &[String]) -> u8 {
    let plan = match Options::of(arguments) {
        Ok(options) if options.help => {
            println!("{USAGE}");
            return 0;
        }
        options => options.and_then(|options| Plan::of(&options)),
    };
    match plan {
        Ok(plan) => match plan.carry_out(Path::new("/"), &mut |request| {
            demand::wish(SOCKET, "systemd-hostnamed.socket", request)
        }) {
            Ok(text) => {
                print!("{text}");
                0
            }
            Err(error) => {
                eprintln!("error: {error}");
                1
            }
        },
        Err(why) => {
            eprintln!("error: {why}\n{USAGE}");
            2
        }
    }
}

impl Options {
    fn of(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--json" | "--json=short" | "--json=pretty" | "-j" => options.json = true,
                "--help" | "-h" => options.help = true,
                "--static" => options.is_static = true,
                "--transient" => options.is_transient = true,
                "--pretty" => options.is_pretty = true,
                other if other.starts_with('-') => return Err(format!("unknown option `{other}`")),
                other => options.words.push(other.to_owned()),
            }
        }
        Ok(options)
    }
}

/// Verbs that show or set a key of machine-info(5).
const INFO: [(&str, &str); 8] = [
    ("icon-name", "ICON_NAME"),
    ("chassis", "CHASSIS"),
    ("deployment", "DEPLOYMENT"),
    ("location", "LOCATION"),
    ("set-icon-name", "ICON_NAME"),
    ("set-chassis", "CHASSIS"),
    ("set-deployment", "DEPLOYMENT"),
    ("set-location", "LOCATION"),
];

impl Plan {
    fn of(options: &Options) -> Result<Self, String> {
        let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
        let any = options.is_static || options.is_transient || options.is_pretty;
        if options.json && !matches!(words[..], [] | ["status"]) {
            return Err("--json is for status".to_owned());
        }
        if any && !matches!(words[..], ["hostname" | "set-hostname", ..]) {
            return Err("--static, --transient and --pretty are for hostname".to_owned());
        }
        match words[..] {
            [] | ["status"] => Ok(Self::Status { json: options.json }),
            ["hostname"] => Ok(Self::Show(match (options.is_static, options.is_pretty) {
                (true, _) => "static",
                (_, true) => "pretty",
                _ => "hostname",
            })),
            ["hostname" | "set-hostname", name] => {
                // Without an option all three are set, as in systemd.
                let (fixed, transient) = (options.is_static || !any, options.is_transient || !any);
                if (fixed || transient) && !name.is_empty() {
                    check_hostname(name).map_err(|error| error.to_string())?;
                }
                if options.is_pretty {
                    check_info("PRETTY_HOSTNAME", name).map_err(|error| error.to_string())?;
                }
                let pretty = options.is_pretty || !any;
                Ok(Self::Set(Request::SetName { name: name.to_owned(), fixed, transient, pretty }))
            }
            [verb] if !verb.starts_with("set-") => {
                let found = INFO.iter().find(|(known, _)| *known == verb).map(|(known, _)| Self::Show(known));
                found.ok_or_else(|| format!("`{verb}` is not understood"))
            }
            [verb, value] => {
                let found = INFO.iter().find(|(known, _)| *known == verb);
                let key = found.ok_or_else(|| format!("`{verb}` is not understood"))?.1;
                check_info(key, value).map_err(|error| error.to_string())?;
                Ok(Self::Set(Request::SetInfo { key: key.to_owned(), value: value.to_owned() }))
            }
            _ => Err(format!("`{}` is not understood", words.join(" "))),
        }
    }

    /// What is to be printed; what is to be set is wished for with `set`.
    fn carry_out(
        self,
        root: &Path,
        set: &mut dyn FnMut(&Request) -> Result<(), Refusal>,
    ) -> Result<String, Refusal> {
        match self {
            Self::Status { json } => {
                let identity = Identity::look(root);
                Ok(if json {
                    serde_json::to_string(&identity).unwrap_or_default() + "\n"
                } else {
                    show(&identity)
                })
            }
            Self::Show(what) => {
                let identity = Identity::look(root);
                let value = match what {
                    "static" => identity.static_hostname,
                    "pretty" => identity.pretty_hostname,
                    "icon-name" => Some(identity.icon_name),
                    "chassis" => identity.chassis,
                    "deployment" => identity.deployment,
                    "location" => identity.location,
                    _ => Some(identity.hostname),
                };
                Ok(format!("{}\n", value.unwrap_or_default()))
            }
            Self::Set(request) => {
                set(&request)?;
                eprintln!(
                    "hint: it holds until the next boot; to keep it, set {} in user-data",
                    match request {
                        Request::SetName { .. } => "`hostname:`",
                        Request::SetInfo { .. } => "/etc/machine-info (`write_files:`)",
                    }
                );
                Ok(String::new())
            }
        }
    }
}

fn show(identity: &Identity) -> String {
    let mut text = String::new();
    let mut row = |title: &str, value: Option<&String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "{title:>17}: {value}");
        }
    };
    let transient =
        (identity.static_hostname.as_ref() != Some(&identity.hostname)).then_some(&identity.hostname);
    let unset = "(unset)".to_owned();
    row("Static hostname", Some(identity.static_hostname.as_ref().unwrap_or(&unset)));
    row("Transient hostname", transient);
    row("Pretty hostname", identity.pretty_hostname.as_ref());
    row("Icon name", Some(&identity.icon_name));
    row("Chassis", identity.chassis.as_ref());
    row("Deployment", identity.deployment.as_ref());
    row("Location", identity.location.as_ref());
    row("Machine ID", identity.machine_id.as_ref());
    row("Boot ID", identity.boot_id.as_ref());
    row("Operating System", identity.operating_system_pretty_name.as_ref());
    row("Kernel", Some(&format!("{} {}", identity.kernel_name, identity.kernel_release)));
    row("Architecture", Some(&identity.architecture));
    row("Hardware Vendor", identity.hardware_vendor.as_ref());
    row("Hardware Model", identity.hardware_model.as_ref());
    row("Firmware Version", identity.firmware_version.as_ref());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Plan::of(&Options::of(&words)?)
    }

    #[test]
    fn calls() {
        let set = |name: &str, fixed, transient, pretty| {
            Plan::Set(Request::SetName { name: name.into(), fixed, transient, pretty })
        };
        assert_eq!(plan(""), Ok(Plan::Status { json: false }));
        assert_eq!(plan("--json status"), Ok(Plan::Status { json: true }));
        assert_eq!(plan("hostname"), Ok(Plan::Show("hostname")));
        assert_eq!(plan("hostname a"), Ok(set("a", true, true, true)));
        assert_eq!(plan("set-hostname --static a"), Ok(set("a", true, false, false)));
        assert_eq!(plan("hostname --pretty Ö"), Ok(set("Ö", false, false, true)));
        assert_eq!(
            plan("set-chassis vm"),
            Ok(Plan::Set(Request::SetInfo { key: "CHASSIS".into(), value: "vm".into() }))
        );
        assert_eq!(plan("location"), Ok(Plan::Show("location")));
        for wrong in [
            "hostname a_b",
            "--static",
            "frobnicate",
            "set-chassis",
            "chassis toaster",
            "--x",
            "a b c",
            "--json hostname",
        ] {
            assert!(plan(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_set_is_shown() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        for call in ["hostname --static node7", "hostname --pretty Seven", "location Rack"] {
            plan(call)
                .unwrap()
                .carry_out(root.path(), &mut |request| request.clone().carry_out(root.path()))
                .unwrap();
        }
        let text = Plan::Status { json: false }
            .carry_out(root.path(), &mut |request| request.clone().carry_out(root.path()))
            .unwrap();
        for row in ["  Static hostname: node7\n", "  Pretty hostname: Seven\n", "         Location: Rack\n"] {
            assert!(text.contains(row), "{text}");
        }
        let json = Plan::Status { json: true }
            .carry_out(root.path(), &mut |request| request.clone().carry_out(root.path()))
            .unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (json["StaticHostname"].as_str(), json["PrettyHostname"].as_str()),
            (Some("node7"), Some("Seven"))
        );
    }
}
