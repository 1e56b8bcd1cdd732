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
    /// How much of what this node wrote it holds.
    pub(super) holds_of_ours: u64,
    /// The last answer or question, and when it came.
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
        }
        peer.holds_of_ours = peer.holds_of_ours.max(digest.base_of_receiver);
        peer.last = Some((now.instant, digest));
    }

    pub(super) fn forget(&mut self, peer: ReplicaId) {
        self.known.remove(&peer);
    }

    /// The clocks of those for whom `counts` holds.
    pub(super) fn offsets(&self, counts: impl Fn(ReplicaId) -> bool) -> impl Iterator<Item = i64> {
        self.known.iter().filter(move |(peer, _)| counts(**peer)).filter_map(|(_, peer)| peer.clock.offset_ms())
    }

    /// The largest part of this node's writes that anybody holds.
    pub(super) fn best_holder(&self) -> u64 {
        self.known.values().map(|peer| peer.holds_of_ours).max().unwrap_or(0)
    }
}
