//! What goes into a [`Supervisor`](super::Supervisor) and comes out of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::{Assignment, Claim, FencingToken, Given, InstanceId, Picture, RoleSpec};

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

/// What a node decides on.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What it may do.
    pub permit: Permit,
    /// The view, the roles and the claims.
    pub picture: &'a Picture<'a>,
    /// The assignment of that picture.
    pub assignment: &'a Assignment,
    /// The fencing tokens that are known to have been given.
    pub given: &'a Given,
}

/// A task to be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoleStart {
    /// What to run.
    pub spec: Arc<RoleSpec>,
    /// Which instance this start makes.
    pub started: InstanceId,
    /// Its first fencing token.
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
        /// Which start of it.
        started: InstanceId,
    },
    /// The task ended because it was asked to.
    Stopped {
        /// The role.
        role: String,
        /// Which start of it.
        started: InstanceId,
        /// What it leaves to its successor.
        handed: Option<Bytes>,
        /// It did not end by itself, and was aborted when it had had so long to end.
        aborted_after: Option<Duration>,
    },
    /// The task ended by itself.
    Failed {
        /// The role.
        role: String,
        /// Which start of it.
        started: InstanceId,
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
    /// Tell all members that a fencing token was given.
    Give {
        /// The role.
        role: String,
        /// The token.
        token: FencingToken,
        /// To which instance.
        started: InstanceId,
    },
    /// Start the task of a role.
    Start(RoleStart),
    /// Tell the task of a role its new fencing token.
    Raise {
        /// The role.
        role: String,
        /// Which start of it.
        started: InstanceId,
        /// The token.
        token: FencingToken,
    },
    /// Ask the task of a role to end.
    Stop {
        /// The role.
        role: String,
        /// Which start of it.
        started: InstanceId,
    },
}

impl RoleReport {
    /// The task ended when it was asked to, with nothing to hand over.
    pub fn stopped(role: String, started: InstanceId) -> Self {
        Self::Stopped { role, started, handed: None, aborted_after: None }
    }

    /// Which start of which role this is about.
    pub fn start(&self) -> (&str, InstanceId) {
        match self {
            Self::Running { role, started }
            | Self::Stopped { role, started, .. }
            | Self::Failed { role, started, .. } => (role, *started),
        }
    }
}
