//! Messages.

use super::*;
use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::{A, CNAME, TXT};

fn n(text: &str) -> Name {
    name(text).unwrap()
}

fn question(text: &str) -> Question {
    Question { name: n(text), kind: RecordType::A }
}

fn packet(change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::from_vec(&query(&question("www.example"), 7, true).unwrap()).unwrap();
    change(&mut message);
    message.to_vec().unwrap()
}

fn code_of(bytes: &[u8]) -> ResponseCode {
    Message::from_vec(bytes).unwrap().response_code
}

#[test]
fn a_plain_request_is_read() {
    let mixed =
        packet(|m| m.queries[0] = Query::query(Name::from_ascii("WwW.Example.").unwrap(), RecordType::A));
    assert_eq!(request(&mixed).unwrap().question, question("www.example"));
}

#[test]
fn what_is_no_request_is_refused_or_passed_over() {
    let refused = |bytes: &[u8]| code_of(&request(bytes).unwrap_err().unwrap());
    assert_eq!(refused(&packet(|m| m.queries.push(m.queries[0].clone()))), ResponseCode::FormErr);
    assert_eq!(refused(&packet(|m| m.queries.clear())), ResponseCode::FormErr);
    assert_eq!(refused(&packet(|m| m.metadata.op_code = OpCode::Notify)), ResponseCode::NotImp);
    assert_eq!(refused(&packet(|m| m.metadata.recursion_desired = false)), ResponseCode::Refused);
    assert_eq!(
        refused(&packet(|m| {
            m.queries[0].set_query_class(DNSClass::CH);
        })),
        ResponseCode::Refused
    );
    assert_eq!(
        refused(&packet(|m| {
            m.queries[0].set_query_type(RecordType::AXFR);
        })),
        ResponseCode::Refused
    );
    let version = packet(|m| {
        let mut edns = Edns::new();
        edns.set_version(1);
        m.edns = Some(edns);
    });
    assert_eq!(u16::from(refused(&version)), u16::from(ResponseCode::BADVERS));
    let whole = packet(|_| {});
    assert_eq!(refused(&whole[..whole.len() - 3]), ResponseCode::FormErr);
    assert_eq!(request(&whole[..11]), Err(None));
    assert_eq!(
        request(&packet(|m| m.metadata.message_type = MessageType::Response)),
        Err(None),
        "no loops of replies"
    );
}

#[test]
fn a_reply_over_udp_keeps_to_the_clients_payload() {
    let text = TXT::new(vec!["x".repeat(200); 5]);
    let record = Record::from_rdata(n("www.example"), 5, RData::TXT(text));
    let outcome = Outcome { answers: vec![record], ..Outcome::of(ResponseCode::NoError) };
    let plain = request(&packet(|m| m.edns = None)).unwrap();
    let short = Message::from_vec(&reply(&plain, &outcome, true).unwrap()).unwrap();
    assert!(short.truncation && short.answers.is_empty() && short.edns.is_none() && short.id == 7);
    let whole = Message::from_vec(&reply(&plain, &outcome, false).unwrap()).unwrap();
    assert!(!whole.truncation && whole.answers.len() == 1 && whole.recursion_available);
    let large = request(&packet(|_| {})).unwrap();
    let whole = Message::from_vec(&reply(&large, &outcome, true).unwrap()).unwrap();
    assert!(!whole.truncation && whole.answers.len() == 1 && whole.edns.is_some());
}

#[test]
fn only_the_answer_to_our_question_is_taken() {
    let asked = question("www.example");
    let good = packet(|m| m.metadata.message_type = MessageType::Response);
    assert!(answer(&good, &asked, 7).is_ok());
    assert_eq!(answer(&good, &asked, 8), Err(NotTheAnswer::Other));
    assert_eq!(answer(&good, &question("www.other"), 7), Err(NotTheAnswer::Other));
    assert_eq!(
        answer(&good, &Question { kind: RecordType::AAAA, ..asked.clone() }, 7),
        Err(NotTheAnswer::Other)
    );
    assert_eq!(answer(&packet(|_| {}), &asked, 7), Err(NotTheAnswer::Other), "a question is no answer");
    assert_eq!(answer(&good[..20], &asked, 7), Err(NotTheAnswer::Malformed));
    let empty = |code| {
        packet(|m| {
            m.metadata.message_type = MessageType::Response;
            m.metadata.response_code = code;
            m.queries.clear();
        })
    };
    assert!(answer(&empty(ResponseCode::FormErr), &asked, 7).is_ok());
    assert_eq!(answer(&empty(ResponseCode::NoError), &asked, 7), Err(NotTheAnswer::Other));
}

#[test]
fn what_was_not_asked_is_dropped_and_chains_are_followed() {
    let a = |name: &str, last| Record::from_rdata(n(name), 5, RData::A(A::new(10, 0, 0, last)));
    let cname = |name: &str, target: &str| Record::from_rdata(n(name), 5, RData::CNAME(CNAME(n(target))));
    let mut message = Message::query();
    message.add_answers([a("bank.example", 66), cname("web.example", "b.example"), a("b.example", 1)]);
    message.add_answers([cname("www.example", "web.example"), a("b.example", 2)]);
    let (outcome, end) = relevant(&message, &question("www.example"));
    assert_eq!(
        outcome.answers,
        [
            cname("www.example", "web.example"),
            cname("web.example", "b.example"),
            a("b.example", 1),
            a("b.example", 2)
        ]
    );
    assert_eq!(end, n("b.example"));
    // A chain that bites its tail ends.
    let mut ring = Message::query();
    ring.add_answers([cname("www.example", "x.example"), cname("x.example", "www.example")]);
    assert_eq!(relevant(&ring, &question("www.example")).0.answers.len(), CHAIN_MAX + 1);
}

#[test]
fn addresses_are_asked_backwards() {
    assert_eq!(name_to_ask("10.0.0.1"), Some((n("1.0.0.10.in-addr.arpa"), true)));
    assert_eq!(name_to_ask("www.example"), Some((n("www.example"), false)));
    assert_eq!(name_to_ask("a..b"), None);
}
