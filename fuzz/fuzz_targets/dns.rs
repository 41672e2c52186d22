//! DNS and LLMNR packets from clients, servers and neighbours: never a panic, every reply readable
//! and within what its reader takes, no reply to a reply.
#![no_main]

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use libfuzzer_sys::fuzz_target;
use resolve::cache::Cache;
use resolve::config::{CacheMode, name};
use resolve::hosts::Hosts;
use resolve::llmnr::{self, Responder};
use resolve::local::{self, Facts};
use resolve::scope::ScopeId;
use resolve::wire::{self, CHAIN_MAX, Question};
use std::net::IpAddr;
use std::time::Instant;

/// The stub: a reply to whatever asks, from what the machine knows itself.
fn stub(packet: &[u8], facts: &Facts) {
    let request = match wire::request(packet) {
        Ok(request) => request,
        Err(None) => return,
        Err(Some(refusal)) => {
            assert!(packet[2] & 0x80 == 0);
            Message::from_vec(&refusal).expect("a refusal can be read");
            return;
        }
    };
    let mut outcome = wire::Outcome::of(hickory_proto::op::ResponseCode::NoError);
    if let Some(Ok(answers)) = local::answer(facts, &request.question.name, request.question.kind) {
        outcome.answers = answers;
    }
    for over_udp in [true, false] {
        if let Some(reply) = wire::reply(&request, &outcome, over_udp) {
            assert_eq!(reply[..2], packet[..2]);
            assert!(reply[2] & 0x80 != 0);
            Message::from_vec(&reply).expect("a reply can be read");
        }
    }
}

/// A server's answer, to the question that it repeats: kept, read back, passed on.
fn answer(packet: &[u8]) {
    let Some(id) = packet.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return };
    let asked = Message::from_vec(packet).ok().and_then(|message| message.queries.first().cloned());
    let Some(asked) = asked else { return };
    let mut name = asked.name().to_lowercase();
    name.set_fqdn(true);
    let question = Question { name, kind: asked.query_type() };
    let Ok(message) = wire::answer(packet, &question, id) else { return };
    let (outcome, _) = wire::relevant(&message, &question);
    assert!(outcome.answers.len() <= message.answers.len() + CHAIN_MAX + 1);
    let now = Instant::now();
    let mut cache = Cache::new(CacheMode::Yes, 4, 1 << 16);
    cache.put((ScopeId::Global, question.clone()), &message, packet, now);
    if let Some(kept) = cache.get(&(ScopeId::Global, question.clone()), now) {
        assert_eq!(wire::relevant(&kept, &question).0.answers.len(), outcome.answers.len());
    }
}

fn neighbour(packet: &[u8]) {
    let addresses: [IpAddr; 2] = [[10, 0, 0, 1].into(), [0xfe80, 0, 0, 0, 0, 0, 0, 1].into()];
    let responder = Responder { hostname: "node1", addresses: &addresses, tentative: false };
    if let Some(response) = llmnr::respond(packet, &responder, true) {
        assert!(response.len() <= 512 && packet[2] & 0x80 == 0);
        Message::from_vec(&response).expect("a response can be read");
    }
    let question = Question { name: name("node1").expect("a name"), kind: RecordType::A };
    let id = packet.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    let _ = llmnr::response(packet, &question, id);
}

fuzz_target!(|input: &[u8]| {
    let facts = Facts {
        hosts: Hosts::parse("10.9.9.9 db.example db\n").0,
        hostname: "node1.example".to_owned(),
        addresses: vec![[10, 0, 0, 1].into()],
        gateways: Vec::new(),
    };
    stub(input, &facts);
    answer(input);
    neighbour(input);
});
