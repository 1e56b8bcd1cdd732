//! The story of all writes and of who held them: what must be true of the rows, found out without the store's code.
//!
//! A write *survives* as long as some process that knows it lives on. What nobody knew but a process that ended is gone,
//! and binds nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::crdt::{Dot, Entry};
use crate::store::{Store, TableName};
use crate::testkit::NodeIndex;

/// One write that a store acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) key: String,
    pub(crate) entry: Entry,
    /// Somebody who knows it lives.
    pub(crate) survives: bool,
}

/// All writes of a trial.
#[derive(Debug)]
pub(crate) struct Story {
    table: TableName,
    /// In the order in which they were made.
    written: Vec<Written>,
    /// Which of them were of each key.
    by_key: BTreeMap<String, Vec<usize>>,
}

impl Story {
    pub(super) fn new(table: TableName) -> Self {
        Self { table, written: Vec::new(), by_key: BTreeMap::new() }
    }

    /// The table that all is written to.
    pub(crate) fn table(&self) -> &TableName {
        &self.table
    }

    /// All writes, in the order in which they were made.
    pub(crate) fn written(&self) -> &[Written] {
        &self.written
    }

    /// All keys that were ever written.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().map(String::as_str)
    }

    /// All writes of a key, in the order in which they were made.
    pub(crate) fn of(&self, key: &str) -> impl Iterator<Item = &Written> + Clone {
        let indices = self.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        indices.iter().map(|index| &self.written[*index])
    }

    /// Takes down the write that a store acknowledged last.
    pub(super) fn wrote(&mut self, node: NodeIndex, store: &Arc<Store>, key: &str) -> Result<&Written, String> {
        let own = store.replica();
        let seq = store.base_of(own);
        let mut have = store.context();
        have.remove(own);
        if seq > 1 {
            have.add_range(own, 1, seq - 1);
        }
        let dot = Dot { replica: own, seq };
        let rows = store.serve(&have).next_rows(usize::MAX).unwrap_or_default();
        let row = rows.into_iter().find(|row| row.entry.dot == dot);
        let Some(row) = row.filter(|row| row.table == self.table && *row.key == *key.as_bytes()) else {
            return Err(format!("{node:?} acknowledged a write to {key:?} and serves no row for it"));
        };
        self.by_key.entry(key.to_owned()).or_default().push(self.written.len());
        self.written.push(Written { key: key.to_owned(), entry: row.entry, survives: true });
        Ok(&self.written[self.written.len() - 1])
    }

    /// A process ended: what no other knew is gone. Returns those of these puts that nothing replaced. (A removal may go
    /// with a node that knew of nobody else: for all it could know, nothing was left to lose.)
    pub(super) fn lost(&mut self, others: &[&Arc<Store>]) -> Vec<Dot> {
        let mut gone = Vec::new();
        for written in self.written.iter_mut().filter(|written| written.survives) {
            let key = written.key.as_bytes();
            written.survives = others.iter().any(|store| {
                // The author may be forgotten already where what he wrote was adopted or replaced.
                store.knows(written.entry.dot) || store.rank_of(&self.table, key) >= Some(written.entry.rank())
            });
            if !written.survives {
                gone.push((written.key.clone(), written.entry.rank(), written.entry.dot));
            }
        }
        let replaced = |key: &str, rank| {
            let kept = self.written.iter().filter(|written| written.survives && written.key == key);
            let kept = kept.map(|written| written.entry.rank());
            let removed = gone.iter().filter(|(gone, rank, _)| gone == key && rank.removal).map(|(_, rank, _)| *rank);
            kept.chain(removed).any(|other| other >= rank)
        };
        gone.iter().filter(|(key, rank, _)| !replaced(key, *rank)).map(|(.., dot)| *dot).collect()
    }
}
