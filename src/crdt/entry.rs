//! The one winner of a key, and the order among candidates.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec::Lent;
use super::{Dot, Value};
use crate::id::ReplicaId;
use crate::time::Stamp;

/// Orders the entries of one key; the highest wins.
///
/// A put ranks at its own stamp. A removal ranks just above the put it observed, whenever it was issued: so a put
/// survives a removal exactly when its stamp is above that of the put that was removed, and one winner per key is
/// enough.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rank {
    /// The stamp of the put, for a removal that of the put it removed.
    pub time: Stamp,
    /// Who issued that put.
    pub author: ReplicaId,
    /// Whether it is a removal; it then ranks above the put it removed.
    pub removal: bool,
}

/// The winner of one key: a value or, where it was removed, a tombstone.
///
/// `stamp` is when the operation was issued, and only the collection of tombstones looks at it. The rank is mostly
/// derived from it, but not always: a put over an entry from a far future ranks above that entry though its stamp,
/// drawn from a sane clock, is below; and an entry that was given a new dot, and with it a new stamp, keeps its rank.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The write that made it.
    pub dot: Dot,
    /// When it was issued, or given its dot.
    pub stamp: Stamp,
    /// [`Rank::time`].
    pub rank_time: Stamp,
    /// [`Rank::author`].
    pub rank_author: ReplicaId,
    /// When a value ends, or did: then the entry is a tombstone by itself. `None`: never, and for each removal.
    pub expires: Option<Stamp>,
    /// The value, or `None` for a tombstone.
    pub value: Option<Value>,
}

/// An entry without its value: what the order of entries is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mark {
    /// [`Entry::dot`].
    pub dot: Dot,
    /// [`Entry::stamp`].
    pub stamp: Stamp,
    /// [`Rank::time`].
    pub rank_time: Stamp,
    /// [`Rank::author`].
    pub rank_author: ReplicaId,
    /// [`Entry::expires`].
    pub expires: Option<Stamp>,
    /// Whether it marks a removal.
    pub removal: bool,
}

impl Mark {
    /// The rank of this entry.
    pub fn rank(&self) -> Rank {
        Rank { time: self.rank_time, author: self.rank_author, removal: self.removal }
    }

    /// As [`Entry::beats`].
    pub fn beats(&self, other: &Self) -> bool {
        (self.rank(), self.stamp, self.dot) > (other.rank(), other.stamp, other.dot)
    }

    /// Whether its rank is that of a put at its own stamp, by its own author: it need not be written down.
    pub(super) fn ranks_as_put(&self) -> bool {
        (self.rank_time, self.rank_author) == (self.stamp, self.dot.replica)
    }

    pub(super) fn with_value(self, value: Option<Value>) -> Entry {
        let Self { dot, stamp, rank_time, rank_author, expires, .. } = self;
        Entry { dot, stamp, rank_time, rank_author, expires, value }
    }
}

impl Entry {
    /// The rank of this entry.
    pub fn rank(&self) -> Rank {
        self.mark().rank()
    }

    /// All but the value.
    pub fn mark(&self) -> Mark {
        let Self { dot, stamp, rank_time, rank_author, expires, ref value } = *self;
        Mark { dot, stamp, rank_time, rank_author, expires, removal: value.is_none() }
    }

    /// Whether this entry wins over `other`. The same rank have two removals of one put, and an entry that was given a new
    /// dot has that of the former; of those the one stamped later wins, and the higher dot if that is the same too.
    pub fn beats(&self, other: &Self) -> bool {
        self.mark().beats(&other.mark())
    }

    /// Whether it marks a removal.
    pub fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }
}

/// An entry as it is encoded: the rank only where it does not follow from stamp and author.
#[derive(Serialize, Deserialize)]
pub(crate) struct Encoded<V> {
    dot: Dot,
    stamp: Stamp,
    rank: Option<(Stamp, ReplicaId)>,
    expires: Option<Stamp>,
    value: Option<V>,
}

impl<V> Encoded<V> {
    /// The entry in two parts; an error if it could have been encoded shorter, as no replica does.
    pub(crate) fn split(self) -> Result<(Mark, Option<V>), &'static str> {
        let Self { dot, stamp, rank, expires, value } = self;
        let (rank_time, rank_author) = rank.unwrap_or((stamp, dot.replica));
        let mark = Mark { dot, stamp, rank_time, rank_author, expires, removal: value.is_none() };
        if rank.is_some() && mark.ranks_as_put() { Err("an entry is not in normal form") } else { Ok((mark, value)) }
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { dot, stamp, rank_time, rank_author, expires, ref value } = *self;
        let rank = (!self.mark().ranks_as_put()).then_some((rank_time, rank_author));
        Encoded { dot, stamp, rank, expires, value: value.as_ref() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mark, value) =
            Encoded::<Lent<'de>>::deserialize(deserializer)?.split().map_err(serde::de::Error::custom)?;
        Ok(mark.with_value(value.map(|bytes| Value::from(&bytes[..]))))
    }
}
