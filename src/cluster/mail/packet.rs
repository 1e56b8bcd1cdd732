//! What stands in a letter: a head, and the encoded value of the application behind it.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::wire::{self, Malformed};

/// What a letter is for. The value, if there is one, follows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Head<'a> {
    /// To be answered under this number.
    Call {
        /// Counted by whoever sends it.
        call: u64,
        /// For what.
        #[serde(borrow)]
        to: Target<'a>,
    },
    /// Not to be answered.
    Cast {
        /// For what.
        #[serde(borrow)]
        to: Target<'a>,
    },
    /// Nobody waits for the answer to this call any more.
    Forget {
        /// The number.
        call: u64,
        /// What it was for.
        #[serde(borrow)]
        to: Target<'a>,
    },
    /// The answer, which follows.
    Reply {
        /// The number.
        call: u64,
    },
    /// There is no answer; why follows, as text.
    Refused {
        /// The number.
        call: u64,
    },
    /// The call was not begun, and will not be.
    NotBegun {
        /// The number.
        call: u64,
        /// Why.
        why: NotBegun,
    },
}

/// Who is to take a message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) enum Target<'a> {
    /// The instance of this role.
    Role(&'a str),
    /// This handler.
    Handler(&'a str),
}

/// Why nobody began with a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum NotBegun {
    /// No such role runs here, or no such handler is there.
    NotHere,
    /// The instance ended, or is asked to end, before it came to this.
    Ended,
    /// Too much waits.
    Full,
    /// Its types are others.
    NotUnderstood(String),
    /// It was not sent: the node is not there, or does not answer. Never on the wire.
    NotReachable,
    /// It was not sent: it has so many bytes. Never on the wire.
    TooLarge(u64),
    /// This node is gone. Never on the wire.
    Gone,
}

/// A value in the form in which it crosses the wire; an error says why it cannot.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, String> {
    let encoded = postcard::to_stdvec(value).map(Bytes::from);
    encoded.map_err(|error| format!("a {} cannot be encoded: {error}", std::any::type_name::<T>()))
}

/// The other way round.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    wire::decode(bytes).map_err(|_| format!("{} bytes that are no {}", bytes.len(), std::any::type_name::<T>()))
}

/// A letter.
pub(super) fn seal(head: &Head<'_>, body: &[u8]) -> Bytes {
    let mut bytes = wire::encode_onto(Vec::with_capacity(body.len() + 64), head);
    bytes.extend_from_slice(body);
    bytes.into()
}

/// Splits a letter.
pub(super) fn open(letter: &Bytes) -> Result<(Head<'_>, Bytes), Malformed> {
    let (head, body) = wire::decode_prefix(letter)?;
    Ok((head, letter.slice_ref(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_opened_as_they_were_sealed() {
        let heads = [
            Head::Call { call: 7, to: Target::Role("gate-1") },
            Head::Cast { to: Target::Handler("lamp") },
            Head::Forget { call: 1, to: Target::Role("") },
            Head::Reply { call: u64::MAX },
            Head::Refused { call: 0 },
            Head::NotBegun { call: 1, why: NotBegun::NotUnderstood("no".to_owned()) },
        ];
        for head in heads {
            let letter = seal(&head, b"body");
            assert_eq!(open(&letter), Ok((head, Bytes::from_static(b"body"))));
        }
        assert_eq!(open(&Bytes::from_static(&[9, 9])), Err(Malformed));
        assert_eq!(open(&Bytes::new()), Err(Malformed));
    }
}
