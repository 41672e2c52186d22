//! The resolver against servers that lie, are old, or are broken: played here, on the loopback.

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{RData, Record, RecordType};
use resolve::config::{Config, Llmnr, name};
use resolve::resolver::{Resolver, Source};
use resolve::scope::ScopeId;
use resolve::wire::Question;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

/// A server that answers each UDP packet with what `answer` makes of it, packet for packet, and
/// TCP with `over_tcp`. Its address, and how many packets have come.
async fn server(
    answer: impl Fn(Message) -> Vec<Vec<u8>> + 'static,
    over_tcp: impl Fn(Message) -> Vec<u8> + 'static,
) -> (SocketAddr, Rc<Cell<usize>>) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let count = Rc::new(Cell::new(0));
    let counter = Rc::clone(&count);
    tokio::task::spawn_local(async move {
        let mut packet = [0; 2048];
        loop {
            let (length, client) = udp.recv_from(&mut packet).await.unwrap();
            counter.set(counter.get() + 1);
            for reply in answer(Message::from_vec(&packet[..length]).unwrap()) {
                udp.send_to(&reply, client).await.unwrap();
            }
        }
    });
    tokio::task::spawn_local(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let mut query = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut query).await.unwrap();
            let reply = over_tcp(Message::from_vec(&query).unwrap());
            stream.write_u16(reply.len() as u16).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    (address, count)
}

fn reply(query: &Message, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut reply = query.clone();
    reply.metadata.message_type = MessageType::Response;
    change(&mut reply);
    reply.to_vec().unwrap()
}

fn with_address(query: &Message, last: u8) -> Vec<u8> {
    let name = query.queries[0].name().clone();
    reply(query, |reply| {
        reply.add_answer(Record::from_rdata(name, 60, RData::A(A::new(10, 0, 0, last))));
    })
}

fn resolver(servers: &[SocketAddr]) -> Rc<Resolver> {
    let servers = servers.iter().map(|server| server.to_string().parse().unwrap()).collect();
    let config = Config { servers, llmnr: Llmnr::No, read_hosts: false, ..Config::default() };
    Resolver::new(config, Box::new(|text| eprintln!("{text}")))
}

fn question(text: &str) -> Question {
    Question { name: name(text).unwrap(), kind: RecordType::A }
}

/// The addresses found, and where they are from.
async fn ask(resolver: &Rc<Resolver>, text: &str) -> (Vec<String>, Source) {
    let resolved = resolver.resolve(&question(text)).await;
    let records = resolved.outcome.answers.iter().map(|record| record.data.to_string());
    (records.collect(), resolved.source)
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn never(_: Message) -> Vec<u8> {
    unreachable!("nobody asks over TCP")
}

const NETWORK: Source = Source::Network(ScopeId::Global);

#[test]
fn guessed_answers_are_passed_over() {
    run(async {
        let lies = |query: Message| {
            let other_id = reply(&query, |reply| reply.metadata.id ^= 1);
            let other_name = reply(&query, |reply| {
                reply.queries[0].set_name(name("evil.test").unwrap());
            });
            let no_reply = query.to_vec().unwrap();
            vec![other_id, other_name, no_reply, vec![0; 5], with_address(&query, 1)]
        };
        let (address, _) = server(lies, never).await;
        assert_eq!(ask(&resolver(&[address]), "www.test").await, (vec!["10.0.0.1".into()], NETWORK));
    });
}

#[test]
fn many_guesses_end_the_attempt() {
    run(async {
        let flood = |query: Message| vec![reply(&query, |reply| reply.metadata.id ^= 1); 40];
        let (liar, _) = server(flood, never).await;
        let (honest, _) = server(|query| vec![with_address(&query, 2)], never).await;
        assert_eq!(ask(&resolver(&[liar, honest]), "www.test").await, (vec!["10.0.0.2".into()], NETWORK));
    });
}

#[test]
fn records_that_were_not_asked_for_are_not_taken() {
    run(async {
        let poison = |query: Message| {
            let name = query.queries[0].name().clone();
            vec![reply(&query, |reply| {
                reply.add_answer(Record::from_rdata(name, 60, RData::A(A::new(10, 0, 0, 1))));
                reply.add_answer(Record::from_rdata(
                    resolve::config::name("bank.test").unwrap(),
                    60,
                    RData::A(A::new(6, 6, 6, 6)),
                ));
            })]
        };
        let (address, count) = server(poison, never).await;
        let resolver = resolver(&[address]);
        assert_eq!(ask(&resolver, "www.test").await.0, ["10.0.0.1"]);
        ask(&resolver, "bank.test").await;
        assert_eq!(count.get(), 2, "what came along was not kept");
    });
}

#[test]
fn a_truncated_or_malformed_answer_is_asked_for_over_tcp() {
    run(async {
        let truncated = |query: Message| vec![reply(&query, |reply| reply.metadata.truncation = true)];
        let (address, _) = server(truncated, |query| with_address(&query, 3)).await;
        assert_eq!(ask(&resolver(&[address]), "www.test").await.0, ["10.0.0.3"]);
        let malformed = |query: Message| {
            let mut bytes = with_address(&query, 9);
            bytes.truncate(bytes.len() - 20);
            vec![bytes]
        };
        let (address, _) = server(malformed, |query| with_address(&query, 4)).await;
        assert_eq!(ask(&resolver(&[address]), "www.test").await.0, ["10.0.0.4"]);
    });
}

#[test]
fn a_server_without_edns_is_asked_without() {
    run(async {
        let old = |query: Message| {
            if query.edns.is_none() {
                return vec![with_address(&query, 5)];
            }
            vec![reply(&query, |reply| {
                reply.metadata.response_code = ResponseCode::FormErr;
                reply.edns = None;
            })]
        };
        let (address, count) = server(old, never).await;
        let resolver = resolver(&[address]);
        assert_eq!(ask(&resolver, "www.test").await.0, ["10.0.0.5"]);
        assert_eq!(ask(&resolver, "ftp.test").await.0, ["10.0.0.5"]);
        assert_eq!(count.get(), 3, "the second name needed no second attempt");
    });
}

#[test]
fn a_server_that_fails_is_passed_over_and_one_that_refuses_too() {
    run(async {
        let code =
            |code| move |query: Message| vec![reply(&query, |reply| reply.metadata.response_code = code)];
        let (failing, _) = server(code(ResponseCode::ServFail), never).await;
        let (refusing, _) = server(code(ResponseCode::Refused), never).await;
        let (good, _) = server(|query| vec![with_address(&query, 6)], never).await;
        assert_eq!(ask(&resolver(&[failing, refusing, good]), "www.test").await.0, ["10.0.0.6"]);
        let alone = resolver(&[failing, refusing]);
        let resolved = alone.resolve(&question("www.test")).await;
        assert_eq!(resolved.outcome.code, ResponseCode::ServFail);
        let why = resolved.why.unwrap();
        assert!(why.contains(" answers ") && why.contains(&refusing.to_string()), "{why}");
    });
}

#[test]
fn one_question_at_a_time_goes_out_for_the_same_name() {
    run(async {
        let (address, count) = server(|query| vec![with_address(&query, 7)], never).await;
        let resolver = resolver(&[address]);
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let resolver = Rc::clone(&resolver);
            asking.spawn_local(async move { ask(&resolver, "www.test").await.0 });
        }
        while let Some(answer) = asking.join_next().await {
            assert_eq!(answer.unwrap(), ["10.0.0.7"]);
        }
        assert_eq!(count.get(), 1);
        assert_eq!(ask(&resolver, "www.test").await.1, Source::Cache(ScopeId::Global));
        assert_eq!(count.get(), 1);
    });
}

#[test]
fn too_many_questions_at_once_fail_at_once_and_are_not_piled_up() {
    run(async {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = resolver(&[silent.local_addr().unwrap()]);
        let mut asking = tokio::task::JoinSet::new();
        for index in 0..2000 {
            let resolver = Rc::clone(&resolver);
            asking
                .spawn_local(async move { resolver.resolve(&question(&format!("n{index}.test"))).await.why });
        }
        let mut turned_away = 0;
        while turned_away < 2000 - 512 {
            let why = asking.join_next().await.unwrap().unwrap().unwrap();
            assert_eq!(why, "too many questions at once");
            turned_away += 1;
        }
        assert_eq!(resolver.statistics().2, 512);
    });
}

#[test]
fn a_chain_that_the_server_leaves_open_is_followed() {
    run(async {
        let lazy = |query: Message| {
            let asked = query.queries[0].name().clone();
            if asked == name("end.test").unwrap() {
                return vec![with_address(&query, 8)];
            }
            let alias = Record::from_rdata(asked, 60, RData::CNAME(CNAME(name("end.test").unwrap())));
            vec![reply(&query, |reply| {
                reply.add_answer(alias);
            })]
        };
        let (address, _) = server(lazy, never).await;
        assert_eq!(ask(&resolver(&[address]), "www.test").await.0, ["end.test.", "10.0.0.8"]);
        // One without an end ends all the same.
        let ring = |query: Message| {
            let asked = query.queries[0].name().clone();
            let next = name(&format!("x{asked}")).unwrap();
            vec![reply(&query, |reply| {
                reply.add_answer(Record::from_rdata(asked, 60, RData::CNAME(CNAME(next))));
            })]
        };
        let (address, count) = server(ring, never).await;
        let resolved = resolver(&[address]).resolve(&question("a.test")).await;
        assert!(count.get() <= 20 && resolved.outcome.answers.len() <= 20, "{}", count.get());
    });
}
