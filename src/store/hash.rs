//! Hashing: one seeded map type for lookups, and the unseeded hashes that all replicas must agree on.
//!
//! The map is seeded so that nobody can choose keys that collide; its order must never reach the outside. What goes
//! into digests, buckets and shards is unseeded xxh3, whose output is stable across hosts and releases.

use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::row::{Key, TableName};
use crate::crdt::Entry;

/// A hash map whose seed is an input. Its iteration order depends on the seed: sort before anything leaves.
#[expect(
    clippy::disallowed_types,
    reason = "seeded explicitly, and iterated only where the result is sorted or summed"
)]
pub(super) type KeyMap<V> = std::collections::HashMap<Key, V, Seeded>;

/// Builds hashers that start from one seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(pub(super) u64);

impl BuildHasher for Seeded {
    type Hasher = SeededHasher;

    fn build_hasher(&self) -> SeededHasher {
        SeededHasher(self.0)
    }
}

/// Each piece is hashed with what came before as its seed.
pub(super) struct SeededHasher(u64);

impl Hasher for SeededHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_usize(&mut self, length: usize) {
        // The length of the key; it changes the seed, and that is all it has to do.
        self.0 = self.0.wrapping_add(length as u64).rotate_left(23);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The hash of a table's name, which seeds the place of its keys.
pub(super) fn table_hash(table: &TableName) -> u64 {
    xxh3_64(table.as_str().as_bytes())
}

/// The place of a key: its top bits choose shard and bucket. The same on all replicas.
pub(super) fn place(table_hash: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, table_hash)
}

/// The hash of one live row, over table, key (both in `place`), dot and rank; never over the value.
pub(super) fn row_hash(place: u64, entry: &Entry) -> u64 {
    let mut bytes = [0; 41];
    let words = [place, entry.dot.replica.0, entry.dot.seq, entry.rank_time.0, entry.rank_author.0];
    for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    bytes[40] = u8::from(entry.is_tombstone());
    xxh3_64(&bytes)
}

/// A hash of a list of numbers.
pub(super) fn mix(numbers: &[u64]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    hasher.digest()
}
