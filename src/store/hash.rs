//! The unseeded hashes that all replicas must agree on: what goes into digests, buckets and shards is xxh3, whose output
//! is stable across hosts and releases.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::row::TableName;
use crate::crdt::Mark;

/// The hash of a table's name, which seeds the place of its keys.
pub(super) fn table_hash(table: &TableName) -> u64 {
    xxh3_64(table.as_str().as_bytes())
}

/// The place of a key: its top bits choose shard and bucket. The same on all replicas.
pub(super) fn place(table_hash: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, table_hash)
}

/// The hash of one live row, over table, key (both in `place`), dot and rank; never over the value.
pub(super) fn row_hash(place: u64, entry: &Mark) -> u64 {
    let mut bytes = [0; 41];
    let words = [place, entry.dot.replica.0, entry.dot.seq, entry.rank_time.0, entry.rank_author.0];
    for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    bytes[40] = u8::from(entry.removal);
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
