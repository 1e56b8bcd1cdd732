//! Those who do not belong to the cluster any more: remembered as long as that does any good, and not for ever.
//!
//! Every process has a fresh replica id, so whatever is kept for each grows with every restart. Contexts are the store's
//! matter; here it is the roster, which remembers whom it evicted, so that no late word of an admission brings them back.

use std::collections::BTreeMap;

use super::Engine;
use super::streams::StreamPhase;
use crate::id::ReplicaId;
use crate::membership::Liveness;
use crate::time::Instant;

/// The roster remembers so many of those who left it, however short ago that was.
const REMEMBERED: usize = 1_024;

/// Since when each replica that the roster knows has not been a member.
#[derive(Debug, Default)]
pub(super) struct Departed {
    since: BTreeMap<ReplicaId, Instant>,
}

impl Engine {
    /// Forgets what may be forgotten. While a session is open, what it brings may be of those.
    pub(super) fn forget_departed(&mut self) {
        let now = self.now.instant;
        let roster = &self.roster;
        let since = &mut self.departed.since;
        since.retain(|replica, _| roster.is_evicted(*replica));
        for (replica, _) in roster.iter().filter(|(replica, _)| roster.is_evicted(*replica)) {
            since.entry(replica).or_insert(now);
        }
        // Who leaves takes over nothing: others would have to take it over from here before it goes.
        if self.leaving.is_none() {
            self.store.tend_departed(self.now, self.config.departed_authors);
        }
        let in_session = |phase: &StreamPhase| !matches!(phase, StreamPhase::Idle | StreamPhase::Greeted);
        if self.streams.open.values().any(|stream| in_session(&stream.phase)) {
            return;
        }
        self.store.forget_departed();
        // Only if all members know who belongs to the cluster: otherwise one may bring somebody back.
        if self.store.stable_time().is_none() {
            return;
        }
        let mut oldest: Vec<(Instant, ReplicaId)> =
            self.departed.since.iter().map(|(id, since)| (*since, *id)).collect();
        oldest.sort_unstable();
        let too_many = oldest.len().saturating_sub(REMEMBERED);
        for (at, (since, replica)) in oldest.into_iter().enumerate() {
            let liveness = self.swim.member(replica).map(|(_, liveness)| liveness);
            // Whoever is Down is announced to as long as he is remembered; he may come back, and not as a stranger.
            let long_ago = liveness.is_none() && now.since(since) >= self.config.timing.evict_after;
            let lives = replica == self.own || liveness.is_some_and(|liveness| liveness != Liveness::Down);
            if (long_ago || at < too_many) && !lives {
                self.roster.forget(replica);
            }
        }
    }
}
