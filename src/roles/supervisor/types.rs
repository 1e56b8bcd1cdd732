//! What goes into a [`Supervisor`](super::Supervisor) and comes out of it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::{Claim, FencingToken, RoleSpec};

/// How failing tasks are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorConfig {
    /// The pause before the first restart; it doubles with each further failure within `window`. 0 restarts at once.
    pub backoff_first: Duration,
    /// The longest pause before a restart.
    pub backoff_max: Duration,
    /// The node gives the role up when its task fails more often than this within `window`. 0 gives up at once, so that
    /// another node tries; a large number keeps a role bound to a node that cannot run it.
    pub max_failures: usize,
    /// How long a failure counts. Shorter than all the pauses together, it never comes to giving up.
    pub window: Duration,
    /// How long the node is not asked again after it gave up. With every node excluded, the role runs nowhere meanwhile.
    pub exclusion: Duration,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            max_failures: 5,
            window: Duration::from_secs(60),
            exclusion: Duration::from_secs(60),
        }
    }
}

/// What a node may do with its roles, by how far the view agrees.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Permit {
    /// Not agreed: only bookkeeping.
    Wait,
    /// Agreed, or not agreed for so long that one does not wait any more: start what is missing.
    Start,
    /// Converged: also stop and move.
    Move,
}

/// What became of the task of a role.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RoleReport {
    /// The task runs.
    Running {
        /// The role.
        role: String,
        /// The token it was started with.
        token: FencingToken,
    },
    /// The task ended because it was asked to.
    Stopped {
        /// The role.
        role: String,
        /// The token it was started with.
        token: FencingToken,
    },
    /// The task ended by itself.
    Failed {
        /// The role.
        role: String,
        /// The token it was started with.
        token: FencingToken,
        /// Why, in words for the claim.
        why: String,
    },
}

/// What a [`Supervisor`](super::Supervisor) asks for, in the order to be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SupervisorOutput {
    /// Write, or with `None` remove, this node's claim of a role.
    Claim {
        /// The role.
        role: String,
        /// The claim.
        claim: Option<Claim>,
    },
    /// Start the task of a role.
    Start {
        /// What to run.
        spec: Arc<RoleSpec>,
        /// The token of this start.
        token: FencingToken,
    },
    /// Ask the task of a role to end.
    Stop {
        /// The role.
        role: String,
        /// The token it was started with.
        token: FencingToken,
    },
}
