//! The unit of every delta: a row, complete, with its own dot.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::crdt::codec::{self, Lent};
use crate::crdt::{Dot, Encoded, Entry, Key, Record};
use crate::id::{Checked, ReplicaId};
use crate::time::Stamp;

/// The largest key, in bytes.
pub const MAX_KEY: usize = 1 << 10;

/// The largest value, in bytes.
pub const MAX_VALUE: usize = 64 << 10;

/// The name of a table, 1 to 128 bytes.
///
/// A name that starts with `@` is an *owner table*: its keys begin with a [`ReplicaId`], and only that replica writes
/// them. Every other is an ordinary replicated table. Names starting with `_` or `@` are reserved for the system.
///
/// ```
/// use unisono::store::TableName;
///
/// let cars = TableName::new("cars")?;
/// assert!(!cars.is_reserved());
/// assert!(TableName::new("@claims")?.is_owner());
/// # Ok::<(), unisono::store::TableNameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName(Arc<str>);

/// Why a text is no [`TableName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableNameError {
    /// The text is empty.
    #[error("a table name is empty; give it 1 to {} bytes", TableName::MAX_BYTES)]
    Empty,
    /// The text is longer than [`TableName::MAX_BYTES`].
    #[error("a table name has {bytes} bytes; shorten it to {}", TableName::MAX_BYTES)]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

impl TableName {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 128;

    /// Checks and takes a name.
    pub fn new(name: impl AsRef<str>) -> Result<Self, TableNameError> {
        let name = name.as_ref();
        match name.len() {
            0 => Err(TableNameError::Empty),
            bytes if bytes > Self::MAX_BYTES => Err(TableNameError::TooLong { bytes }),
            _ => Ok(Self(name.into())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether each key belongs to one replica, which alone writes it.
    pub fn is_owner(&self) -> bool {
        self.0.starts_with('@')
    }

    /// Whether applications must not use this name.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(['@', '_'])
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for TableName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TableName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Checked { what: "the name of a table", check: |name: &str| Self::new(name) })
    }
}

impl TryFrom<String> for TableName {
    type Error = TableNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.as_str().to_owned()
    }
}

/// A row: the unit of every delta, complete, with its own dot.
///
/// Decoding bounds what is allocated; whether the row makes sense is checked when it is merged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// Its table.
    pub table: TableName,
    /// Its key. In an owner table: 8 bytes of the owner's [`ReplicaId`], big-endian, then a name.
    pub key: Key,
    /// The candidate for the winner of this key.
    pub entry: Entry,
    /// Earlier writes of the same author to the same key that this row replaced before they were sent. Only owner rows
    /// have any.
    pub swallowed: Vec<u64>,
}

/// Makes one allocation for key, entry and value together, which goes into the table as it is.
impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Parts<'a> {
            table: TableName,
            #[serde(borrow)]
            key: Lent<'a>,
            #[serde(borrow)]
            entry: Encoded<Lent<'a>>,
            #[serde(deserialize_with = "codec::bounded::<_, _, { Row::MAX_SWALLOWED }>")]
            swallowed: Vec<u64>,
        }
        let Parts { table, key, entry, swallowed } = Parts::deserialize(deserializer)?;
        let (mark, value) = entry.split().map_err(serde::de::Error::custom)?;
        let record = Record::new(&key, mark, value.as_deref().unwrap_or_default());
        Ok(Self { swallowed, ..Self::of(table, &record) })
    }
}

impl Row {
    /// A row that shares a record of the table.
    pub(crate) fn of(table: TableName, record: &Record) -> Self {
        Self { table, key: record.share_key(), entry: record.entry(), swallowed: Vec::new() }
    }

    /// The record of this row: the very one that it was made of, if it was made of one.
    pub(super) fn record(&self) -> Record {
        Record::of(&self.key, &self.entry)
    }

    /// The most earlier writes that one row replaces.
    pub const MAX_SWALLOWED: usize = 64;

    /// No stamp is above this, in the year 6429: a greater one is damage, not a clock, and leaves no room above
    /// it for the write that ought to win over it.
    pub(super) const MAX_STAMP: Stamp = Stamp(1 << 63);

    /// At most so many bytes does this row take on the wire.
    pub fn max_size(&self) -> usize {
        const VARINT: usize = 10;
        // Three length prefixes of at most 3 bytes, four tags, and the numbers of an entry: three at least.
        let Entry { dot, stamp, rank_time, rank_author, expires, value } = &self.entry;
        let rank = if (stamp, dot.replica) == (rank_time, *rank_author) { 0 } else { 2 };
        let numbers = 3 + rank + usize::from(expires.is_some());
        let fixed = 3 * 3 + 4 + numbers * VARINT;
        let value = value.as_ref().map_or(0, |value| value.len());
        fixed + self.table.as_str().len() + self.key.len() + value + (1 + self.swallowed.len()) * VARINT
    }

    /// The owner of a row of an owner table.
    pub fn owner(&self) -> Option<ReplicaId> {
        if self.table.is_owner() { split_owner_key(&self.key).map(|(owner, _)| owner) } else { None }
    }

    /// Whether the row is one that a correct replica may have written.
    pub(super) fn is_sound(&self) -> bool {
        let Entry { dot, stamp, rank_time, expires, value, .. } = &self.entry;
        let owner_is_sound = if self.table.is_owner() {
            self.owner() == Some(dot.replica) && self.swallowed.iter().all(|seq| (1..dot.seq).contains(seq))
        } else {
            self.swallowed.is_empty()
        };
        owner_is_sound
            && dot.seq > 0
            && (1..=MAX_KEY).contains(&self.key.len())
            && value.as_ref().is_none_or(|value| value.len() <= MAX_VALUE)
            && *stamp <= Self::MAX_STAMP
            && *rank_time <= Self::MAX_STAMP
            && expires.is_none_or(|expires| expires <= Self::MAX_STAMP)
            && self.swallowed.len() <= Self::MAX_SWALLOWED
    }

    /// The dots that this row accounts for besides its own.
    pub(super) fn swallowed_dots(&self) -> impl Iterator<Item = Dot> + '_ {
        let replica = self.entry.dot.replica;
        self.swallowed.iter().map(move |&seq| Dot { replica, seq })
    }
}

/// The key of an owner row.
pub fn owner_key(owner: ReplicaId, name: &[u8]) -> Vec<u8> {
    [&owner.0.to_be_bytes(), name].concat()
}

/// The owner and the name in the key of an owner row; `None` if it is too short to be one.
pub fn split_owner_key(key: &[u8]) -> Option<(ReplicaId, &[u8])> {
    let (owner, name) = key.split_first_chunk::<8>()?;
    Some((ReplicaId(u64::from_be_bytes(*owner)), name))
}
