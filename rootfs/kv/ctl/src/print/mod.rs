//! Answers in etcdctl's formats (etcd `etcdctl/ctlv3/command/printer*.go`).

pub(crate) mod answers;
pub(crate) mod cluster;
pub(crate) mod json;
pub(crate) mod table;
pub(crate) mod users;

use crate::context::Context;
use crate::exit::{BAD_FEATURE, Exit};
use crate::globals::Format;
use crate::go::quote;
use kv_client::api::etcdserverpb::ResponseHeader;
use kv_client::api::mvccpb::KeyValue;
use prost::{Message, Name};
use table::Table;

/// Lines of bytes: keys and values need not be text.
#[derive(Debug, Default)]
pub(crate) struct Text(pub(crate) Vec<u8>);

impl Text {
    pub(crate) fn line(&mut self, line: impl AsRef<[u8]>) {
        self.0.extend_from_slice(line.as_ref());
        self.0.push(b'\n');
    }

    /// `"Name" : value`, of numbers and the like.
    pub(crate) fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(format!("\"{name}\" : {value}"));
    }

    pub(crate) fn header(&mut self, header: Option<&ResponseHeader>) {
        let header = header.copied().unwrap_or_default();
        self.field("ClusterID", header.cluster_id);
        self.field("MemberID", header.member_id);
        self.field("Revision", header.revision);
        self.field("RaftTerm", header.raft_term);
    }

    pub(crate) fn fields_of(&mut self, prefix: &str, kv: &KeyValue) {
        self.field(&format!("{prefix}Key"), quote(&kv.key));
        self.field(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.field(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.field(&format!("{prefix}Version"), kv.version);
        self.field(&format!("{prefix}Value"), quote(&kv.value));
        self.field(&format!("{prefix}Lease"), kv.lease);
    }

    pub(crate) fn pair(&mut self, kv: &KeyValue, hex: bool, value_only: bool) {
        let shown = |bytes: &[u8]| {
            if hex {
                bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>().into_bytes()
            } else {
                bytes.to_vec()
            }
        };
        if !value_only {
            self.line(shown(&kv.key));
        }
        self.line(shown(&kv.value));
    }
}

/// How one answer is written in each format; only the one that is wanted is made.
pub(crate) struct Forms<'a> {
    pub(crate) simple: &'a dyn Fn(&mut Text),
    pub(crate) fields: Option<&'a dyn Fn(&mut Text)>,
    pub(crate) table: Option<&'a dyn Fn() -> Table>,
    pub(crate) json: &'a dyn Fn() -> Result<String, Exit>,
    pub(crate) protobuf: Option<&'a dyn Fn() -> Vec<u8>>,
}

impl Context {
    pub(crate) fn show(&self, forms: &Forms<'_>) -> Result<(), Exit> {
        let unsupported =
            |name: &str| Exit::new(BAD_FEATURE, format!("{name} not supported as output format"));
        let mut text = Text::default();
        match self.format() {
            Format::Simple => (forms.simple)(&mut text),
            Format::Fields => forms.fields.ok_or_else(|| unsupported("fields"))?(&mut text),
            Format::Table => {
                text.0 = forms.table.ok_or_else(|| unsupported("table"))?().render().into_bytes();
            }
            Format::Json => text.line((forms.json)()?),
            Format::Protobuf => text.0 = forms.protobuf.ok_or_else(|| unsupported("protobuf"))?(),
        }
        self.write(&text.0)
    }

    /// A message whose JSON is etcd's plain one.
    pub(crate) fn show_message<M: Message + Name>(
        &self,
        message: &M,
        simple: &dyn Fn(&mut Text),
        fields: Option<&dyn Fn(&mut Text)>,
    ) -> Result<(), Exit> {
        self.show(&Forms {
            simple,
            fields,
            table: None,
            json: &|| json::message(message),
            protobuf: Some(&|| message.encode_to_vec()),
        })
    }
}
