//! Local writes: a new dot, a stamp above everything seen, applied at once, and queued for the others.

use std::sync::Arc;

use super::Store;
use super::core::{Core, Slot};
use super::row::{self, Key, MAX_KEY, MAX_VALUE, Row, TableName};
use super::table::Origin;
use crate::crdt::{Dot, Entry, Value};
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
        self.check(table, false, key.len())?;
        check_value(value)?;
        let (table, key) = (self.table(table), Key::from(key));
        self.write(|core| core.put(now, Slot::new(&table, &key), value.into()))
    }

    /// Removes a key; returns what was there. Where nothing is, nothing is written.
    pub fn remove(&self, now: Now, table: &TableName, key: &[u8]) -> Result<Option<Value>, WriteError> {
        self.check(table, false, key.len())?;
        let (table, key) = (self.table(table), Key::from(key));
        self.write(|core| core.remove(now, Slot::new(&table, &key)))
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
        self.check(table, false, key.len())?;
        let (table, key) = (self.table(table), Key::from(key));
        self.write(|core| {
            let slot = Slot::new(&table, &key);
            let current = slot.entry().and_then(|entry| entry.value);
            let (update, result) = decide(current.as_ref());
            let row = match update {
                Update::Keep => None,
                Update::Put(value) => match check_value(&value) {
                    Ok(()) => core.put(now, slot, value.into()).1,
                    Err(error) => return (Err(error), None),
                },
                Update::Remove => core.remove(now, slot).1,
            };
            (Ok(result), row)
        })?
    }

    /// Writes a row of this replica's own in an owner table. `None`: it has that value already, and nothing is written.
    pub fn put_own(&self, now: Now, table: &TableName, name: &[u8], value: &[u8]) -> Result<Option<Dot>, WriteError> {
        let key = Key::from(row::owner_key(self.replica(), name));
        self.check(table, true, key.len())?;
        check_value(value)?;
        let table = self.table(table);
        self.write(|core| {
            let slot = Slot::new(&table, &key);
            let same = slot.entry().is_some_and(|entry| entry.value.as_deref() == Some(value));
            if same {
                return (None, None);
            }
            let (dot, row) = core.put(now, slot, value.into());
            (Some(dot), row)
        })
    }

    /// Removes a row of this replica's own from an owner table; returns whether it was there.
    pub fn remove_own(&self, now: Now, table: &TableName, name: &[u8]) -> Result<bool, WriteError> {
        let key = Key::from(row::owner_key(self.replica(), name));
        self.check(table, true, key.len())?;
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

    fn check(&self, table: &TableName, own: bool, key_bytes: usize) -> Result<(), WriteError> {
        if table.is_owner() != own {
            return Err(WriteError::Reserved { table: table.clone() });
        }
        match key_bytes {
            0 => Err(WriteError::KeyEmpty),
            bytes if bytes > MAX_KEY => Err(WriteError::KeyTooLong { bytes }),
            _ => Ok(()),
        }
    }

    /// Runs a write under the lock, queues the row it made, and wakes the engine after the lock is released.
    fn write<R>(&self, write: impl FnOnce(&mut Core) -> (R, Option<Row>)) -> Result<R, WriteError> {
        let (result, wake) = {
            let mut core = self.lock();
            if !self.is_open() {
                return Err(WriteError::NotReady);
            }
            if self.is_closed() {
                return Err(WriteError::Closed);
            }
            let (result, row) = write(&mut core);
            (result, row.is_some_and(|row| core.outbox.push(row)))
        };
        if wake {
            self.wake();
        }
        Ok(result)
    }
}

fn check_value(value: &[u8]) -> Result<(), WriteError> {
    if value.len() > MAX_VALUE { Err(WriteError::ValueTooLong { bytes: value.len() }) } else { Ok(()) }
}

impl Core {
    pub(super) fn put(&mut self, now: Now, slot: Slot<'_>, value: Value) -> (Dot, Option<Row>) {
        let stamp = self.stamp(now);
        // Above what is there, also if that came from a far future that did not advance the clock.
        let above = slot.entry().map_or(stamp, |observed| observed.rank_time.next());
        let rank_time = if self.sabotage.breaks(Rule::OwnStampPut) { stamp } else { stamp.max(above) };
        let dot = self.draw_dot();
        let entry = Entry { dot, stamp, rank_time, rank_author: self.replica, value: Some(value) };
        // Also of what was sent already: whoever missed it has what took its place, and no hole where it was.
        let former = slot.entry().filter(|_| slot.table.name().is_owner()).map(|former| former.dot.seq);
        let mut row = self.apply_local(slot, entry);
        row.swallowed.extend(former);
        (dot, Some(row))
    }

    pub(super) fn remove(&mut self, now: Now, slot: Slot<'_>) -> (Option<Value>, Option<Row>) {
        let Some(observed) = slot.entry().filter(|entry| !entry.is_tombstone()) else { return (None, None) };
        (observed.value.clone(), Some(self.bury(now, slot, observed)))
    }

    /// Puts a tombstone in the place of a value that was observed, here or elsewhere.
    pub(super) fn bury(&mut self, now: Now, slot: Slot<'_>, observed: Entry) -> Row {
        let stamp = self.stamp(now);
        let mut entry = Entry { dot: self.draw_dot(), stamp, value: None, ..observed };
        if self.sabotage.breaks(Rule::OwnStampRemoval) {
            (entry.rank_time, entry.rank_author) = (stamp.max(entry.rank_time.next()), self.replica);
        }
        self.apply_local(slot, entry)
    }

    fn apply_local(&mut self, slot: Slot<'_>, entry: Entry) -> Row {
        debug_assert!(
            slot.entry().is_none_or(|observed| entry.beats(&observed)) || self.sabotage.breaks(Rule::OwnStampPut),
            "a local write wins where it is made"
        );
        self.set(slot, Some(entry.clone()), Origin::Local);
        Row { table: slot.table.name().clone(), key: Arc::clone(slot.key), entry, swallowed: Vec::new() }
    }
}
