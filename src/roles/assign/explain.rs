//! Why a role is where it is: what the assigner had before it when it had decided.

use serde::{Deserialize, Serialize};

use super::able::{self, Obstacle};
use super::board::{Board, Chosen, GivenUp, Seat};
use super::{ClaimState, FencingToken, PartitionPolicy, Picture, RoleSpec};
use crate::id::{NodeId, ReplicaId};

/// Why a role is where it is, by the very decision that put it there: [`Cluster::explain`](crate::Cluster::explain).
///
/// Printed, it is a table, the hosts first and then the others, those in front that come next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// What was asked for.
    pub spec: RoleSpec,
    /// The fingerprint of all that was decided on, as hexadecimal digits: members that show the same decided the same.
    pub fingerprint: String,
    /// Whether the members agree on it, and have for long enough to stop and to move things.
    pub converged: bool,
    /// The nodes in view, by name.
    pub view: Vec<NodeId>,
    /// How many nodes belong to the cluster, those that are Down included.
    pub roster: usize,
    /// How many instances can run: the count of the spec, or fewer where fewer nodes can host it or the policy says so.
    pub wanted: usize,
    /// How many were given a node.
    pub assigned: usize,
    /// Why it runs nowhere on this side at all.
    pub held_back: Option<HeldBack>,
    /// How many instances of all roles a node should have at most: ⌈1.25 · mean⌉.
    pub cap: usize,
    /// Every member of the view.
    pub candidates: Vec<Weighed>,
}

/// A partition policy that is not met.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeldBack {
    /// The policy.
    pub policy: PartitionPolicy,
    /// How many nodes are in view.
    pub nodes: usize,
    /// Of how many.
    pub roster: usize,
}

/// What a claim says, as far as it matters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tenure {
    /// What the owner does with the role.
    pub state: ClaimState,
    /// The fencing token of the instance.
    pub token: FencingToken,
    /// It was moved there a short time ago and is not to be moved again for balance.
    pub pinned: bool,
}

/// A member of the view, weighed for a role.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Weighed {
    /// The node.
    pub node: NodeId,
    /// This run of it.
    pub replica: ReplicaId,
    /// Why it is to host the role, if it is.
    pub chosen: Option<Chosen>,
    /// Why it is not to keep the role, if it had it.
    pub given_up: Option<GivenUp>,
    /// It is to have the role as soon as one that must not be beside it has gone.
    pub waits: bool,
    /// Why it can be given none.
    pub obstacle: Option<Obstacle>,
    /// What it says about the role itself.
    pub claim: Option<Tenure>,
    /// How many instances it is to have, of all roles.
    pub hosted: usize,
    /// How busy it says it is: buckets each a quarter above the one below.
    pub load: u8,
    /// What a new instance goes by, within a zone and among those with room: the least is the best. It is -log2 of the score
    /// as a fraction, in 2⁻²⁴, times 1.25 to the power of the load.
    pub cost: u64,
    /// The hash of both names.
    pub score: u64,
    /// The value of the label that the role is spread over. `None` if it is not, or the node has no such label.
    pub zone: Option<String>,
    /// How many instances that zone is to have. 0 if the role is not spread.
    pub in_zone: usize,
}

/// Why a role is where it is; `None` if nobody asked for it. The fingerprint is left for the caller to fill in.
pub(crate) fn explain(picture: &Picture<'_>, role: &str) -> Option<Explanation> {
    super::decide(picture, None, |board| board.explain(picture, role))
}

impl Board<'_> {
    fn explain(&self, picture: &Picture<'_>, role: &str) -> Option<Explanation> {
        let index = self.rows.iter().position(|row| row.spec.name == role)?;
        let row = &self.rows[index];
        let mut view: Vec<NodeId> = self.candidates.iter().map(|candidate| candidate.node.clone()).collect();
        view.dedup();
        let held_back = HeldBack { policy: row.spec.partition, nodes: self.nodes, roster: picture.roster };
        let counts = self.zone_counts(index);
        let mut seats: Vec<Seat> = (0..self.candidates.len()).collect();
        // Those that are chosen; then as the next instance would choose.
        seats.sort_by_key(|seat| {
            let able = row.able.contains(seat);
            (!row.hosts.contains_key(seat), !row.waits.contains(seat), !able, self.rank(index, &counts, *seat))
        });
        Some(Explanation {
            spec: row.spec.clone(),
            fingerprint: String::new(),
            converged: false,
            view,
            roster: picture.roster,
            wanted: row.wanted,
            assigned: row.hosts.len(),
            held_back: row.held_back.then_some(held_back),
            cap: self.cap,
            candidates: seats.into_iter().map(|seat| self.weigh(index, &counts, seat, picture)).collect(),
        })
    }

    fn weigh(&self, index: usize, counts: &[usize], seat: Seat, picture: &Picture<'_>) -> Weighed {
        let (row, candidate, node) = (&self.rows[index], self.candidates[seat], self.node_of[seat]);
        let fit = self.fit(index, seat);
        let claims = picture.holdings.iter().filter(|h| h.role == row.spec.name && h.holder == candidate.replica);
        let claim = claims.map(|h| &h.claim).next();
        let chosen = row.hosts.get(&seat).map(|host| host.why.clone());
        let waits = row.waits.contains(&seat);
        let obstacle =
            if chosen.is_none() && !waits { self.obstacle(index, seat, claim.map(|c| &c.state)) } else { None };
        let zone = row.spec.spread_over.as_ref().and_then(|label| candidate.labels.get(label).cloned());
        Weighed {
            node: candidate.node.clone(),
            replica: candidate.replica,
            given_up: row.given_up.get(&seat).cloned(),
            waits,
            obstacle,
            claim: claim.map(|c| Tenure { state: c.state.clone(), token: c.token, pinned: c.pinned }),
            hosted: self.load[node],
            load: candidate.load,
            cost: fit.cost,
            score: fit.hash.0,
            zone,
            in_zone: self.in_zone(index, counts, seat),
            chosen,
        }
    }

    fn obstacle(&self, index: usize, seat: Seat, claimed: Option<&ClaimState>) -> Option<Obstacle> {
        let row = &self.rows[index];
        if let Some(unfit) = able::unfit(row.spec, self.candidates[seat]) {
            return Some(unfit);
        }
        if let Some(ClaimState::Failed { why, until_ms }) = claimed {
            return Some(Obstacle::Failed { why: why.clone(), until_ms: *until_ms });
        }
        if row.hosts.keys().any(|host| self.node_of[*host] == self.node_of[seat]) {
            return Some(Obstacle::SameNode);
        }
        self.beside(index, seat).map(|other| Obstacle::Beside { role: self.role(other) })
    }
}
