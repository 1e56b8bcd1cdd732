//! Departed authors: what is known of them becomes less and less, until they are forgotten.
//!
//! ```text
//!   member ──evicted──▶ departed, has rows ──replaced, collected or adopted──▶ none left ──▶ fading ──▶ forgotten
//!                                    by the lowest member:      ▲                           ▲ a row    ▲ no row any more
//! ```
//!
//! A process has a fresh replica id, so a context that forgot nobody would grow with every restart. Of a departed author
//! his part of the context is kept as long as any entry carries a dot of his. When none is left it says only what was
//! replaced, which whatever replaced it says as well; or collected, and then everybody in the roster has that much.
//!
//! To be of one mind all members have to forget the same authors, or their contexts would differ, nothing would be
//! collected, and each would learn again from the others whom it forgot. So the lowest member says it in a row of the
//! table [`DEPARTED`]. Who is named there counts in no comparison, and everybody drops his part of the context as soon as
//! no entry and no session needs it. A minute after all have that row it is removed.
//!
//! What may still bring back a row of an author that is forgotten is a datagram that was long under way: so eager rows of
//! unknown authors are dropped ([`Store::merge_eager`]).
//!
//! Rows that nobody touches would keep their authors for ever. If too many authors have such rows, the lowest member
//! *adopts* them: same rank, same value, a new dot of its own, and a stamp of now, by which it wins over the former.
//!
//! That is a write which ranks below what was promised, and here lies the danger: the row is removed elsewhere, that
//! removal is collected, since all promises cover it, and then the adopted row arrives, which no promise spoke of. So the
//! member makes no new promise until all that it promised is stable. Then nobody can have collected a removal that it has
//! not seen, nor will before its next promise is covered, which includes the adopted rows.

use std::collections::BTreeSet;

use super::core::{Core, Slot};
use super::row::Row;
use super::table::{Origin, StoredTable};
use super::{Store, TableName};
use crate::crdt::{Mark, Record};
use crate::id::ReplicaId;
use crate::sabotage::Rule;
use crate::time::Now;

/// Names the authors that are being forgotten: the key is the replica id, the value is empty.
pub(super) const DEPARTED: &str = "_departed";

/// How many authors are named, or taken from the list again, at a time.
const NAMED_AT_ONCE: usize = 512;

/// How long stable time must have passed the row that names an author until that goes: sessions that were open then, and
/// datagrams that were under way, are done.
const FADES_FOR_MS: u64 = 60_000;

/// How many rows are adopted at a time, but for those of one author, which go together.
const ADOPTED_AT_ONCE: u64 = 4_096;

/// The author that a row of [`DEPARTED`] names.
pub(super) fn author_of(key: &[u8]) -> Option<ReplicaId> {
    Some(ReplicaId(u64::from_be_bytes(key.try_into().ok()?)))
}

impl Store {
    /// If this is the lowest member and more than `keep` departed authors are known: adopts the rows of so many that no more
    /// than `keep` have any, first of those who have the fewest, and says who is to be forgotten. To be called again and
    /// again, since each step waits until what it builds on is stable.
    pub fn tend_departed(&self, now: Now, keep: usize) {
        if !self.is_open() || self.is_closed() {
            return;
        }
        let wakes = {
            let mut core = self.lock();
            self.adopt(&mut core, now, keep) | self.name_departed(&mut core, now, keep)
        };
        if wakes {
            self.wake();
        }
    }

    /// Drops from the context the authors that are being forgotten, where no entry needs them. Returns how many. Not to be
    /// called while a session is open here: what it brings may be theirs.
    pub fn forget_departed(&self) -> usize {
        let mut core = self.lock();
        let is_done = |id: &ReplicaId| core.fading.contains(id) && !core.authors.contains_key(id);
        let gone: Vec<_> = core.departed().filter(is_done).collect();
        for author in &gone {
            core.context.remove(*author);
        }
        gone.len()
    }

    /// Whether an author belongs to the cluster, or something is known of what he wrote.
    #[cfg(feature = "testkit")]
    pub(crate) fn has_heard_of(&self, author: ReplicaId) -> bool {
        self.lock().has_heard_of(author)
    }

    /// Writes and removes the rows that say who is being forgotten. Returns whether the outbox was empty before.
    fn name_departed(&self, core: &mut Core, now: Now, keep: usize) -> bool {
        let Some(stable) = core.stable_time().filter(|_| core.is_lowest()) else { return false };
        let has_left = |id: &ReplicaId| core.authors.contains_key(id);
        let fresh = core.departed().filter(|id| !core.fading.contains(id) && !has_left(id));
        let fresh: Vec<_> = fresh.take(if core.departed().count() > keep { NAMED_AT_ONCE } else { 0 }).collect();
        let gone = core.fading.iter().filter(|id| !core.context.has_any_of(**id) && !has_left(id));
        let gone: Vec<_> = gone.take(NAMED_AT_ONCE).copied().collect();
        let table = self.table(&TableName::new(DEPARTED).expect("the names of system tables are well formed"));
        let mut rows = Vec::new();
        for author in fresh {
            rows.extend(core.put(now, Slot::new(&table, &author.0.to_be_bytes()), &[]).1);
        }
        for author in gone {
            let key = author.0.to_be_bytes();
            let slot = Slot::new(&table, &key);
            let is_old = |mark: Mark| stable.as_millis() > mark.stamp.as_millis() + FADES_FOR_MS;
            if slot.mark().is_some_and(is_old) {
                rows.extend(core.remove(now, slot).1);
            }
        }
        rows.into_iter().fold(false, |wakes, row| wakes | core.outbox.push(row))
    }

    /// Gives the rows of some departed authors dots of its own. Returns whether the outbox was empty before.
    fn adopt(&self, core: &mut Core, now: Now, keep: usize) -> bool {
        let authors = core.to_adopt_from(keep);
        core.holds_promises = !authors.is_empty();
        let promised = core.stability.promised();
        let stable = promised.is_some() && core.stable_time() >= promised;
        if authors.is_empty() || !(stable || core.sabotage.breaks(Rule::HastyAdoption)) {
            return false;
        }
        core.holds_promises = false;
        let mut wakes = false;
        for table in self.all_tables().into_iter().filter(|table| !table.name().is_owner()) {
            for orphan in orphans(&table, &authors) {
                wakes |= core.adopt_row(now, Slot::new(&table, orphan.key()), &orphan);
            }
        }
        wakes
    }
}

/// The live rows of these authors, in order.
fn orphans(table: &StoredTable, authors: &BTreeSet<ReplicaId>) -> Vec<Record> {
    let shards = table.freeze();
    let fits = |mark: Mark| !mark.removal && mark.stamp < Row::MAX_STAMP;
    let is_orphan = |mark: Mark| fits(mark) && authors.contains(&mark.dot.replica);
    let rows = shards.iter().flat_map(|shard| shard.iter()).filter(|record| is_orphan(record.mark()));
    let mut rows: Vec<_> = rows.cloned().collect();
    rows.sort_unstable_by(|one, other| one.key().cmp(other.key()));
    rows
}

impl Core {
    /// The authors of whom something is known and who do not belong to the cluster.
    pub(super) fn departed(&self) -> impl Iterator<Item = ReplicaId> {
        self.context.replicas().filter(|id| *id != self.replica && !self.roster.contains(id))
    }

    /// Whether an author belongs to the cluster, or something is known of what he wrote.
    pub(super) fn has_heard_of(&self, author: ReplicaId) -> bool {
        let takes_all = self.sabotage.breaks(Rule::DepartedTaken);
        takes_all || self.roster.contains(&author) || self.context.has_any_of(author)
    }

    fn is_lowest(&self) -> bool {
        self.roster.first() == Some(&self.replica)
    }

    /// Whose rows this member is to adopt now: if it is the lowest, all but the `keep` departed authors with the most.
    fn to_adopt_from(&self, keep: usize) -> BTreeSet<ReplicaId> {
        if !self.is_lowest() {
            return BTreeSet::new();
        }
        let departed = self.authors.iter().filter(|(id, _)| **id != self.replica && !self.roster.contains(id));
        let mut left: Vec<(u64, ReplicaId)> = departed.map(|(id, entries)| (*entries, *id)).collect();
        left.sort_unstable();
        left.truncate(left.len().saturating_sub(keep));
        let mut rows = 0;
        let fits = |(entries, _): &(u64, ReplicaId)| {
            let is_first = rows == 0;
            rows += entries;
            is_first || rows <= ADOPTED_AT_ONCE
        };
        left.into_iter().take_while(fits).map(|(_, id)| id).collect()
    }

    /// Returns whether the outbox was empty before.
    fn adopt_row(&mut self, now: Now, slot: Slot<'_>, orphan: &Record) -> bool {
        // The former may be stamped by a clock that was far ahead.
        let former = orphan.mark();
        let stamp = self.stamp(now).max(former.stamp.next());
        let mark = Mark { stamp, dot: self.draw_dot(), ..former };
        let adopted = Record::new(orphan.key(), mark, orphan.value().unwrap_or_default());
        let row = Row::of(slot.table.name().clone(), &adopted);
        self.set(slot, Some(adopted), Origin::Local);
        self.stats.adopted += 1;
        self.outbox.push(row)
    }
}
