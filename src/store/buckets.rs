//! Sums over rows, kept incrementally: what two replicas compare to find out whether, and where, they differ.
//!
//! A bucket is the wrapping sum of the hashes of its live rows, so a change costs two additions. Tombstones are left
//! out: replicas collect them at different moments, and counting them would make every collection look like damage and
//! be "repaired" by handing back what was just collected. Nothing is lost by it: a removal that a replica missed leaves
//! a live row there, and that row counts.

use serde::{Deserialize, Deserializer, Serialize};

use super::hash;
use crate::crdt::codec;

/// Buckets of ordinary rows.
pub(super) const ROW_BUCKETS: usize = 1_024;
/// Buckets of owner rows.
pub(super) const OWNER_BUCKETS: usize = 64;

/// The bucket that a place lies in.
pub(super) fn bucket_of(owner: bool, place: u64) -> usize {
    let buckets = if owner { OWNER_BUCKETS } else { ROW_BUCKETS };
    usize::try_from(place >> (u64::BITS - buckets.ilog2())).expect("ten bits fit")
}

/// The sums of all buckets of a replica.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BucketHashes {
    pub(super) rows: Vec<u64>,
    pub(super) owners: Vec<u64>,
}

impl Default for BucketHashes {
    fn default() -> Self {
        Self { rows: vec![0; ROW_BUCKETS], owners: vec![0; OWNER_BUCKETS] }
    }
}

impl BucketHashes {
    /// How many buckets differ.
    pub fn differing(&self, other: &Self) -> usize {
        let count =
            |ours: &[u64], theirs: &[u64]| ours.iter().zip(theirs).filter(|(ours, theirs)| ours != theirs).count();
        count(&self.rows, &other.rows) + count(&self.owners, &other.owners)
    }

    pub(super) fn get(&self, owner: bool, place: u64) -> u64 {
        let buckets = if owner { &self.owners } else { &self.rows };
        buckets[bucket_of(owner, place)]
    }
}

impl<'de> Deserialize<'de> for BucketHashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Lists {
            #[serde(deserialize_with = "codec::bounded::<_, _, ROW_BUCKETS>")]
            rows: Vec<u64>,
            #[serde(deserialize_with = "codec::bounded::<_, _, OWNER_BUCKETS>")]
            owners: Vec<u64>,
        }
        let Lists { rows, owners } = Lists::deserialize(deserializer)?;
        if (rows.len(), owners.len()) != (ROW_BUCKETS, OWNER_BUCKETS) {
            return Err(serde::de::Error::custom("bucket hashes of the wrong number of buckets"));
        }
        Ok(Self { rows, owners })
    }
}

/// All sums of a replica.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) buckets: BucketHashes,
    pub(super) rows: u64,
    pub(super) owners: u64,
}

impl Sums {
    /// Adds `delta`, the difference that a change of one row makes to every sum over several tables that covers it.
    pub(super) fn add(&mut self, owner: bool, place: u64, delta: u64) {
        let (bucket, total) = if owner {
            (&mut self.buckets.owners[bucket_of(owner, place)], &mut self.owners)
        } else {
            (&mut self.buckets.rows[bucket_of(owner, place)], &mut self.rows)
        };
        *bucket = bucket.wrapping_add(delta);
        *total = total.wrapping_add(delta);
    }

    pub(super) fn root(&self) -> u64 {
        hash::mix(&[self.rows])
    }

    pub(super) fn owners(&self) -> u64 {
        hash::mix(&[self.owners])
    }
}

/// What two replicas compare in passing: equal digests mean equal tables and equal knowledge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Digest {
    /// The causal context, as far as it is about members of the roster.
    pub context: u64,
    /// The ordinary rows.
    pub root: u64,
    /// The owner rows.
    pub owners: u64,
    /// The causal context, as far as it is about replicas outside the roster.
    pub departed: u64,
}
