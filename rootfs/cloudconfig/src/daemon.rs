//! `coreos.etcd2`, `fleet`, `flannel`, `locksmith`, `update`, `oem`: keys that become the
//! environment of a daemon, or a file that it reads.

use crate::generated::{Content, Generated};
use crate::{Plan, Unit};
use document::{Fields, Node, Problems};

/// What a key takes.
#[derive(Clone, Copy)]
enum Takes {
    Text,
    Bool,
    Number,
    OneOf(&'static [&'static str]),
    /// `[DAY ]HH:MM`
    WindowStart,
}

use Takes::{Bool, Number, OneOf, Text};

/// A daemon: its section, its unit, the prefix of its variables, its keys.
struct Daemon {
    section: &'static str,
    service: &'static str,
    prefix: &'static str,
    keys: &'static [(&'static str, Takes)],
}

const DAEMONS: [Daemon; 4] = [
    Daemon {
        section: "etcd2",
        service: "etcd2.service",
        prefix: "ETCD_",
        keys: &[
            ("advertise_client_urls", Text),
            ("ca_file", Text),
            ("cert_file", Text),
            ("client_cert_auth", Bool),
            ("cors", Text),
            ("data_dir", Text),
            ("debug", Bool),
            ("discovery", Text),
            ("discovery_fallback", OneOf(&["exit", "proxy"])),
            ("discovery_proxy", Text),
            ("discovery_srv", Text),
            ("election_timeout", Number),
            ("enable_pprof", Bool),
            ("force_new_cluster", Bool),
            ("heartbeat_interval", Number),
            ("initial_advertise_peer_urls", Text),
            ("initial_cluster", Text),
            ("initial_cluster_state", OneOf(&["existing", "new"])),
            ("initial_cluster_token", Text),
            ("key_file", Text),
            ("listen_client_urls", Text),
            ("listen_peer_urls", Text),
            ("log_package_levels", Text),
            ("max_snapshots", Number),
            ("max_wals", Number),
            ("name", Text),
            ("peer_ca_file", Text),
            ("peer_cert_file", Text),
            ("peer_client_cert_auth", Bool),
            ("peer_key_file", Text),
            ("peer_trusted_ca_file", Text),
            ("proxy", OneOf(&["off", "on", "readonly"])),
            ("proxy_dial_timeout", Number),
            ("proxy_failure_wait", Number),
            ("proxy_read_timeout", Number),
            ("proxy_refresh_interval", Number),
            ("proxy_write_timeout", Number),
            ("snapshot_count", Number),
            ("strict_reconfig_check", Bool),
            ("trusted_ca_file", Text),
            ("wal_dir", Text),
        ],
    },
    Daemon {
        section: "fleet",
        service: "fleet.service",
        prefix: "FLEET_",
        keys: &[
            ("agent_ttl", Text),
            ("authorized_keys_file", Text),
            ("disable_engine", Bool),
            ("engine_reconcile_interval", Number),
            ("etcd_cafile", Text),
            ("etcd_certfile", Text),
            ("etcd_key_prefix", Text),
            ("etcd_keyfile", Text),
            ("etcd_password", Text),
            ("etcd_request_timeout", Text),
            ("etcd_servers", Text),
            ("etcd_username", Text),
            ("metadata", Text),
            ("public_ip", Text),
            ("token_limit", Number),
            ("verbosity", Number),
            ("verify_units", Bool),
        ],
    },
    Daemon {
        section: "flannel",
        service: "flanneld.service",
        prefix: "FLANNELD_",
        keys: &[
            ("etcd_cafile", Text),
            ("etcd_certfile", Text),
            ("etcd_endpoints", Text),
            ("etcd_keyfile", Text),
            ("etcd_password", Text),
            ("etcd_prefix", Text),
            ("etcd_username", Text),
            ("interface", Text),
            ("ip_masq", Bool),
            ("public_ip", Text),
            ("subnet_file", Text),
        ],
    },
    Daemon {
        section: "locksmith",
        service: "locksmithd.service",
        prefix: "LOCKSMITHD_",
        keys: &[
            ("endpoint", Text),
            ("etcd_cafile", Text),
            ("etcd_certfile", Text),
            ("etcd_keyfile", Text),
            ("etcd_password", Text),
            ("etcd_username", Text),
            ("group", Text),
            ("window_length", Text),
            ("window_start", Takes::WindowStart),
        ],
    },
];

/// Variables that are not named prefix and key: coreos-cloudinit, `config/flannel.go` and `config/locksmith.go`.
const RENAMED: [(&str, &str); 3] = [
    ("FLANNELD_INTERFACE", "FLANNELD_IFACE"),
    ("LOCKSMITHD_WINDOW_START", "REBOOT_WINDOW_START"),
    ("LOCKSMITHD_WINDOW_LENGTH", "REBOOT_WINDOW_LENGTH"),
];

/// Name of the drop-in that carries a section.
const DROP_IN: &str = "20-cloudinit.conf";
const UPDATE_CONF: &str = "/etc/coreos/update.conf";
const OEM_RELEASE: &str = "/etc/oem-release";
const STRATEGIES: &[&str] = &["best-effort", "etcd-lock", "off", "reboot"];

/// Reads all sections below `coreos`.
pub(crate) fn read(coreos: &Fields<'_>, plan: &mut Plan, problems: &Problems) {
    if let Some(node) = coreos.get("etcd") {
        problems.add(node.place, "`etcd` configured etcd 0.4, which nothing here speaks; use `etcd2`, whose keys are those of etcd");
    }
    for daemon in &DAEMONS {
        let fields = coreos.get(daemon.section).and_then(|node| node.fields(problems));
        let Some(fields) = fields else { continue };
        let mut variables = Vec::new();
        for (key, takes) in daemon.keys {
            let value = fields.get(key).and_then(|node| value(node, *takes, problems));
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            let name = format!("{}{}", daemon.prefix, key.to_ascii_uppercase());
            let renamed = RENAMED.iter().find(|(from, _)| *from == name);
            variables.push((renamed.map_or(name.clone(), |(_, to)| (*to).to_owned()), value));
        }
        fields.finish();
        if !variables.is_empty() {
            place(plan, daemon, &variables);
        }
    }
    update(coreos, plan, problems);
    oem(coreos, plan, problems);
}

fn place(plan: &mut Plan, daemon: &Daemon, variables: &[(String, String)]) {
    let lines: String = variables
        .iter()
        .map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
            format!("Environment=\"{name}={value}\"\n")
        })
        .collect();
    plan.generated.push(Generated {
        path: format!("/run/systemd/system/{}.d/{DROP_IN}", daemon.service),
        text: Content::Whole(format!("[Service]\n{lines}")),
    });
    if daemon.section == "flannel" {
        // Units of containers beside flanneld read its options there.
        let lines = variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        plan.generated
            .push(Generated { path: "/run/flannel/options.env".to_owned(), text: Content::Whole(lines) });
    }
}

fn update(coreos: &Fields<'_>, plan: &mut Plan, problems: &Problems) {
    let Some(fields) = coreos.get("update").and_then(|node| node.fields(problems)) else { return };
    let text = |name, takes| fields.get(name).and_then(|node| value(node, takes, problems));
    let wanted = [
        ("GROUP", text("group", Text)),
        ("REBOOT_STRATEGY", text("reboot_strategy", OneOf(STRATEGIES))),
        ("SERVER", text("server", Text)),
    ];
    fields.finish();
    let given: Vec<(String, String)> =
        wanted.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    if !given.is_empty() {
        plan.generated.push(Generated { path: UPDATE_CONF.to_owned(), text: Content::Merged(given) });
    }
}

/// With the strategy `off` nothing takes the reboot lock, so its daemon does not run, unless the
/// document says something of it itself.
pub(crate) fn mask_locksmith(plan: &mut Plan) {
    const UNIT: &str = "locksmithd.service";
    let is_off = plan.generated.iter().any(|file| match &file.text {
        Content::Merged(given) => {
            file.path == UPDATE_CONF && given.iter().any(|it| it.0 == "REBOOT_STRATEGY" && it.1 == "off")
        }
        Content::Whole(_) => false,
    });
    if is_off && !plan.units.iter().any(|unit| unit.name == UNIT) {
        plan.units.push(Unit { name: UNIT.to_owned(), mask: true, runtime: true, ..Unit::default() });
    }
}

fn oem(coreos: &Fields<'_>, plan: &mut Plan, problems: &Problems) {
    let Some(fields) = coreos.get("oem").and_then(|node| node.fields(problems)) else { return };
    // os-release(5): values in quotes, except identifiers.
    let keys =
        [("id", false), ("version_id", false), ("name", true), ("home_url", true), ("bug_report_url", true)];
    let mut lines = String::new();
    for (key, is_quoted) in keys {
        let value = fields.get(key).and_then(|node| value(node, Text, problems));
        let Some(value) = value else { continue };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`");
        let value = if is_quoted || value.contains(' ') { format!("\"{value}\"") } else { value };
        lines.extend([key.to_ascii_uppercase().as_str(), "=", &value, "\n"]);
    }
    fields.finish();
    plan.generated.push(Generated { path: OEM_RELEASE.to_owned(), text: Content::Whole(lines) });
}

/// The text of a value, when it is one that the key takes.
fn value(node: &Node, takes: Takes, problems: &Problems) -> Option<String> {
    let text = node.text(problems)?;
    let wrong = |wanted: String| {
        problems.add(node.place, format!("expected {wanted}, found `{text}`"));
        None
    };
    if text.chars().any(char::is_control) {
        return wrong("one line of text".to_owned());
    }
    match takes {
        Text => Some(text.to_owned()),
        Number => node.number::<u64>(problems).map(|number| number.to_string()),
        // A quoted one is one, too: the daemon sees text in either case.
        Bool => match text {
            "true" | "yes" | "on" => Some("true".to_owned()),
            "false" | "no" | "off" => Some("false".to_owned()),
            _ => wrong("true or false".to_owned()),
        },
        OneOf(known) if known.contains(&text) => Some(text.to_owned()),
        OneOf(known) => wrong(format!("one of {}", known.join(", "))),
        Takes::WindowStart if is_window_start(text) => Some(text.to_owned()),
        Takes::WindowStart => wrong("a time such as `14:00` or `Thu 04:00`".to_owned()),
    }
}

/// locksmith, `REBOOT_WINDOW_START`: an optional day of the week, then hours and minutes.
fn is_window_start(text: &str) -> bool {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let (day, time) = text.split_once(' ').map_or((None, text), |(day, time)| (Some(day), time));
    let is_number = |text: &str, below: u32| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse::<u32>().is_ok_and(|number| number < below)
    };
    day.is_none_or(|day| DAYS.contains(&day.to_ascii_lowercase().as_str()))
        && time.split_once(':').is_some_and(|(hour, minute)| is_number(hour, 24) && is_number(minute, 60))
}
