//! Link-Local Multicast Name Resolution: messages (RFC 4795). The header's AA and RD bits are
//! LLMNR's C (conflict) and T (tentative).

use crate::local::{own_names, records, reverse};
use crate::wire::{NotTheAnswer, Outcome, Question};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Port.
pub const PORT: u16 = 5355;
/// Group (section 2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 252);
/// Group (section 2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 3);
/// TTL of our records, seconds (section 2.8).
const TTL: u32 = 30;
/// The longest response over UDP, bytes (section 2.1).
const PAYLOAD: usize = 512;

/// Who answers on a link.
#[derive(Debug, Clone, Copy)]
pub struct Responder<'a> {
    /// The host name.
    pub hostname: &'a str,
    /// Addresses of the link that the query came over.
    pub addresses: &'a [IpAddr],
    /// The name is not yet known to be ours alone (T bit).
    pub tentative: bool,
}

/// The response to a packet; `None` when it is no query, or none for us: then silence.
pub fn respond(packet: &[u8], responder: &Responder, over_udp: bool) -> Option<Vec<u8>> {
    if packet.len() < 12 {
        return None;
    }
    let query = Message::from_vec(packet).ok()?;
    // C in a query is for those that must look again whether their name is theirs; no answer.
    let is_query = query.message_type == MessageType::Query
        && query.op_code == OpCode::Query
        && !query.authoritative
        && query.answers.is_empty()
        && query.authorities.is_empty();
    let [asked] = &query.queries[..] else { return None };
    if !is_query || asked.query_class() != DNSClass::IN {
        return None;
    }
    let mut name = asked.name().to_lowercase();
    name.set_fqdn(true);
    let own = own_names(responder.hostname).into_iter().find(|own| own.num_labels() == 1)?;
    let kind = asked.query_type();
    let mut found = if name == own {
        records(asked.name(), responder.addresses, kind)
    } else if reverse(&name).is_some_and(|address| responder.addresses.contains(&address)) {
        let wanted = matches!(kind, RecordType::PTR | RecordType::ANY);
        let pointer = Record::from_rdata(asked.name().clone(), TTL, RData::PTR(PTR(own)));
        if wanted { vec![pointer] } else { Vec::new() }
    } else {
        return None;
    };
    for record in &mut found {
        record.ttl = TTL;
    }
    let mut response = Message::response(query.id, OpCode::Query);
    response.metadata.recursion_desired = responder.tentative;
    response.queries.clone_from(&query.queries);
    response.answers = found;
    let bytes = response.to_vec().ok()?;
    if !over_udp || bytes.len() <= PAYLOAD {
        return Some(bytes);
    }
    response.answers.clear();
    response.metadata.truncation = true;
    response.to_vec().ok()
}

/// The packet that asks the neighbours.
///
/// # Errors
/// The name cannot be written.
pub fn query(question: &Question, id: u16) -> Result<Vec<u8>, hickory_proto::ProtoError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(question.name.clone(), question.kind));
    message.to_vec()
}

/// What a neighbour's packet says.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// The answer.
    Answer(Outcome),
    /// It has the name, but does not know yet whether it alone has it: to be passed over
    /// (section 4.2).
    Tentative,
    /// It does not fit: the neighbour is to be asked over TCP.
    Truncated,
}

/// Reads a neighbour's packet; it must be the response to our question.
///
/// # Errors
/// See [`NotTheAnswer`].
pub fn response(packet: &[u8], question: &Question, id: u16) -> Result<Response, NotTheAnswer> {
    let header = packet.get(..12).ok_or(NotTheAnswer::Other)?;
    if header[..2] != id.to_be_bytes() || header[2] & 0x80 == 0 {
        return Err(NotTheAnswer::Other);
    }
    let message = Message::from_vec(packet).map_err(|_| NotTheAnswer::Malformed)?;
    let [asked] = &message.queries[..] else { return Err(NotTheAnswer::Other) };
    let mut name = asked.name().to_lowercase();
    name.set_fqdn(true);
    let same =
        name == question.name && asked.query_type() == question.kind && asked.query_class() == DNSClass::IN;
    // Any code but 0 is an error, and errors are passed over (section 2.1.1).
    if !same || message.op_code != OpCode::Query || message.response_code != ResponseCode::NoError {
        return Err(NotTheAnswer::Other);
    }
    Ok(if message.truncation {
        Response::Truncated
    } else if message.recursion_desired {
        Response::Tentative
    } else {
        let wanted = |record: &&Record| {
            (record.record_type() == question.kind || question.kind == RecordType::ANY)
                && record.name == question.name
                && record.dns_class == DNSClass::IN
        };
        let answers = message.answers.iter().filter(wanted).cloned().collect();
        Response::Answer(Outcome { answers, ..Outcome::of(ResponseCode::NoError) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::name;
    use crate::local::reverse_name;

    const ADDRESSES: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))];
    const RESPONDER: Responder =
        Responder { hostname: "Node1.example", addresses: &ADDRESSES, tentative: false };

    fn question(text: &str, kind: RecordType) -> Question {
        Question { name: name(text).unwrap(), kind }
    }

    fn exchange(question: &Question, responder: &Responder) -> Option<Response> {
        let packet = query(question, 9).unwrap();
        respond(&packet, responder, true).map(|bytes| response(&bytes, question, 9).unwrap())
    }

    fn data(response: Option<Response>) -> Vec<String> {
        match response {
            Some(Response::Answer(outcome)) => {
                outcome.answers.iter().map(|record| record.data.to_string()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_own_name_and_addresses_are_answered_and_no_others() {
        assert_eq!(data(exchange(&question("node1", RecordType::A), &RESPONDER)), ["10.0.0.1"]);
        assert_eq!(data(exchange(&question("NODE1", RecordType::ANY), &RESPONDER)), ["10.0.0.1", "fe80::1"]);
        assert_eq!(data(exchange(&question("node1", RecordType::MX), &RESPONDER)), [""; 0]);
        let back = Question { name: reverse_name(ADDRESSES[0]).unwrap(), kind: RecordType::PTR };
        assert_eq!(data(exchange(&back, &RESPONDER)), ["node1."]);
        for foreign in ["node2", "node1.example", "1.1.1.1.in-addr.arpa"] {
            assert_eq!(exchange(&question(foreign, RecordType::A), &RESPONDER), None, "{foreign}");
        }
        let nameless = Responder { hostname: "localhost", ..RESPONDER };
        assert_eq!(exchange(&question("localhost", RecordType::A), &nameless), None);
    }

    #[test]
    fn what_is_no_query_meets_silence() {
        let packet = |change: &dyn Fn(&mut Message)| {
            let plain = query(&question("node1", RecordType::A), 9).unwrap();
            let mut message = Message::from_vec(&plain).unwrap();
            change(&mut message);
            respond(&message.to_vec().unwrap(), &RESPONDER, true)
        };
        assert!(packet(&|_| {}).is_some());
        assert_eq!(packet(&|m| m.metadata.message_type = MessageType::Response), None);
        assert_eq!(packet(&|m| m.metadata.op_code = OpCode::Update), None);
        assert_eq!(packet(&|m| m.metadata.authoritative = true), None);
        assert_eq!(packet(&|m| m.queries.push(m.queries[0].clone())), None);
        assert_eq!(packet(&|m| m.queries.clear()), None);
        assert_eq!(respond(&[0; 11], &RESPONDER, true), None);
    }

    #[test]
    fn a_long_response_is_for_tcp() {
        let many: Vec<IpAddr> = (0..100).map(|last| Ipv4Addr::new(10, 0, 0, last).into()).collect();
        let responder = Responder { addresses: &many, ..RESPONDER };
        let asked = question("node1", RecordType::A);
        assert_eq!(exchange(&asked, &responder), Some(Response::Truncated));
        let whole = respond(&query(&asked, 9).unwrap(), &responder, false).unwrap();
        assert_eq!(data(Some(response(&whole, &asked, 9).unwrap())).len(), 100);
    }

    #[test]
    fn a_tentative_response_is_passed_over() {
        let responder = Responder { tentative: true, ..RESPONDER };
        assert_eq!(exchange(&question("node1", RecordType::A), &responder), Some(Response::Tentative));
    }
}
