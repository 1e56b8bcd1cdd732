//! *Internal.*
//! The tables of one replica: mutation in, change out.
//!
//! ```text
//!   application threads                                       engine
//!     get, snapshot ──▶ 16 shards per table                     merge, merge_buckets, join_context
//!                            ▲                                  set_roster, report, collect, expire
//!     put, remove,           │ one winner per key               │
//!     transact ▶ ┌───────────┴──── one lock ────────────────────▼───┐
//!                │ clock, seq, context, sums, graves, promises      │──▶ digest, serve, bucket_hashes
//!                └──────────────┬─────────────────────┬─────────────┘
//!                               ▼                     ▼
//!                     outbox (wakes the engine)    watchers
//! ```
//!
//! In come local writes, with the time passed in by the caller, and rows of others. Out go rows worth sending, changes,
//! digests, and sessions. Writes, merges and promises share one lock; readers never take it. What it may not know: where
//! rows come from and go to, who is alive, what the bytes mean.
//!
//! Invariant: a dot in the context means that the store holds an entry of its key with at least its rank, or that entry
//! was collected by stable time.

mod attach;
mod buckets;
mod collect;
mod core;
mod departed;
mod expiry;
mod hash;
mod lanes;
mod merge;
mod newcomer;
mod outbox;
mod row;
mod schemas;
mod serving;
mod shard;
mod stability;
mod table;
mod transact;
mod write;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

pub use buckets::{BucketHashes, Digest};
pub use merge::Merged;
pub use outbox::Outbox;
pub use row::{MAX_KEY, MAX_VALUE, Row, TableName, TableNameError, owner_key, split_owner_key};
pub use serving::{Hold, Serving};
pub use stability::Report;
pub use table::{Change, ChangeSink, Conflict, ConflictSink, Origin, Snapshot, StoredTable};
pub use transact::Writer;
pub use write::{Update, WriteError};

use self::core::Core;
pub use crate::crdt::Key;
use crate::crdt::{Context, Dot, Value};
use crate::id::ReplicaId;
use crate::sabotage::Sabotage;
use crate::time::Now;

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The replica that it belongs to.
    pub replica: ReplicaId,
    /// Seeds the maps, so that nobody can choose keys that collide. Changes nothing that can be seen.
    pub hash_seed: u64,
    /// How many bytes of local writes may wait for the engine. Too small: bursts are left to repair, which is slower.
    /// Too large: a stalled engine holds that much memory.
    pub outbox_bytes: usize,
    /// How many threads may read a large table without getting into each other's way, 64 at most. Takes a quarter of a
    /// kilobyte for each, and for each large table. Changes nothing that can be seen.
    pub lanes: usize,
    /// Whether others are to hear of what is written here. Where not, nothing is remembered of removed rows either.
    pub sends: bool,
    /// The rules that this replica breaks: none.
    pub sabotage: Sabotage,
}

impl StoreConfig {
    /// The defaults, with an outbox of 16 MiB and one lane.
    pub fn new(replica: ReplicaId, hash_seed: u64) -> Self {
        Self { replica, hash_seed, outbox_bytes: 16 << 20, sends: true, lanes: 1, sabotage: Sabotage::default() }
    }
}

/// Numbers about a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreStats {
    /// Keys that have a value.
    pub live: u64,
    /// Keys that were removed, as far as that is still remembered.
    pub tombstones: u64,
    /// Tables.
    pub tables: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Tombstones collected so far.
    pub collected: u64,
    /// Rows that came back in bucket repairs after they had been collected or lost here.
    pub resurrected: u64,
    /// Local writes dropped from the full outbox and left to repair.
    pub outbox_dropped: u64,
    /// Rows of others that were refused.
    pub refused: u64,
    /// Rows of others that were far ahead of estimated time.
    pub ahead: u64,
    /// Rows of departed authors that were given a new dot here.
    pub adopted: u64,
    /// Eager rows that were dropped because nothing is known of their author.
    pub forgotten: u64,
    /// Authors that do not belong to the cluster any more and are still known.
    pub departed: u64,
    /// How many sessions keep tombstones from being collected at present.
    pub holds: u64,
}

type Waker = Arc<dyn Fn() + Send + Sync>;

/// All tables of one replica.
pub struct Store {
    config: StoreConfig,
    open: AtomicBool,
    closed: AtomicBool,
    tables: RwLock<BTreeMap<TableName, Arc<StoredTable>>>,
    core: Mutex<Core>,
    holds: Arc<AtomicUsize>,
    schemas: schemas::Schemas,
    /// When the first row is over, as a stamp.
    earliest: AtomicU64,
    /// The tables that are never sent, once there is one.
    unsent: OnceLock<Arc<Store>>,
    waker: Arc<Mutex<Option<Waker>>>,
}

impl Store {
    /// An empty store, not yet open for writes, whose roster is its own replica.
    pub fn new(config: StoreConfig) -> Self {
        let core = Core::new(&config);
        Self {
            config,
            open: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            tables: RwLock::default(),
            core: Mutex::new(core),
            holds: Arc::default(),
            schemas: schemas::Schemas::default(),
            earliest: AtomicU64::new(u64::MAX),
            unsent: OnceLock::new(),
            waker: Arc::default(),
        }
    }

    /// The replica that this store belongs to.
    pub fn replica(&self) -> ReplicaId {
        self.config.replica
    }

    /// The rules that this replica breaks: none.
    pub(crate) fn sabotage(&self) -> Sabotage {
        self.config.sabotage
    }

    /// A store for the tables of this replica alone, open from the beginning. Nothing of it is ever sent; it wakes the
    /// same engine, which ends its rows.
    pub fn unsent(&self) -> &Arc<Self> {
        self.unsent.get_or_init(|| {
            let config = StoreConfig { outbox_bytes: 0, sends: false, ..self.config.clone() };
            let unsent = Self { waker: Arc::clone(&self.waker), ..Self::new(config) };
            unsent.open();
            Arc::new(unsent)
        })
    }

    /// Lets writes in.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Lets no more writes in, for good: whoever is about to leave could keep them for nobody. One that is under way
    /// is finished first.
    pub fn close(&self) {
        let _core = self.lock();
        self.closed.store(true, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether the store was opened; it stays so when it is closed again.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Sets the correction of the wall clock towards the median of the members, in milliseconds.
    pub fn set_clock_offset_ms(&self, now: Now, offset_ms: i64) {
        self.lock().clock.set_offset_ms(now, offset_ms);
    }

    /// The wall clock of the cluster, as far as it is known here: that of this host with the correction.
    pub fn estimated(&self, now: Now) -> crate::time::Stamp {
        self.lock().clock.estimated(now)
    }

    /// Whom to call when the outbox goes from empty to non-empty. Replaces the one before.
    pub fn on_outbox(&self, waker: Box<dyn Fn() + Send + Sync>) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.into());
    }

    /// Takes the oldest local writes that wait. Those that remain do not wake anybody again: take until fewer come than
    /// were asked for.
    pub fn take_outbox(&self, max_rows: usize) -> Outbox {
        self.lock().outbox.take(max_rows)
    }

    /// The value of a key.
    pub fn get(&self, table: &TableName, key: &[u8]) -> Option<Value> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(table)?.get(key)
    }

    /// A table; created empty if it is new here.
    pub fn table(&self, name: &TableName) -> Arc<StoredTable> {
        if let Some(table) = self.tables.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(table);
        }
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(StoredTable::new(name.clone(), self.config.hash_seed, self.config.lanes));
        Arc::clone(tables.entry(name.clone()).or_insert_with(new))
    }

    /// Says whether there are no other members to send to. Rows that are written then need not wait for the engine: whoever
    /// comes pulls them.
    pub fn set_alone(&self, alone: bool) {
        self.lock().is_alone = alone;
    }

    /// The names of all tables, in order.
    pub fn tables(&self) -> Vec<TableName> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// The live rows of an owner table as (owner, name, value), in order.
    pub fn owner_rows(&self, table: &TableName) -> Vec<(ReplicaId, Vec<u8>, Value)> {
        let table = self.table(table);
        if table.is_empty() {
            return Vec::new();
        }
        let rows = table.snapshot().iter().filter_map(|(key, value)| {
            let (owner, name) = split_owner_key(&key)?;
            Some((owner, name.to_vec(), value))
        });
        rows.collect()
    }

    /// The rank of what is held of a key.
    #[cfg(feature = "testkit")]
    pub(crate) fn rank_of(&self, table: &TableName, key: &[u8]) -> Option<crate::crdt::Rank> {
        core::Slot::new(&self.table(table), key).mark().map(|mark| mark.rank())
    }

    /// Which writes are known.
    pub fn context(&self) -> Context {
        self.lock().context.clone()
    }

    /// Whether a write is known.
    pub fn knows(&self, dot: Dot) -> bool {
        self.lock().context.contains(dot)
    }

    /// Up to where every write of a replica is known.
    pub fn base_of(&self, replica: ReplicaId) -> u64 {
        self.lock().context.base(replica)
    }

    /// The replicas with known writes beyond an unknown one.
    pub fn gaps(&self) -> Vec<ReplicaId> {
        self.lock().context.gaps().collect()
    }

    /// The sums of all buckets.
    pub fn bucket_hashes(&self) -> BucketHashes {
        self.lock().sums.buckets.clone()
    }

    /// What to compare in passing.
    pub fn digest(&self) -> Digest {
        self.lock().digest()
    }

    /// A sum over the live rows of each table that has any, to name the one that differs.
    pub fn table_digests(&self) -> Vec<(TableName, u64)> {
        // All of one instant.
        let _core = self.lock();
        let tables = self.all_tables().into_iter().map(|table| (table.name().clone(), table.sum()));
        tables.filter(|(_, sum)| *sum != 0).collect()
    }

    /// Numbers about this store.
    pub fn stats(&self) -> StoreStats {
        let tables = self.tables().len() as u64;
        let core = self.lock();
        let holds = self.holds.load(Ordering::Acquire) as u64;
        let departed = core.departed().count() as u64;
        StoreStats { tables, holds, departed, outbox_dropped: core.outbox.dropped, ..core.stats }
    }

    fn all_tables(&self) -> Vec<Arc<StoredTable>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The write lock. A panic under it can only come from a closure or a watcher of the application, which run before
    /// or after a change, not within: the state is whole, so it is used on.
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker();
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("replica", &self.replica()).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
