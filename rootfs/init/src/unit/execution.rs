//! How the processes of a service are scheduled, what they are given and how their words are
//! logged: the less used keys of systemd.exec(5). Limits of a cgroup are in [`super::resource`].

use super::Fault;
use super::directive::Scope;
use super::value;
use std::time::Duration;
use sys::isolation::Keyring;

/// What is made known of a secret (`LoadCredential=`, `SetCredential=`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its name in `$CREDENTIALS_DIRECTORY`.
    pub id: String,
    /// The file that has it, which wins if it exists.
    pub path: Option<String>,
    /// The text from the unit file.
    pub text: Option<Vec<u8>>,
}

/// `OOMPolicy=` (systemd.service(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the value of the same name")]
pub enum OomPolicy {
    Continue,
    Stop,
    Kill,
}

/// What the journal does with the entries of a unit (systemd.exec(5), "Logging").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// `LogLevelMax=`: syslog(3) levels above it are dropped.
    pub level_max: Option<u8>,
    /// `LogExtraFields=`: `NAME=value`.
    pub extra_fields: Vec<String>,
    /// `LogRateLimitIntervalSec=`.
    pub rate_interval: Option<Duration>,
    /// `LogRateLimitBurst=`; zero turns the limit off.
    pub rate_burst: Option<u32>,
}

fn log(logging: &mut Logging, at: &Scope<'_>) -> Result<(), Fault> {
    match at.key() {
        "LogLevelMax" => {
            let found = match at.text() {
                "" => None,
                text => Some(at.want(value::level(text), "a level such as warning, or 0 to 7")?),
            };
            logging.level_max = found;
        }
        "LogRateLimitIntervalSec" => {
            let span =
                if at.text().is_empty() { None } else { Some(at.want(at.span()?, "a time span that ends")?) };
            logging.rate_interval = span;
        }
        "LogRateLimitBurst" => {
            logging.rate_burst = if at.text().is_empty() { None } else { Some(at.number(0..=u32::MAX)?) };
        }
        _ if at.text().is_empty() => logging.extra_fields.clear(),
        _ => {
            for field in at.words()? {
                let name = field.split_once('=').map_or("", |(name, _)| name);
                if !journal::field::valid_name(name.as_bytes(), false) {
                    return Err(at.invalid("want NAME=value, the name of capitals, digits and _"));
                }
                logging.extra_fields.push(field);
            }
        }
    }
    Ok(())
}

/// Those keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as the manual has them")]
pub struct Execution {
    /// `CPUAffinity=`: processors.
    pub cpu_affinity: Vec<u32>,
    /// `CPUSchedulingPolicy=` as a number of <linux/sched.h>.
    pub policy: Option<i32>,
    /// `CPUSchedulingPriority=`.
    pub priority: i32,
    /// `CPUSchedulingResetOnFork=`.
    pub reset_on_fork: bool,
    /// `IOSchedulingClass=`.
    pub io_class: Option<i32>,
    /// `IOSchedulingPriority=`.
    pub io_priority: Option<i32>,
    /// `TimerSlackNSec=`.
    pub timer_slack_ns: Option<u64>,
    /// `Personality=`.
    pub personality: Option<u64>,
    /// `CoredumpFilter=`.
    pub coredump_filter: Option<u64>,
    /// `SecureBits=`.
    pub secure_bits: i32,
    /// `KeyringMode=`.
    pub keyring: Keyring,
    /// `StandardInputText=` and `StandardInputData=`.
    pub input: Vec<u8>,
    /// `TTYReset=`.
    pub tty_reset: bool,
    /// `TTYVHangup=`.
    pub tty_hangup: bool,
    /// `LoadCredential=`, `SetCredential=`.
    pub credentials: Vec<Credential>,
    /// `OOMPolicy=`.
    pub oom_policy: Option<OomPolicy>,
    /// What the journal is told of its entries.
    pub logging: Logging,
    /// `Delegate=`: its cgroup is the user's. Every controller of [`CONTROLLERS`] is available in it.
    pub delegate: bool,
    /// `ExecSearchPath=`, joined by colons; empty is the default.
    pub search_path: String,
    /// `PermissionsStartOnly=`: only `ExecStart=` runs as `User=`.
    pub permissions_start_only: bool,
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            cpu_affinity: Vec::new(),
            policy: None,
            priority: 0,
            reset_on_fork: false,
            io_class: None,
            io_priority: None,
            timer_slack_ns: None,
            personality: None,
            coredump_filter: None,
            secure_bits: 0,
            keyring: Keyring::Private,
            input: Vec::new(),
            tty_reset: false,
            tty_hangup: false,
            credentials: Vec::new(),
            oom_policy: None,
            logging: Logging::default(),
            delegate: false,
            search_path: String::new(),
            permissions_start_only: false,
        }
    }
}

/// The keys of this file.
pub(super) const KEYS: &str = " CPUAffinity CPUSchedulingPolicy CPUSchedulingPriority CPUSchedulingResetOnFork \
    IOSchedulingClass IOSchedulingPriority TimerSlackNSec Personality CoredumpFilter SecureBits KeyringMode \
    StandardInputText StandardInputData TTYReset TTYVHangup LoadCredential SetCredential OOMPolicy Delegate \
    LogLevelMax LogExtraFields LogRateLimitIntervalSec LogRateLimitBurst \
    ExecSearchPath PermissionsStartOnly ";

const SECURE_BITS: [(&str, i32); 6] = [
    ("noroot", 1),
    ("noroot-locked", 2),
    ("no-setuid-fixup", 4),
    ("no-setuid-fixup-locked", 8),
    ("keep-caps", 16),
    ("keep-caps-locked", 32),
];

/// Applies such a key; `None` if it is another key.
pub(super) fn apply(slot: &mut Option<Box<Execution>>, at: &Scope<'_>) -> Option<Result<(), Fault>> {
    KEYS.split_ascii_whitespace()
        .any(|known| known == at.key())
        .then(|| assign(slot.get_or_insert_default(), at))
}

fn assign(execution: &mut Execution, at: &Scope<'_>) -> Result<(), Fault> {
    match at.key() {
        "CPUAffinity" => {
            if at.text().is_empty() {
                execution.cpu_affinity.clear();
            }
            let found = at.want(value::number_list(at.text()), "processors such as 0 2-3")?;
            execution.cpu_affinity.extend(found);
        }
        "CPUSchedulingPolicy" => {
            execution.policy = match at.text() {
                "" => None,
                "other" => Some(0),
                "fifo" => Some(1),
                "rr" => Some(2),
                "batch" => Some(3),
                "idle" => Some(5),
                _ => return Err(at.invalid("want other, batch, idle, fifo or rr")),
            }
        }
        "CPUSchedulingPriority" => execution.priority = at.number(1..=99)?,
        "CPUSchedulingResetOnFork" => execution.reset_on_fork = at.boolean_or(false)?,
        "IOSchedulingClass" => {
            execution.io_class = match at.text() {
                "" => None,
                "0" | "none" => Some(0),
                "1" | "realtime" => Some(1),
                "2" | "best-effort" => Some(2),
                "3" | "idle" => Some(3),
                _ => return Err(at.invalid("want none, realtime, best-effort or idle")),
            }
        }
        "IOSchedulingPriority" => execution.io_priority = Some(at.number(0..=7)?),
        "TimerSlackNSec" => {
            let plain = at.text().parse::<u64>().ok();
            let span = || value::span(at.text()).flatten().map(|span| span.as_nanos() as u64);
            execution.timer_slack_ns =
                Some(at.want(plain.or_else(span), "nanoseconds, or a span such as 1ms")?);
        }
        "Personality" => {
            execution.personality = match at.text() {
                "" => None,
                "x86-64" => Some(0),
                "x86" => Some(0x8), // PER_LINUX32, <linux/personality.h>
                _ => return Err(at.invalid("want x86-64 or x86")),
            }
        }
        "CoredumpFilter" => execution.coredump_filter = coredump_filter(at)?,
        "SecureBits" => {
            if at.text().is_empty() {
                execution.secure_bits = 0;
            }
            for word in at.text().split_whitespace() {
                let bit = SECURE_BITS.iter().find(|(name, _)| *name == word).map(|(_, bit)| *bit);
                execution.secure_bits |=
                    at.want(bit, "noroot, no-setuid-fixup, keep-caps, each with -locked too")?;
            }
        }
        "KeyringMode" => {
            execution.keyring = match at.text() {
                "" | "private" => Keyring::Private,
                "inherit" => Keyring::Inherit,
                "shared" => Keyring::Shared,
                _ => return Err(at.invalid("want inherit, private or shared")),
            }
        }
        "StandardInputText" | "StandardInputData" => input(execution, at)?,
        "TTYReset" => execution.tty_reset = at.boolean_or(false)?,
        "TTYVHangup" => execution.tty_hangup = at.boolean_or(false)?,
        "LoadCredential" | "SetCredential" => credential(execution, at)?,
        "LogLevelMax" | "LogExtraFields" | "LogRateLimitIntervalSec" | "LogRateLimitBurst" => {
            return log(&mut execution.logging, at);
        }
        "OOMPolicy" => {
            execution.oom_policy = match at.text() {
                "" => None,
                "continue" => Some(OomPolicy::Continue),
                "stop" => Some(OomPolicy::Stop),
                "kill" => Some(OomPolicy::Kill),
                _ => return Err(at.invalid("want continue, stop or kill")),
            }
        }
        "Delegate" => execution.delegate = delegate(at)?,
        "ExecSearchPath" => {
            if at.text().is_empty() {
                execution.search_path.clear();
            }
            for word in at.words()?.iter().flat_map(|word| word.split(':')) {
                let path = at.absolute(word)?;
                if !execution.search_path.is_empty() {
                    execution.search_path.push(':');
                }
                execution.search_path.push_str(&path.to_string_lossy());
            }
        }
        "PermissionsStartOnly" => execution.permissions_start_only = at.boolean_or(false)?,
        _ => return Err(at.unknown()),
    }
    Ok(())
}

/// The controllers that PID 1 enables on the way down to every unit.
pub const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// `Delegate=yes`, `no`, or controllers (systemd.resource-control(5)).
fn delegate(at: &Scope<'_>) -> Result<bool, Fault> {
    if let Some(given) = value::boolean(at.text()) {
        return Ok(given);
    }
    let controllers = at.words()?;
    if let Some(other) = controllers.iter().find(|name| !CONTROLLERS.contains(&name.as_str())) {
        return Err(at.invalid(format_args!("controller `{other}` is not available")));
    }
    Ok(true)
}

/// Names or numbers of bits of core(5), or a mask with `0x`.
fn coredump_filter(at: &Scope<'_>) -> Result<Option<u64>, Fault> {
    const NAMES: [&str; 9] = [
        "private-anonymous",
        "shared-anonymous",
        "private-file-backed",
        "shared-file-backed",
        "elf-headers",
        "private-huge",
        "shared-huge",
        "private-dax",
        "shared-dax",
    ];
    if at.text().is_empty() {
        return Ok(None);
    }
    let mut mask = 0;
    for word in at.text().split_whitespace() {
        let bit = match word {
            "all" => Some(0x1ff),
            // <linux/mman.h>: private and shared anonymous, ELF headers, private huge.
            "default" => Some(0x33),
            word => match word.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).ok(),
                None => NAMES.iter().position(|name| *name == word).map(|at| 1 << at),
            },
        };
        mask |= at.want(bit, "all, default, a mask such as 0x33, or names such as elf-headers")?;
    }
    Ok(Some(mask))
}

/// The most that `StandardInput…=` takes.
const MAX_INPUT_BYTES: usize = 1 << 20;

/// Text gains a line feed; data is base64 (systemd.exec(5)).
fn input(execution: &mut Execution, at: &Scope<'_>) -> Result<(), Fault> {
    use base64::Engine as _;
    if at.text().is_empty() {
        execution.input.clear();
        return Ok(());
    }
    if at.key() == "StandardInputText" {
        let text = at.want(super::words::unescape(at.text()), "text whose escapes are known")?;
        let text = at.expand(&text)?;
        execution.input.extend(text.as_bytes());
        execution.input.push(b'\n');
    } else {
        let packed: String = at.text().split_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(packed).ok();
        execution.input.extend(at.want(bytes, "base64")?);
    }
    if execution.input.len() > MAX_INPUT_BYTES {
        execution.input.clear();
        return Err(at.invalid("more than 1 MiB of input"));
    }
    Ok(())
}

fn credential(execution: &mut Execution, at: &Scope<'_>) -> Result<(), Fault> {
    let loads = at.key() == "LoadCredential";
    if at.text().is_empty() {
        for credential in &mut execution.credentials {
            if loads {
                credential.path = None;
            } else {
                credential.text = None;
            }
        }
        execution.credentials.retain(|credential| credential.path.is_some() || credential.text.is_some());
        return Ok(());
    }
    let (id, rest) = at.text().split_once(':').unwrap_or((at.text(), ""));
    let id = at.expand(id)?;
    let plain = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    if id.is_empty() || id.len() > 255 || id.starts_with('.') || !id.chars().all(plain) {
        return Err(at.invalid("the name of a credential is that of a file"));
    }
    if !execution.credentials.iter().any(|credential| credential.id == id) {
        execution.credentials.push(Credential { id: id.clone(), path: None, text: None });
    }
    let Some(found) = execution.credentials.iter_mut().find(|credential| credential.id == id) else {
        return Ok(());
    };
    if loads {
        // Without a path: of those that were handed to the machine (systemd.exec(5)).
        let path = if rest.is_empty() { format!("/run/credentials/@system/{id}") } else { at.expand(rest)? };
        let path = if path.starts_with('/') { path } else { format!("/run/credentials/@system/{path}") };
        found.path = Some(path);
    } else {
        let text = at.want(super::words::unescape(rest), "text whose escapes are known")?;
        found.text = Some(at.expand(&text)?.into_bytes());
    }
    Ok(())
}
