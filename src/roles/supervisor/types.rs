//! What goes into a [`Supervisor`](super::Supervisor) and comes out of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::{Claim, FencingToken, RoleSpec};

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

/// A task to be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoleStart {
    /// What to run.
    pub spec: Arc<RoleSpec>,
    /// The token of this start.
    pub token: FencingToken,
    /// What the instance whose place it takes left to it.
    pub handed: Option<Bytes>,
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
        /// What it leaves to its successor.
        handed: Option<Bytes>,
        /// It did not end by itself, and was aborted after this stop grace.
        aborted_after: Option<Duration>,
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
    Start(RoleStart),
    /// Ask the task of a role to end.
    Stop {
        /// The role.
        role: String,
        /// The token it was started with.
        token: FencingToken,
    },
}

impl RoleReport {
    /// The task ended when it was asked to, with nothing to hand over.
    pub fn stopped(role: String, token: FencingToken) -> Self {
        Self::Stopped { role, token, handed: None, aborted_after: None }
    }

    /// Which start of which role this is about.
    pub fn start(&self) -> (&str, FencingToken) {
        match self {
            Self::Running { role, token } | Self::Stopped { role, token, .. } | Self::Failed { role, token, .. } => {
                (role, *token)
            }
        }
    }
}
