//! What this node knows of each other node beyond membership: clock, digest, and how much it holds of our writes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::message::DigestMessage;
use crate::id::ReplicaId;
use crate::replication::PeerClock;
use crate::time::{Instant, Now};

/// Longer than this nothing is under way.
const LONG_UNDER_WAY: Duration = Duration::from_secs(60);

/// One other node.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) clock: PeerClock,
    /// When it was last asked and answered, and how much of what this node wrote it held then; nothing while it leaves.
    holds_of_ours: Option<(Instant, Option<u64>)>,
    /// When it sent the newest of its digests that came, by its own clock.
    newest: Option<Instant>,
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

    /// Whether a digest is an old one that was long under way. (One so much older that its sender's clock must have begun
    /// anew is not.)
    pub(super) fn is_outdated(&mut self, from: ReplicaId, sent: Instant) -> bool {
        let newest = &mut self.known.entry(from).or_default().newest;
        if newest.is_some_and(|newest| sent < newest && newest.since(sent) < LONG_UNDER_WAY) {
            return true;
        }
        *newest = Some(sent);
        false
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_that_was_overtaken_is_outdated_and_one_from_another_age_is_not() {
        let (mut peers, peer, second) = (Peers::default(), ReplicaId(2), Duration::from_secs(1));
        let start = Instant::ZERO + 100 * second;
        assert!(!peers.is_outdated(peer, start + second));
        assert!(peers.is_outdated(peer, start));
        assert!(!peers.is_outdated(ReplicaId(3), start));
        assert!(!peers.is_outdated(peer, start + second), "its copy says the same");
        assert!(!peers.is_outdated(peer, Instant::from_nanos(u64::MAX)));
        assert!(!peers.is_outdated(peer, start + 2 * second), "a forged one does not silence it");
    }
}
