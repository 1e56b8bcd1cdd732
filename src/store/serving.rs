//! What another replica is given in a repair session: a snapshot, row by row.
//!
//! ```text
//!   serve ──(write lock)──▶ context + all shards frozen at one instant
//!   next_rows ──▶ table by table, shard by shard, write by write: what the other lacks
//!   None ──▶ now, and only now, the context
//! ```
//!
//! Deterministic: the order depends on names and dots alone. (In the order of the dots, the other's context grows at few
//! places at a time.) A shard is let go as soon as it was gone through, so that
//! writes have to copy it for as short a time as possible.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Store;
use super::buckets::BucketHashes;
use super::hash;
use super::row::{Row, TableName};
use super::shard::Shard;
use crate::crdt::{Context, Dot, Record};

/// While one lives, nothing is collected.
#[derive(Debug)]
#[must_use = "tombstones are kept only as long as it lives"]
pub struct Hold(Arc<AtomicUsize>);

impl Hold {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Acquire);
        Self(Arc::clone(count))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Which rows the other lacks.
#[derive(Debug)]
enum Lacking {
    /// Those whose dots it does not know.
    Dots(Context),
    /// All those in buckets that differ.
    Buckets { ours: BucketHashes, theirs: BucketHashes },
}

impl Lacking {
    fn includes(&self, table: &TableName, table_hash: u64, record: &Record) -> bool {
        match self {
            Self::Dots(have) => !have.contains(record.mark().dot),
            Self::Buckets { ours, theirs } => {
                let (owner, place) = (table.is_owner(), hash::place(table_hash, record.key()));
                ours.get(owner, place) != theirs.get(owner, place)
            }
        }
    }
}

/// A snapshot on its way to another replica. While it lives, nothing is collected.
#[derive(Debug)]
pub struct Serving {
    context: Context,
    lacking: Lacking,
    shards: VecDeque<(TableName, Arc<Shard>)>,
    /// The rows of the shard at hand, last first, and their table.
    rows: Vec<(Dot, Record)>,
    table: Option<TableName>,
    _hold: Hold,
}

impl Store {
    /// Starts a session with a replica that knows `have`: every row whose dot it lacks, then this replica's context.
    pub fn serve(self: &Arc<Self>, have: &Context) -> Serving {
        self.start_serving(|_| Lacking::Dots(have.clone()))
    }

    /// Starts a bucket repair with a replica that has the sums `have`: every row, tombstones too, of the buckets that
    /// differ.
    pub fn serve_buckets(self: &Arc<Self>, have: &BucketHashes) -> Serving {
        self.start_serving(|ours| Lacking::Buckets { ours: ours.clone(), theirs: have.clone() })
    }

    /// Keeps tombstones for whoever is about to compare buckets: what was removed here meanwhile may still be in the
    /// other's snapshot, whose rows are taken whether or not their dots are known.
    pub fn hold_tombstones(&self) -> Hold {
        let _core = self.lock();
        Hold::new(&self.holds)
    }

    fn start_serving(&self, lacking: impl FnOnce(&BucketHashes) -> Lacking) -> Serving {
        let mut serving = {
            let core = self.lock();
            // Counted under the lock: `collect` looks at it under the lock.
            let hold = Hold::new(&self.holds);
            let shards = self.all_tables().into_iter().flat_map(|table| {
                let frozen = table.freeze();
                frozen.into_iter().map(move |shard| (table.name().clone(), shard))
            });
            Serving {
                context: core.context.clone(),
                lacking: lacking(&core.sums.buckets),
                shards: shards.filter(|(_, shard)| !shard.is_empty()).collect(),
                rows: Vec::new(),
                table: None,
                _hold: hold,
            }
        };
        serving.refill();
        serving
    }
}

impl Serving {
    /// The next rows, at least one and as many more as fit into `max_bytes`; `None` after the last.
    pub fn next_rows(&mut self, max_bytes: usize) -> Option<Vec<Row>> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while let (Some(table), Some((_, record))) = (&self.table, self.rows.last()) {
            let row = Row::of(table.clone(), record);
            bytes += row.max_size();
            if bytes > max_bytes && !rows.is_empty() {
                break;
            }
            rows.push(row);
            self.rows.pop();
            if self.rows.is_empty() {
                self.refill();
            }
        }
        if rows.is_empty() { None } else { Some(rows) }
    }

    /// What this replica knew when the session began. The other may join it after the last row, and not before.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// At most so many rows are still to come; 0 exactly when none is.
    pub fn remaining(&self) -> usize {
        self.rows.len() + self.shards.iter().map(|(_, shard)| shard.len()).sum::<usize>()
    }

    /// Goes on to the next shard that has something to give.
    fn refill(&mut self) {
        while self.rows.is_empty() {
            let Some((table, shard)) = self.shards.pop_front() else { return };
            let table_hash = hash::table_hash(&table);
            let lacking = shard.iter().filter(|record| self.lacking.includes(&table, table_hash, record));
            self.rows = lacking.map(|record| (record.mark().dot, record.clone())).collect();
            self.rows.sort_unstable_by(|(a, one), (b, other)| b.cmp(a).then_with(|| other.key().cmp(one.key())));
            self.table = Some(table);
        }
    }
}
