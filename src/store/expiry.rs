//! Rows that end: when its time is over a row is hidden, by becoming its own tombstone.
//!
//! ```text
//!   put, to end at e ──▶ live, in `expiring` ── estimated time reaches e ──▶ tombstone of the same dot, rank and end
//!                          comes from others after e ───────────────────────▶─┘        └── collected like any other
//! ```
//!
//! Nobody writes anything for that, so nothing is sent: all replicas do the same by their own clocks, which differ by
//! little, as each follows the median. The tombstone is kept until every member has promised to be past the end: nobody holds the row as live then, and none can bring it back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Store;
use super::core::{Core, Slot};
use super::row::Row;
use super::table::Origin;
use crate::crdt::{Mark, Record};
use crate::time::{Instant, Now, Stamp};

/// So many rows end at a time; the lock is let go in between.
const AT_ONCE: usize = 4_096;

impl Store {
    /// Ends the rows whose time is over, those first that have been over for longest; returns how many. There may be more,
    /// which [`next_expiry`](Self::next_expiry) tells.
    pub fn expire(&self, now: Now) -> usize {
        let of_unsent = self.unsent.get().map_or(0, |unsent| unsent.expire(now));
        if self.earliest.load(Ordering::Relaxed) == u64::MAX {
            return of_unsent;
        }
        let mut core = self.lock();
        let until = core.clock.estimated(now);
        let due: Vec<_> = core.expiring.iter().take_while(|(end, ..)| *end <= until).take(AT_ONCE).cloned().collect();
        for (_, table, key) in &due {
            let table = self.table(table);
            let slot = Slot::new(&table, key);
            let ended = slot.mark().filter(|_| core.sends).map(|mark| Record::new(key, over(mark), &[]));
            core.set(slot, ended, Origin::Expired);
        }
        self.note_earliest(&core);
        of_unsent + due.len()
    }

    /// When the next row is over, by the clock of this replica.
    pub fn next_expiry(&self, now: Now) -> Option<Instant> {
        let of_unsent = self.unsent.get().and_then(|unsent| unsent.next_expiry(now));
        let earliest = Stamp(self.earliest.load(Ordering::Relaxed));
        let own = (earliest.0 < u64::MAX).then(|| {
            let time = self.lock().clock.estimated(now);
            now.instant + Duration::from_millis(earliest.as_millis().saturating_sub(time.as_millis()))
        });
        own.into_iter().chain(of_unsent).min()
    }

    /// To be called under the lock after every change.
    pub(super) fn note_earliest(&self, core: &Core) {
        let earliest = core.expiring.first().map_or(u64::MAX, |(end, ..)| end.0);
        self.earliest.store(earliest, Ordering::Relaxed);
    }
}

/// The entry of a row whose time is over. Its stamp stays that of the put, so that a removal of the same put wins over it:
/// that one has a dot of its own, which whoever knows it must be able to pass on.
fn over(mark: Mark) -> Mark {
    Mark { removal: true, ..mark }
}

impl Core {
    /// When a row ends that is put now for so long.
    pub(super) fn expiry(&self, now: Now, ttl: Duration) -> Stamp {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        // In whole milliseconds, and not before the time is over.
        let end_ms = self.clock.estimated(now).as_millis().saturating_add(ttl_ms).saturating_add(1);
        Stamp::from_millis(end_ms.min(Row::MAX_STAMP.as_millis()))
    }

    /// What is to be held of a row that came from another replica: the row, or its end if that is past.
    pub(super) fn aged(&self, now: Now, record: Record) -> Record {
        let mark = record.mark();
        let is_over = !mark.removal && mark.expires.is_some_and(|end| end <= self.clock.estimated(now));
        if is_over { Record::new(record.key(), over(mark), &[]) } else { record }
    }

    /// Adds a live row to those that end, or takes it from them.
    pub(super) fn count_expiry(&mut self, slot: Slot<'_>, record: &Record, present: bool) {
        if let Some(end) = record.mark().expires {
            let place = (end, slot.table.name().clone(), record.share_key());
            if present {
                self.expiring.insert(place)
            } else {
                self.expiring.remove(&place)
            };
        }
    }
}

#[cfg(test)]
#[path = "tests/expiry.rs"]
mod tests;
