//! Ours against tables of facts that were read out of etcd's own sources: what is in
//! one and not in the other fails, name by name.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::BTreeSet;

use kv_api::gateway::{Method, ROUTES};
use kv_api::{DESCRIPTORS, Fault};
use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};
use tonic::{Code, Status};

const PACKAGES: [&str; 5] = ["mvccpb", "authpb", "etcdserverpb", "v3lockpb", "v3electionpb"];

fn table(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

fn same(etcd: &BTreeSet<String>, ours: &BTreeSet<String>) {
    let missing: Vec<_> = etcd.difference(ours).collect();
    let added: Vec<_> = ours.difference(etcd).collect();
    assert!(missing.is_empty() && added.is_empty(), "missing here: {missing:#?}\nnot in etcd: {added:#?}");
}

fn field(of: &FieldDescriptor) -> String {
    let kind = match of.kind() {
        Kind::Message(message) => format!("message:{}", message.full_name()),
        Kind::Enum(kind) => format!("enum:{}", kind.full_name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let label = if of.is_list() { "repeated" } else { "singular" };
    let oneof = of.containing_oneof();
    format!(
        "field {} {} {} {kind} {label} {}",
        of.parent_message().full_name(),
        of.name(),
        of.number(),
        oneof.as_ref().map_or("-", |oneof| oneof.name()),
    )
}

fn method(of: &MethodDescriptor) -> String {
    let side = |stream: bool, message: &MessageDescriptor| {
        format!("{}{}", if stream { "stream:" } else { "" }, message.full_name())
    };
    format!(
        "rpc {} {} {}",
        of.full_name(),
        side(of.is_client_streaming(), &of.input()),
        side(of.is_server_streaming(), &of.output()),
    )
}

/// Lines for what is in some packages.
fn described(packages: &[&str]) -> BTreeSet<String> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let etcds = |package: &str| packages.contains(&package);
    let mut lines = BTreeSet::new();
    for message in pool.all_messages().filter(|of| etcds(of.package_name())) {
        lines.insert(format!("message {}", message.full_name()));
        lines.extend(message.fields().map(|of| field(&of)));
    }
    let value = |kind: &EnumDescriptor| -> Vec<String> {
        let name = kind.full_name();
        let line = |name: &str, value: &str, number: i32| format!("value {name} {value} {number}");
        let values = kind.values();
        values.map(|of| line(name, of.name(), of.number())).collect()
    };
    for kind in pool.all_enums().filter(|of| etcds(of.package_name())) {
        lines.extend(value(&kind));
    }
    for service in pool.services().filter(|of| etcds(of.package_name())) {
        lines.extend(service.methods().map(|of| method(&of)));
    }
    lines
}

#[test]
fn messages_methods_and_paths_are_etcds() {
    let etcd = table(include_str!("etcd-3.6.txt"));
    assert!(etcd.len() > 500, "the table is cut: {} lines", etcd.len());
    let mut ours = described(&PACKAGES);
    for (path, method) in ROUTES {
        ours.insert(format!("http POST {path} {method}"));
    }
    same(&etcd, &ours);
}

/// Members of two versions read each other's log: a line of the table may be added,
/// never changed.
#[test]
fn log_entries_are_what_they_were() {
    same(&table(include_str!("log-1.txt")), &described(&["kvpb"]));
}

#[test]
fn every_path_leads_to_its_method() {
    for (path, name) in ROUTES {
        let method = Method::find(path).unwrap_or_else(|| panic!("{path} leads nowhere"));
        let (service, call) = name.rsplit_once('.').unwrap();
        assert_eq!(method.grpc_path(), format!("/{service}/{call}"));
    }
    assert!(Method::find("/v3/kv/nothing").is_none());
    assert!(Method::find("/v3/kv/range/").is_none());
}

#[test]
fn errors_are_etcds() {
    let etcd = table(include_str!("etcd-3.6-errors.txt"));
    assert_eq!(etcd.len(), 63);
    let lower = |line: &str| {
        let (name, rest) = line.split_once(' ').unwrap();
        format!("{} {rest}", name.to_lowercase())
    };
    let ours = Fault::ALL.iter().map(|fault| {
        let status = Status::from(*fault);
        assert_eq!(Fault::of(&status), Some(*fault));
        lower(&format!("{fault:?} {} {}", status.code() as i32, status.message()))
    });
    same(&etcd.iter().map(|line| lower(line)).collect(), &ours.collect());
}

#[test]
fn an_error_is_known_by_its_text_alone() {
    let odd = Status::new(Code::Unknown, "etcdserver: no leader");
    assert_eq!(Fault::of(&odd), Some(Fault::NoLeader));
    assert_eq!(Fault::of(&Status::unavailable("no leader")), None);
}
