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

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use super::{Dot, codec};
use crate::id::ReplicaId;

/// Which writes are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    replicas: BTreeMap<ReplicaId, Seen>,
    /// Derived: those with known writes beyond an unknown one. Looked at after every merge.
    gaps: BTreeSet<ReplicaId>,
}

/// What is known of one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    base: u64,
    /// The intervals beyond the base, by their first. A tree, not a list: a session brings the rows of an author in the
    /// order of their keys, and in the midst of it there may be as many intervals as rows.
    extra: BTreeMap<u64, u64>,
    /// The wrapping sum of the hashes of those intervals.
    sum: u64,
}

impl Seen {
    fn contains(&self, seq: u64) -> bool {
        if seq <= self.base {
            return seq > 0;
        }
        self.extra.range(..=seq).next_back().is_some_and(|(_, &last)| seq <= last)
    }

    fn covers(&self, first: u64, last: u64) -> bool {
        let first = first.max(self.base.saturating_add(1));
        let within = || self.extra.range(..=first).next_back().is_some_and(|(_, &end)| last <= end);
        last <= self.base || within()
    }

    /// Returns whether anything in the range was unknown.
    fn add(&mut self, first: u64, last: u64) -> bool {
        let mut first = first.max(self.base.saturating_add(1));
        let mut last = last;
        if last < first || last <= self.base {
            return false;
        }
        // All intervals that overlap or touch the new one become one with it, from the highest down.
        while let Some((&start, &end)) = self.extra.range(..=last.saturating_add(1)).next_back() {
            if start <= first && last <= end {
                return false;
            }
            if end.saturating_add(1) < first {
                break;
            }
            self.extra.remove(&start);
            self.sum = self.sum.wrapping_sub(hash_numbers(&[start, end]));
            (first, last) = (first.min(start), last.max(end));
        }
        if first == self.base.saturating_add(1) {
            self.base = last;
        } else {
            self.insert(first, last);
        }
        true
    }

    fn insert(&mut self, first: u64, last: u64) {
        self.extra.insert(first, last);
        self.sum = self.sum.wrapping_add(hash_numbers(&[first, last]));
    }
}

fn note_gap(gaps: &mut BTreeSet<ReplicaId>, replica: ReplicaId, seen: &Seen) {
    if seen.extra.is_empty() {
        gaps.remove(&replica)
    } else {
        gaps.insert(replica)
    };
}

fn hash_numbers<const N: usize>(numbers: &[u64; N]) -> u64 {
    let mut bytes = [[0; 8]; N];
    for (slot, number) in bytes.iter_mut().zip(numbers) {
        *slot = number.to_le_bytes();
    }
    xxh3_64(bytes.as_flattened())
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
        if last == 0 || first > last {
            return false;
        }
        let seen = self.replicas.entry(replica).or_default();
        let news = seen.add(first, last);
        if news {
            note_gap(&mut self.gaps, replica, seen);
        }
        news
    }

    /// Adds everything that `other` knows; returns whether any of it was unknown.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (&replica, theirs) in &other.replicas {
            let ours = self.replicas.entry(replica).or_default();
            changed |= ours.add(1, theirs.base);
            for (&first, &last) in &theirs.extra {
                changed |= ours.add(first, last);
            }
            note_gap(&mut self.gaps, replica, ours);
        }
        changed
    }

    /// Whether everything that `other` knows is known here.
    pub fn includes(&self, other: &Self) -> bool {
        !self.clone().join(other)
    }

    /// Whether `other` knows every write that is known here, those of `authors` left aside.
    pub fn is_known_to(&self, other: &Self, authors: &[ReplicaId]) -> bool {
        self.replicas.iter().filter(|(replica, _)| !authors.contains(replica)).all(|(replica, seen)| {
            other.replicas.get(replica).is_some_and(|theirs| {
                let bases = theirs.covers(1, seen.base);
                bases && seen.extra.iter().all(|(&first, &last)| theirs.covers(first, last))
            })
        })
    }

    /// Up to where every write of this replica is known.
    pub fn base(&self, replica: ReplicaId) -> u64 {
        self.replicas.get(&replica).map_or(0, |seen| seen.base)
    }

    /// Whether any write of this replica is known.
    pub fn has_any_of(&self, replica: ReplicaId) -> bool {
        self.replicas.contains_key(&replica)
    }

    /// The replicas with known writes beyond an unknown one, in order.
    pub fn gaps(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.gaps.iter().copied()
    }

    /// The replicas of which some write is known, in order.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.replicas.keys().copied()
    }

    /// Forgets a replica; returns whether any write of it was known.
    pub fn remove(&mut self, replica: ReplicaId) -> bool {
        self.gaps.remove(&replica);
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

    /// A hash of what is known of one replica: the same on every host for the same writes; 0 where none is known. Taken
    /// in constant time.
    pub fn hash_of(&self, replica: ReplicaId) -> u64 {
        let hash = |seen: &Seen| hash_numbers(&[replica.0, seen.base, seen.extra.len() as u64, seen.sum]);
        self.replicas.get(&replica).map_or(0, hash)
    }

    /// The wrapping sum of [`hash_of`](Self::hash_of) over the replicas that `choose` picks. A sum, so that it can be
    /// kept up to date while dots are added one by one.
    pub fn hash_where(&self, mut choose: impl FnMut(ReplicaId) -> bool) -> u64 {
        let chosen = self.replicas().filter(|replica| choose(*replica));
        chosen.fold(0, |sum: u64, replica| sum.wrapping_add(self.hash_of(replica)))
    }

    /// This context, or if it takes more than so many intervals, a part of it that does not: every base, and what else
    /// has room. To claim less than is known is always safe; it only costs that something is sent once more.
    pub fn truncated(&self, max_intervals: usize) -> Cow<'_, Self> {
        if self.intervals() <= max_intervals {
            return Cow::Borrowed(self);
        }
        let mut truncated = Self::new();
        let mut room = max_intervals.saturating_sub(self.replicas.len());
        for (&replica, seen) in &self.replicas {
            truncated.add_range(replica, 1, seen.base);
            let some = seen.extra.iter().take(room);
            room -= some.len();
            for (&first, &last) in some {
                truncated.add_range(replica, first, last);
            }
        }
        Cow::Owned(truncated)
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

/// Encodes at most [`Context::MAX_INTERVALS`]: a larger context is [truncated](Context::truncated).
impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let context = self.truncated(Self::MAX_INTERVALS);
        serializer.collect_seq(context.replicas.iter().map(|(&replica, seen)| {
            let mut end = seen.base;
            let extra = seen.extra.iter().map(|(&first, &last)| {
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
            let mut seen = Seen { base, ..Seen::default() };
            let mut end = base;
            for (distance, more) in pairs {
                let first = end.checked_add(distance).filter(|_| distance >= 2).ok_or(NotNormal)?;
                end = first.checked_add(more).ok_or(NotNormal)?;
                seen.insert(first, end);
            }
            note_gap(&mut context.gaps, replica, &seen);
            context.replicas.insert(replica, seen);
        }
        Ok(context)
    }
}

#[cfg(test)]
mod tests;
