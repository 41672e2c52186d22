//! Messages as JSON, as etcd's gateway reads and writes them: proto3's JSON with the
//! names of the `.proto` files.
//!
//! Written: 64-bit numbers as strings, bytes in base64, enums by name, nothing that
//! has its default value. Read: names also in camel case, numbers also bare, base64
//! of either alphabet with or without its padding, enums also by number; `null` is
//! as if absent; names of fields and of enums' values that are not known are passed
//! over, as in etcd 3.6 (3.4 refuses the latter).
//!
//! Where etcds differ, or we from them: two fields of one `oneof` are refused (as in
//! 3.6; 3.4 takes one), a field given twice is the last (as in 3.4; 3.6 refuses it),
//! and more behind a message that is the only one is refused (both pass over it).

use std::sync::LazyLock;

use bytes::{Buf as _, Bytes, BytesMut};
use prost::{DecodeError, Message, Name};
use prost_reflect::{
    DescriptorError, DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use serde::de::IgnoredAny;

/// Why a message could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The client's fault. Says the line and column.
    #[error("the request's JSON does not fit: {0}")]
    Text(#[from] serde_json::Error),
    /// The encoded message is not one of its type.
    #[error("the message cannot be decoded: {0}")]
    Message(#[from] DecodeError),
    /// Ours.
    #[error("the descriptors that were built in cannot be read: {0}")]
    Descriptors(&'static DescriptorError),
    /// Ours.
    #[error("no message {0} is in the descriptors that were built in")]
    Unknown(String),
}

static POOL: LazyLock<Result<DescriptorPool, DescriptorError>> =
    LazyLock::new(|| DescriptorPool::decode(crate::DESCRIPTORS));

/// The descriptors, read at the first use: a member that serves gRPC alone pays nothing.
pub(crate) fn pool() -> Result<&'static DescriptorPool, JsonError> {
    POOL.as_ref().map_err(JsonError::Descriptors)
}

fn descriptor<M: Name>() -> Result<MessageDescriptor, JsonError> {
    let name = M::full_name();
    let found = pool()?.get_message_by_name(&name);
    found.ok_or(JsonError::Unknown(name))
}

/// Reads one message. An empty text is the message of defaults, as in etcd's gateway.
pub fn read<M: Message + Name + Default>(text: &[u8]) -> Result<M, JsonError> {
    Ok(M::decode(encoded(descriptor::<M>()?, text)?)?)
}

/// Writes one message, on one line.
pub fn write<M: Message + Name>(message: &M) -> Result<Vec<u8>, JsonError> {
    written(descriptor::<M>()?, &message.encode_to_vec(), Vec::new())
}

/// Takes the next JSON value off the front of what has arrived. `None`: more must come.
///
/// A value is read again from its start each time, so the caller bounds what it lets
/// arrive without a whole value in it.
pub fn next(arrived: &mut BytesMut) -> Result<Option<Bytes>, JsonError> {
    let mut values = serde_json::Deserializer::from_slice(arrived).into_iter::<IgnoredAny>();
    match values.next() {
        None => {
            arrived.clear();
            Ok(None)
        }
        Some(Ok(IgnoredAny)) => {
            let length = values.byte_offset();
            let mut value = arrived.split_to(length);
            let blank = value.iter().take_while(|byte| byte.is_ascii_whitespace());
            let blank = blank.count();
            value.advance(blank);
            Ok(Some(value.freeze()))
        }
        Some(Err(error)) if error.is_eof() => Ok(None),
        Some(Err(error)) => Err(error.into()),
    }
}

/// JSON into the encoded message of the given type.
pub(crate) fn encoded(of: MessageDescriptor, text: &[u8]) -> Result<Bytes, JsonError> {
    if text.trim_ascii().is_empty() {
        return Ok(Bytes::new());
    }
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let message = DynamicMessage::deserialize_with_options(of, &mut reader, &options)?;
    reader.end()?;
    Ok(message.encode_to_vec().into())
}

/// An encoded message of the given type into JSON, behind what `text` holds already.
pub(crate) fn written(
    of: MessageDescriptor,
    message: &[u8],
    mut text: Vec<u8>,
) -> Result<Vec<u8>, JsonError> {
    let options = SerializeOptions::new().use_proto_field_name(true);
    let message = DynamicMessage::decode(of, message)?;
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options)?;
    Ok(text)
}
