//! What a node says about the roles it holds: owner rows in the system table of claims.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::ReplicaId;
use crate::time::Stamp;

/// Orders the instances of a role in time: the newer start has the higher token. A resource that remembers the highest
/// token it was shown and refuses lower ones is safe from an instance that does not know yet that it was replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FencingToken {
    /// The stamp of the start.
    pub stamp: Stamp,
    /// Who started it.
    pub replica: ReplicaId,
}

impl FencingToken {
    /// As one number, for a resource to compare.
    pub fn as_u128(self) -> u128 {
        u128::from(self.stamp.0) << 64 | u128::from(self.replica.0)
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.as_u128())
    }
}

/// What the owner of a claim does with the role.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// The task is being started, or restarted after a failure.
    Starting,
    /// The task runs.
    Running,
    /// The task was asked to end, so that `to` can start.
    Draining {
        /// The successor.
        to: Option<ReplicaId>,
    },
    /// The task has ended; `to` may start.
    Stopped {
        /// The successor.
        to: Option<ReplicaId>,
    },
    /// The task failed too often; this node is not asked again until then.
    Failed {
        /// In words.
        why: String,
        /// When the exclusion ends, in milliseconds of estimated time. Its owner lifts it; others only read it.
        until_ms: u64,
    },
}

/// One row of the table of claims; its key is (owner, role).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The fencing token of the instance.
    pub token: FencingToken,
    /// What the owner does with the role.
    pub state: ClaimState,
}
