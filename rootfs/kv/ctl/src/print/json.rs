//! JSON as Go writes etcd's messages: names of the `.proto` files, numbers bare, enums by
//! number, bytes in base64, nothing that has its default value.

use crate::exit::{ERROR, Exit};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _, Value};
use std::fmt::Write as _;
use std::sync::LazyLock;

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(kv_client::api::DESCRIPTORS).ok());

/// A message of etcd's.
pub(crate) fn message<M: Message + Name>(message: &M) -> Result<String, Exit> {
    let name = M::full_name();
    let lacks = || Exit::new(ERROR, format!("the message {name} is not among those that were built in"));
    let descriptor = POOL.as_ref().and_then(|pool| pool.get_message_by_name(&name)).ok_or_else(lacks)?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice());
    let dynamic = dynamic.map_err(|error| Exit::new(ERROR, error.to_string()))?;
    Ok(object(&dynamic))
}

fn object(message: &DynamicMessage) -> String {
    let mut parts = Vec::new();
    for field in message.descriptor().fields() {
        if !message.has_field(&field) {
            continue;
        }
        let text = value(&message.get_field(&field));
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        parts.push(match oneof {
            None => format!("{}:{text}", string(field.name())),
            // A oneof is a field of its own in Go, and its cases have Go's names.
            Some(oneof) => {
                format!("{}:{{{}:{text}}}", string(&camel(oneof.name())), string(&camel(field.name())))
            }
        });
    }
    format!("{{{}}}", parts.join(","))
}

fn camel(name: &str) -> String {
    let mut text = String::new();
    for part in name.split('_') {
        let mut letters = part.chars();
        text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        text.extend(letters);
    }
    text
}

fn value(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) | Value::EnumNumber(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::String(text) => string(text),
        Value::Bytes(bytes) => bytes_text(bytes),
        Value::Message(message) => object(message),
        Value::List(values) => {
            let values: Vec<String> = values.iter().map(self::value).collect();
            format!("[{}]", values.join(","))
        }
        // etcd's messages have none.
        Value::Map(_) => "{}".to_owned(),
    }
}

/// Bytes, as Go does.
pub(crate) fn bytes_text(bytes: &[u8]) -> String {
    format!("\"{}\"", BASE64_STANDARD.encode(bytes))
}

/// A string, as Go's `encoding/json` escapes it.
pub(crate) fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..'\x20' => {
                // Writing to a string does not fail.
                let _never = write!(quoted, "\\u{:04x}", letter as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The fields of a header within an object of etcd's client, with a comma behind them.
pub(crate) fn inlined<M: Message + Name>(header: Option<&M>) -> Result<String, Exit> {
    let Some(header) = header else { return Ok(String::new()) };
    let text = message(header)?;
    let inner = text.trim_start_matches('{').trim_end_matches('}');
    Ok(if inner.is_empty() { String::new() } else { format!("{inner},") })
}
