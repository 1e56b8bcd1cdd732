//! Local writes: a new dot, a stamp above everything seen, applied at once, and queued for the others.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Store;
use super::core::{Core, Slot};
use super::row::{self, MAX_KEY, MAX_VALUE, Row, TableName};
use super::table::{Origin, StoredTable};
use crate::crdt::{Dot, Mark, Record, Value};
use crate::sabotage::Rule;
use crate::time::{Now, Stamp};

/// Why a write was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The node is not ready: it has not finished its first pull.
    #[error("this node is not ready to write; wait until it is")]
    NotReady,
    /// The node has left, or is about to: nobody would keep what is written now.
    #[error("this node has left; start a new one to write")]
    Closed,
    /// The key is empty.
    #[error("the key is empty; give it 1 to {MAX_KEY} bytes")]
    KeyEmpty,
    /// The key is longer than [`MAX_KEY`].
    #[error("the key has {bytes} bytes; shorten it to {MAX_KEY}")]
    KeyTooLong {
        /// How long it is, encoded.
        bytes: usize,
    },
    /// The value is longer than [`MAX_VALUE`].
    #[error("the value has {bytes} bytes; shorten it to {MAX_VALUE} or split it over several keys")]
    ValueTooLong {
        /// How long it is, encoded.
        bytes: usize,
    },
    /// The table is full.
    #[error(
        "the table {table} has no room for {needed} more bytes: it holds {bytes} and may hold {quota}; remove rows, or \
         open it with a larger quota"
    )]
    Quota {
        /// The table.
        table: TableName,
        /// How many more bytes the row takes.
        needed: u64,
        /// How many bytes its keys and values take.
        bytes: u64,
        /// How many they may take.
        quota: u64,
    },
    /// Rows of owner tables are written by `put_own` and `remove_own`, and only those.
    #[error("the table {table} is reserved; choose a name that does not start with '@'")]
    Reserved {
        /// The table.
        table: TableName,
    },
}

/// What [`Store::update`] is to do with a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Update {
    /// Leave it.
    Keep,
    /// Write this value.
    Put(Vec<u8>),
    /// Remove it.
    Remove,
}

impl Store {
    /// Writes a value. A put of an equal value is a write as well.
    pub fn put(&self, now: Now, table: &TableName, key: &[u8], value: &[u8]) -> Result<Dot, WriteError> {
        check(table, false, key.len())?;
        self.put_in(now, &self.table(table), key, value, None)
    }

    /// As [`put`](Self::put), for who has the table at hand, which must be one of this store. With a `ttl` the row is over
    /// when that has passed.
    pub fn put_in(
        &self,
        now: Now,
        table: &StoredTable,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<Dot, WriteError> {
        check(table.name(), false, key.len())?;
        check_value(value)?;
        self.write(|core| {
            let slot = Slot::new(table, key);
            match slot.check_quota(value) {
                Ok(()) => {
                    let (dot, row) = core.put_for(now, slot, value, ttl);
                    (Ok(dot), row)
                }
                Err(error) => (Err(error), None),
            }
        })?
    }

    /// Removes a key; returns what was there. Where nothing is, nothing is written.
    pub fn remove(&self, now: Now, table: &TableName, key: &[u8]) -> Result<Option<Value>, WriteError> {
        check(table, false, key.len())?;
        self.remove_in(now, &self.table(table), key)
    }

    /// As [`remove`](Self::remove), for who has the table at hand, which must be one of this store.
    pub fn remove_in(&self, now: Now, table: &StoredTable, key: &[u8]) -> Result<Option<Value>, WriteError> {
        check(table.name(), false, key.len())?;
        self.write(|core| core.remove(now, Slot::new(table, key)))
    }

    /// Reads a key and writes it in one step: no other write comes between. `decide` runs under the store's lock; it
    /// must not use the store, and should be quick.
    pub fn update<R>(
        &self,
        now: Now,
        table: &TableName,
        key: &[u8],
        decide: impl FnOnce(Option<&Value>) -> (Update, R),
    ) -> Result<R, WriteError> {
        check(table, false, key.len())?;
        let table = self.table(table);
        self.transact(now, |writer| {
            let (update, result) = decide(writer.get(&table, key).as_ref());
            writer.apply(&table, key, update, None)?;
            Ok(result)
        })
    }

    /// Writes a row of this replica's own in an owner table. `None`: it has that value already, and nothing is written.
    pub fn put_own(&self, now: Now, table: &TableName, name: &[u8], value: &[u8]) -> Result<Option<Dot>, WriteError> {
        let key = row::owner_key(self.replica(), name);
        check(table, true, key.len())?;
        check_value(value)?;
        let table = self.table(table);
        self.write(|core| {
            let slot = Slot::new(&table, &key);
            let same = slot.entry().is_some_and(|entry| entry.value.as_deref() == Some(value));
            if same {
                return (None, None);
            }
            let (dot, row) = core.put(now, slot, value);
            (Some(dot), row)
        })
    }

    /// Removes a row of this replica's own from an owner table; returns whether it was there.
    pub fn remove_own(&self, now: Now, table: &TableName, name: &[u8]) -> Result<bool, WriteError> {
        let key = row::owner_key(self.replica(), name);
        check(table, true, key.len())?;
        let table = self.table(table);
        self.write(|core| {
            let (removed, row) = core.remove(now, Slot::new(&table, &key));
            (removed.is_some(), row)
        })
    }

    /// Draws a stamp above everything seen so far.
    pub fn tick(&self, now: Now) -> Stamp {
        self.lock().stamp(now)
    }

    /// Runs a write under the lock, queues the row it made, and wakes the engine after the lock is released.
    pub(super) fn write<R, I: IntoIterator<Item = Row>>(
        &self,
        write: impl FnOnce(&mut Core) -> (R, I),
    ) -> Result<R, WriteError> {
        let (result, wake) = {
            let mut core = self.lock();
            let before = self.earliest.load(Ordering::Relaxed);
            if !self.is_open() {
                return Err(WriteError::NotReady);
            }
            if self.is_closed() {
                return Err(WriteError::Closed);
            }
            let (result, rows) = write(&mut core);
            let wake = rows.into_iter().fold(false, |wake, row| wake | (core.is_heard(&row) && core.outbox.push(row)));
            self.note_earliest(&core);
            // Also where nothing is sent: a row ends earlier than any before.
            (result, wake || self.earliest.load(Ordering::Relaxed) < before)
        };
        if wake {
            self.wake();
        }
        Ok(result)
    }
}

pub(super) fn check(table: &TableName, own: bool, key_bytes: usize) -> Result<(), WriteError> {
    if table.is_owner() != own {
        return Err(WriteError::Reserved { table: table.clone() });
    }
    match key_bytes {
        0 => Err(WriteError::KeyEmpty),
        bytes if bytes > MAX_KEY => Err(WriteError::KeyTooLong { bytes }),
        _ => Ok(()),
    }
}

pub(super) fn check_value(value: &[u8]) -> Result<(), WriteError> {
    if value.len() > MAX_VALUE { Err(WriteError::ValueTooLong { bytes: value.len() }) } else { Ok(()) }
}

impl Core {
    /// Whether anybody is to hear of a row that was written here: nobody is if there are no others, but the engine reads
    /// its system tables.
    fn is_heard(&self, row: &Row) -> bool {
        self.sends && (!self.is_alone || row.table.is_reserved())
    }

    pub(super) fn put(&mut self, now: Now, slot: Slot<'_>, value: &[u8]) -> (Dot, Option<Row>) {
        self.put_for(now, slot, value, None)
    }

    /// As [`put`](Self::put), for a row that is over after `ttl`.
    pub(super) fn put_for(
        &mut self,
        now: Now,
        slot: Slot<'_>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> (Dot, Option<Row>) {
        let expires = ttl.map(|ttl| self.expiry(now, ttl));
        let stamp = self.stamp(now);
        let former = slot.mark();
        // Above what is there, also if that came from a far future that did not advance the clock.
        let above = former.map_or(stamp, |observed| observed.rank_time.next());
        let rank_time = if self.sabotage.breaks(Rule::OwnStampPut) { stamp } else { stamp.max(above) };
        let dot = self.draw_dot();
        let mark = Mark { dot, stamp, rank_time, rank_author: self.replica, expires, removal: false };
        let mut row = self.apply_local(slot, former, Record::new(slot.key, mark, value));
        // Also of what was sent already: whoever missed it has what took its place, and no hole where it was.
        row.swallowed.extend(former.filter(|_| slot.table.is_owner()).map(|former| former.dot.seq));
        (dot, Some(row))
    }

    pub(super) fn remove(&mut self, now: Now, slot: Slot<'_>) -> (Option<Value>, Option<Row>) {
        let Some(observed) = slot.entry().filter(|entry| !entry.is_tombstone()) else { return (None, None) };
        if !self.sends {
            self.set(slot, None, Origin::Local);
            return (observed.value, None);
        }
        let mark = observed.mark();
        (observed.value, Some(self.bury(now, slot, mark)))
    }

    /// Puts a tombstone in the place of a value that was observed, here or elsewhere.
    pub(super) fn bury(&mut self, now: Now, slot: Slot<'_>, observed: Mark) -> Row {
        let stamp = self.stamp(now);
        let mut mark = Mark { dot: self.draw_dot(), stamp, expires: None, removal: true, ..observed };
        if self.sabotage.breaks(Rule::OwnStampRemoval) {
            (mark.rank_time, mark.rank_author) = (stamp.max(mark.rank_time.next()), self.replica);
        }
        self.apply_local(slot, slot.mark(), Record::new(slot.key, mark, &[]))
    }

    fn apply_local(&mut self, slot: Slot<'_>, former: Option<Mark>, record: Record) -> Row {
        debug_assert!(
            former.is_none_or(|former| record.mark().beats(&former)) || self.sabotage.breaks(Rule::OwnStampPut),
            "a local write wins where it is made"
        );
        let row = Row::of(slot.table.name().clone(), &record);
        self.set(slot, Some(record), Origin::Local);
        row
    }
}
