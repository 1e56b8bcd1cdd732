//! What this node knows of each other node beyond membership: clock, digest, and how much it holds of our writes.

use std::collections::BTreeMap;

use super::message::DigestMessage;
use crate::id::ReplicaId;
use crate::replication::PeerClock;
use crate::time::{Instant, Now};

/// One other node.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) clock: PeerClock,
    /// When it was last asked and answered, and how much of what this node wrote it held then; nothing while it leaves.
    holds_of_ours: Option<(Instant, Option<u64>)>,
    /// The last answer, and when it was asked for.
    pub(super) last: Option<(Instant, DigestMessage)>,
}

/// All the others that ever said a word, dropped with their place in the roster.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: BTreeMap<ReplicaId, Peer>,
    /// The offsets of the clocks that count: those of members that live.
    offsets: BTreeMap<ReplicaId, i64>,
    /// Whether one of them changed since they were last asked for.
    moved: bool,
}

impl Peers {
    pub(super) fn get(&self, peer: ReplicaId) -> Option<&Peer> {
        self.known.get(&peer)
    }

    /// Takes in where a peer stands.
    pub(super) fn hear(&mut self, now: Now, (from, own): (ReplicaId, ReplicaId), counts: bool, digest: DigestMessage) {
        let peer = self.known.entry(from).or_default();
        if let Some((_, asked)) = digest.answers.filter(|(asker, asked)| *asker == own && *asked <= now.instant) {
            peer.clock.answer(now, asked, digest.wall_ms);
            if let Some(offset) = peer.clock.offset_ms().filter(|_| counts) {
                self.moved |= self.offsets.insert(from, offset) != Some(offset);
            }
            if peer.holds_of_ours.is_none_or(|(before, _)| asked >= before) {
                peer.holds_of_ours = Some((asked, digest.base_of_receiver));
            }
            if peer.last.as_ref().is_none_or(|(before, _)| asked >= *before) {
                peer.last = Some((asked, digest));
            }
        }
    }

    pub(super) fn forget(&mut self, peer: ReplicaId) {
        self.known.remove(&peer);
        self.moved |= self.offsets.remove(&peer).is_some();
    }

    /// Says anew whose clocks count.
    pub(super) fn count(&mut self, counts: impl Fn(ReplicaId) -> bool) {
        let counting = self.known.iter().filter(|(replica, _)| counts(**replica));
        self.offsets = counting.filter_map(|(replica, peer)| Some((*replica, peer.clock.offset_ms()?))).collect();
        self.moved = true;
    }

    /// Our wall clock was set by so many milliseconds.
    pub(super) fn stepped(&mut self, stepped_ms: i64) {
        self.known.values_mut().for_each(|peer| peer.clock.stepped(stepped_ms));
        self.offsets.values_mut().for_each(|offset| *offset = offset.saturating_sub(stepped_ms));
        self.moved = true;
    }

    /// The offsets of the clocks that count, if one moved since the last time.
    pub(super) fn moved_offsets(&mut self) -> Option<impl Iterator<Item = i64>> {
        std::mem::take(&mut self.moved).then(|| self.offsets.values().copied())
    }

    /// What was asked since then and answered: `None` if it was not, else how much of this node's writes the peer holds,
    /// which is nothing to rely on if it leaves itself.
    pub(super) fn held_by(&self, peer: ReplicaId, since: Instant) -> Option<Option<u64>> {
        let (asked, held) = self.known.get(&peer)?.holds_of_ours?;
        (asked >= since).then_some(held)
    }
}
