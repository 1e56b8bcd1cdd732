//! Eager rows, out and in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Engine;
use super::message::{Message, kind};
use super::timers::Timer;
use crate::id::ReplicaId;
use crate::replication::{self, EAGER_TO_ALL};
use crate::sabotage::Rule;
use crate::store::Row;
use crate::wire::{MAX_BODY, Malformed};

/// How many rows are taken from the outbox at a time.
const BATCH: usize = 512;

/// How many rows of others are merged at a time.
pub(super) const AT_ONCE: usize = 256;

/// For how long news are gathered before they are passed on.
pub(super) const GATHER: Duration = Duration::from_millis(1);

/// How much is put into one datagram of rows, behind its envelope, and into one frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    pub(super) body: usize,
    pub(super) frame: usize,
}

impl Default for Packing {
    fn default() -> Self {
        Self { body: MAX_BODY, frame: replication::FRAME_BYTES }
    }
}

impl Engine {
    /// Makes datagrams of rows no larger than this, envelope included, and frames of a session about as large as that:
    /// for tests, in which everything comes in pieces. A row that fits no datagram is pushed over a stream, and each
    /// frame carries one row at least. More than usual changes nothing.
    #[cfg(feature = "testkit")]
    pub fn set_packing(&mut self, datagram_bytes: usize, frame_bytes: usize) {
        let body = datagram_bytes.saturating_sub(crate::wire::Envelope::BYTES);
        self.packing = Packing { body: body.min(MAX_BODY), frame: frame_bytes.min(replication::FRAME_BYTES) };
    }

    /// Sends what was written here since the last time. Returns whether there was anything.
    pub(super) fn drain_outbox(&mut self) -> bool {
        let mut moved = false;
        while self.pushing.may_take(self.now.instant) {
            let outbox = self.store.take_outbox(BATCH);
            if outbox.overflowed {
                self.work.reread();
                self.touch();
            }
            if outbox.rows.is_empty() {
                if moved {
                    self.gather();
                }
                break;
            }
            moved = true;
            self.work.note(&outbox.rows);
            self.spread_own(&outbox.rows);
            self.touch();
        }
        moved
    }

    /// Rows that a member sends because they are new to it.
    pub(super) fn eager_rows(&mut self, sender: ReplicaId, body: &[u8]) -> Result<(), Malformed> {
        // Before its first pull a node takes no rows: its sponsor may know removals that the sender has collected.
        let early = self.sabotage.breaks(Rule::EarlyEager);
        if !(self.formed() || early) || !self.roster.is_admitted(sender) {
            let rows = || replication::unpack(body).unwrap_or_default();
            if !self.keep_early(sender, rows) {
                self.stats.outside_roster += 1;
            }
            return Ok(());
        }
        self.take_eager(body)
    }

    /// Merges the rows in a body, some at a time: whoever writes waits for no more than those.
    pub(super) fn take_eager(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut rows = replication::Rows::new(body);
        loop {
            let some = rows.by_ref().take(AT_ONCE).collect::<Result<Vec<_>, _>>()?;
            if some.is_empty() {
                return Ok(());
            }
            self.merge_eager(some);
        }
    }

    /// Merges rows that came eagerly, and passes on what was news.
    pub(super) fn merge_eager(&mut self, rows: Vec<Row>) {
        let rows = self.sort_early(rows);
        let merged = self.store.merge_eager(self.now, rows);
        self.merged(&merged);
        if self.live().len() > EAGER_TO_ALL && !merged.news.is_empty() {
            self.gossip.news.extend(merged.news);
            self.timers.set_earlier(Timer::Forward, self.now.instant + GATHER);
        }
    }

    /// In a large cluster everybody passes on what was news, gathered for a moment: rows come in from many sides at
    /// once, and go out in few datagrams instead of many.
    pub(super) fn forward_news(&mut self) {
        let news = std::mem::take(&mut self.gossip.news);
        self.spread(&news);
    }

    /// Sends rows in datagrams to whom rows are sent; those that fit none are offered.
    pub(super) fn spread(&mut self, rows: &[Row]) {
        let targets = replication::targets(&mut self.gossip.peers, None, &mut self.random);
        if targets.is_empty() {
            return;
        }
        let packed = self.pack(rows);
        self.send_packed(packed.bodies, &targets);
        if !packed.too_large.is_empty() {
            // As many dots as surely fit; whoever fetches one fetches all.
            let dots = packed.too_large.into_iter().take(32).collect();
            let offer = Message::Offer(dots);
            for target in targets {
                self.send(target, &offer);
            }
        }
    }

    /// Sends rows in datagrams to everybody, unless they are too many or too large; returns whether it did.
    pub(super) fn spread_sparse(&mut self, rows: &[Row]) -> bool {
        let packed = self.pack(rows);
        let (now, all_fit) = (self.now.instant, packed.too_large.is_empty());
        let is_sparse = self.pushing.is_sparse(now, packed.bodies.len(), all_fit);
        if is_sparse {
            let targets = replication::targets(&mut self.gossip.peers, None, &mut self.random);
            self.send_packed(packed.bodies, &targets);
        }
        is_sparse
    }

    fn pack(&self, rows: &[Row]) -> replication::Packed {
        let envelope = self.envelope(kind::ROWS);
        replication::pack(rows, self.packing.body, || envelope.open())
    }

    fn send_packed(&mut self, bodies: Vec<Vec<u8>>, targets: &[ReplicaId]) {
        let addresses: Vec<_> = targets.iter().filter_map(|target| self.address_of(*target)).collect();
        for body in bodies {
            // The body is the same in each version; the front is not.
            let mut sealed = BTreeMap::new();
            for to in &addresses {
                let version = self.speech.version_for(*to);
                let bytes = sealed.entry(version).or_insert_with(|| self.speech.seal_in(version, body.clone())).clone();
                self.put_out(*to, bytes);
            }
        }
    }
}
