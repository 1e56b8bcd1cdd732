//! What is changed under the one lock: clock, counter, context, sums, outbox, promises.
//!
//! `Core::set` is the only place where a row changes. It keeps together what must agree: the row, the sums over rows,
//! the index of tombstones, the counters and the watchers.

use std::collections::{BTreeMap, BTreeSet};

use super::buckets::{Digest, Sums};
use super::departed;
use super::hash;
use super::outbox::Queue;
use super::row::TableName;
use super::stability::Stability;
use super::table::{Change, Origin, StoredTable};
use super::{StoreConfig, StoreStats, WriteError};
use crate::crdt::{Context, Dot, Entry, Key, Mark, Record};
use crate::id::ReplicaId;
use crate::sabotage::{Rule, Sabotage};
use crate::time::{HybridClock, Now, Stamp};

/// A table and a key, with the place of the key in it.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    pub(super) table: &'a StoredTable,
    pub(super) key: &'a [u8],
    pub(super) place: u64,
}

impl<'a> Slot<'a> {
    pub(super) fn new(table: &'a StoredTable, key: &'a [u8]) -> Self {
        Self { table, key, place: table.place(key) }
    }

    pub(super) fn entry(&self) -> Option<Entry> {
        self.table.entry(self.place, self.key)
    }

    pub(super) fn mark(&self) -> Option<Mark> {
        self.table.mark(self.place, self.key)
    }

    /// Whether there is room for this value in the place of what is there. Smaller ones are always welcome.
    pub(super) fn check_quota(&self, value: &[u8]) -> Result<(), WriteError> {
        let quota = self.table.quota();
        if quota == u64::MAX {
            return Ok(());
        }
        let former = self.table.live_bytes_at(self.place, self.key);
        let (before, new) = (self.table.bytes(), (self.key.len() + value.len()) as u64);
        if new > former && before - former + new > quota {
            let (table, needed) = (self.table.name().clone(), new - former);
            return Err(WriteError::Quota { table, needed, bytes: before, quota });
        }
        Ok(())
    }
}

/// When a tombstone may be collected, or a row is over, and where it is.
pub(super) type Grave = (Stamp, TableName, Key);

#[derive(Debug)]
pub(super) struct Core {
    pub(super) replica: ReplicaId,
    pub(super) clock: HybridClock,
    pub(super) seq: u64,
    pub(super) context: Context,
    pub(super) roster: BTreeSet<ReplicaId>,
    pub(super) outbox: Queue,
    pub(super) stability: Stability,
    pub(super) sums: Sums,
    pub(super) graves: BTreeSet<Grave>,
    /// The rows that end, by when they do.
    pub(super) expiring: BTreeSet<Grave>,
    /// Whether others are to hear of what is written here.
    pub(super) sends: bool,
    /// Whether there are no others that could hear of it now.
    pub(super) is_alone: bool,
    pub(super) stats: StoreStats,
    /// Up to when removals were collected, here or where this replica pulled from.
    pub(super) floor: Stamp,
    /// How many entries here carry a dot of each author.
    pub(super) authors: BTreeMap<ReplicaId, u64>,
    /// No promise is made until all that was promised before is stable: see `departed`.
    pub(super) holds_promises: bool,
    /// The departed authors that are being forgotten.
    pub(super) fading: BTreeSet<ReplicaId>,
    /// Hashes of the context, for the roster and for departed authors but those that are being forgotten, kept up to date
    /// dot by dot.
    members_hash: u64,
    departed_hash: u64,
    pub(super) sabotage: Sabotage,
    #[cfg(feature = "sabotage")]
    pub(super) fed_contexts: std::collections::BTreeMap<ReplicaId, Context>,
}

impl Core {
    pub(super) fn new(config: &StoreConfig) -> Self {
        Self {
            replica: config.replica,
            clock: HybridClock::default(),
            seq: 0,
            context: Context::new(),
            roster: BTreeSet::from([config.replica]),
            outbox: Queue::new(config.outbox_bytes),
            stability: Stability::new(config.replica, config.sabotage),
            sums: Sums::default(),
            graves: BTreeSet::new(),
            expiring: BTreeSet::new(),
            sends: config.sends,
            is_alone: false,
            stats: StoreStats::default(),
            floor: Stamp::default(),
            authors: BTreeMap::new(),
            fading: BTreeSet::new(),
            holds_promises: false,
            members_hash: 0,
            departed_hash: 0,
            sabotage: config.sabotage,
            #[cfg(feature = "sabotage")]
            fed_contexts: std::collections::BTreeMap::new(),
        }
    }

    /// Draws a stamp above every stamp seen.
    pub(super) fn stamp(&mut self, now: Now) -> Stamp {
        if self.sabotage.breaks(Rule::WallClockOnly) { self.clock.estimated(now) } else { self.clock.tick(now) }
    }

    /// Draws the next dot of this replica and adds it to the context.
    pub(super) fn draw_dot(&mut self) -> Dot {
        self.seq += 1;
        let dot = Dot { replica: self.replica, seq: self.seq };
        self.know(dot);
        dot
    }

    pub(super) fn know(&mut self, dot: Dot) -> bool {
        let before = self.context.hash_of(dot.replica);
        let news = self.context.add(dot);
        let after = self.context.hash_of(dot.replica);
        let hash = match () {
            () if self.roster.contains(&dot.replica) => &mut self.members_hash,
            () if self.fading.contains(&dot.replica) => return news,
            () => &mut self.departed_hash,
        };
        *hash = hash.wrapping_sub(before).wrapping_add(after);
        news
    }

    /// Takes over what another replica knows. Of our own writes nobody knows more than we do.
    pub(super) fn know_all(&mut self, mut other: Context) {
        other.remove(self.replica);
        if self.context.join(&other) {
            self.hash_context();
        }
    }

    pub(super) fn replace_context(&mut self, context: Context) {
        self.context = context;
        self.hash_context();
    }

    fn hash_context(&mut self) {
        self.members_hash = self.context.hash_where(|replica| self.roster.contains(&replica));
        let lasts = |replica| !self.roster.contains(&replica) && !self.fading.contains(&replica);
        self.departed_hash = self.context.hash_where(lasts);
    }

    /// The hash of what is known of departed authors.
    pub(super) fn departed_hash(&self) -> u64 {
        self.departed_hash
    }

    /// Takes members in and out of the roster; returns whether any is out that was in.
    pub(super) fn change_roster(&mut self, come: &[ReplicaId], gone: &[ReplicaId], fingerprint: u64) -> bool {
        let before = self.roster.len();
        for replica in gone.iter().filter(|replica| self.roster.remove(*replica)) {
            let hash = self.context.hash_of(*replica);
            self.members_hash = self.members_hash.wrapping_sub(hash);
            if !self.fading.contains(replica) {
                self.departed_hash = self.departed_hash.wrapping_add(hash);
            }
        }
        let lost = self.roster.len() < before;
        for replica in come.iter().filter(|replica| self.roster.insert(**replica)) {
            let hash = self.context.hash_of(*replica);
            self.members_hash = self.members_hash.wrapping_add(hash);
            if !self.fading.contains(replica) {
                self.departed_hash = self.departed_hash.wrapping_sub(hash);
            }
        }
        self.stability.change_roster(come, gone, fingerprint);
        lost
    }

    pub(super) fn digest(&self) -> Digest {
        let blind = self.sabotage.breaks(Rule::BlindDigest);
        Digest {
            context: self.members_hash,
            root: if blind { 0 } else { self.sums.root() },
            owners: if blind { 0 } else { self.sums.owners() },
            departed: self.departed_hash,
        }
    }

    /// Replaces the record of a key by another or by nothing, and all that follows from it.
    pub(super) fn set(&mut self, slot: Slot<'_>, record: Option<Record>, origin: Origin) {
        let former = slot.table.swap(slot.place, slot.key, record.clone());
        // The former first: two removals of one put may lie in the same grave.
        let hash_before = former.as_ref().map_or(0, |former| self.count(slot, former, false));
        let hash_after = record.as_ref().map_or(0, |record| self.count(slot, record, true));
        let delta = hash_after.wrapping_sub(hash_before);
        self.sums.add(slot.table.is_owner(), slot.place, delta);
        slot.table.add(delta);
        let mark = |record: &Option<Record>| record.as_ref().map(Record::mark);
        let (before, after) = (mark(&former), mark(&record));
        self.count_authors(before.map(|mark| mark.dot.replica), after.map(|mark| mark.dot.replica));
        debug_assert!(
            self.graves.len() as u64 == self.stats.tombstones,
            "{}: tombstones are miscounted",
            slot.table.name()
        );
        if slot.table.names_departed() {
            self.note_fading(slot.key, after.is_some_and(|mark| !mark.removal));
        }
        if slot.table.is_watched() && before.map(|mark| mark.rank()) != after.map(|mark| mark.rank()) {
            let (old, new) =
                (former.and_then(|former| former.share_value()), record.as_ref().and_then(Record::share_value));
            if old.is_some() || new.is_some() {
                let key = record.map_or_else(|| Key::from(slot.key), |record| record.share_key());
                slot.table.tell(&Change { key, old, new, origin });
            }
        }
    }

    /// Adds a record to, or takes it out of, index and counters; returns what it adds to the sums.
    fn count(&mut self, slot: Slot<'_>, record: &Record, present: bool) -> u64 {
        let bytes = record.bytes() as u64;
        let by = |counter: &mut u64, amount| *counter = if present { *counter + amount } else { *counter - amount };
        by(&mut self.stats.bytes, bytes);
        if record.is_removal() {
            by(&mut self.stats.tombstones, 1);
            let grave = grave(slot, record);
            if present {
                self.graves.insert(grave)
            } else {
                self.graves.remove(&grave)
            };
            0
        } else {
            by(&mut self.stats.live, 1);
            slot.table.count(bytes, present);
            self.count_expiry(slot, record, present);
            hash::row_hash(slot.place, &record.mark())
        }
    }
}

impl Core {
    /// An entry of one author gave its place to one of another author, or came, or went.
    fn count_authors(&mut self, before: Option<ReplicaId>, after: Option<ReplicaId>) {
        if before != after {
            before.into_iter().for_each(|author| self.count_author(author, false));
            after.into_iter().for_each(|author| self.count_author(author, true));
        }
    }

    /// One entry more or less carries a dot of this author.
    fn count_author(&mut self, author: ReplicaId, present: bool) {
        let entries = self.authors.entry(author).or_default();
        *entries = if present { *entries + 1 } else { entries.saturating_sub(1) };
        if *entries == 0 {
            self.authors.remove(&author);
        }
    }

    /// A row of the table of departed authors came or went.
    fn note_fading(&mut self, key: &[u8], fades: bool) {
        let Some(author) = departed::author_of(key) else { return };
        let changed = if fades { self.fading.insert(author) } else { self.fading.remove(&author) };
        if changed && !self.roster.contains(&author) {
            let hash = self.context.hash_of(author);
            self.departed_hash = self.departed_hash.wrapping_add(if fades { hash.wrapping_neg() } else { hash });
        }
    }
}

/// A tombstone waits for the latest of its stamp, its rank and, if the row ended by itself, that end. They differ only when it removed a put whose author's
/// clock was far ahead: then a write that is stamped after the tombstone may still rank below it, and whoever lost the
/// tombstone would let that write win.
fn grave(slot: Slot<'_>, tombstone: &Record) -> Grave {
    let mark = tombstone.mark();
    let end = mark.expires.unwrap_or_default();
    (mark.stamp.max(mark.rank_time).max(end), slot.table.name().clone(), tombstone.share_key())
}
