//! The one winner of a key, and the order among candidates.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Dot;
use crate::id::ReplicaId;
use crate::time::Stamp;

/// The bytes of a row. Shared, never copied, between the store, snapshots and frames.
pub type Value = Arc<[u8]>;

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
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Debug)]
pub struct Entry {
    /// The write that made it.
    pub dot: Dot,
    /// When it was issued, or given its dot.
    pub stamp: Stamp,
    /// [`Rank::time`].
    pub rank_time: Stamp,
    /// [`Rank::author`].
    pub rank_author: ReplicaId,
    /// The value, or `None` for a tombstone.
    #[serde(with = "super::codec::optional_bytes")]
    pub value: Option<Value>,
}

impl Entry {
    /// The rank of this entry.
    pub fn rank(&self) -> Rank {
        Rank { time: self.rank_time, author: self.rank_author, removal: self.value.is_none() }
    }

    /// Whether this entry wins over `other`. The same rank have two removals of one put, and an entry that was given a new
    /// dot has that of the former; of those the one stamped later wins, and the higher dot if that is the same too.
    pub fn beats(&self, other: &Self) -> bool {
        (self.rank(), self.stamp, self.dot) > (other.rank(), other.stamp, other.dot)
    }

    /// Whether it marks a removal.
    pub fn is_tombstone(&self) -> bool {
        self.value.is_none()
    }
}
