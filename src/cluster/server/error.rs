//! What can go wrong between a server and those who use it, and what to do about it.

use std::time::Duration;

use crate::cluster::TableError;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server did not answer in time. If it had not begun with the call, it never will; otherwise it goes on.
    #[error(
        "no answer within {after:?}, and the call may be carried out all the same; wait longer, or ask again if that does no harm"
    )]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The server failed while it dealt with this call, or was dropped with its node or after its stop grace. How far it came
    /// is not known.
    #[error("the server failed at this call: {why}; look at what it wrote before you ask again")]
    Failed {
        /// What it failed of.
        why: String,
    },
    /// The server failed before it came to this call, and is started again.
    #[error("the server failed before it came to this ({why}); ask again in a moment")]
    Restarting {
        /// What it failed of.
        why: String,
    },
    /// As many messages wait as the mailbox holds.
    #[error("{capacity} messages wait for the server already; ask again later, or give it a larger mailbox")]
    Full {
        /// How many the mailbox holds.
        capacity: usize,
    },
    /// The server has ended, or is about to, and did not come to this call.
    #[error("the server has ended here; if it is a role, `Cluster::lookup` tells where it runs")]
    Stopped,
    /// The server failed so often that it is not started any more.
    #[error("the server gave up after {failures} failures, the last of which was: {why}; mend that and serve it anew")]
    GaveUp {
        /// How often it failed.
        failures: usize,
        /// What it failed of last.
        why: String,
    },
}

/// Why a cast was not taken. The server will not see it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CastError {
    /// The server failed and is started again.
    #[error("the server failed ({why}) and is being restarted; tell it again in a moment")]
    Restarting {
        /// What it failed of.
        why: String,
    },
    /// As many messages wait as the mailbox holds.
    #[error("{capacity} messages wait for the server already; tell it later, or give it a larger mailbox")]
    Full {
        /// How many the mailbox holds.
        capacity: usize,
    },
    /// The server has ended, or is about to.
    #[error("the server has ended here; if it is a role, `Cluster::lookup` tells where it runs")]
    Stopped,
    /// The server failed so often that it is not started any more.
    #[error("the server gave up after {failures} failures, the last of which was: {why}; mend that and serve it anew")]
    GaveUp {
        /// How often it failed.
        failures: usize,
        /// What it failed of last.
        why: String,
    },
}

impl From<CastError> for CallError {
    fn from(error: CastError) -> Self {
        match error {
            CastError::Restarting { why } => Self::Restarting { why },
            CastError::Full { capacity } => Self::Full { capacity },
            CastError::Stopped => Self::Stopped,
            CastError::GaveUp { failures, why } => Self::GaveUp { failures, why },
        }
    }
}

/// Why [`Cluster::serve`](crate::Cluster::serve) started nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// There is no such table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// No message fits the mailbox, or more than memory holds.
    #[error(
        "a mailbox cannot hold {messages} messages; give it room for at least one, and for no more than memory holds"
    )]
    Mailbox {
        /// How many it was to hold.
        messages: usize,
    },
    /// There is no tokio runtime.
    #[error("no tokio runtime is running here; serve from within the one that the node runs on")]
    NoRuntime,
    /// The node left the cluster, is leaving, or was dropped.
    #[error("this node left the cluster; start a new one to serve on")]
    Gone,
}

/// Why [`ServerHandle::stop`](super::ServerHandle::stop) did not end the server in order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// The server is a role, and would be started again.
    #[error("the server is the role {role:?} and runs as long as that is to run here")]
    Role {
        /// The role.
        role: String,
    },
    /// It did not end in time and was dropped: its `terminate` was cut off, or never came to run.
    #[error("the server did not end within its stop grace of {after:?} and was dropped; let its methods return sooner")]
    Overran {
        /// The stop grace.
        after: Duration,
    },
    /// It had given up before.
    #[error("the server had given up before, after {failures} failures, the last of which was: {why}")]
    GaveUp {
        /// How often it failed.
        failures: usize,
        /// What it failed of last.
        why: String,
    },
}

/// Why [`Cluster::server`](crate::Cluster::server) found no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerLookupError {
    /// The role does not run on this node now, or is no server.
    #[error("no server runs as the role {role:?} on this node; `Cluster::lookup` tells where it runs")]
    NotHere {
        /// The role.
        role: String,
    },
    /// The role's server is of another type.
    #[error(
        "the role {role:?} on this node is a server of another type than {asked}; ask for the type that its kind builds"
    )]
    OtherServer {
        /// The role.
        role: String,
        /// The type that was asked for.
        asked: &'static str,
    },
}
