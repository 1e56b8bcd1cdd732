//! The rows of one shard: a seeded hash table of records.
//!
//! A record holds its key, so a slot of the table is one pointer. The seed keeps anybody from choosing keys that
//! collide; the order of iteration depends on it, and must not reach the outside: sort before anything leaves.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::crdt::Record;

/// The rows of one shard, tombstones included.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    rows: HashTable<Record>,
    seed: u64,
}

impl Shard {
    pub(super) fn new(seed: u64) -> Self {
        Self { rows: HashTable::new(), seed }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Record> {
        self.rows.find(self.hash(key), |record| record.key() == key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.rows.iter()
    }

    /// Puts a record in the place of the one with its key; returns that.
    pub(super) fn replace(&mut self, record: Record) -> Option<Record> {
        let seed = self.seed;
        let hash = self.hash(record.key());
        let is_same = |other: &Record| other.key() == record.key();
        match self.rows.entry(hash, is_same, |other| xxh3_64_with_seed(other.key(), seed)) {
            Entry::Occupied(mut slot) => Some(std::mem::replace(slot.get_mut(), record)),
            Entry::Vacant(slot) => {
                slot.insert(record);
                None
            }
        }
    }

    /// Takes out the record with this key.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Record> {
        let slot = self.rows.find_entry(self.hash(key), |record| record.key() == key).ok()?;
        Some(slot.remove().0)
    }

    fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::crdt::{Dot, Mark};
    use crate::id::ReplicaId;
    use crate::time::Stamp;

    fn record(key: u16, seq: u64) -> Record {
        let (author, stamp) = (ReplicaId(1), Stamp(seq));
        let dot = Dot { replica: author, seq };
        let mark = Mark { dot, stamp, rank_time: stamp, rank_author: author, expires: None, removal: false };
        Record::new(&key.to_be_bytes(), mark, b"")
    }

    proptest! {
        #[test]
        fn a_shard_is_a_map(steps in prop::collection::vec((any::<bool>(), 0_u16..300), 0..1_000), seed: u64) {
            let (mut shard, mut map) = (Shard::new(seed), BTreeMap::new());
            let seq_of = |record: &Record| record.mark().dot.seq;
            for (seq, (puts, key)) in (1..).zip(steps) {
                let former = if puts { shard.replace(record(key, seq)) } else { shard.remove(&key.to_be_bytes()) };
                let expected = if puts { map.insert(key, seq) } else { map.remove(&key) };
                prop_assert_eq!(former.as_ref().map(seq_of), expected);
            }
            prop_assert_eq!(shard.len(), map.len());
            for key in 0..300 {
                prop_assert_eq!(shard.get(&u16::to_be_bytes(key)).map(seq_of), map.get(&key).copied());
            }
            let mut rows: Vec<_> = shard.iter().map(|record| (record.key().to_vec(), seq_of(record))).collect();
            rows.sort_unstable();
            prop_assert!(rows.into_iter().eq(map.into_iter().map(|(key, seq)| (key.to_be_bytes().to_vec(), seq))));
        }
    }
}
