//! A row in one allocation, and the handles that share it.
//!
//! ```text
//!    Key ───┐   ┌────────┬────────┬─────┬─────┬───────┬────────────┬───────┬─────────┬──────┬───────┬─────┬───────┐
//!    Value ─┼──▶│ shares │ length │ dot       │ stamp │ key length │ flags │ rank    │ rank │expires│ key │ value │
//!    Record ┘   │        │        │           │       │            │       │ time ?  │ author ?     │     │       │
//!               └────────┴────────┴───────────┴───────┴────────────┴───────┴─────────┴──────────────┴─────┴───────┘
//!                                                                           only where they say something new
//! ```
//!
//! Each handle is one pointer. A lookup, a change, a row on its way to another replica: all of them point to what the
//! table holds, and copy nothing. The price is that a key keeps alive the value beside it: whoever remembers a key for
//! long had better copy it.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use triomphe::ThinArc;

use super::codec::Lent;
use super::{Dot, Entry, Mark};
use crate::id::ReplicaId;
use crate::time::Stamp;

/// What each record begins with.
#[derive(Clone, Copy)]
struct Head {
    dot: Dot,
    stamp: Stamp,
    key_bytes: u32,
    flags: u8,
}

/// The rank stands before the key, since it is not that of a put at its own stamp.
const RANKED: u8 = 1;
/// The expiry stands before the key.
const EXPIRES: u8 = 2;
/// There is no value.
const REMOVAL: u8 = 4;

const RANK_BYTES: usize = 16;
const STAMP_BYTES: usize = 8;

/// A key with its entry.
#[derive(Clone)]
pub struct Record(ThinArc<Head, u8>);

impl Record {
    /// Copies a row into one piece. Of a removal the value is ignored.
    ///
    /// # Panics
    ///
    /// If the key is longer than 4 GiB.
    pub fn new(key: &[u8], mark: Mark, value: &[u8]) -> Self {
        // Most rows are short: those are put together without an allocation of their own.
        const SHORT: usize = 192;
        let mut rare = [0; RANK_BYTES + STAMP_BYTES];
        let mut rare_bytes = 0;
        let mut note = |word: u64| {
            rare[rare_bytes..rare_bytes + STAMP_BYTES].copy_from_slice(&word.to_le_bytes());
            rare_bytes += STAMP_BYTES;
        };
        let mut flags = 0;
        if !mark.ranks_as_put() {
            flags |= RANKED;
            note(mark.rank_time.0);
            note(mark.rank_author.0);
        }
        if let Some(expires) = mark.expires {
            flags |= EXPIRES;
            note(expires.0);
        }
        let value = if mark.removal { &[] } else { value };
        flags |= if mark.removal { REMOVAL } else { 0 };
        let key_bytes = u32::try_from(key.len()).expect("a key of less than 4 GiB");
        let head = Head { dot: mark.dot, stamp: mark.stamp, key_bytes, flags };
        let rare = &rare[..rare_bytes];
        let total = rare.len() + key.len() + value.len();
        if total > SHORT {
            return Self(ThinArc::from_header_and_slice(head, &[rare, key, value].concat()));
        }
        let mut short = [0; SHORT];
        let (front, rest) = short.split_at_mut(rare.len());
        front.copy_from_slice(rare);
        rest[..key.len()].copy_from_slice(key);
        rest[key.len()..key.len() + value.len()].copy_from_slice(value);
        Self(ThinArc::from_header_and_slice(head, &short[..total]))
    }

    /// The record of a key and its entry: the one that both came from, if they still are as they were in it, and a new
    /// one otherwise.
    pub fn of(key: &Key, entry: &Entry) -> Self {
        let value_is_its = entry.value.as_ref().is_none_or(|value| value.0.is(&key.0));
        if value_is_its && key.0.mark() == entry.mark() {
            key.0.clone()
        } else {
            Self::new(key, entry.mark(), entry.value.as_deref().unwrap_or_default())
        }
    }

    /// The bytes of the key.
    pub fn key(&self) -> &[u8] {
        let from = self.rare_bytes();
        &self.0.slice[from..from + self.key_bytes()]
    }

    /// The bytes of the value; `None` for a removal.
    pub fn value(&self) -> Option<&[u8]> {
        (!self.is_removal()).then(|| self.tail())
    }

    /// Whether it marks a removal.
    pub fn is_removal(&self) -> bool {
        self.head().flags & REMOVAL != 0
    }

    /// How many bytes key and value have.
    pub fn bytes(&self) -> usize {
        self.0.slice.len() - self.rare_bytes()
    }

    /// The entry without its value.
    pub fn mark(&self) -> Mark {
        let Head { dot, stamp, flags, .. } = *self.head();
        let is_ranked = flags & RANKED != 0;
        Mark {
            dot,
            stamp,
            rank_time: if is_ranked { Stamp(self.rare(0)) } else { stamp },
            rank_author: if is_ranked { ReplicaId(self.rare(STAMP_BYTES)) } else { dot.replica },
            expires: (flags & EXPIRES != 0).then(|| Stamp(self.rare(if is_ranked { RANK_BYTES } else { 0 }))),
            removal: flags & REMOVAL != 0,
        }
    }

    /// A handle to the key.
    pub fn share_key(&self) -> Key {
        Key(self.clone())
    }

    /// A handle to the value; `None` for a removal.
    pub fn share_value(&self) -> Option<Value> {
        (!self.is_removal()).then(|| Value(self.clone()))
    }

    /// The entry, with a handle to the value.
    pub fn entry(&self) -> Entry {
        self.mark().with_value(self.share_value())
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    fn key_bytes(&self) -> usize {
        usize::try_from(self.head().key_bytes).expect("it was a length before")
    }

    /// What stands before the key.
    fn rare_bytes(&self) -> usize {
        let flags = self.head().flags;
        let rank = if flags & RANKED != 0 { RANK_BYTES } else { 0 };
        let expires = if flags & EXPIRES != 0 { STAMP_BYTES } else { 0 };
        rank + expires
    }

    fn rare(&self, from: usize) -> u64 {
        let bytes = self.0.slice[from..].first_chunk().expect("what the flags say is there");
        u64::from_le_bytes(*bytes)
    }

    fn tail(&self) -> &[u8] {
        &self.0.slice[self.rare_bytes() + self.key_bytes()..]
    }

    /// Whether both are the same allocation.
    fn is(&self, other: &Self) -> bool {
        std::ptr::eq(&raw const self.0.header, &raw const other.0.header)
    }

    /// A record that is nothing but bytes.
    fn bare(key: &[u8], value: &[u8], removal: bool) -> Self {
        let (nobody, never) = (ReplicaId(0), Stamp::default());
        let dot = Dot { replica: nobody, seq: 0 };
        let mark = Mark { dot, stamp: never, rank_time: never, rank_author: nobody, expires: None, removal };
        Self::new(key, mark, value)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("key", &self.key()).field("entry", &self.entry()).finish()
    }
}

/// The bytes of a key. A handle: cloning copies no bytes.
#[derive(Clone)]
pub struct Key(Record);

/// The bytes of a row. A handle: cloning copies no bytes.
#[derive(Clone)]
pub struct Value(Record);

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.key()
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.tail()
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(Record::bare(bytes, &[], true))
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self(Record::bare(&[], bytes, false))
    }
}

/// A handle to bytes is like these bytes.
macro_rules! like_bytes {
    ($name:ident) => {
        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                self
            }
        }

        impl Borrow<[u8]> for $name {
            fn borrow(&self) -> &[u8] {
                self
            }
        }

        impl<const N: usize> From<&[u8; N]> for $name {
            fn from(bytes: &[u8; N]) -> Self {
                bytes.as_slice().into()
            }
        }

        impl<const N: usize> From<[u8; N]> for $name {
            fn from(bytes: [u8; N]) -> Self {
                bytes.as_slice().into()
            }
        }

        impl From<Vec<u8>> for $name {
            fn from(bytes: Vec<u8>) -> Self {
                bytes.as_slice().into()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                [].as_slice().into()
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                **self == **other
            }
        }

        impl Eq for $name {}

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                (**self).cmp(&**other)
            }
        }

        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                (**self).hash(state);
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&**self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Lent::deserialize(deserializer)?[..].into())
            }
        }
    };
}

like_bytes!(Key);
like_bytes!(Value);

#[cfg(test)]
mod tests {
    use super::*;

    fn marks() -> Vec<Mark> {
        let dot = Dot { replica: ReplicaId(7), seq: 9 };
        let put = Mark {
            dot,
            stamp: Stamp(100),
            rank_time: Stamp(100),
            rank_author: ReplicaId(7),
            expires: None,
            removal: false,
        };
        let ranks = [put, Mark { rank_time: Stamp(90), ..put }, Mark { rank_author: ReplicaId(8), ..put }];
        let expiring = |mark: Mark| [mark, Mark { expires: Some(Stamp(u64::MAX)), ..mark }];
        let removals = |mark: Mark| [mark, Mark { removal: true, ..mark }];
        ranks.into_iter().flat_map(expiring).flat_map(removals).collect()
    }

    #[test]
    fn what_goes_into_a_record_comes_out_of_it() {
        let sizes = [0, 1, 16, 64, 191, 192, 193, 70_000];
        for (key_bytes, value_bytes) in sizes.iter().flat_map(|key| sizes.map(|value| (*key, value))) {
            let (key, value) = (vec![b'k'; key_bytes], vec![b'v'; value_bytes]);
            for mark in marks() {
                let record = Record::new(&key, mark, &value);
                assert_eq!((record.mark(), record.key()), (mark, &key[..]));
                assert_eq!(record.value(), (!mark.removal).then_some(&value[..]));
                assert_eq!(record.bytes(), key_bytes + if mark.removal { 0 } else { value_bytes });
                assert_eq!(record.entry().mark(), mark);
                assert_eq!((&*record.share_key(), record.share_value().as_deref()), (&key[..], record.value()));
            }
        }
    }

    #[test]
    fn a_record_is_found_again_only_by_what_it_holds() {
        for mark in marks() {
            let record = Record::new(b"key", mark, b"value");
            let (key, entry) = (record.share_key(), record.entry());
            assert!(Record::of(&key, &entry).is(&record));
            assert!(!Record::of(&Key::from(b"key"), &entry).is(&record));
            let other = Record::of(&key, &Entry { stamp: Stamp(1), ..entry.clone() });
            assert_eq!((other.mark().stamp, other.key(), other.value()), (Stamp(1), record.key(), record.value()));
            let removed = Record::of(&key, &Entry { value: None, ..entry.clone() });
            assert_eq!((removed.is_removal(), removed.value()), (true, None));
            let replaced = Record::of(&key, &Entry { value: Some(Value::from(b"other")), ..entry });
            assert_eq!((replaced.value(), replaced.key()), (Some(&b"other"[..]), &b"key"[..]));
        }
    }

    #[test]
    fn a_record_takes_what_its_bytes_take_and_48_more() {
        assert_eq!(size_of::<Head>(), 32);
        assert_eq!(
            [size_of::<Record>(), size_of::<Option<Key>>(), size_of::<Option<Value>>()],
            [size_of::<usize>(); 3]
        );
    }
}
