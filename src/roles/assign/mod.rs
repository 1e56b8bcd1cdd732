//! Who should host what, as a pure function: running roles stay, new instances go to the least busy node, and calm brings
//! evenness.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998) ranks the candidates of each role by a hash of both names, so that a
//! lost node moves only what it held. Bounding the load (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with
//! Bounded Loads", 2016) evens it out but moves bystanders; stickiness stops that. Both leave loads uneven, so here the hash only
//! breaks ties between equally busy nodes.
//!
//! Of 50 nodes with 200 instances (a mean of 4) each is lost once, with 4 orphans on average, and then comes back with nothing;
//! every fifth node is about four times as busy as the others (a load of 6, which weighs as much as 2 roles):
//!
//! | | bystanders moved, in 50 losses | highest load | of 200 orphans to the 10 busy nodes | moved, in 50 returns | difference after a return, of the other 40 nodes |
//! |---|---|---|---|---|---|
//! | plain rendezvous | 0 | 10 | 45 | 200 | 8 |
//! | bounded | 513 | 6 | 44 | 713 | 5 |
//! | least busy, `Off` | 0 | 5 | 0 | 0 | 5 |
//! | least busy, `Sticky` | 0 | 5 | 0 | 0 | 5 |
//! | least busy, `Even` | 0 | 5 | 0 | 190 | 1 |
//!
//! In order:
//!
//! 1. **Who can**: members that build the kind, have the labels and did not give the role up. None, where the side is too
//!    small for the policy of the role.
//! 2. **Incumbents** stay, at most `count` of them, however busy their nodes are. Of two that exclude each other, the older.
//! 3. **Orphans** go to the emptiest zone, there to the least busy candidate: the one with the fewest roles, where a load counts
//!    as 1.25^load - 1 roles more and loads within one bucket of the least count as the least. The highest hash breaks ties.
//!    Roles that fewer nodes can host go first, then by name: a node that several could take, one of them nowhere else, is left
//!    to that one. Where only a role that must not be beside it is in the way, that one moves if it can (with [`Balance::Off`]
//!    only if it does not run yet), and the orphan waits until its task has gone.
//! 4. **Zones** that differ by two instances of a role or more give and take; a node without the label is one of its own. Not
//!    with [`Balance::Off`].
//! 5. [`Balance::Even`]: while the cluster is **calm** and nothing else changes, the node with the most instances gives one to the
//!    node with the fewest, if that one has two fewer or less and would not be busier than the giver was; and so on, a tenth of
//!    all instances at a time, what is on its way included. The sum of the squares of the loads falls with each move, so loads
//!    that change all the time cannot make roles go round.
//! 6. [`Balance::Sticky`]: **nodes above the cap** of ⌈1.25 · mean⌉ shed what suits them least, where the taker then has a quarter
//!    less than they had; above the cap plus one, wherever it evens the loads. Orphans go to nodes below the cap first.
//!
//! What was moved a short time ago (*pinned*) or is being handed over stays where it is in 4 to 6. So an assignment that was
//! carried out is the assignment again, but for the next tenth of what is to be evened out.
//!
//! Loads and calm may change at any time. The fingerprint of the cluster does not cover them but what was made of them, so a load
//! that leaves the assignment as it is costs no agreement. At rest no load is looked at ([`Notes::weighed`]) unless
//! one node has two instances fewer than another, so mostly the assignment is not even computed again.
//!
//! A node at rest costs O(roles · candidates) to see that nothing is to be done, a move for balance O(nodes · log nodes + roles on
//! the giving node).

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
use super::{Balance, Candidate, ClaimState, FencingToken, Holding, InstanceId, PartitionPolicy, Picture, RoleSpec};
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

    /// How many instances a node has for its share: ⌈mean⌉, or ⌈1.25 · mean⌉ with [`Balance::Sticky`] and [`Balance::Off`].
    pub fn cap(&self) -> usize {
        self.cap
    }

    /// Hands out, in order, the byte strings that a fingerprint of what was assigned must cover; see [`Picture::describe`].
    pub fn describe(&self, mut piece: impl FnMut(bool, &[u8])) {
        piece(true, b"assigned");
        for (role, hosts) in &self.hosts {
            piece(false, role.as_bytes());
            hosts.iter().for_each(|host| piece(false, &host.0.to_be_bytes()));
        }
    }
}

/// What was found out on the way to an assignment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Notes {
    /// Loads were looked at. If not, the assignment is the same whatever they are.
    pub(crate) weighed: bool,
    /// A role would be moved for balance, if the cluster were calm.
    pub(crate) uneven: bool,
}

/// Decides who should host what. Equal pictures give equal assignments, in whatever order their lists are.
pub fn assign(picture: &Picture<'_>) -> Assignment {
    assign_noted(picture, None).0
}

/// As [`assign`], with what was found out on the way; `who` computes it as it suits itself, which breaks a rule.
pub(crate) fn assign_noted(picture: &Picture<'_>, who: Option<ReplicaId>) -> (Assignment, Notes) {
    decide(picture, who, |board| {
        let notes = board.notes();
        (board.finish(), notes)
    })
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
    match picture.balance {
        Balance::Off => {}
        Balance::Sticky => while (board.spread() | board.shed()) && board.place_orphans() {},
        Balance::Even => {
            while board.spread() && board.place_orphans() {}
            board.even_out(picture.calm);
        }
    }
    make(board)
}

#[cfg(test)]
mod tests;
