//! Shares: rows of which a value is made that several replicas write to at once.
//!
//! ```text
//!   key of the row     length of K (2) │ K, encoded │ part: nothing, or an element │ replica (8)
//!   value of the row   hash of the node's name (8) │ payload
//! ```
//!
//! Each replica puts shares of its own and no others, so no two ever write one row at the same time, and anybody may
//! remove a share that it has seen. The value of a key is folded from its shares when it is read.

use crate::id::{NodeId, ReplicaId};
use crate::store::MAX_KEY;

use super::lens::RowError;

const LENGTH: usize = 2;
const REPLICA: usize = 8;
const NODE: usize = 8;

/// Who writes a share: this run of a node, and the hash of the node's name, by which its next run knows the share again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Author {
    /// This run.
    pub replica: ReplicaId,
    /// The node.
    pub node: u64,
}

impl Author {
    /// This run of that node.
    pub fn new(replica: ReplicaId, node: &NodeId) -> Self {
        Self { replica, node: xxhash_rust::xxh3::xxh3_64(node.as_str().as_bytes()) }
    }
}

/// One share as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share<'a> {
    /// Who put it.
    pub author: Author,
    /// Which part of the value it is: an element of a set, or nothing where each replica has one share.
    pub part: &'a [u8],
    /// What it says.
    pub payload: &'a [u8],
}

/// The beginning of the keys of all shares of a key, and of no others.
pub(super) fn prefix(key: &[u8]) -> Vec<u8> {
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), key].concat()
}

/// The key of a share.
///
/// # Errors
/// [`RowError::KeyTooLong`], as the part and the replica take room beside the key.
pub fn row_key(key: &[u8], part: &[u8], replica: ReplicaId) -> Result<Vec<u8>, RowError> {
    let mut row = prefix(key);
    row.extend_from_slice(part);
    row.extend_from_slice(&replica.0.to_be_bytes());
    if row.len() > MAX_KEY { Err(RowError::KeyTooLong { bytes: row.len() }) } else { Ok(row) }
}

/// The value of a share.
pub fn row_value(author: Author, payload: &[u8]) -> Vec<u8> {
    [&author.node.to_be_bytes(), payload].concat()
}

/// The key that a share belongs to, still encoded; `None` if these bytes are no key of a share.
pub fn key_of(row_key: &[u8]) -> Option<&[u8]> {
    split_key(row_key).map(|(key, ..)| key)
}

fn split_key(row_key: &[u8]) -> Option<(&[u8], &[u8], ReplicaId)> {
    let (length, rest) = row_key.split_first_chunk::<LENGTH>()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (part, replica) = rest.split_last_chunk::<REPLICA>()?;
    Some((key, part, ReplicaId(u64::from_be_bytes(*replica))))
}

/// The share in a row.
///
/// # Errors
/// [`RowError::Decode`] for bytes that are no share.
pub(super) fn read<'a>(row_key: &'a [u8], row_value: &'a [u8]) -> Result<Share<'a>, RowError> {
    let foreign = |what| RowError::Decode { what, why: "it is no share of a value".to_owned() };
    let (_, part, replica) = split_key(row_key).ok_or_else(|| foreign("key"))?;
    let (node, payload) = row_value.split_first_chunk::<NODE>().ok_or_else(|| foreign("value"))?;
    Ok(Share { author: Author { replica, node: u64::from_be_bytes(*node) }, part, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back_as_they_went_and_prefixes_hold_them_apart() {
        let author = Author::new(ReplicaId(7), &NodeId::new("larry").unwrap());
        let (key, value) = (row_key(b"ab", b"part", author.replica).unwrap(), row_value(author, b"payload"));
        assert_eq!(read(&key, &value), Ok(Share { author, part: b"part", payload: b"payload" }));
        assert_eq!(key_of(&key), Some(&b"ab"[..]));
        assert!(key.starts_with(&prefix(b"ab")));
        assert!(
            !key.starts_with(&prefix(b"a"))
                && !row_key(b"a", b"b", author.replica).unwrap().starts_with(&prefix(b"ab"))
        );
    }

    #[test]
    fn what_is_no_share_is_an_error_and_what_is_too_long_too() {
        let author = Author::new(ReplicaId(7), &NodeId::new("larry").unwrap());
        let (key, value) = (row_key(b"ab", b"", author.replica).unwrap(), row_value(author, b""));
        assert_eq!(read(&key, &value).map(|share| share.payload), Ok(&b""[..]));
        for length in 0..key.len() {
            assert!(matches!(read(&key[..length], &value), Err(RowError::Decode { what: "key", .. })), "{length}");
        }
        assert!(matches!(read(&key, &value[1..]), Err(RowError::Decode { what: "value", .. })));
        let room = MAX_KEY - LENGTH - REPLICA - 2;
        assert_eq!(row_key(b"ab", &vec![0; room], author.replica).unwrap().len(), MAX_KEY);
        assert_eq!(
            row_key(b"ab", &vec![0; room + 1], author.replica),
            Err(RowError::KeyTooLong { bytes: MAX_KEY + 1 })
        );
    }
}
