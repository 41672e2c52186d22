//! Messages: questions checked, answers checked, replies built (RFC 1035, RFC 6891).

use crate::config::name;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use std::net::IpAddr;

/// Payload that we take over UDP, bytes (DNS flag day 2020: below any usual MTU).
pub const PAYLOAD: u16 = 1232;
/// Payload over UDP to a client without EDNS.
const PAYLOAD_PLAIN: u16 = 512;
/// Payload that the stub announces: loopback carries it in one packet (as systemd).
const PAYLOAD_STUB: u16 = 65_494;

/// What is asked: class IN, name in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// Name.
    pub name: Name,
    /// Type.
    pub kind: RecordType,
}

/// A client's request as the stub understands it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    message: Message,
    /// The question.
    pub question: Question,
}

/// What an answer says, wherever it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Its code.
    pub code: ResponseCode,
    /// Answer records.
    pub answers: Vec<Record>,
    /// Authority records.
    pub authorities: Vec<Record>,
}

impl Outcome {
    /// An answer of a code alone.
    pub fn of(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), authorities: Vec::new() }
    }

    /// Whether there is a record of the wanted type.
    pub fn has(&self, kind: RecordType) -> bool {
        self.code == ResponseCode::NoError
            && self.answers.iter().any(|record| record.record_type() == kind || kind == RecordType::ANY)
    }
}

/// Reads a client's packet: a request, or the reply to send at once to what is not one, or nothing
/// to what must not be replied to (another's reply, a stump of a header).
///
/// # Errors
/// The reply, if any.
pub fn request(packet: &[u8]) -> Result<Request, Option<Vec<u8>>> {
    if packet.len() < 12 || packet[2] & 0x80 != 0 {
        return Err(None);
    }
    let id = u16::from_be_bytes([packet[0], packet[1]]);
    let Ok(message) = Message::from_vec(packet) else {
        let reply = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
        return Err(reply.to_vec().ok());
    };
    let refuse = |code| Err(reply_code(&message, code).to_vec().ok());
    if message.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    let [query] = &message.queries[..] else { return refuse(ResponseCode::FormErr) };
    if message.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return refuse(ResponseCode::BADVERS);
    }
    let asks_for_data = !matches!(
        query.query_type(),
        RecordType::AXFR | RecordType::IXFR | RecordType::OPT | RecordType::TSIG | RecordType::ZERO
    );
    if query.query_class() != DNSClass::IN || !asks_for_data || !message.recursion_desired {
        return refuse(ResponseCode::Refused);
    }
    let mut asked = query.name().to_lowercase();
    asked.set_fqdn(true);
    let question = Question { name: asked, kind: query.query_type() };
    Ok(Request { message, question })
}

fn reply_code(request: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(request.id, request.op_code);
    reply.metadata.recursion_desired = request.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.checking_disabled = request.checking_disabled;
    reply.metadata.response_code = code;
    reply.queries.clone_from(&request.queries);
    if let Some(theirs) = &request.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD_STUB).set_dnssec_ok(theirs.flags().dnssec_ok).set_version(0);
        edns.set_rcode_high(code.high());
        reply.edns = Some(edns);
    }
    reply
}

/// The reply to a request. Over UDP what exceeds the client's payload is left out with the TC bit
/// set; `None` when not even that can be written.
pub fn reply(request: &Request, outcome: &Outcome, over_udp: bool) -> Option<Vec<u8>> {
    let mut reply = reply_code(&request.message, outcome.code);
    reply.answers.clone_from(&outcome.answers);
    reply.authorities.clone_from(&outcome.authorities);
    let most = match (&request.message.edns, over_udp) {
        (_, false) => u16::MAX,
        (None, true) => PAYLOAD_PLAIN,
        (Some(edns), true) => edns.max_payload().clamp(PAYLOAD_PLAIN, PAYLOAD_STUB),
    };
    match reply.to_vec() {
        Ok(bytes) if bytes.len() <= usize::from(most) => Some(bytes),
        _ => {
            let mut short = reply_code(&request.message, outcome.code);
            short.metadata.truncation = true;
            short.to_vec().ok()
        }
    }
}

/// The packet that asks a server.
///
/// # Errors
/// The name cannot be written.
pub fn query(question: &Question, id: u16, edns: bool) -> Result<Vec<u8>, hickory_proto::ProtoError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(question.name.clone(), question.kind));
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD).set_version(0);
        message.set_edns(edns);
    }
    message.to_vec()
}

/// Why a packet is not the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTheAnswer {
    /// Another id, no reply, another question: somebody guesses, or it is late.
    #[error("is the answer to another question")]
    Other,
    /// It is, as far as its header and question go, but cannot be read.
    #[error("cannot be read")]
    Malformed,
}

/// Reads a server's packet: it must have our id and repeat our question (RFC 5452 section 4). A
/// server that could not read the question may leave it out of its reply.
///
/// # Errors
/// See [`NotTheAnswer`].
pub fn answer(packet: &[u8], question: &Question, id: u16) -> Result<Message, NotTheAnswer> {
    let header = packet.get(..12).ok_or(NotTheAnswer::Other)?;
    if header[..2] != id.to_be_bytes() || header[2] & 0x80 == 0 {
        return Err(NotTheAnswer::Other);
    }
    let message = Message::from_vec(packet).map_err(|_| NotTheAnswer::Malformed)?;
    if message.op_code != OpCode::Query {
        return Err(NotTheAnswer::Other);
    }
    let excused = matches!(message.response_code, ResponseCode::FormErr | ResponseCode::NotImp);
    match &message.queries[..] {
        [query] if matches(query, question) => Ok(message),
        [] if excused && message.answers.is_empty() => Ok(message),
        _ => Err(NotTheAnswer::Other),
    }
}

fn matches(query: &Query, question: &Question) -> bool {
    let mut asked = query.name().to_lowercase();
    asked.set_fqdn(true);
    asked == question.name && query.query_type() == question.kind && query.query_class() == DNSClass::IN
}

/// The answer and authority records that have to do with the question: the chain of CNAMEs from
/// its name and the records at its end (RFC 2181 section 5.4.1 is why others are dropped). The
/// second part is the name at the chain's end.
pub fn relevant(message: &Message, question: &Question) -> (Outcome, Name) {
    let mut outcome = Outcome::of(message.response_code);
    let mut at = question.name.clone();
    for _ in 0..=CHAIN_MAX {
        let here =
            || message.answers.iter().filter(|record| record.dns_class == DNSClass::IN && record.name == at);
        let any = question.kind == RecordType::ANY;
        let found: Vec<Record> =
            here().filter(|record| any || record.record_type() == question.kind).cloned().collect();
        if !found.is_empty() {
            outcome.answers.extend(found);
            break;
        }
        let next = here().find_map(|record| match &record.data {
            hickory_proto::rr::RData::CNAME(target) => Some((record, target.0.to_lowercase())),
            _ => None,
        });
        let Some((record, mut target)) = next else { break };
        target.set_fqdn(true);
        outcome.answers.push(record.clone());
        at = target;
    }
    let about = |record: &&Record| matches!(record.record_type(), RecordType::SOA | RecordType::NS);
    outcome.authorities = message.authorities.iter().filter(about).cloned().collect();
    (outcome, at)
}

/// CNAMEs that are followed.
pub const CHAIN_MAX: usize = 16;

/// The name to ask for what a person typed: an address is asked backwards.
pub fn name_to_ask(text: &str) -> Option<(Name, bool)> {
    match text.parse::<IpAddr>() {
        Ok(address) => crate::local::reverse_name(address).map(|name| (name, true)),
        Err(_) => name(text).map(|name| (name, false)),
    }
}

#[cfg(test)]
#[path = "wire_test.rs"]
mod tests;
