//! Who should host what: sticky, bounded, weighted rendezvous hashing, as a pure function.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998) ranks the candidates of each role by a hash of both names, so that a
//! lost node moves only what it held. Bounding the load (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with
//! Bounded Loads", 2016) evens it out but moves bystanders; stickiness stops that; weights keep new instances off busy nodes.
//!
//! Of 50 nodes with 200 instances (a mean of 4, the cap 5) each is lost once, with 4 orphans on average; every fifth node is
//! about four times as busy as the others (a load of 6):
//!
//! | | bystanders moved, in 50 losses | highest load | of 200 orphans to the 10 busy nodes |
//! |---|---|---|---|
//! | plain rendezvous | 0 | 10 | 45 |
//! | bounded | 513 | 6 | 44 |
//! | sticky, bounded | 0 | 6 | 40 |
//! | sticky, bounded, weighted | 0 | 6 | 2 |
//!
//! In order:
//!
//! 1. **Who can**: members that build the kind, have the labels and did not give the role up. None, where the side is too
//!    small for the policy of the role.
//! 2. **Incumbents** stay, at most `count` of them, whatever they weigh. Of two that exclude each other, the older.
//! 3. **Orphans** go to the emptiest zone, there to the best-scored candidate below the cap of ⌈1.25 · mean⌉, else to the
//!    least loaded: counts come before spreading, spreading before balance. Roles that fewer nodes can host go first, then by
//!    name: a node that several could take, one of them nowhere else, is left to that one. Where only a role that must not be
//!    beside it is in the way, that one moves if it can, and the orphan waits until its task has gone.
//! 4. **Zones** that differ by two instances of a role or more give and take; a node without the label is one of its own.
//! 5. **Nodes above the cap shed** what suits them least, where the taker then has a quarter less than they had; above the
//!    cap plus one, wherever it evens the loads.
//!
//! What was moved a short time ago (*pinned*) or is being handed over stays where it is in 4 and 5. So an assignment that was
//! carried out is the assignment again, and a change of weights alone moves nothing.

mod able;
mod board;
mod even;
mod explain;
mod place;
mod score;
mod table;
mod trim;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

pub use able::Obstacle;
use board::Board;
pub use board::{Chosen, GivenUp};
pub(crate) use explain::explain;
pub use explain::{Explanation, HeldBack, Tenure, Weighed};

use super::standing::answered;
use super::{Candidate, ClaimState, FencingToken, Holding, PartitionPolicy, Picture, RoleSpec};
use crate::id::ReplicaId;

/// Which replicas should host which role.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Assignment {
    hosts: BTreeMap<String, Vec<ReplicaId>>,
    missing: BTreeMap<String, u32>,
    held_back: BTreeSet<String>,
    cap: usize,
}

impl Assignment {
    /// Who should host a role, ordered by (node, replica).
    pub fn hosts(&self, role: &str) -> &[ReplicaId] {
        self.hosts.get(role).map_or(&[], Vec::as_slice)
    }

    /// Whether a replica should host a role.
    pub fn wants(&self, role: &str, replica: ReplicaId) -> bool {
        self.hosts(role).contains(&replica)
    }

    /// The roles of which fewer instances than wanted can be placed, and how many are missing: too few members can build
    /// their kind, have the labels, are not excluded and free of roles that must not be beside this one. Roles that are
    /// [held back](Self::held_back) are not among them.
    pub fn missing(&self) -> impl Iterator<Item = (&str, u32)> {
        self.missing.iter().map(|(role, missing)| (role.as_str(), *missing))
    }

    /// The roles that run nowhere on this side, for it is too small for their policy.
    pub fn held_back(&self) -> impl Iterator<Item = &str> {
        self.held_back.iter().map(String::as_str)
    }

    /// The load up to which a node keeps what it has: ⌈1.25 · mean⌉.
    pub fn cap(&self) -> usize {
        self.cap
    }
}

/// Decides who should host what. Equal pictures give equal assignments, in whatever order their lists are.
pub fn assign(picture: &Picture<'_>) -> Assignment {
    assign_as(picture, None)
}

/// As [`assign`]; `who` computes it as it suits itself, which breaks a rule.
pub(crate) fn assign_as(picture: &Picture<'_>, who: Option<ReplicaId>) -> Assignment {
    decide(picture, who, |board| board.finish())
}

/// Makes the decision, and makes something of the board as it then is: the assignment, or the reasons for it.
fn decide<R>(picture: &Picture<'_>, who: Option<ReplicaId>, make: impl FnOnce(Board<'_>) -> R) -> R {
    let mut candidates: Vec<&Candidate> = picture.candidates.iter().collect();
    candidates.sort_by_key(|candidate| (&candidate.node, candidate.replica));
    let mut roles: Vec<&RoleSpec> = picture.roles.iter().collect();
    roles.sort();
    roles.dedup_by_key(|spec| &spec.name);
    let mut holdings = Cow::Borrowed(picture.holdings);
    if !holdings.is_sorted_by_key(|holding| (&holding.role, holding.holder)) {
        holdings.to_mut().sort_by(|a, b| (&a.role, a.holder).cmp(&(&b.role, b.holder)));
    }
    let sorted = Picture { holdings: &holdings, ..*picture };
    let mut board = Board::new(&candidates, &roles, &sorted, who);
    board.trim();
    board.part();
    board.place_orphans();
    // What moves can leave room for what found none. Each round places an instance more, or is the last.
    while (board.spread() | board.shed()) && board.place_orphans() {}
    make(board)
}

#[cfg(test)]
mod tests;
