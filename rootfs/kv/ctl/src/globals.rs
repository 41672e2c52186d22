//! The flags of all verbs, their `ETCDCTL_*` variables, and the client that they describe.

use crate::cli::{on, switch, text};
use crate::exit::{BAD_ARGS, BAD_FEATURE, ERROR, Exit};
use crate::go;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};
use kv_client::{Authorities, Security, Settings, User};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// All of them.
pub(crate) fn args() -> Vec<Arg> {
    let all = vec![
        text("endpoints", "gRPC endpoints, separated by commas")
            .default_value("127.0.0.1:2379")
            .hide_default_value(false),
        switch("debug", "print the flags as they were understood"),
        text("write-out", "set the output format (fields, json, protobuf, simple, table)")
            .short('w')
            .default_value("simple"),
        switch("hex", "print byte strings as hex encoded strings"),
        text("dial-timeout", "dial timeout for client connections").default_value("2s"),
        text("command-timeout", "timeout for short running command (excluding dial timeout)")
            .default_value("5s"),
        text("keepalive-time", "keepalive time for client connections").default_value("2s"),
        text("keepalive-timeout", "keepalive timeout for client connections").default_value("6s"),
        on("insecure-transport", "disable transport security for client connections"),
        on("insecure-discovery", "accept insecure SRV records describing cluster endpoints"),
        switch(
            "insecure-skip-tls-verify",
            "skip server certificate verification (CAUTION: for testing purposes only)",
        ),
        text("cert", "identify secure client using this TLS certificate file"),
        text("key", "identify secure client using this TLS key file"),
        text("cacert", "verify certificates of TLS-enabled secure servers using this CA bundle"),
        text("user", "username[:password] for authentication (prompt if password is not supplied)"),
        text(
            "password",
            "password for authentication (if this option is used, --user option shouldn't include password)",
        ),
        text("discovery-srv", "domain name to query for SRV records: not served, give --endpoints")
            .short('d'),
        text(
            "discovery-srv-name",
            "service name to query when using DNS discovery: not served, give --endpoints",
        ),
    ];
    all.into_iter().map(|arg| arg.global(true).help_heading("Global options")).collect()
}

/// How answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Simple,
    Fields,
    Json,
    Protobuf,
    Table,
}

/// The flags of all verbs, read.
#[derive(Debug, Clone)]
pub(crate) struct Globals {
    pub(crate) format: Format,
    pub(crate) hex: bool,
    pub(crate) settings: Settings,
    /// Name, and the password where it was given.
    pub(crate) user: Option<(String, Option<String>)>,
    pub(crate) timeout_was_set: bool,
    /// To be told on standard error.
    pub(crate) notes: Vec<String>,
}

/// Flags and variables, whichever says something.
struct Sources<'a> {
    matches: &'a ArgMatches,
    variables: BTreeMap<String, String>,
    notes: Vec<String>,
}

impl Sources<'_> {
    fn text(&mut self, name: &str) -> Result<String, Exit> {
        self.read(
            name,
            |matches| matches.get_one::<String>(name).cloned().unwrap_or_default(),
            |text| Ok(text.to_owned()),
        )
    }

    fn flag(&mut self, name: &str) -> Result<bool, Exit> {
        let read = |text: &str| match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false")),
        };
        self.read(name, |matches| matches.get_flag(name), read)
    }

    fn read<T>(
        &mut self,
        name: &str,
        flag: impl Fn(&ArgMatches) -> T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Exit> {
        let variable = format!("ETCDCTL_{}", name.replace('-', "_").to_uppercase());
        let given = self.matches.value_source(name) == Some(ValueSource::CommandLine);
        match self.variables.remove(&variable).filter(|value| !value.is_empty()) {
            Some(_) if given => Err(Exit::new(
                ERROR,
                format!(
                    "conflicting environment variable {variable:?} is shadowed by corresponding command-line flag \
                     (either unset environment variable or disable flag)"
                ),
            )),
            Some(value) => parse(&value)
                .map_err(|why| Exit::new(ERROR, format!("invalid value {value:?} for {variable}: {why}"))),
            None => Ok(flag(self.matches)),
        }
    }

    fn time(&mut self, name: &str) -> Result<std::time::Duration, Exit> {
        let text = self.text(name)?;
        let bad = |why| Exit::new(ERROR, format!("invalid argument {text:?} for \"--{name}\" flag: {why}"));
        go::duration(&text).map_err(bad)
    }

    fn file(&mut self, name: &str) -> Result<Option<PathBuf>, Exit> {
        let given = self.matches.value_source(name) == Some(ValueSource::CommandLine);
        let text = self.text(name)?;
        if text.is_empty() && given {
            return Err(Exit::new(BAD_ARGS, format!("empty string is passed to --{name} option")));
        }
        Ok(Some(text).filter(|text| !text.is_empty()).map(PathBuf::from))
    }
}

impl Globals {
    pub(crate) fn read(matches: &ArgMatches, variables: &[(OsString, OsString)]) -> Result<Self, Exit> {
        let own = |(name, value): &(OsString, OsString)| {
            let name = name.to_str().filter(|name| name.starts_with("ETCDCTL_"))?;
            Some((name.to_owned(), value.to_string_lossy().into_owned()))
        };
        let mut variables: BTreeMap<String, String> = variables.iter().filter_map(own).collect();
        match variables.remove("ETCDCTL_API").as_deref() {
            None | Some("" | "3") => {}
            Some(other) => return Err(Exit::new(ERROR, format!("unsupported API version {other}"))),
        }
        // These are the verb's own.
        for name in ["ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"] {
            variables.remove(name);
        }
        let mut from = Sources { matches, variables, notes: Vec::new() };
        let format = match from.text("write-out")?.as_str() {
            "simple" => Format::Simple,
            "fields" => Format::Fields,
            "json" => Format::Json,
            "protobuf" => Format::Protobuf,
            "table" => Format::Table,
            _ => return Err(Exit::new(BAD_FEATURE, "unsupported output format")),
        };
        for name in ["discovery-srv", "discovery-srv-name"] {
            if !from.text(name)?.is_empty() {
                return Err(Exit::new(
                    BAD_FEATURE,
                    format!("--{name} is not served; give the members by --endpoints"),
                ));
            }
        }
        from.flag("insecure-discovery")?;
        let (certificate, key, authorities) = (from.file("cert")?, from.file("key")?, from.file("cacert")?);
        let skip = from.flag("insecure-skip-tls-verify")?;
        let wanted = certificate.is_some() || key.is_some() || authorities.is_some();
        let endpoints: Vec<String> =
            from.text("endpoints")?.split(',').map(|endpoint| endpoint.trim().to_owned()).collect();
        let secure =
            endpoints.iter().any(|endpoint| endpoint.starts_with("https:") || endpoint.starts_with("unixs:"));
        let insecure = from.flag("insecure-transport")?;
        let security = if wanted || secure || !insecure {
            let identity = match (certificate, key) {
                (Some(certificate), Some(key)) => Some((certificate, key)),
                (None, None) => None,
                _ => {
                    return Err(Exit::new(
                        BAD_ARGS,
                        "KeyFile and CertFile must both be present: give --cert and --key",
                    ));
                }
            };
            let authorities = match authorities {
                _ if skip => Authorities::Anybody,
                Some(file) => Authorities::File(file),
                None => Authorities::Machine,
            };
            Some(Security { authorities, identity, server_name: None })
        } else {
            None
        };
        let (user, password) = (from.text("user")?, from.text("password")?);
        let user = match (user.as_str(), password.is_empty()) {
            ("", _) => None,
            (name, false) => Some((name.to_owned(), Some(password))),
            (both, true) => match both.split_once(':') {
                Some((name, password)) => Some((name.to_owned(), Some(password.to_owned()))),
                None => Some((both.to_owned(), None)),
            },
        };
        let timeout_was_set = matches.value_source("command-timeout") == Some(ValueSource::CommandLine)
            || from.variables.contains_key("ETCDCTL_COMMAND_TIMEOUT");
        let request_timeout = from.time("command-timeout")?;
        let settings = Settings {
            security,
            insecure_plaintext: insecure,
            dial_timeout: from.time("dial-timeout")?,
            request_timeout,
            attempt_timeout: request_timeout,
            keep_alive_time: from.time("keepalive-time")?,
            keep_alive_timeout: from.time("keepalive-timeout")?,
            require_leader: false,
            ..Settings::of(endpoints)
        };
        let hex = from.flag("hex")?;
        let debug = from.flag("debug")?;
        for name in from.variables.keys() {
            from.notes.push(format!("unrecognized environment variable {name}"));
        }
        if debug {
            for arg in args() {
                let name = arg.get_id().as_str();
                if name != "password" {
                    let value =
                        matches.get_raw(name).into_iter().flatten().map(|value| value.to_string_lossy());
                    from.notes.push(format!("--{name}={}", value.collect::<Vec<_>>().join(",")));
                }
            }
        }
        Ok(Self { format, hex, settings, user, timeout_was_set, notes: from.notes })
    }
}

/// A user whose password is known.
pub(crate) fn user(name: String, password: String) -> User {
    User { name, password }
}
