//! Rows of others: checked, merged by rank, and only then known.

use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::core::{Core, Slot};
use super::row::Row;
use super::table::{Conflict, Origin, StoredTable};
use crate::crdt::{Context, Dot, Entry, Mark};
use crate::id::ReplicaId;
use crate::sabotage::Rule;
use crate::time::Now;

/// What became of the rows that were merged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Merged {
    /// Those whose dots were unknown, in the order they came: what is worth passing on.
    pub news: Vec<Row>,
    /// How many were refused: out of bounds, contradictory, or owned by somebody outside the roster.
    pub refused: usize,
    /// The author of the row that was furthest ahead of estimated time, and by how much.
    pub ahead: Option<(ReplicaId, Duration)>,
    /// How many values came back whose dot was known: they had been collected as removed, or lost, here.
    pub resurrected: u64,
}

impl Store {
    /// Merges the rows of a session. A row whose dot is known is dropped; of any other the dot,
    /// and the dots it swallowed, become known, and nothing else: a fragment never claims more than it carries.
    ///
    /// Owner rows are refused while their owner is not in the roster: set the roster first.
    pub fn merge(&self, now: Now, rows: Vec<Row>) -> Merged {
        self.merge_known(now, rows, |_, _| true)
    }

    /// Merges the rows of an eager delta. Those of an author are dropped of whom nothing is known and who does not belong to
    /// the cluster: he may have been forgotten, and then what is long under way was replaced long ago, and the removals
    /// that tell so are collected. If he is new, a session brings them.
    pub fn merge_eager(&self, now: Now, rows: Vec<Row>) -> Merged {
        self.merge_known(now, rows, Core::has_heard_of)
    }

    fn merge_known(&self, now: Now, rows: Vec<Row>, takes: impl Fn(&Core, ReplicaId) -> bool) -> Merged {
        let mut merged = Merged::default();
        self.merge_each(rows, &mut merged, |core, slot, row, merged| {
            if !takes(core, row.entry.dot.replica) {
                core.stats.forgotten += 1;
            } else if core.know_row(&row) {
                core.merge_row(now, slot, &row, merged);
                merged.news.push(row);
            }
        });
        merged
    }

    /// Merges the rows of a bucket repair: what is known does not matter, the higher rank wins, present beats absent.
    ///
    /// Not so with this replica's own owner rows: it alone writes them, so what it does not hold it has removed. Where
    /// such a row comes back it is removed again, for all those who hold it.
    pub fn merge_buckets(&self, now: Now, rows: Vec<Row>) -> Merged {
        let mut merged = Merged::default();
        let mut wakes = false;
        self.merge_each(rows, &mut merged, |core, slot, row, merged| {
            let own = row.owner() == Some(core.replica) && !core.sabotage.breaks(Rule::OwnerWithoutLastWord);
            let was_absent = slot.mark().is_none();
            if own && was_absent {
                // Who leaves draws no dot that nobody would take over; the row goes with its owner.
                wakes |= !self.is_closed() && core.disown(now, slot, row.entry);
                return;
            }
            let news = core.know_row(&row);
            core.merge_row(now, slot, &row, merged);
            if news {
                merged.news.push(row);
            } else if was_absent && slot.mark().is_some_and(|mark| !mark.removal) {
                merged.resurrected += 1;
                core.stats.resurrected += 1;
            }
        });
        if wakes {
            self.wake();
        }
        merged
    }

    /// Takes over a whole context. Only after the last row of the session that it belongs to.
    pub fn join_context(&self, context: &Context) {
        self.lock().know_all(context.clone());
    }

    fn merge_each(
        &self,
        rows: Vec<Row>,
        merged: &mut Merged,
        mut merge: impl FnMut(&mut Core, Slot<'_>, Row, &mut Merged),
    ) {
        let mut core = self.lock();
        // Rows mostly come table by table.
        let mut last: Option<Arc<StoredTable>> = None;
        for row in rows {
            if !core.accepts(&row) {
                merged.refused += 1;
                core.stats.refused += 1;
                continue;
            }
            let table = last.take().filter(|last| *last.name() == row.table).unwrap_or_else(|| self.table(&row.table));
            let key = row.key.clone();
            merge(&mut core, Slot::new(&table, &key), row, merged);
            last = Some(table);
        }
        self.note_earliest(&core);
    }
}

impl Core {
    fn accepts(&self, row: &Row) -> bool {
        let Dot { replica, seq } = row.entry.dot;
        // A write of our own that we did not make: damage, or somebody else counts under our name.
        let forged = replica == self.replica && seq > self.seq;
        let owner_is_known = row.owner().is_none_or(|owner| owner == self.replica || self.roster.contains(&owner));
        row.is_sound() && !forged && owner_is_known
    }

    /// Adds the dots of a row; returns whether its own was unknown. Those it swallowed follow from it: they were
    /// replaced by the entry that it names.
    fn know_row(&mut self, row: &Row) -> bool {
        let forgets = self.sabotage.breaks(Rule::SwallowedForgotten);
        for dot in row.swallowed_dots().filter(|_| !forgets) {
            self.know(dot);
        }
        self.know(row.entry.dot)
    }

    /// Removes an own row that another replica still held after its removal was collected here. Returns whether the
    /// outbox was empty before.
    fn disown(&mut self, now: Now, slot: Slot<'_>, entry: Entry) -> bool {
        if entry.is_tombstone() {
            return false;
        }
        let row = self.bury(now, slot, entry.mark());
        self.outbox.push(row)
    }

    fn merge_row(&mut self, now: Now, slot: Slot<'_>, row: &Row, merged: &mut Merged) {
        let mark = row.entry.mark();
        self.observe(now, mark, merged);
        let record = self.aged(now, row.record());
        let last = self.sabotage.breaks(Rule::ArrivalWins);
        match slot.mark() {
            Some(current) if !last && !record.mark().beats(&current) => self.tell_conflict(slot, row),
            _ => self.set(slot, Some(record), Origin::Remote(mark.dot.replica)),
        }
    }

    /// Tells those who ask of a write that this replica had not seen and that lost against one of its own.
    ///
    /// Neither had seen the other: an author who knew ours would have ranked its own above it, and theirs was unknown
    /// here until now. What was given a new dot is an old write, whose author is another than its rank's.
    fn tell_conflict(&self, slot: Slot<'_>, row: &Row) {
        if !slot.table.has_conflict_sinks() {
            return;
        }
        let (Some(ours), theirs) = (slot.entry(), &row.entry) else { return };
        let is_new = |entry: &Entry| entry.is_tombstone() || entry.rank_author == entry.dot.replica;
        let both_removed = ours.is_tombstone() && theirs.is_tombstone();
        if ours.dot.replica == self.replica && is_new(&ours) && is_new(theirs) && !both_removed {
            let (winner, loser, loser_by) = (ours.value, theirs.value.clone(), theirs.dot.replica);
            slot.table.tell_conflict(&Conflict { key: row.key.clone(), winner, loser, loser_by });
        }
    }

    /// Each on its own: who writes over an entry from the future gives a sane stamp and a far rank, and is not the one
    /// whose clock is wrong.
    fn observe(&mut self, now: Now, entry: Mark, merged: &mut Merged) {
        let _ = self.clock.observe(now, entry.rank_time);
        if self.sabotage.breaks(Rule::AnyFuture) {
            self.clock.raise(entry.stamp);
        }
        if let Err(ahead) = self.clock.observe(now, entry.stamp) {
            self.stats.ahead += 1;
            if merged.ahead.is_none_or(|(_, most)| most < ahead) {
                merged.ahead = Some((entry.dot.replica, ahead));
            }
        }
    }
}
