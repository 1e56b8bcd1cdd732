//! postcard, with nothing left over.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes that are not what they should be. To be counted and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed bytes from a peer")]
pub struct Malformed;

/// Encodes a value.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    encode_onto(Vec::new(), value)
}

/// Encodes a value behind what is already there.
pub fn encode_onto<T: Serialize + ?Sized>(bytes: Vec<u8>, value: &T) -> Vec<u8> {
    postcard::to_extend(value, bytes).expect("a vector grows, and no message holds a type that postcard refuses")
}

/// Decodes a value that takes all the bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Malformed> {
    match decode_prefix(bytes)? {
        (value, []) => Ok(value),
        _ => Err(Malformed),
    }
}

/// Decodes a value and returns it with the bytes behind it.
pub fn decode_prefix<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), Malformed> {
    postcard::take_from_bytes(bytes).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_behind_the_value_are_malformed() {
        let bytes = encode(&(7_u8, "seven"));
        assert_eq!(decode::<(u8, String)>(&bytes), Ok((7, "seven".to_owned())));
        let longer = encode_onto(bytes, &0_u8);
        assert_eq!(decode::<(u8, String)>(&longer), Err(Malformed));
        assert_eq!(decode_prefix::<(u8, String)>(&longer), Ok(((7, "seven".to_owned()), &[0][..])));
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        assert_eq!(decode::<Vec<u64>>(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Err(Malformed));
    }
}
