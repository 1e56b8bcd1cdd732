//! Keys and values to bytes and back, within bounds.
//!
//! The encoding is postcard's. It carries no names and no types, so bytes of another schema may by chance decode to
//! nonsense; what makes that rare is that all of the bytes have to be used up, on which postcard itself does not insist.

use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{MAX_KEY, MAX_VALUE};

/// Why a key or a value does not fit into a row, or a row into the types of this table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The key encodes to nothing, as `()` does.
    #[error("the key encodes to no bytes at all; use a key type with a value in it, such as `String`")]
    KeyEmpty,
    /// The key is too long.
    #[error("the key has {bytes} bytes encoded and {MAX_KEY} fit; use a shorter key, or a hash of it")]
    KeyTooLong {
        /// Its length when encoded.
        bytes: usize,
    },
    /// The value is too long.
    #[error("the value has {bytes} bytes encoded and {MAX_VALUE} fit; split it over several rows, or keep a reference")]
    ValueTooLong {
        /// Its length when encoded.
        bytes: usize,
    },
    /// The `Serialize` of the key or value failed.
    #[error("the {what} cannot be encoded ({why}); use types that serde can write without knowing their names")]
    Encode {
        /// `key` or `value`.
        what: &'static str,
        /// What serde or postcard said.
        why: String,
    },
    /// The bytes are no key or value of this type.
    #[error(
        "the {what} is not of this table's type ({why}); some node writes another schema under this table's name: \
         give the new schema a table of its own"
    )]
    Decode {
        /// `key` or `value`.
        what: &'static str,
        /// What serde or postcard said.
        why: String,
    },
}

/// The bytes of a key, 1 to [`MAX_KEY`] of them.
///
/// Equal keys have to encode alike: a type whose order of iteration is random, such as `HashMap`, is no key.
pub fn encode_key<K: Serialize + ?Sized>(key: &K) -> Result<Vec<u8>, RowError> {
    match encode("key", key)? {
        bytes if bytes.is_empty() => Err(RowError::KeyEmpty),
        bytes if bytes.len() > MAX_KEY => Err(RowError::KeyTooLong { bytes: bytes.len() }),
        bytes => Ok(bytes),
    }
}

/// The bytes of a value, at most [`MAX_VALUE`] of them.
pub fn encode_value<V: Serialize + ?Sized>(value: &V) -> Result<Vec<u8>, RowError> {
    match encode("value", value)? {
        bytes if bytes.len() > MAX_VALUE => Err(RowError::ValueTooLong { bytes: bytes.len() }),
        bytes => Ok(bytes),
    }
}

/// The key that these bytes stand for.
pub fn decode_key<K: DeserializeOwned>(bytes: &[u8]) -> Result<K, RowError> {
    decode("key", bytes)
}

/// The value that these bytes stand for.
pub fn decode_value<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, RowError> {
    decode("value", bytes)
}

/// Bytes of a key or a value: where they are few, on the stack.
#[derive(Clone, Debug)]
pub struct Encoded(Place);

#[derive(Clone, Debug)]
enum Place {
    Stack([u8; Encoded::SHORT], usize),
    Heap(Vec<u8>),
}

impl Encoded {
    const SHORT: usize = 128;

    fn new<T: Serialize + ?Sized>(what: &'static str, item: &T) -> Result<Self, RowError> {
        let mut bytes = [0; Self::SHORT];
        match postcard::to_slice(item, &mut bytes).map(|bytes| bytes.len()) {
            Ok(length) => Ok(Self(Place::Stack(bytes, length))),
            // Of no avail where it failed for another reason, which is then told.
            Err(_) => encode(what, item).map(|bytes| Self(Place::Heap(bytes))),
        }
    }
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Stack(bytes, length) => &bytes[..*length],
            Place::Heap(bytes) => bytes,
        }
    }
}

/// As [`encode_key`], without an allocation for a short one.
pub fn key_bytes<K: Serialize + ?Sized>(key: &K) -> Result<Encoded, RowError> {
    match Encoded::new("key", key)? {
        bytes if bytes.is_empty() => Err(RowError::KeyEmpty),
        bytes if bytes.len() > MAX_KEY => Err(RowError::KeyTooLong { bytes: bytes.len() }),
        bytes => Ok(bytes),
    }
}

/// As [`encode_value`], without an allocation for a short one.
pub fn value_bytes<V: Serialize + ?Sized>(value: &V) -> Result<Encoded, RowError> {
    match Encoded::new("value", value)? {
        bytes if bytes.len() > MAX_VALUE => Err(RowError::ValueTooLong { bytes: bytes.len() }),
        bytes => Ok(bytes),
    }
}

fn encode<T: Serialize + ?Sized>(what: &'static str, item: &T) -> Result<Vec<u8>, RowError> {
    postcard::to_stdvec(item).map_err(|error| RowError::Encode { what, why: error.to_string() })
}

fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, RowError> {
    match postcard::take_from_bytes(bytes) {
        Ok((item, [])) => Ok(item),
        Ok((_, rest)) => Err(RowError::Decode { what, why: format!("{} bytes are left over", rest.len()) }),
        Err(error) => Err(RowError::Decode { what, why: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Space {
        level: u8,
        number: u16,
    }

    struct Unwilling;

    impl Serialize for Unwilling {
        fn serialize<S: serde::Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }

    #[test]
    fn rows_come_back_as_they_went() {
        let key = encode_key("B-417").unwrap();
        assert_eq!(decode_key::<String>(&key).unwrap(), "B-417");
        let space = Space { level: 2, number: 417 };
        assert_eq!(decode_value::<Space>(&encode_value(&space).unwrap()).unwrap(), space);
        assert_eq!(decode_value::<()>(&encode_value(&()).unwrap()), Ok(()));
    }

    #[test]
    fn bytes_are_the_same_on_the_stack_and_on_the_heap() {
        for length in [0, 1, 126, 127, 128, 129, MAX_KEY - 2, MAX_KEY, MAX_VALUE - 3, MAX_VALUE] {
            let text = "x".repeat(length);
            assert_eq!(key_bytes(&text).map(|bytes| bytes.to_vec()), encode_key(&text), "{length}");
            assert_eq!(value_bytes(&text).map(|bytes| bytes.to_vec()), encode_value(&text), "{length}");
        }
        assert_eq!(key_bytes(&()).err(), Some(RowError::KeyEmpty));
        assert!(matches!(value_bytes(&Unwilling), Err(RowError::Encode { what: "value", .. })));
    }

    #[test]
    fn keys_are_bounded_on_both_sides() {
        // The length of a text this long takes two bytes of postcard's.
        let longest = "k".repeat(MAX_KEY - 2);
        assert_eq!(encode_key(&longest).unwrap().len(), MAX_KEY);
        let error = encode_key(&format!("{longest}k")).unwrap_err();
        assert_eq!(error, RowError::KeyTooLong { bytes: MAX_KEY + 1 });
        assert!(error.to_string().contains("1024 fit"), "{error}");
        assert_eq!(encode_key(&()), Err(RowError::KeyEmpty));
    }

    #[test]
    fn values_are_bounded() {
        let longest = "v".repeat(MAX_VALUE - 3);
        assert_eq!(encode_value(&longest).unwrap().len(), MAX_VALUE);
        assert_eq!(encode_value(&format!("{longest}v")), Err(RowError::ValueTooLong { bytes: MAX_VALUE + 1 }));
    }

    #[test]
    fn rows_of_another_schema_are_errors_also_when_they_begin_alike() {
        let longer = encode_value(&(2u8, 417u16, "reserved")).unwrap();
        assert!(matches!(decode_value::<Space>(&longer), Err(RowError::Decode { what: "value", .. })));
        let shorter = encode_value(&2u8).unwrap();
        assert!(matches!(decode_value::<Space>(&shorter), Err(RowError::Decode { .. })));
        assert!(matches!(decode_key::<String>(&[9]), Err(RowError::Decode { what: "key", .. })));
    }
}
