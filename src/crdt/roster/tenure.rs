//! By what right a run has the name of its node.
//!
//! ```text
//!   first admission ─▶ turn 0 ── proof that it is gone ─▶ turn 1 ── proof ─▶ turn 2 …        one succession
//! ```
//!
//! Two runs of one node may be admitted at a time, by sponsors that do not know of each other's admission, as on the two
//! sides of a cut. Of these the one has the name whose succession began earlier; of one succession the one that the name
//! was passed on to most often, which is the one that superseded the other; and of two that superseded the same run the
//! one that was admitted earlier. That is a total order of fixed values, so what is known of a node can be joined in any
//! order, and who knows the successor never takes the predecessor for the holder, whatever else it does not know.

use std::cmp::{Ordering, Reverse};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::id::ReplicaId;
use crate::time::Stamp;

/// What proved that the run which had a name before is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Proof {
    /// It left the cluster in order, or was evicted from it.
    Left,
    /// It was Down.
    Down,
    /// Another process listens at its address.
    Replaced,
    /// Its host refused a connection, and it answered no datagram either.
    Refused,
    /// It answered neither a datagram nor a stream.
    Silent,
}

/// The run that had a name before, and what proved that it is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Superseded {
    /// Which run.
    pub run: ReplicaId,
    /// The proof.
    pub proof: Proof,
}

/// The right of a run to the name of its node. The greater of two is the better.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tenure {
    /// When the first run of this succession was admitted, and which run that was.
    pub began: (Stamp, ReplicaId),
    /// How often the name was passed on since.
    pub turn: u32,
    /// When this run was admitted, by its sponsor's estimate of the time.
    pub admitted: Stamp,
    /// Whom it had the name from.
    pub supersedes: Option<Superseded>,
}

/// Where a run stands among those of its node: the greatest has the name.
pub(super) type Standing = (Reverse<(Stamp, ReplicaId)>, u32, Reverse<Stamp>, Reverse<ReplicaId>);

impl Tenure {
    /// That of a run whose node was not heard of before.
    pub fn first(run: ReplicaId, admitted: Stamp) -> Self {
        Self { began: (admitted, run), turn: 0, admitted, supersedes: None }
    }

    /// That of a run which supersedes the one with this tenure.
    #[must_use]
    pub fn passed_on(&self, supersedes: Superseded, admitted: Stamp) -> Self {
        Self { began: self.began, turn: self.turn.saturating_add(1), admitted, supersedes: Some(supersedes) }
    }

    pub(super) fn standing(&self, run: ReplicaId) -> Standing {
        (Reverse(self.began), self.turn, Reverse(self.admitted), Reverse(run))
    }

    pub(super) fn hash(&self, hasher: &mut Xxh3Default) {
        let (run, proof) = self.supersedes.map_or((0, 0), |superseded| (superseded.run.0, 1 + superseded.proof as u8));
        for number in [self.began.0.0, self.began.1.0, self.turn.into(), self.admitted.0, run] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&[proof]);
    }
}

impl Ord for Tenure {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = |tenure: &Self| (tenure.standing(ReplicaId(0)), tenure.supersedes);
        order(self).cmp(&order(other))
    }
}

impl PartialOrd for Tenure {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
