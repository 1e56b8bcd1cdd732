//! What must be true of the rows, found out without the store's code: the story of all writes and of who held them.
//!
//! A write *survives* as long as some process that knows it lives on. The winner at the end must rank at least as high
//! as every write that survived, and must be one that somebody made. Removed rows may be forgotten, so "absent" stands
//! for a removal that ranks high enough.
//!
//! Where groups collect removals on their own and meet again, what a removed value had replaced may come back; and where
//! clocks differ by a minute, a put may be stamped below a removal that was collected long before. There only those puts
//! bind that nobody removed, nor anything above them.

use std::collections::BTreeMap;
use std::sync::Arc;

use unisono::crdt::{Dot, Entry, Rank};
use unisono::store::{Store, TableName};

/// One write.
struct Written {
    entry: Entry,
    survives: bool,
}

/// All writes of a run, by key.
pub(crate) struct Oracle {
    table: TableName,
    written: BTreeMap<String, Vec<Written>>,
}

impl Oracle {
    pub(crate) fn new(table: TableName) -> Self {
        Self { table, written: BTreeMap::new() }
    }

    /// Takes down the write that a store acknowledged last.
    pub(crate) fn wrote(&mut self, store: &Arc<Store>, key: &str) {
        let own = store.replica();
        let seq = store.base_of(own);
        let mut have = store.context();
        have.remove(own);
        if seq > 1 {
            have.add_range(own, 1, seq - 1);
        }
        let rows = store.serve(&have).next_rows(usize::MAX).unwrap();
        let row = rows.into_iter().find(|row| row.entry.dot == Dot { replica: own, seq }).unwrap();
        assert_eq!((&row.table, &*row.key), (&self.table, key.as_bytes()));
        self.written.entry(key.to_owned()).or_default().push(Written { entry: row.entry, survives: true });
    }

    /// A process ended: what no other knew is gone. Returns those of these puts that nothing replaced. (A removal may go
    /// with a node that knew of nobody else: for all it could know, nothing was left to lose.)
    pub(crate) fn lost(&mut self, others: &[&Arc<Store>]) -> Vec<Dot> {
        let mut lost = Vec::new();
        for written in self.written.values_mut() {
            let mut gone = Vec::new();
            for written in written.iter_mut().filter(|written| written.survives) {
                written.survives = others.iter().any(|store| store.knows(written.entry.dot));
                if !written.survives {
                    gone.push((written.entry.rank(), written.entry.dot));
                }
            }
            let highest = written.iter().filter(|written| written.survives).map(|written| written.entry.rank()).max();
            let highest = highest.max(gone.iter().map(|(rank, _)| *rank).filter(|rank| rank.removal).max());
            lost.extend(gone.iter().filter(|(rank, _)| Some(*rank) > highest).map(|(_, dot)| *dot));
        }
        lost
    }

    /// Compares a store with the story, once everything is at rest.
    pub(crate) fn check(&self, store: &Store, removals_bind: bool) -> Result<(), String> {
        let table = store.table(&self.table);
        for (key, written) in &self.written {
            let removed =
                |rank: Rank| written.iter().any(|written| written.entry.is_tombstone() && written.entry.rank() > rank);
            let binding = written.iter().filter(|written| written.survives).map(|written| written.entry.rank());
            let verdict = match table.get(key.as_bytes()) {
                Some(value) => {
                    let least = binding.filter(|rank| removals_bind || (!rank.removal && !removed(*rank))).max();
                    match written.iter().find(|written| written.entry.value.as_ref() == Some(&value)) {
                        None => Err(format!("holds {value:?}, which nobody wrote")),
                        Some(author) if Some(author.entry.rank()) < least => {
                            Err(format!("holds {:?}, though {least:?} survived", author.entry))
                        }
                        Some(_) => Ok(()),
                    }
                }
                None => match binding.filter(|rank| !rank.removal).max() {
                    Some(rank) if !removed(rank) => Err(format!("is gone, though {rank:?} survived")),
                    _ => Ok(()),
                },
            };
            verdict.map_err(|why| format!("key {key:?} {why}"))?;
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.written.values().map(Vec::len).sum()
    }
}
