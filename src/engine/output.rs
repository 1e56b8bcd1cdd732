//! Everything an engine asks of its driver.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::{Event, MailEvent, Status, StreamId};
use crate::id::NodeId;
use crate::membership::TimingError;
use crate::roles::{FencingToken, RoleSpecError, RoleStart};

/// What the engine asks of the driver. To be carried out in order; none of it may block.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Send a datagram from the node's own socket. May be lost.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// The bytes, the envelope included; at most [`wire::MAX_DATAGRAM`](crate::wire::MAX_DATAGRAM).
        bytes: Bytes,
    },
    /// Open a stream; answered by `Connected` or `ConnectFailed`.
    Connect {
        /// Its number, even.
        stream: StreamId,
        /// Where to.
        to: SocketAddr,
    },
    /// Send a frame; answered by `Flushed` once it was handed to the operating system.
    Frame {
        /// The stream.
        stream: StreamId,
        /// The frame, without a length prefix; at most [`wire::MAX_FRAME`](crate::wire::MAX_FRAME).
        bytes: Bytes,
    },
    /// Close a stream after what was sent on it. No `Closed` follows.
    Close {
        /// The stream.
        stream: StreamId,
    },
    /// Start the task of a role on this node.
    StartRole(RoleStart),
    /// Ask the task of a role to end, and end it after its stop grace.
    StopRole {
        /// The role.
        role: String,
        /// The token it was started with.
        token: FencingToken,
    },
    /// What this node sees of the cluster changed.
    Status(Arc<Status>),
    /// Something happened that the application may want to know.
    Event(Event),
    /// Letters came, or did not go.
    Mail(MailEvent),
    /// The answer to a command.
    Reply {
        /// The number of the request.
        request: u64,
        /// What came of it.
        reply: Reply,
    },
}

/// The answer to a [`Command`](super::Command).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Converged.
    Converged,
    /// Not yet: what stands in the way, in words. Repeated whenever it changes.
    Waiting(String),
    /// Those who were to hold the writes do, but for these, which went Down or left.
    Visible {
        /// Who is not waited for any more.
        gone: Vec<NodeId>,
    },
    /// What was counted.
    Stats(Box<super::EngineStats>),
    /// It is done.
    Done,
    /// The roles are as was asked.
    Role {
        /// Whether they were not before.
        changed: bool,
    },
    /// It was not done, for this reason.
    Denied(Denial),
    /// This node left, and another member holds every write of its own.
    Left,
    /// This node left, but these own rows are known to no other member, as `table/key`.
    LeftWithUnsaved(Vec<String>),
    /// Why the role is where it is; `None` if nobody asked for one of that name.
    Explained(Option<Box<crate::roles::Explanation>>),
    /// What would move.
    Moves(Result<Vec<crate::roles::Move>, crate::roles::WhatIfError>),
}

/// Why a command was not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// The timers do not work together.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// This node belongs to no cluster yet.
    #[error("this node is not ready yet; wait for `Cluster::ready` first")]
    NotReady,
    /// No node of that name belongs to the cluster.
    #[error("no node {0} belongs to the cluster; `Cluster::members` has the names")]
    Unknown(NodeId),
    /// The node lives.
    #[error("node {0} is not Down; let it leave, or stop its process first")]
    Lives(NodeId),
    /// The role cannot be.
    #[error(transparent)]
    Role(RoleSpecError),
    /// A newer spec of the role stands.
    #[error(
        "the role {role:?} stands in revision {standing}, above {revision}; give it a higher one, or remove the role first"
    )]
    OlderRole {
        /// The role.
        role: String,
        /// The revision that was refused.
        revision: u64,
        /// That of the spec that stands.
        standing: u64,
    },
    /// The node leaves.
    #[error("this node leaves the cluster; ask another")]
    Leaving,
}
