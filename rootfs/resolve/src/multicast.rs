//! LLMNR's sockets: neighbours asked, neighbours answered. One socket a link and family, bound to
//! the link; those that answer are bound to the group's address, so that a query sent to our own
//! address over UDP never reaches them (RFC 4795 section 2.5).

use crate::config::{Config, Llmnr, name};
use crate::exchange::{read_message, write_message};
use crate::llmnr::{self, GROUP_V4, GROUP_V6, PORT, Responder, Response};
use crate::machine::{addresses_of, hostname};
use crate::scope::Link;
use crate::wire::{NotTheAnswer, Outcome, Question};
use hickory_proto::rr::{RData, RecordType};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// How often a query is sent, and how long an answer is waited for each time. The RFC's
/// `LLMNR_TIMEOUT` is a second; neighbours on today's links answer within milliseconds, and every
/// mistyped name waits for the end of this.
const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_millis(300);
const PATIENCE_TCP: Duration = Duration::from_secs(1);
/// Conversations over TCP at once, on each link.
const CONVERSATIONS_MAX: usize = 8;
const PACKETS_MAX: usize = 64;

/// Asks the neighbours on all links at once; the first that has the record wins, then the first
/// that has the name at all.
pub async fn ask(links: &[(u32, String)], question: &Question) -> Option<(u32, Outcome)> {
    let mut asking = JoinSet::new();
    for (index, link) in links {
        let addresses = addresses_of(link);
        for v6 in [false, true] {
            if addresses.iter().any(|address| address.is_ipv6() == v6) {
                let (index, link, question) = (*index, link.clone(), question.clone());
                asking.spawn_local(async move {
                    let answer = ask_link(index, &link, v6, &question).await;
                    answer.ok().flatten().map(|outcome| (index, outcome))
                });
            }
        }
    }
    let mut without_record = None;
    while let Some(answer) = asking.join_next().await {
        match answer.ok().flatten() {
            Some((index, outcome)) if outcome.has(question.kind) => return Some((index, outcome)),
            Some(answer) => without_record = without_record.or(Some(answer)),
            None => {}
        }
    }
    without_record
}

async fn ask_link(index: u32, link: &str, v6: bool, question: &Question) -> io::Result<Option<Outcome>> {
    let (any, group) = if v6 {
        (Ipv6Addr::UNSPECIFIED.into(), SocketAddr::from(SocketAddrV6::new(GROUP_V6, PORT, 0, index)))
    } else {
        (Ipv4Addr::UNSPECIFIED.into(), SocketAddr::new(GROUP_V4.into(), PORT))
    };
    let socket = bound(SocketAddr::new(any, 0), link, Type::DGRAM)?;
    if v6 {
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_hops_v6(255)?;
    } else {
        socket.set_multicast_ttl_v4(255)?;
    }
    let socket = UdpSocket::from_std(socket.into())?;
    let id = u16::from_ne_bytes(sys::random::bytes()?);
    let query = llmnr::query(question, id).map_err(io::Error::other)?;
    for _ in 0..TRIES {
        socket.send_to(&query, group).await?;
        if let Ok(answer) = timeout(PATIENCE, receive(&socket, link, &query, question, id)).await {
            return answer.map(Some);
        }
    }
    Ok(None)
}

async fn receive(
    socket: &UdpSocket,
    link: &str,
    query: &[u8],
    question: &Question,
    id: u16,
) -> io::Result<Outcome> {
    let mut packet = vec![0; 2048];
    for _ in 0..PACKETS_MAX {
        let (length, from) = socket.recv_from(&mut packet).await?;
        match llmnr::response(&packet[..length], question, id) {
            Ok(Response::Answer(outcome)) => return Ok(outcome),
            Ok(Response::Truncated) | Err(NotTheAnswer::Malformed) => {
                if let Ok(Ok(outcome)) =
                    timeout(PATIENCE_TCP, over_tcp(from, link, query, question, id)).await
                {
                    return Ok(outcome);
                }
            }
            Ok(Response::Tentative) | Err(NotTheAnswer::Other) => {}
        }
    }
    Err(io::Error::other("too many packets that are no answer"))
}

/// Asks a neighbour alone. One hop: it must be on the link (section 2.5).
async fn over_tcp(
    neighbour: SocketAddr,
    link: &str,
    query: &[u8],
    question: &Question,
    id: u16,
) -> io::Result<Outcome> {
    let socket = tcp_socket(neighbour, link)?;
    let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
    let mut stream = socket.connect(neighbour).await?;
    write_message(&mut stream, query).await?;
    match llmnr::response(&read_message(&mut stream).await?, question, id) {
        Ok(Response::Answer(outcome)) => Ok(outcome),
        _ => Err(io::Error::other("no answer over TCP")),
    }
}

fn tcp_socket(family_of: SocketAddr, link: &str) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(family_of), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.bind_device(Some(link.as_bytes()))?;
    if family_of.is_ipv6() {
        socket.set_unicast_hops_v6(1)?;
    } else {
        socket.set_ttl_v4(1)?;
    }
    Ok(socket)
}

/// A socket of a link.
fn bound(address: SocketAddr, link: &str, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
    socket.bind_device(Some(link.as_bytes()))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Whether the host name is ours alone on a link (section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Tentative,
    Ours,
    Taken,
}

/// The responders, one a link.
#[derive(Default)]
pub struct Responders {
    running: HashMap<(u32, String), Vec<JoinHandle<()>>>,
}

impl Responders {
    /// Starts a responder on every link that has none and may have one, and stops the others.
    pub fn update(&mut self, links: &[Link], config: &Config, log: &Rc<dyn Fn(&str)>) {
        let wanted: Vec<(u32, String)> = links
            .iter()
            .filter(|link| link.llmnr(config) == Llmnr::Yes)
            .map(|link| (link.index, link.name.clone()))
            .collect();
        self.running.retain(|link, tasks| {
            let keep = wanted.contains(link);
            if !keep {
                tasks.iter().for_each(JoinHandle::abort);
            }
            keep
        });
        for link in wanted {
            self.running.entry(link.clone()).or_insert_with(|| start(&link, log));
        }
    }

    /// Links that are answered on.
    pub fn links(&self) -> Vec<u32> {
        self.running.keys().map(|(index, _)| *index).collect()
    }
}

fn start((index, link): &(u32, String), log: &Rc<dyn Fn(&str)>) -> Vec<JoinHandle<()>> {
    let standing = Rc::new(Cell::new(Standing::Tentative));
    let mut tasks = Vec::new();
    for v6 in [false, true] {
        let (index, link, standing, log) = (*index, link.clone(), Rc::clone(&standing), Rc::clone(log));
        let (name, state) = (link.clone(), Rc::clone(&standing));
        let family = if v6 { "IPv6" } else { "IPv4" };
        let say = Rc::clone(&log);
        tasks.push(tokio::task::spawn_local(async move {
            if let Err(error) = answer_group(index, &name, v6, &state).await {
                say(&format!("LLMNR over {family} on {name} ends: {error}"));
            }
        }));
        tasks.push(tokio::task::spawn_local(async move {
            if let Err(error) = answer_alone(&link, v6, &standing).await {
                log(&format!("LLMNR over TCP and {family} on {link} ends: {error}"));
            }
        }));
    }
    let (link, log) = ((*index, link.clone()), Rc::clone(log));
    tasks.push(tokio::task::spawn_local(async move {
        standing.set(verify(&link).await);
        if standing.get() == Standing::Taken {
            log(&format!(
                "{}: another machine answers to the name {}; LLMNR is silent here",
                link.1,
                hostname()
            ));
        }
    }));
    tasks
}

/// Asks for the own name. Answers of ours are tentative and so passed over; those of another link
/// of this machine have our addresses.
async fn verify(link: &(u32, String)) -> Standing {
    let own = hostname();
    let Some(name) = name(own.split('.').next().unwrap_or_default()) else { return Standing::Taken };
    let question = Question { name, kind: RecordType::ANY };
    let Some((_, outcome)) = ask(std::slice::from_ref(link), &question).await else { return Standing::Ours };
    let ours: Vec<IpAddr> = crate::machine::look().map(|now| now.addresses).unwrap_or_default();
    let local = addresses_of(&link.1);
    let foreign = outcome.answers.iter().any(|record| {
        let address = match &record.data {
            RData::A(address) => IpAddr::V4(address.0),
            RData::AAAA(address) => IpAddr::V6(address.0),
            _ => return false,
        };
        !ours.contains(&address) && !local.contains(&address)
    });
    if foreign { Standing::Taken } else { Standing::Ours }
}

fn answer(packet: &[u8], link: &str, standing: Standing, over_udp: bool) -> Option<Vec<u8>> {
    if standing == Standing::Taken {
        return None;
    }
    let (hostname, addresses) = (hostname(), addresses_of(link));
    let tentative = standing == Standing::Tentative;
    llmnr::respond(packet, &Responder { hostname: &hostname, addresses: &addresses, tentative }, over_udp)
}

async fn answer_group(index: u32, link: &str, v6: bool, standing: &Cell<Standing>) -> io::Result<()> {
    let socket = if v6 {
        let socket = bound(SocketAddrV6::new(GROUP_V6, PORT, 0, index).into(), link, Type::DGRAM)?;
        socket.join_multicast_v6(&GROUP_V6, index)?;
        socket.set_unicast_hops_v6(255)?;
        socket
    } else {
        let socket = bound(SocketAddr::new(GROUP_V4.into(), PORT), link, Type::DGRAM)?;
        socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
        socket.set_ttl_v4(255)?;
        socket
    };
    let socket = UdpSocket::from_std(socket.into())?;
    let mut packet = vec![0; 2048];
    loop {
        let (length, client) = match socket.recv_from(&mut packet).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            received => received?,
        };
        if let Some(response) = answer(&packet[..length], link, standing.get(), true) {
            // A neighbour that cannot be reached asks again.
            let _ = socket.send_to(&response, client).await;
        }
    }
}

async fn answer_alone(link: &str, v6: bool, standing: &Rc<Cell<Standing>>) -> io::Result<()> {
    let any = if v6 { IpAddr::from(Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = bound(SocketAddr::new(any, PORT), link, Type::STREAM)?;
    if v6 {
        socket.set_unicast_hops_v6(1)?;
    } else {
        socket.set_ttl_v4(1)?;
    }
    socket.listen(16)?;
    let listener = TcpListener::from_std(socket.into())?;
    let turns = std::sync::Arc::new(Semaphore::new(CONVERSATIONS_MAX));
    loop {
        let Ok(turn) = std::sync::Arc::clone(&turns).acquire_owned().await else { return Ok(()) };
        let (stream, _) = match listener.accept().await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            accepted => accepted?,
        };
        let (link, standing) = (link.to_owned(), Rc::clone(standing));
        tokio::task::spawn_local(async move {
            // A neighbour that breaks off or is slow has had its turn.
            let _ = timeout(PATIENCE_TCP, converse(stream, &link, standing.get())).await;
            drop(turn);
        });
    }
}

async fn converse(mut stream: TcpStream, link: &str, standing: Standing) -> io::Result<()> {
    let packet = read_message(&mut stream).await?;
    match answer(&packet, link, standing, false) {
        Some(response) => write_message(&mut stream, &response).await,
        None => Ok(()),
    }
}
