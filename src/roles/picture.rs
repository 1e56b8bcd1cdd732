//! Everything that [`assign`](super::assign) reads.

use std::collections::{BTreeMap, BTreeSet};

use super::{Claim, ClaimState, PartitionPolicy, RoleSpec};
use bytes::Bytes;

use crate::id::{NodeId, ReplicaId};
use crate::wire;

/// A member of the view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// This run of it.
    pub replica: ReplicaId,
    /// The role kinds that it can build.
    pub kinds: BTreeSet<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How busy it is, in buckets each a quarter above the one below: 0 for idle. It says so itself, with hysteresis.
    pub load: u8,
}

/// A claim of a member of the view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holding {
    /// The role.
    pub role: String,
    /// Who claims it.
    pub holder: ReplicaId,
    /// What it claims.
    pub claim: Claim,
}

/// Everything that [`assign`](super::assign) reads: the view, the role specs and the claims.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// The view, sorted by (node, replica).
    pub candidates: &'a [Candidate],
    /// The role specs, sorted by name; each name once.
    pub roles: &'a [RoleSpec],
    /// Every claim of a member of the view, sorted by (role, holder). Claims of others do not belong here.
    pub holdings: &'a [Holding],
    /// How many nodes belong to the cluster, those that are Down included.
    pub roster: usize,
}

impl Picture<'_> {
    /// Hands out, in order, the byte strings that a fingerprint of this picture must cover: `section` is called at the
    /// start of each section with `true`, then for each byte string with `false`.
    ///
    /// What assignment treats alike is given alike: Starting and Running, and the reason and end of an exclusion. So a task
    /// that has come up does not cost the cluster its agreement.
    pub fn describe(&self, mut piece: impl FnMut(bool, &[u8])) {
        piece(true, b"view");
        for candidate in self.candidates {
            piece(false, candidate.node.as_str().as_bytes());
            piece(false, &candidate.replica.0.to_be_bytes());
            piece(false, &(candidate.kinds.len() as u64).to_be_bytes());
            for kind in &candidate.kinds {
                piece(false, kind.as_bytes());
            }
            piece(false, &(candidate.labels.len() as u64).to_be_bytes());
            for (label, value) in &candidate.labels {
                piece(false, label.as_bytes());
                piece(false, value.as_bytes());
            }
            piece(false, &[candidate.load]);
        }
        // Rosters change more often than views; they only matter where somebody counts them.
        if self.roles.iter().any(|spec| spec.partition == PartitionPolicy::Majority) {
            piece(true, b"roster");
            piece(false, &(self.roster as u64).to_be_bytes());
        }
        piece(true, b"roles");
        for spec in self.roles {
            piece(false, &wire::encode(spec));
        }
        piece(true, b"claims");
        for holding in self.holdings {
            piece(false, holding.role.as_bytes());
            piece(false, &holding.holder.0.to_be_bytes());
            piece(false, &holding.claim.token.as_u128().to_be_bytes());
            let (state, to) = match &holding.claim.state {
                ClaimState::Starting | ClaimState::Running => (0, None),
                ClaimState::Draining { to } => (1, *to),
                ClaimState::Stopped { to } => (2, *to),
                ClaimState::Failed { .. } => (3, None),
                ClaimState::Yielding { to } => (4, Some(*to)),
            };
            piece(false, &[state, u8::from(to.is_some()), u8::from(holding.claim.pinned)]);
            piece(false, &to.map_or(0, |to| to.0).to_be_bytes());
        }
    }

    /// The claims of a role, by holder.
    pub(super) fn of(&self, role: &str) -> &[Holding] {
        let start = self.holdings.partition_point(|holding| holding.role.as_str() < role);
        let rest = &self.holdings[start..];
        &rest[..rest.partition_point(|holding| holding.role == role)]
    }

    /// Whether a replica is in the view.
    pub(super) fn has(&self, replica: ReplicaId) -> bool {
        self.candidates.iter().any(|candidate| candidate.replica == replica)
    }

    /// Whether a replica's instance of a role is up.
    pub(super) fn runs(&self, role: &str, replica: ReplicaId) -> bool {
        self.of(role).iter().any(|h| h.holder == replica && h.claim.state == ClaimState::Running)
    }

    /// What was left to a replica by the instance whose place it is to take.
    pub(super) fn handed_to(&self, role: &str, replica: ReplicaId) -> Option<Bytes> {
        let left = self.of(role).iter().filter(|h| h.claim.successor() == Some(replica));
        left.max_by_key(|h| h.claim.token).and_then(|h| h.claim.handed.clone())
    }

    /// What was asked for under this name.
    pub(super) fn spec(&self, role: &str) -> Option<&RoleSpec> {
        self.roles.binary_search_by(|spec| spec.name.as_str().cmp(role)).ok().map(|index| &self.roles[index])
    }
}

impl Claim {
    /// A task may be running under this claim.
    pub(crate) fn occupies(&self) -> bool {
        let Self { state, .. } = self;
        matches!(
            state,
            ClaimState::Starting | ClaimState::Running | ClaimState::Yielding { .. } | ClaimState::Draining { .. }
        )
    }

    /// The owner means to keep the role.
    pub(super) fn holds(&self) -> bool {
        matches!(self.state, ClaimState::Starting | ClaimState::Running)
    }

    /// Who is to have the role next.
    pub(crate) fn successor(&self) -> Option<ReplicaId> {
        match self.state {
            ClaimState::Yielding { to } => Some(to),
            ClaimState::Draining { to } | ClaimState::Stopped { to } => to,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
