//! Local writes on their way to the others.
//!
//! Whole rows in the order they were written. An owner row that was not taken yet gives its place to its successor,
//! which lists the dots it swallowed: signals may change faster than they are sent. Bounded in bytes: on overflow all
//! that waits is dropped and left to repair, since what a node cannot push in order it cannot push in time either.

use std::collections::{BTreeMap, VecDeque};

use super::row::{Row, TableName};
use crate::crdt::Key;

/// Local writes since the last time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outbox {
    /// The rows, oldest first.
    pub rows: Vec<Row>,
    /// Whether rows were dropped since the last time: repair has to bring them.
    pub overflowed: bool,
}

/// The queue behind [`Outbox`].
#[derive(Debug)]
pub(super) struct Queue {
    limit_bytes: usize,
    bytes: usize,
    rows: VecDeque<Row>,
    /// The number of the first row in the queue; rows are counted for ever.
    first: u64,
    /// The numbers of the waiting owner rows.
    owners: BTreeMap<(TableName, Key), u64>,
    overflowed: bool,
    pub(super) dropped: u64,
}

impl Queue {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            bytes: 0,
            rows: VecDeque::new(),
            first: 0,
            owners: BTreeMap::new(),
            overflowed: false,
            dropped: 0,
        }
    }

    /// Adds a row; returns whether the queue was empty.
    pub(super) fn push(&mut self, row: Row) -> bool {
        let was_empty = self.rows.is_empty();
        let Some(row) = self.coalesce(row) else { return false };
        let size = row.max_size();
        if self.bytes + size > self.limit_bytes {
            self.dropped += self.rows.len() as u64;
            self.overflowed |= !self.rows.is_empty();
            self.forget_first(self.rows.len());
        }
        if row.table.is_owner() {
            let number = self.first + self.rows.len() as u64;
            self.owners.insert((row.table.clone(), row.key.clone()), number);
        }
        self.bytes += size;
        self.rows.push_back(row);
        was_empty
    }

    /// Puts an owner row in the place of its waiting predecessor; gives it back if there is none.
    fn coalesce(&mut self, mut row: Row) -> Option<Row> {
        if !row.table.is_owner() {
            return Some(row);
        }
        let Some(number) = self.owners.get(&(row.table.clone(), row.key.clone())) else { return Some(row) };
        let place = usize::try_from(number - self.first).expect("a place in the queue");
        let waiting = &mut self.rows[place];
        if waiting.swallowed.len() == Row::MAX_SWALLOWED {
            return Some(row);
        }
        self.bytes -= waiting.max_size();
        row.swallowed = std::mem::take(&mut waiting.swallowed);
        row.swallowed.push(waiting.entry.dot.seq);
        self.bytes += row.max_size();
        *waiting = row;
        None
    }

    /// Takes the oldest rows.
    pub(super) fn take(&mut self, max_rows: usize) -> Outbox {
        let count = max_rows.min(self.rows.len());
        let rows = match count {
            // The engine asks after every input.
            0 => Vec::new(),
            _ if count == self.rows.len() => self.take_all(),
            _ => self.forget_first(count),
        };
        Outbox { rows, overflowed: std::mem::take(&mut self.overflowed) }
    }

    /// Looks at no row: who writes waits meanwhile.
    fn take_all(&mut self) -> Vec<Row> {
        /// As many are likely to come until the next time.
        const ROOM: usize = 64;
        let count = self.rows.len();
        let rows = std::mem::replace(&mut self.rows, VecDeque::with_capacity(count.min(ROOM)));
        self.owners.clear();
        self.bytes = 0;
        self.first += count as u64;
        rows.into()
    }

    fn forget_first(&mut self, count: usize) -> Vec<Row> {
        let rows: Vec<_> = self.rows.drain(..count).collect();
        for (number, row) in (self.first..).zip(&rows) {
            self.bytes -= row.max_size();
            if row.table.is_owner() {
                let place = (row.table.clone(), row.key.clone());
                if self.owners.get(&place) == Some(&number) {
                    self.owners.remove(&place);
                }
            }
        }
        self.first += count as u64;
        rows
    }
}
