//! Answers of users and roles.

use super::Text;
use crate::Done;
use crate::context::Context;
use crate::go::quote;
use kv_client::api::authpb::Permission;
use kv_client::api::authpb::permission::Type;
use kv_client::api::etcdserverpb as pb;
use kv_client::prefix_end;
use prost::{Message, Name};

impl Context {
    /// An answer that only says that it is done.
    pub(crate) fn show_done<M: Message + Name>(
        &self,
        answer: &M,
        header: Option<&pb::ResponseHeader>,
        line: impl AsRef<[u8]>,
    ) -> Done {
        self.show_message(answer, &|text| text.line(&line), Some(&|text| text.header(header)))
    }

    pub(crate) fn show_role(&self, role: &str, answer: &pb::AuthRoleGetResponse) -> Done {
        let simple = |text: &mut Text| {
            text.line(format!("Role {role}"));
            for (title, kind) in [("KV Read:", Type::Read), ("KV Write:", Type::Write)] {
                text.line(title);
                let has = |permission: &&Permission| {
                    [kind as i32, Type::Readwrite as i32].contains(&permission.perm_type)
                };
                for permission in answer.perm.iter().filter(has) {
                    text.line(span(permission));
                }
            }
        };
        let fields = |text: &mut Text| {
            text.header(answer.header.as_ref());
            for permission in &answer.perm {
                let kind = Type::try_from(permission.perm_type).map_or("?", |kind| kind.as_str_name());
                text.line(format!("\"PermType\" :  {kind}"));
                text.field("Key", quote(&permission.key));
                text.field("RangeEnd", quote(&permission.range_end));
            }
        };
        self.show_message(answer, &simple, Some(&fields))
    }

    pub(crate) fn show_roles(&self, answer: &pb::AuthRoleListResponse) -> Done {
        let simple = |text: &mut Text| answer.roles.iter().for_each(|role| text.line(role));
        let fields = |text: &mut Text| {
            text.header(answer.header.as_ref());
            let roles: String =
                answer.roles.iter().map(|role| format!(" {}", quote(role.as_bytes()))).collect();
            text.line(format!("\"Roles\" :{roles}"));
        };
        self.show_message(answer, &simple, Some(&fields))
    }

    pub(crate) fn show_user(&self, name: &str, answer: &pb::AuthUserGetResponse) -> Done {
        let roles: String = answer.roles.iter().map(|role| format!(" {role}")).collect();
        self.show_message(answer, &|text| text.line(format!("User: {name}\nRoles:{roles}")), None)
    }

    pub(crate) fn show_users(&self, answer: &pb::AuthUserListResponse) -> Done {
        self.show_message(answer, &|text| answer.users.iter().for_each(|user| text.line(user)), None)
    }
}

/// The keys of a permission on a line.
fn span(permission: &Permission) -> Vec<u8> {
    let (key, end) = (&permission.key[..], &permission.range_end[..]);
    let parts: &[&[u8]] = match end {
        b"" => &[b"\t", key],
        b"\0" => &[b"\t[", key, b", <open ended>"],
        _ => &[b"\t[", key, b", ", end, b")"],
    };
    let mut line = parts.concat();
    if !end.is_empty() && prefix_end(key)[..] == *end {
        line.extend([b" (prefix ", key, b")"].concat());
    }
    line
}
