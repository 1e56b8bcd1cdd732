//! One table as readers see it: shards that can be read while others are written, and snapshots.
//!
//! ```text
//!    get ──read lock of one shard──▶ Arc<Shard> ──▶ entry          a reader never waits for the write lock
//!    snapshot ──read locks of all shards at once──▶ 16 × Arc<Shard>      one instant for the whole table
//!    write (holds the write lock) ──write lock of one shard──▶ Arc::make_mut      copies while a snapshot lives
//! ```

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::hash::{self, KeyMap, Seeded};
use super::row::{Key, TableName};
use crate::crdt::{Entry, Value};
use crate::id::ReplicaId;

/// The bits of a row's place that choose its shard: the topmost, so that a bucket lies in one shard.
const SHARD_BITS: u32 = 4;
pub(super) const SHARDS: usize = 1 << SHARD_BITS;

/// The shard that a place lies in.
pub(super) fn shard_of(place: u64) -> usize {
    usize::try_from(place >> (u64::BITS - SHARD_BITS)).expect("four bits fit")
}

/// The rows of one shard, tombstones included.
pub(super) type Shard = KeyMap<Entry>;

/// Who wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// This replica.
    Local,
    /// Another one.
    Remote(ReplicaId),
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
}

/// One table of one replica.
pub struct StoredTable {
    name: TableName,
    hash: u64,
    shards: [RwLock<Arc<Shard>>; SHARDS],
    live: AtomicUsize,
    watched: AtomicBool,
    sinks: Mutex<Vec<Arc<dyn ChangeSink>>>,
}

impl StoredTable {
    pub(super) fn new(name: TableName, hash_seed: u64) -> Self {
        let empty = Arc::new(Shard::with_hasher(Seeded(hash_seed)));
        Self {
            hash: hash::table_hash(&name),
            name,
            // Shared until the first row of each comes: most tables of most nodes are small.
            shards: std::array::from_fn(|_| RwLock::new(Arc::clone(&empty))),
            live: AtomicUsize::new(0),
            watched: AtomicBool::new(false),
            sinks: Mutex::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.shard(self.place(key)).get(key).and_then(|entry| entry.value.clone())
    }

    /// Whether a key has a value.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.shard(self.place(key)).get(key).is_some_and(|entry| !entry.is_tombstone())
    }

    /// How many keys have a value.
    pub fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The table as it is at one instant. Cheap to take; while it lives, each shard that is written is copied once.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { shards: self.freeze() }
    }

    /// Tells `sink` about each change from now on.
    pub fn watch(&self, sink: Arc<dyn ChangeSink>) {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.push(sink);
        self.watched.store(true, Ordering::Release);
    }

    pub(super) fn place(&self, key: &[u8]) -> u64 {
        hash::place(self.hash, key)
    }

    pub(super) fn entry(&self, place: u64, key: &[u8]) -> Option<Entry> {
        self.shard(place).get(key).cloned()
    }

    /// All shards at one instant: whoever writes two rows in a row writes them before or after, since all read locks
    /// are held together.
    pub(super) fn freeze(&self) -> [Arc<Shard>; SHARDS] {
        let guards = std::array::from_fn::<_, SHARDS, _>(|index| read(&self.shards[index]));
        std::array::from_fn(|index| Arc::clone(&guards[index]))
    }

    /// Replaces or removes the entry of a key; returns the former. Only under the store's write lock.
    pub(super) fn swap(&self, place: u64, key: &Key, entry: Option<Entry>) -> Option<Entry> {
        let is_live = |entry: &Option<Entry>| entry.as_ref().is_some_and(|entry| !entry.is_tombstone());
        let live_after = is_live(&entry);
        let mut guard = self.shards[shard_of(place)].write().unwrap_or_else(PoisonError::into_inner);
        let shard = Arc::make_mut(&mut guard);
        let former = match entry {
            Some(entry) => match shard.get_mut(key) {
                Some(slot) => Some(std::mem::replace(slot, entry)),
                None => shard.insert(Arc::clone(key), entry),
            },
            None => shard.remove(key),
        };
        match (is_live(&former), live_after) {
            (false, true) => drop(self.live.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.live.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        former
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    pub(super) fn tell(&self, change: &Change) {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.retain(|sink| sink.changed(change));
        self.watched.store(!sinks.is_empty(), Ordering::Release);
    }

    fn shard(&self, place: u64) -> RwLockReadGuard<'_, Arc<Shard>> {
        read(&self.shards[shard_of(place)])
    }
}

fn read(shard: &RwLock<Arc<Shard>>) -> RwLockReadGuard<'_, Arc<Shard>> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for StoredTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredTable").field("name", &self.name).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A table as it was at one instant.
#[derive(Clone, Debug)]
pub struct Snapshot {
    shards: [Arc<Shard>; SHARDS],
}

impl Snapshot {
    /// The value that a key had.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        // Sixteen lookups at most: a snapshot is for going through it.
        self.shards.iter().find_map(|shard| shard.get(key)).and_then(|entry| entry.value.clone())
    }

    /// The keys that had a value, in order, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Value)> + use<> {
        let live = self.shards.iter().flat_map(|shard| shard.iter());
        let mut rows: Vec<_> = live
            .filter_map(|(key, entry)| entry.value.as_ref().map(|value| (Arc::clone(key), Arc::clone(value))))
            .collect();
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        rows.into_iter()
    }
}
