//! D-Bus messages: header and body to bytes and back (D-Bus Specification, Message Protocol). Pure.
//!
//! The encoding of values is zbus's; connections and their executor, which come with the rest of zbus, are not used.

use crate::error::{Error, ErrorKind, Result};
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{BE, LE, to_bytes};
use zbus::{ObjectPath, Signature, Type, Variant};

/// The part of a header before its fields, with their length.
const FIXED: usize = 16;

/// Far more than systemd has to say to us, in bytes.
const LARGEST: usize = 1 << 20;

/// Protocol version, the only one there is.
const VERSION: u8 = 1;

/// Kinds of message.
const CALL: u8 = 1;
const REPLY: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Header fields.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

/// The object that a method is called on, and the method.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    pub(super) destination: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
    pub(super) name: &'static str,
}

/// The fields of a header, with what they need.
type Header<F> = (u8, u8, u8, u8, u32, u32, Vec<(u8, F)>);

/// A call as it is sent.
pub(super) fn call<B: Serialize + Type>(method: &Method, serial: u32, body: &B) -> Result<Vec<u8>> {
    let context = Context::new(LE, 0);
    let body = to_bytes(context, body).map_err(|error| unfit(method.name, &error))?;
    let path = ObjectPath::try_from(method.path).map_err(|error| unfit(method.name, &error))?;
    let text = |text: &'static str| Field::Value(Variant::from(text));
    let mut fields = vec![
        (field::PATH, Field::Value(Variant::from(path))),
        (field::INTERFACE, text(method.interface)),
        (field::MEMBER, text(method.name)),
        (field::DESTINATION, text(method.destination)),
    ];
    if *B::SIGNATURE != Signature::Unit {
        fields.push((field::SIGNATURE, Field::Signature(B::SIGNATURE)));
    }
    let length = u32::try_from(body.len()).map_err(|_| unfit(method.name, &"too long"))?;
    let header: Header<Field<'_>> = (b'l', CALL, 0, VERSION, length, serial, fields);
    let mut bytes = to_bytes(context, &header).map_err(|error| unfit(method.name, &error))?.bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(body.bytes());
    Ok(bytes)
}

fn unfit(method: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::System, format!("D-Bus message {method}: {error}"))
}

/// A header field's value. The signature of a body is written without the parentheses that zbus would give it.
#[derive(Debug)]
enum Field<'a> {
    Value(Variant<'a>),
    Signature(&'static Signature),
}

impl Type for Field<'_> {
    const SIGNATURE: &'static Signature = &Signature::Variant;
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Signature(signature) => {
                let mut variant = serializer.serialize_struct("Variant", 2)?;
                variant.serialize_field("signature", &Signature::Signature)?;
                variant.serialize_field("value", &signature.to_string_no_parens())?;
                variant.end()
            }
        }
    }
}

/// A message that has come.
#[derive(Debug)]
pub(super) enum Message {
    /// The answer to a call.
    Reply { to: u32, body: Body },
    /// The refusal of a call: its name, such as `org.freedesktop.DBus.Error.AccessDenied`, and a text.
    Error { to: u32, name: String, text: String },
    /// News of its sender.
    Signal { interface: String, name: String, body: Body },
    /// What we don't serve: a call.
    Other,
}

/// The arguments of a message.
#[derive(Debug)]
pub(super) struct Body(Data<'static, 'static>);

impl Body {
    /// The arguments, which are to be of the type `T`.
    pub(super) fn read<'d, T: Deserialize<'d> + Type>(&'d self) -> Result<T> {
        self.0.deserialize().map(|(arguments, _)| arguments).map_err(|error| odd(&error))
    }
}

/// How many bytes the message has that begins with `bytes`; `None` until enough of it is there to tell.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(fixed) = bytes.get(..FIXED) else { return Ok(None) };
    let number = |at: usize| -> Result<usize> {
        let number = [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
        let number = if is_little(fixed[0])? { u32::from_le_bytes(number) } else { u32::from_be_bytes(number) };
        usize::try_from(number).map_err(|error| odd(&error))
    };
    let (body, fields) = (number(4)?, number(12)?);
    if body > LARGEST || fields > LARGEST {
        return Err(odd(&"it is too long"));
    }
    Ok(Some((FIXED + fields).next_multiple_of(8) + body))
}

/// Takes apart one whole message.
pub(super) fn parse(bytes: &[u8]) -> Result<Message> {
    let first = bytes.first().copied().unwrap_or_default();
    let context = Context::new(if is_little(first)? { LE } else { BE }, 0);
    let data = Data::new(bytes, context);
    let (header, end): (Header<Variant<'_>>, usize) = data.deserialize().map_err(|error| odd(&error))?;
    let (_, kind, _, _, _, _, fields) = header;
    let body = bytes.get(end.next_multiple_of(8)..).unwrap_or_default();
    let body = Body(Data::new(body.to_vec(), context));
    let find = |wanted| fields.iter().find(|(code, _)| *code == wanted).map(|(_, value)| value);
    let text = |wanted| match find(wanted) {
        Some(Variant::Str(text)) => Ok(text.as_str().to_owned()),
        _ => Err(odd(&format!("field {wanted} of its header is missing"))),
    };
    let to = || match find(field::REPLY_SERIAL) {
        Some(Variant::U32(serial)) => Ok(*serial),
        _ => Err(odd(&"it answers no call")),
    };
    Ok(match kind {
        REPLY => Message::Reply { to: to()?, body },
        // The text is there by convention only.
        ERROR => Message::Error {
            to: to()?,
            name: text(field::ERROR_NAME)?,
            text: body.read::<(String,)>().map(|(text,)| text).unwrap_or_default(),
        },
        SIGNAL => Message::Signal { interface: text(field::INTERFACE)?, name: text(field::MEMBER)?, body },
        _ => Message::Other,
    })
}

fn is_little(first: u8) -> Result<bool> {
    match first {
        b'l' => Ok(true),
        b'B' => Ok(false),
        other => Err(odd(&format!("it begins with {other:#04x}"))),
    }
}

fn odd(why: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::System, format!("D-Bus: a message that makes no sense: {why}"))
}
