//! Several writes in one step.

use std::time::Duration;

use super::core::{Core, Slot};
use super::row::Row;
use super::table::StoredTable;
use super::write::{Update, check, check_value};
use super::{Store, WriteError};
use crate::crdt::{Dot, Value};
use crate::id::ReplicaId;
use crate::time::Now;

/// Reads and writes of which no other write of this node comes between; see [`Store::transact`].
pub struct Writer<'a> {
    core: &'a mut Core,
    now: Now,
    rows: Vec<Row>,
}

impl Store {
    /// Lets `write` read and write rows while nobody else writes here, and sends what it wrote together. It runs under
    /// the store's lock: it must not use the store otherwise, and should be quick. What it wrote before it returned an
    /// error stays written.
    pub fn transact<R, E: From<WriteError>>(
        &self,
        now: Now,
        write: impl FnOnce(&mut Writer<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        self.write(|core| {
            let mut writer = Writer { core, now, rows: Vec::new() };
            let result = write(&mut writer);
            (result, writer.rows)
        })?
    }
}

impl Writer<'_> {
    /// The value of a key.
    pub fn get(&self, table: &StoredTable, key: &[u8]) -> Option<Value> {
        table.get(key)
    }

    /// Writes a value, which is over after `ttl`. A put of an equal value is a write as well.
    ///
    /// # Errors
    /// Those of [`Store::put_in`].
    pub fn put(
        &mut self,
        table: &StoredTable,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<Dot, WriteError> {
        check(table.name(), false, key.len())?;
        check_value(value)?;
        let slot = Slot::new(table, key);
        slot.check_quota(value)?;
        let (dot, row) = self.core.put_for(self.now, slot, value, ttl);
        self.rows.extend(row);
        Ok(dot)
    }

    /// Removes a key; returns what was there.
    ///
    /// # Errors
    /// Those of [`Store::remove`].
    pub fn remove(&mut self, table: &StoredTable, key: &[u8]) -> Result<Option<Value>, WriteError> {
        check(table.name(), false, key.len())?;
        let (removed, row) = self.core.remove(self.now, Slot::new(table, key));
        self.rows.extend(row);
        Ok(removed)
    }

    /// Does with a key what was decided; a row that is put is over after `ttl`.
    ///
    /// # Errors
    /// Those of [`Store::put_in`].
    pub fn apply(
        &mut self,
        table: &StoredTable,
        key: &[u8],
        update: Update,
        ttl: Option<Duration>,
    ) -> Result<(), WriteError> {
        match update {
            Update::Keep => Ok(()),
            Update::Put(value) => self.put(table, key, &value, ttl).map(drop),
            Update::Remove => self.remove(table, key).map(drop),
        }
    }

    /// Whether a replica has departed, and all members know the same of what it wrote: nothing more will come of it from
    /// anybody here.
    pub fn has_departed(&self, replica: ReplicaId) -> bool {
        replica != self.core.replica && !self.core.roster.contains(&replica) && self.core.stable_time().is_some()
    }
}
