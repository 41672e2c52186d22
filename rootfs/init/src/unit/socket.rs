//! `[Socket]` (systemd.socket(5)).

use super::Fault;
use super::config::{Phase, Unit};
use super::directive::{Scope, add_commands, kill_or_context_key};
use super::name::UnitName;
use super::value::{self, Span};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The kind of a listening descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the Listen key of the same name")]
pub enum ListenKind {
    Stream,
    Datagram,
    SequentialPacket,
    Fifo,
}

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A UNIX socket or FIFO in the file system.
    Path(PathBuf),
    /// A UNIX socket in the abstract name space, without its leading NUL.
    Abstract(String),
    /// An IPv4 or IPv6 address.
    Ip(SocketAddr),
    /// A port on every address.
    Port(u16),
}

/// `BindIPv6Only=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the value of the same name")]
pub enum BindIpv6Only {
    #[default]
    Default,
    Both,
    Ipv6Only,
}

/// `[Socket]`. Its commands and what they run with are the unit's `service`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as the manual has them")]
pub struct Socket {
    /// `ListenStream=` and its kin, in order.
    pub listen: Vec<(ListenKind, Address)>,
    /// `Accept=`.
    pub accept: bool,
    /// `MaxConnections=`.
    pub max_connections: u32,
    /// `Service=`.
    pub service: Option<UnitName>,
    /// `SocketMode=`.
    pub mode: u32,
    /// `DirectoryMode=`.
    pub directory_mode: u32,
    /// `SocketUser=`.
    pub user: Option<String>,
    /// `SocketGroup=`.
    pub group: Option<String>,
    /// `BindIPv6Only=`.
    pub ipv6_only: BindIpv6Only,
    /// `BindToDevice=`.
    pub device: Option<String>,
    /// `Backlog=`.
    pub backlog: u32,
    /// `KeepAlive=`.
    pub keep_alive: bool,
    /// `KeepAliveTimeSec=`.
    pub keep_alive_time: Option<Duration>,
    /// `KeepAliveIntervalSec=`.
    pub keep_alive_interval: Option<Duration>,
    /// `KeepAliveProbes=`.
    pub keep_alive_probes: Option<u32>,
    /// `NoDelay=`.
    pub no_delay: bool,
    /// `ReusePort=`.
    pub reuse_port: bool,
    /// `FreeBind=`.
    pub free_bind: bool,
    /// `Transparent=`.
    pub transparent: bool,
    /// `Broadcast=`.
    pub broadcast: bool,
    /// `PassCredentials=`.
    pub pass_credentials: bool,
    /// `Priority=`.
    pub priority: Option<i32>,
    /// `Mark=`.
    pub mark: Option<u32>,
    /// `ReceiveBuffer=`, bytes.
    pub receive_buffer: Option<usize>,
    /// `SendBuffer=`, bytes.
    pub send_buffer: Option<usize>,
    /// `RemoveOnStop=`.
    pub remove_on_stop: bool,
    /// `Symlinks=`.
    pub symlinks: Vec<PathBuf>,
    /// `FileDescriptorName=`.
    pub descriptor_name: Option<String>,
    /// `TriggerLimitIntervalSec=`; zero turns the limit off.
    pub trigger_interval: Span,
    /// `TriggerLimitBurst=`; unset means 20, or 200 with `Accept=yes`.
    pub trigger_burst: Option<u32>,
}

impl Default for Socket {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            accept: false,
            max_connections: 64,
            service: None,
            mode: 0o666,
            directory_mode: 0o755,
            user: None,
            group: None,
            ipv6_only: BindIpv6Only::Default,
            device: None,
            // The kernel cuts it to net.core.somaxconn.
            backlog: u32::MAX,
            keep_alive: false,
            keep_alive_time: None,
            keep_alive_interval: None,
            keep_alive_probes: None,
            no_delay: false,
            reuse_port: false,
            free_bind: false,
            transparent: false,
            broadcast: false,
            pass_credentials: false,
            priority: None,
            mark: None,
            receive_buffer: None,
            send_buffer: None,
            remove_on_stop: false,
            symlinks: Vec::new(),
            descriptor_name: None,
            trigger_interval: Some(Duration::from_secs(2)),
            trigger_burst: None,
        }
    }
}

impl Socket {
    /// The unit that traffic starts: of `Service=`, else of the same name; of `Accept=yes` a template.
    pub fn triggers(&self, own: &UnitName) -> Option<UnitName> {
        if self.accept {
            let instance = own.instance().map_or(String::new(), |_| String::new());
            return UnitName::parse(&format!("{}@{instance}.service", own.prefix())).ok();
        }
        self.service.clone().or_else(|| UnitName::parse(&format!("{}.service", own.stem())).ok())
    }

    /// The name that services see in `$LISTEN_FDNAMES`.
    pub fn descriptor_name<'a>(&'a self, own: &'a UnitName) -> &'a str {
        self.descriptor_name.as_deref().unwrap_or(if self.accept { "connection" } else { own.as_str() })
    }

    /// How many times in [`Self::trigger_interval`] traffic may start something.
    pub fn trigger_burst(&self) -> u32 {
        self.trigger_burst.unwrap_or(if self.accept { 200 } else { 20 })
    }
}

impl Address {
    /// Reads the value of a `Listen…=` line (systemd.socket(5), `ListenStream=`).
    pub fn parse(kind: ListenKind, text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self::Path(text.into()));
        }
        if kind == ListenKind::Fifo {
            return None;
        }
        if let Some(name) = text.strip_prefix('@') {
            // sun_path has 108 bytes, the first is NUL: unix(7).
            return (!name.is_empty() && name.len() < 108).then(|| Self::Abstract(name.into()));
        }
        if kind == ListenKind::SequentialPacket {
            return None;
        }
        if let Ok(port) = text.parse::<u16>() {
            return (port > 0).then_some(Self::Port(port));
        }
        let address: SocketAddr = text.parse().ok()?;
        (address.port() > 0).then_some(Self::Ip(address))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Abstract(name) => write!(f, "@{name}"),
            Self::Ip(address) => address.fmt(f),
            Self::Port(port) => write!(f, "[::]:{port}"),
        }
    }
}

/// The instance of an accepted connection: `NUMBER-LOCAL:PORT-PEER:PORT` of IP, `NUMBER-PID-UID` of UNIX
/// (systemd.socket(5), `Accept=`).
pub fn instance(
    number: u64,
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    unix: (i32, u32),
) -> String {
    let show = |address: SocketAddr| match address.ip().to_canonical() {
        IpAddr::V4(ip) => format!("{ip}:{}", address.port()),
        // Brackets are no characters of unit names.
        IpAddr::V6(ip) => format!("{ip}:{}", address.port()),
    };
    match local.zip(peer) {
        Some((local, peer)) => format!("{number}-{}-{}", show(local), show(peer)),
        None => format!("{number}-{}-{}", unix.0, unix.1),
    }
}

pub(super) fn section(unit: &mut Unit, at: &Scope<'_>) -> Result<(), Fault> {
    let phases = [
        ("ExecStartPre", Phase::StartPre),
        ("ExecStartPost", Phase::StartPost),
        ("ExecStopPre", Phase::Stop),
        ("ExecStopPost", Phase::StopPost),
    ];
    let key = at.key();
    if let (Some((_, phase)), Some(service)) =
        (phases.iter().find(|(known, _)| *known == key), &mut unit.service)
    {
        return add_commands(service, *phase, at);
    }
    let super::config::Special::Socket(socket) = &mut unit.special else { return Err(at.no_section()) };
    let kinds = [
        ("ListenStream", ListenKind::Stream),
        ("ListenDatagram", ListenKind::Datagram),
        ("ListenSequentialPacket", ListenKind::SequentialPacket),
        ("ListenFIFO", ListenKind::Fifo),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(known, _)| *known == key) {
        if at.text().is_empty() {
            // Any of them empties the list of all: config_parse_socket_listen().
            socket.listen.clear();
            return Ok(());
        }
        let address = Address::parse(*kind, &at.expanded()?);
        let want = "a path, an @name, a port, IPV4:PORT or [IPV6]:PORT, as the kind takes it";
        socket.listen.push((*kind, at.want(address, want)?));
        return Ok(());
    }
    let span = || at.want(value::span(at.text()).flatten(), "a time span that ends");
    match key {
        "Accept" => socket.accept = at.boolean_or(false)?,
        "MaxConnections" => socket.max_connections = at.number(0..=u32::MAX)?,
        "Service" => {
            let name = at.optional()?.map(|name| UnitName::parse(&name)).transpose();
            let name = name.map_err(|why| at.invalid(why))?;
            if name.as_ref().is_some_and(|name| name.kind() != super::Kind::Service || name.is_template()) {
                return Err(at.invalid("want a service, not a template"));
            }
            socket.service = name;
        }
        "SocketMode" => socket.mode = at.want(value::mode(at.text()), "an octal mode")?,
        "DirectoryMode" => socket.directory_mode = at.want(value::mode(at.text()), "an octal mode")?,
        "SocketUser" => socket.user = at.optional()?,
        "SocketGroup" => socket.group = at.optional()?,
        "BindIPv6Only" => {
            socket.ipv6_only = match at.text() {
                "" | "default" => BindIpv6Only::Default,
                "both" => BindIpv6Only::Both,
                "ipv6-only" => BindIpv6Only::Ipv6Only,
                _ => return Err(at.invalid("want default, both or ipv6-only")),
            }
        }
        // IFNAMSIZ with its NUL is 16: netdevice(7).
        "BindToDevice" => {
            socket.device = at.optional()?;
            if socket.device.as_ref().is_some_and(|name| name.len() > 15) {
                return Err(at.invalid("want the name of a network interface"));
            }
        }
        "Backlog" => socket.backlog = at.number(0..=u32::MAX)?,
        "KeepAlive" => socket.keep_alive = at.boolean_or(false)?,
        "KeepAliveTimeSec" => socket.keep_alive_time = Some(span()?),
        "KeepAliveIntervalSec" => socket.keep_alive_interval = Some(span()?),
        "KeepAliveProbes" => socket.keep_alive_probes = Some(at.number(1..=127)?),
        "NoDelay" => socket.no_delay = at.boolean_or(false)?,
        "ReusePort" => socket.reuse_port = at.boolean_or(false)?,
        "FreeBind" => socket.free_bind = at.boolean_or(false)?,
        "Transparent" => socket.transparent = at.boolean_or(false)?,
        "Broadcast" => socket.broadcast = at.boolean_or(false)?,
        "PassCredentials" => socket.pass_credentials = at.boolean_or(false)?,
        "Priority" => socket.priority = Some(at.number(0..=i32::MAX)?),
        "Mark" => socket.mark = Some(at.number(0..=u32::MAX)?),
        "ReceiveBuffer" | "SendBuffer" => {
            let bytes = value::size(at.text()).and_then(|bytes| usize::try_from(bytes).ok());
            let bytes = at.want(bytes.filter(|bytes| i32::try_from(*bytes).is_ok()), "a number of bytes")?;
            *(if key == "SendBuffer" { &mut socket.send_buffer } else { &mut socket.receive_buffer }) =
                Some(bytes);
        }
        "RemoveOnStop" => socket.remove_on_stop = at.boolean_or(false)?,
        "Symlinks" => {
            if at.text().is_empty() {
                socket.symlinks.clear();
            }
            for word in at.words()? {
                socket.symlinks.push(at.absolute(&word)?);
            }
        }
        "FileDescriptorName" => {
            let name = at.optional()?;
            let fits = |name: &String| {
                name.len() < 256 && name.chars().all(|c| (' '..='~').contains(&c) && c != ':')
            };
            if !name.as_ref().is_none_or(fits) {
                return Err(at.invalid("want up to 255 printable characters without a colon"));
            }
            socket.descriptor_name = name;
        }
        "TriggerLimitIntervalSec" => socket.trigger_interval = at.span()?,
        "TriggerLimitBurst" => socket.trigger_burst = Some(at.number(0..=u32::MAX)?),
        _ => {
            let Some(service) = &mut unit.service else { return Err(at.unknown()) };
            if key == "TimeoutSec" {
                service.start_timeout = Some(at.timeout()?);
                service.stop_timeout = at.timeout()?;
                return Ok(());
            }
            return kill_or_context_key(service, at);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let show = |kind, text| Address::parse(kind, text).map(|address| address.to_string());
        let stream = ListenKind::Stream;
        assert_eq!(show(stream, "80").as_deref(), Some("[::]:80"));
        assert_eq!(show(stream, "127.0.0.1:80").as_deref(), Some("127.0.0.1:80"));
        assert_eq!(show(stream, "[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(show(stream, "/run/x").as_deref(), Some("/run/x"));
        assert_eq!(show(stream, "@x").as_deref(), Some("@x"));
        for bad in ["", "0", "70000", "::1:80", "localhost:80", "@", "run/x", "1.2.3.4"] {
            assert_eq!(show(stream, bad), None, "{bad}");
        }
        assert_eq!(show(ListenKind::Fifo, "@x"), None);
        assert_eq!(show(ListenKind::SequentialPacket, "80"), None);
        let (local, peer) = ("[::ffff:10.0.0.1]:22".parse().ok(), "[::ffff:10.0.0.2]:4711".parse().ok());
        assert_eq!(instance(3, local, peer, (0, 0)), "3-10.0.0.1:22-10.0.0.2:4711");
        assert_eq!(instance(4, None, None, (17, 1000)), "4-17-1000");
    }
}
