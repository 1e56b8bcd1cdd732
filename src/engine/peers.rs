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
}

impl Peers {
    pub(super) fn get(&self, peer: ReplicaId) -> Option<&Peer> {
        self.known.get(&peer)
    }

    /// Takes in where a peer stands.
    pub(super) fn hear(&mut self, now: Now, from: ReplicaId, digest: DigestMessage) {
        let peer = self.known.entry(from).or_default();
        if let Some(asked) = digest.answers {
            peer.clock.answer(now, asked, digest.wall_ms);
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
    }

    /// The clocks of those for whom `counts` holds.
    pub(super) fn offsets(&self, counts: impl Fn(ReplicaId) -> bool) -> impl Iterator<Item = i64> {
        self.known.iter().filter(move |(peer, _)| counts(**peer)).filter_map(|(_, peer)| peer.clock.offset_ms())
    }

    /// What was asked since then and answered: `None` if it was not, else how much of this node's writes the peer holds,
    /// which is nothing to rely on if it leaves itself.
    pub(super) fn held_by(&self, peer: ReplicaId, since: Instant) -> Option<Option<u64>> {
        let (asked, held) = self.known.get(&peer)?.holds_of_ours?;
        (asked >= since).then_some(held)
    }
}
