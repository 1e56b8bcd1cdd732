//! One table as readers see it: shards that can be read while others are written, and snapshots.
//!
//! ```text
//!    get ──read lock of one shard──▶ Arc<Shard> ──▶ record         a reader never waits for the write lock
//!    snapshot ──read locks of all shards at once──▶ 16 × Arc<Shard>      one instant for the whole table
//!    write (holds the write lock) ──write lock of one shard──▶ change      copies first while a snapshot lives
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::departed;
use super::hash;
use super::lanes::Lanes;
use super::row::TableName;
use super::shard::Shard;
use crate::crdt::{Entry, Key, Mark, Record, Value};
use crate::id::ReplicaId;

/// The bits of a row's place that choose its shard: the topmost, so that a bucket lies in one shard.
const SHARD_BITS: u32 = 4;
pub(super) const SHARDS: usize = 1 << SHARD_BITS;

/// The shard that a place lies in.
pub(super) fn shard_of(place: u64) -> usize {
    usize::try_from(place >> (u64::BITS - SHARD_BITS)).expect("four bits fit")
}

/// Who wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// This replica.
    Local,
    /// Another one.
    Remote(ReplicaId),
    /// Nobody: the time of the row was over.
    Expired,
}

/// A key whose winner changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// What was there.
    pub old: Option<Value>,
    /// What is there now.
    pub new: Option<Value>,
    /// Who wrote it.
    pub origin: Origin,
}

/// Told about each change of a table.
pub trait ChangeSink: Send + Sync {
    /// Called under the store's write lock: must not block, and must not write to the store. Returns false when it
    /// wants to hear no more.
    fn changed(&self, change: &Change) -> bool;

    /// Whether it wants to hear more.
    fn is_alive(&self) -> bool {
        true
    }
}

/// Two writes to one key of which neither author had seen the other's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The key.
    pub key: Key,
    /// What this replica had written, and what stays; `None` for a removal.
    pub winner: Option<Value>,
    /// What was lost; `None` for a removal.
    pub loser: Option<Value>,
    /// Who had written that.
    pub loser_by: ReplicaId,
}

/// Told about each write of another replica that lost against a concurrent one of this replica.
pub trait ConflictSink: Send + Sync {
    /// Called under the store's write lock: must not block, and must not use the store. Returns false when it wants to
    /// hear no more.
    fn lost(&self, conflict: &Conflict) -> bool;
}

/// One table of one replica.
pub struct StoredTable {
    name: TableName,
    hash: u64,
    is_owner: bool,
    names_departed: bool,
    lanes: Lanes,
    live: AtomicUsize,
    /// Bytes of the keys that have a value and of those values.
    bytes: AtomicU64,
    /// The wrapping sum of the hashes of the live rows.
    sum: AtomicU64,
    watched: AtomicBool,
    sinks: Mutex<Vec<Arc<dyn ChangeSink>>>,
    conflict_sinks: Mutex<Vec<Arc<dyn ConflictSink>>>,
    /// So many bytes may it hold when this replica adds to it.
    quota: AtomicU64,
}

impl StoredTable {
    pub(super) fn new(name: TableName, hash_seed: u64, lanes: usize) -> Self {
        Self {
            hash: hash::table_hash(&name),
            is_owner: name.is_owner(),
            names_departed: name.as_str() == departed::DEPARTED,
            name,
            lanes: Lanes::new(hash_seed, lanes),
            live: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            sinks: Mutex::default(),
            conflict_sinks: Mutex::default(),
            quota: AtomicU64::new(u64::MAX),
        }
    }

    /// Its name.
    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// The value of a key: a handle, nothing is copied.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.find(self.place(key), key, Record::share_value).flatten()
    }

    /// What `read` makes of the value of a key. Cheaper than [`get`](Self::get) where the value is short, and where many
    /// threads read the same keys: their handles would be counted.
    pub fn read<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        const SHORT: usize = 128;
        let mut short = [0; SHORT];
        // Under the lock the bytes are only copied: `read` may take its time, or use the table.
        let found = self.find(self.place(key), key, |record| {
            let value = record.value()?;
            let Some(copy) = short.get_mut(..value.len()) else { return Some(Err(record.share_value()?)) };
            copy.copy_from_slice(value);
            Some(Ok(value.len()))
        });
        match found?? {
            Ok(bytes) => Some(read(&short[..bytes])),
            Err(value) => Some(read(&value)),
        }
    }

    /// Whether a key has a value.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.find(self.place(key), key, |record| !record.is_removal()).unwrap_or(false)
    }

    /// How many keys have a value.
    pub fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// How many bytes the keys that have a value take, and those values.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The table as it is at one instant. Cheap to take; while it lives, each shard that is written is copied once.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { hash: self.hash, shards: self.freeze() }
    }

    /// Tells `sink` about each change from now on.
    pub fn watch(&self, sink: Arc<dyn ChangeSink>) {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.retain(|sink| sink.is_alive());
        sinks.push(sink);
        self.watched.store(true, Ordering::Release);
    }

    /// Tells `sink` about each conflict from now on.
    pub fn watch_conflicts(&self, sink: Arc<dyn ConflictSink>) {
        self.conflict_sinks.lock().unwrap_or_else(PoisonError::into_inner).push(sink);
    }

    pub(super) fn has_conflict_sinks(&self) -> bool {
        !self.conflict_sinks.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn tell_conflict(&self, conflict: &Conflict) {
        self.conflict_sinks.lock().unwrap_or_else(PoisonError::into_inner).retain(|sink| sink.lost(conflict));
    }

    /// How many bytes keys and values may take when this replica adds to them; `None` for as many as there are.
    pub fn set_quota(&self, bytes: Option<u64>) {
        self.quota.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn quota(&self) -> u64 {
        self.quota.load(Ordering::Relaxed)
    }

    pub(super) fn place(&self, key: &[u8]) -> u64 {
        hash::place(self.hash, key)
    }

    /// Whether each key belongs to one replica.
    pub(super) fn is_owner(&self) -> bool {
        self.is_owner
    }

    /// Whether its rows say who is being forgotten.
    pub(super) fn names_departed(&self) -> bool {
        self.names_departed
    }

    /// The wrapping sum of the hashes of the live rows.
    pub(super) fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// A sum over the live rows: the same where the same rows are held.
    pub fn digest(&self) -> u64 {
        self.sum()
    }

    /// How many bytes a live row takes; 0 where there is none.
    pub(super) fn live_bytes_at(&self, place: u64, key: &[u8]) -> u64 {
        let bytes = |record: &Record| if record.is_removal() { 0 } else { record.bytes() as u64 };
        self.find(place, key, bytes).unwrap_or(0)
    }

    pub(super) fn entry(&self, place: u64, key: &[u8]) -> Option<Entry> {
        self.find(place, key, Record::entry)
    }

    pub(super) fn mark(&self, place: u64, key: &[u8]) -> Option<Mark> {
        self.find(place, key, Record::mark)
    }

    fn find<R>(&self, place: u64, key: &[u8], found: impl FnOnce(&Record) -> R) -> Option<R> {
        self.lanes.read(shard_of(place), |shard| shard.get(key).map(found))
    }

    /// All shards at one instant.
    pub(super) fn freeze(&self) -> [Arc<Shard>; SHARDS] {
        self.lanes.freeze()
    }

    /// Replaces or removes the record of a key; returns the former. Only under the store's write lock.
    pub(super) fn swap(&self, place: u64, key: &[u8], record: Option<Record>) -> Option<Record> {
        self.lanes.change(shard_of(place), |shard| match record {
            Some(record) => shard.replace(record),
            None => shard.remove(key),
        })
    }

    /// Counts a live row, or one that is no more. Only under the store's write lock.
    pub(super) fn count(&self, bytes: u64, present: bool) {
        // Nobody else writes, so this need not be one step.
        let by = |counter: u64, amount: u64| if present { counter + amount } else { counter - amount };
        self.bytes.store(by(self.bytes(), bytes), Ordering::Relaxed);
        let live = self.len();
        self.live.store(if present { live + 1 } else { live - 1 }, Ordering::Relaxed);
    }

    /// Adds a difference to the sum of the live rows. Only under the store's write lock.
    pub(super) fn add(&self, delta: u64) {
        self.sum.store(self.sum().wrapping_add(delta), Ordering::Relaxed);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    pub(super) fn tell(&self, change: &Change) {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.retain(|sink| sink.changed(change));
        self.watched.store(!sinks.is_empty(), Ordering::Release);
    }
}

impl std::fmt::Debug for StoredTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredTable").field("name", &self.name).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A table as it was at one instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    hash: u64,
    shards: [Arc<Shard>; SHARDS],
}

impl Snapshot {
    /// How many keys had a value.
    pub fn len(&self) -> usize {
        self.shards.iter().flat_map(|shard| shard.iter()).filter(|record| !record.is_removal()).count()
    }

    /// Whether no key had one.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().flat_map(|shard| shard.iter()).all(Record::is_removal)
    }

    /// The value that a key had.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.shards[shard_of(hash::place(self.hash, key))].get(key)?.share_value()
    }

    /// The keys that had a value, in order, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Value)> + use<> {
        let live = self.shards.iter().flat_map(|shard| shard.iter()).filter(|record| !record.is_removal());
        let mut rows: Vec<Record> = live.cloned().collect();
        rows.sort_unstable_by(|a, b| a.key().cmp(b.key()));
        rows.into_iter().filter_map(|record| Some((record.share_key(), record.share_value()?)))
    }
}
