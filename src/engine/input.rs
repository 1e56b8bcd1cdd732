//! Everything that can happen to an engine.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Letter;
use crate::id::NodeId;
use crate::roles::{RoleReport, RoleSpec};

/// A stream between two nodes, as one node counts them: the engine numbers those it opens with even numbers, the
/// driver those it accepts with odd ones. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct StreamId(pub u64);

/// What the driver tells the engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Input {
    /// A datagram arrived on the node's own socket.
    Datagram {
        /// The source address of the packet.
        from: SocketAddr,
        /// Its bytes, the envelope included.
        bytes: Bytes,
    },
    /// A strategy found an address at which a member may listen. Hearing it again is welcome.
    Discovered {
        /// The advertised address of the node.
        address: SocketAddr,
    },
    /// A strategy heard a node of another cluster. Hearing it again is harmless: it is told of once an hour.
    Stranger {
        /// The advertised address of that node.
        address: SocketAddr,
        /// The [`cluster_hash`](crate::wire::cluster_hash) of the name of its cluster.
        cluster: u64,
    },
    /// Somebody opened a stream to this node.
    Accepted {
        /// Its number, odd.
        stream: StreamId,
        /// The source address; its port says nothing.
        from: SocketAddr,
    },
    /// A stream that [`Output::Connect`](super::Output::Connect) asked for is open.
    Connected {
        /// Its number.
        stream: StreamId,
    },
    /// A stream that was asked for did not come about.
    ConnectFailed {
        /// Its number.
        stream: StreamId,
        /// The host answered and said that nobody listens at that port (as opposed to silence, or no route).
        refused: bool,
    },
    /// A whole frame arrived on a stream, without its length prefix.
    Frame {
        /// The stream.
        stream: StreamId,
        /// The bytes of the frame.
        bytes: Bytes,
    },
    /// A frame that the engine sent was handed to the operating system: there is room for one more.
    Flushed {
        /// The stream.
        stream: StreamId,
    },
    /// A stream ended, in order or not. Nothing more will be heard of it.
    Closed {
        /// The stream.
        stream: StreamId,
    },
    /// The operating system reports that datagrams to this address do not get through.
    Unreachable {
        /// The address.
        to: SocketAddr,
    },
    /// The application wrote to the store since the last input.
    StoreChanged,
    /// The time of `poll_timeout` has come.
    Deadline,
    /// What became of a role's task.
    Role(RoleReport),
    /// What the application asks for.
    Command(Command),
    /// Letters of the application to other members, in order.
    Mail(Vec<Letter>),
}

/// What the application asks for. `request` comes back in [`Output::Reply`](super::Output::Reply).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Tell when this node is converged with its view: membership, tables and assignments.
    AwaitConverged {
        /// The number to answer with.
        request: u64,
    },
    /// Tell when this node's view agrees and holds the same tables, whatever its roles do.
    AwaitTables {
        /// The number to answer with.
        request: u64,
    },
    /// Tell when others hold what this node wrote.
    AwaitVisible {
        /// The number to answer with.
        request: u64,
        /// So many writes of this node: those before the wait.
        until: u64,
        /// Who has to hold them.
        who: super::Visible,
    },
    /// Tell what this node has counted.
    Stats {
        /// The number to answer with.
        request: u64,
    },
    /// Nobody waits any more for this request.
    Forget {
        /// The number given before.
        request: u64,
    },
    /// Other timers from now on. They must be [valid](super::Timing::validate); others are refused.
    SetTiming {
        /// The number to answer with.
        request: u64,
        /// All timers.
        timing: Box<super::Timing>,
    },
    /// Evict a node that is Down, and will not come back, from the roster.
    Evict {
        /// The number to answer with.
        request: u64,
        /// Which.
        node: NodeId,
    },
    /// Leave the cluster in order: hand over roles, wait until another member holds every own write.
    Leave {
        /// The number to answer with.
        request: u64,
        /// How long to try to hand over, in milliseconds.
        patience_ms: u64,
    },
    /// Ask the cluster to run a role, in place of what was asked for under its name.
    AddRole {
        /// The number to answer with.
        request: u64,
        /// What to run. It must be [valid](RoleSpec::validate); others are refused.
        spec: Box<RoleSpec>,
    },
    /// Ask the cluster to run a role no more.
    RemoveRole {
        /// The number to answer with.
        request: u64,
        /// Its name.
        role: String,
    },
    /// Tell why a role is where it is.
    Explain {
        /// The number to answer with.
        request: u64,
        /// The name of the role.
        role: String,
    },
    /// Tell what would move if something were otherwise.
    WhatIf {
        /// The number to answer with.
        request: u64,
        /// What to suppose.
        change: crate::roles::WhatIf,
    },
}
