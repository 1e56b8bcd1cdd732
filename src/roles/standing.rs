//! How one role stands in a picture: who holds it, who is to follow whom, and who may start now.
//!
//! Everybody who sees the same picture computes the same standing, so nobody has to ask.

use std::collections::BTreeSet;

use super::{Assignment, ClaimState, FencingToken, Holding, Picture};
use crate::id::ReplicaId;

pub(super) struct Standing {
    /// Assigned, and free to start: an instance is missing that nobody is about to hand over.
    free: Vec<ReplicaId>,
    /// Assigned, and the old holder has stopped for them, or waits for them to run.
    handed: BTreeSet<ReplicaId>,
    /// Holders that are to give the role up, and to whom.
    leaving: Vec<(ReplicaId, Option<ReplicaId>)>,
}

impl Standing {
    pub(super) fn new(picture: &Picture<'_>, assignment: &Assignment, role: &str) -> Self {
        let hosts = assignment.hosts(role);
        let holdings = picture.of(role);
        let holding: BTreeSet<_> = holdings.iter().filter(|h| h.claim.holds()).map(|h| h.holder).collect();
        // Promised: named by a claim that the named one has not yet answered with a newer one of its own.
        let promises = holdings.iter().filter_map(|h| {
            let to = h.claim.successor()?;
            let open = hosts.contains(&to) && !answered(holdings, h.claim.token, to);
            open.then_some((to, matches!(h.claim.state, ClaimState::Stopped { .. } | ClaimState::Yielding { .. })))
        });
        let promised: BTreeSet<_> = promises.clone().map(|(to, _)| to).collect();
        let handed: BTreeSet<_> = promises.filter(|(_, handed)| *handed).map(|(to, _)| to).collect();

        // An instance counts until it has stopped, wherever it runs: the count is kept from above first. One that waits for
        // its successor to run is one with it.
        let counts = |h: &&Holding| match h.claim.state {
            ClaimState::Yielding { to } => !hosts.contains(&to),
            _ => h.claim.occupies(),
        };
        let occupied = holdings.iter().filter(counts).count() + handed.len();
        let count = picture.spec(role).map_or(0, |spec| spec.count as usize);
        let mut new = hosts.iter().copied().filter(|host| !holding.contains(host) && !promised.contains(host));
        let free: Vec<_> = new.by_ref().take(count.saturating_sub(occupied)).collect();
        let leaving = holding
            .iter()
            .copied()
            .filter(|holder| !hosts.contains(holder))
            .map(|holder| (holder, new.next()))
            .collect();
        Self { free, handed, leaving }
    }

    /// Break before make: an assigned replica may start once the old holder stopped for it. Make before break: it may at
    /// once.
    pub(super) fn is_handed_to(&self, replica: ReplicaId) -> bool {
        self.handed.contains(&replica)
    }

    /// An assigned replica may also start where an instance is missing and nobody still runs in its place.
    pub(super) fn is_free_for(&self, replica: ReplicaId) -> bool {
        self.free.contains(&replica)
    }

    /// To whom a holder that is no longer wanted hands the role. Nobody, if there is one instance too many.
    pub(super) fn successor(&self, holder: ReplicaId) -> Option<ReplicaId> {
        self.leaving.iter().find(|(leaving, _)| *leaving == holder).and_then(|(_, to)| *to)
    }
}

/// Whether `to` shows a claim newer than `token`, that of the claim which names it: then it took the role over, whatever
/// became of it since.
pub(super) fn answered(holdings: &[Holding], token: FencingToken, to: ReplicaId) -> bool {
    holdings.iter().any(|h| h.holder == to && (h.claim.holds() || h.claim.token > token))
}
