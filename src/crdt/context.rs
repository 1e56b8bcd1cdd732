//! The causal context: which writes are known.
//!
//! ```text
//!   replica 7:   base = 5        extra = [8..=9, 12..=12]
//!                1 2 3 4 5 . . 8 9 . . 12      6, 7, 10 and 11 are missing: a *gap*
//! ```
//!
//! Per replica all writes up to a base are known, and some intervals beyond it. Joining two contexts is set union, so
//! it is commutative, associative and idempotent. Stored normalised: intervals sorted, disjoint, not touching each
//! other nor the base, no replica without a write; so equal sets are equal values and encode to equal bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::Xxh3Default;

use super::{Dot, codec};
use crate::id::ReplicaId;

/// Which writes are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    replicas: BTreeMap<ReplicaId, Seen>,
}

/// What is known of one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    base: u64,
    /// First and last of each interval beyond the base.
    extra: Vec<(u64, u64)>,
}

impl Seen {
    fn contains(&self, seq: u64) -> bool {
        if seq <= self.base {
            return seq > 0;
        }
        let after = self.extra.partition_point(|&(first, _)| first <= seq);
        after > 0 && seq <= self.extra[after - 1].1
    }

    /// Returns whether anything in the range was unknown.
    fn add(&mut self, first: u64, last: u64) -> bool {
        let first = first.max(self.base.saturating_add(1));
        if last < first || last <= self.base {
            return false;
        }
        // All intervals that overlap or touch the new one become one with it.
        let from = self.extra.partition_point(|&(_, end)| end.saturating_add(1) < first);
        let to = self.extra.partition_point(|&(start, _)| start <= last.saturating_add(1));
        if to == from + 1 && self.extra[from].0 <= first && last <= self.extra[from].1 {
            return false;
        }
        let merged = self.extra[from..to]
            .iter()
            .fold((first, last), |(first, last), &(start, end)| (first.min(start), last.max(end)));
        if merged.0 == self.base.saturating_add(1) {
            self.base = merged.1;
            self.extra.drain(..to);
        } else {
            self.extra.splice(from..to, [merged]);
        }
        true
    }
}

impl Context {
    /// The most intervals a context may have when it is decoded, bases included.
    pub const MAX_INTERVALS: usize = 65_536;

    /// A context that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether this write is known.
    pub fn contains(&self, dot: Dot) -> bool {
        self.replicas.get(&dot.replica).is_some_and(|seen| seen.contains(dot.seq))
    }

    /// Adds one write; returns whether it was unknown. There is no write 0.
    pub fn add(&mut self, dot: Dot) -> bool {
        self.add_range(dot.replica, dot.seq, dot.seq)
    }

    /// Adds the writes `first..=last` of a replica; returns whether any of them was unknown.
    pub fn add_range(&mut self, replica: ReplicaId, first: u64, last: u64) -> bool {
        last > 0 && first <= last && self.replicas.entry(replica).or_default().add(first, last)
    }

    /// Adds everything that `other` knows; returns whether any of it was unknown.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (&replica, theirs) in &other.replicas {
            let ours = self.replicas.entry(replica).or_default();
            changed |= ours.add(1, theirs.base);
            for &(first, last) in &theirs.extra {
                changed |= ours.add(first, last);
            }
        }
        changed
    }

    /// Whether everything that `other` knows is known here.
    pub fn includes(&self, other: &Self) -> bool {
        !self.clone().join(other)
    }

    /// Up to where every write of this replica is known.
    pub fn base(&self, replica: ReplicaId) -> u64 {
        self.replicas.get(&replica).map_or(0, |seen| seen.base)
    }

    /// The replicas with known writes beyond an unknown one, in order.
    pub fn gaps(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.replicas.iter().filter(|(_, seen)| !seen.extra.is_empty()).map(|(&replica, _)| replica)
    }

    /// The replicas of which some write is known, in order.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.replicas.keys().copied()
    }

    /// Forgets a replica; returns whether any write of it was known.
    pub fn remove(&mut self, replica: ReplicaId) -> bool {
        self.replicas.remove(&replica).is_some()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    /// How many intervals it takes to say what is known, bases included.
    pub fn intervals(&self) -> usize {
        self.replicas.values().map(|seen| 1 + seen.extra.len()).sum()
    }

    /// A hash of what is known of the replicas that `choose` picks: the same on every host for the same writes.
    pub fn hash_where(&self, mut choose: impl FnMut(ReplicaId) -> bool) -> u64 {
        let mut hasher = Xxh3Default::new();
        for (&replica, seen) in self.replicas.iter().filter(|(replica, _)| choose(**replica)) {
            hasher.update(&replica.0.to_le_bytes());
            hasher.update(&seen.base.to_le_bytes());
            hasher.update(&(seen.extra.len() as u64).to_le_bytes());
            for (first, last) in &seen.extra {
                hasher.update(&first.to_le_bytes());
                hasher.update(&last.to_le_bytes());
            }
        }
        hasher.digest()
    }
}

impl FromIterator<Dot> for Context {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut context = Self::new();
        for dot in dots {
            context.add(dot);
        }
        context
    }
}

/// Joining contexts cannot fail; this is never made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {}

impl crdts::CvRDT for Context {
    type Validation = Impossible;

    fn validate_merge(&self, _other: &Self) -> Result<(), Self::Validation> {
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.join(&other);
    }
}

/// On the wire: intervals as (distance from the end of the one before, length - 1), so that most take two bytes.
#[derive(Serialize, Deserialize)]
struct Encoded {
    replica: ReplicaId,
    base: u64,
    #[serde(deserialize_with = "codec::bounded::<_, _, { Context::MAX_INTERVALS }>")]
    extra: Vec<(u64, u64)>,
}

impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.replicas.iter().map(|(&replica, seen)| {
            let mut end = seen.base;
            let extra = seen.extra.iter().map(|&(first, last)| {
                let pair = (first - end, last - first);
                end = last;
                pair
            });
            Encoded { replica, base: seen.base, extra: extra.collect() }
        }))
    }
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list: Vec<Encoded> = codec::bounded::<_, _, { Self::MAX_INTERVALS }>(deserializer)?;
        Self::try_from(list).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a causal context is not in normal form or has more than {} intervals", Context::MAX_INTERVALS)]
struct NotNormal;

impl TryFrom<Vec<Encoded>> for Context {
    type Error = NotNormal;

    /// Takes nothing but the normal form: any other would be a second encoding of the same set.
    fn try_from(list: Vec<Encoded>) -> Result<Self, NotNormal> {
        let mut context = Self::new();
        let mut intervals = 0;
        let mut previous = None;
        for Encoded { replica, base, extra: pairs } in list {
            intervals += 1 + pairs.len();
            if intervals > Self::MAX_INTERVALS
                || previous.is_some_and(|previous| previous >= replica)
                || (base == 0 && pairs.is_empty())
            {
                return Err(NotNormal);
            }
            previous = Some(replica);
            let mut end = base;
            let mut extra = Vec::with_capacity(pairs.len());
            for (distance, more) in pairs {
                let first = end.checked_add(distance).filter(|_| distance >= 2).ok_or(NotNormal)?;
                end = first.checked_add(more).ok_or(NotNormal)?;
                extra.push((first, end));
            }
            context.replicas.insert(replica, Seen { base, extra });
        }
        Ok(context)
    }
}

#[cfg(test)]
mod tests;
