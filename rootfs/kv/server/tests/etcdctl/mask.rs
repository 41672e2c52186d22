//! What may differ between two servers that do the same: ids, times, sizes, versions.

use kv_api::etcdserverpb as pb;

/// Names whose number is masked, as JSON, `-w fields` and tables have them.
const NUMBERS: &[&str] = &[
    "\"cluster_id\":",
    "\"member_id\":",
    "\"raft_term\":",
    "\"raftTerm\":",
    "\"raftIndex\":",
    "\"raftAppliedIndex\":",
    "\"dbSize\":",
    "\"dbSizeInUse\":",
    "\"leader\":",
    "\"ID\":",
    "\"memberID\":",
    "\"ClusterID\" : ",
    "\"MemberID\" : ",
    "\"RaftTerm\" : ",
    "\"RaftIndex\" : ",
    "\"RaftAppliedIndex\" : ",
    "\"DBSize\" : ",
    "\"DBSizeInUse\" : ",
    "\"Leader\" : ",
    "\"ID\" : ",
    "took = ",
    "\"took\":\"",
    "\"took\":",
    "remaining(",
    "\"ttl\":",
    "\"TTL\" : ",
];

/// Puts `#` for what may differ.
pub(crate) fn mask(text: &str) -> String {
    let mut text = text.to_owned();
    for name in NUMBERS {
        text = after(&text, name, |letter| letter.is_ascii_alphanumeric() || letter == '.' || letter == 'µ');
    }
    // What etcdctl logs: times, a name for its client, sizes. Of a panic of its own the addresses.
    text = after(&text, "\"ts\":", |letter| letter != ',');
    text = after(&text, "endpoint://client-", |letter| letter != '/');
    text = after(&text, "\"size\":", |letter| letter != ',');
    if let Some((said, _)) = text.split_once("\ngoroutine 1 [") {
        text = said.to_owned();
    }
    // Members' ids, and the leases of locks and elections, are long hexadecimal numbers.
    let mut masked = String::new();
    let mut word = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_alphanumeric() || letter == '.' {
            word.push(letter);
            continue;
        }
        let is_id = (10..=16).contains(&word.len()) && word.chars().all(|digit| digit.is_ascii_hexdigit())
            || (17..=20).contains(&word.len()) && word.chars().all(|digit| digit.is_ascii_digit());
        let is_version = word == "3.4.23" || word == kv::member::API_VERSION;
        masked.push_str(if is_id {
            "ID"
        } else if is_version {
            "VERSION"
        } else {
            &word
        });
        word.clear();
        masked.push(letter);
    }
    masked.pop();
    let mut lines: Vec<_> = masked.lines().map(status).map(table).map(attached).collect();
    // The same keys with `-w fields`; those of a range have other lines between them.
    for keys in lines.chunk_by_mut(|one, two| [one, two].iter().all(|line| line.starts_with("\"Key\" : "))) {
        keys.sort_unstable();
    }
    lines.join("\n")
}

/// A table is as wide as its ids, which now and then are a digit shorter.
fn table(line: String) -> String {
    if !line.starts_with(['+', '|']) {
        return line;
    }
    let mut letters: Vec<_> = line.chars().collect();
    letters.dedup_by(|one, two| one == two && matches!(*one, '-' | ' '));
    letters.into_iter().collect()
}

/// etcd gives the keys of a lease in the order of a Go map, which is none.
fn attached(line: String) -> String {
    let Some((before, keys)) = line.split_once("attached keys([") else { return line };
    let Some((keys, after)) = keys.split_once("])") else { return line };
    let mut keys: Vec<_> = keys.split(' ').collect();
    keys.sort_unstable();
    format!("{before}attached keys([{}]){after}", keys.join(" "))
}

/// `endpoint status` has its numbers in a row without names.
fn status(line: &str) -> String {
    let mut columns: Vec<_> = line.split(", ").collect();
    if columns.len() == 10 && columns[2] == "VERSION" {
        for numbers in [3, 6, 7, 8] {
            columns[numbers] = "#";
        }
    }
    columns.join(", ")
}

fn after(text: &str, name: &str, is_value: impl Fn(char) -> bool) -> String {
    let mut parts = text.split(name);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.extend([name, "#", part.trim_start_matches(&is_value)]);
    }
    masked
}

/// An answer in `-w protobuf`, without what may differ.
pub(crate) fn protobuf(verb: &str, bytes: &[u8]) -> String {
    // etcdctl prints the message alone.
    match verb {
        "get" => decoded::<pb::RangeResponse>(bytes, |answer| answer.header.as_mut()),
        "put" => decoded::<pb::PutResponse>(bytes, |answer| answer.header.as_mut()),
        "del" => decoded::<pb::DeleteRangeResponse>(bytes, |answer| answer.header.as_mut()),
        verb => panic!("{verb} -w protobuf is not read here"),
    }
}

fn decoded<M: prost::Message + Default + std::fmt::Debug>(
    bytes: &[u8],
    header: impl FnOnce(&mut M) -> Option<&mut pb::ResponseHeader>,
) -> String {
    let mut message = M::decode(bytes).unwrap();
    if let Some(header) = header(&mut message) {
        (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
    }
    format!("{message:?}")
}
