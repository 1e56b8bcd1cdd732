//! What can become of a message that has no answer, and what to do about it.

use std::time::Duration;

use super::packet::NotBegun;
use crate::id::NodeId;

/// Why a message was not answered, or not sent. [`MessageError::is_unbegun`] tells whether it may be sent again without
/// harm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The cluster has no role of that name. Not begun.
    #[error("the cluster has no role {role:?}; `Cluster::roles` has the names")]
    NoSuchRole {
        /// The name.
        role: String,
    },
    /// No instance of the role could take it in time. Not begun.
    #[error("no instance of the role {role:?} took this within {after:?}; `Cluster::roles` tells what it waits for")]
    NoInstance {
        /// The role.
        role: String,
        /// How long was waited; nothing, for what does not wait.
        after: Duration,
    },
    /// No living member has that name. Not begun.
    #[error("no node {node} takes part in the cluster now; `Cluster::members` has the names")]
    NoSuchNode {
        /// The name.
        node: NodeId,
    },
    /// The node has no handler of that name. Not begun.
    #[error("node {node} has no handler {handler:?}; register it there with `Builder::handler`")]
    NoSuchHandler {
        /// The node.
        node: NodeId,
        /// The name.
        handler: String,
    },
    /// The node cannot be reached. Not begun.
    #[error("{node} cannot be reached; try again, or look whether TCP gets there")]
    NotReachable {
        /// The node, by name or by replica.
        node: String,
    },
    /// As much waits already as may: in the mailbox of the role or handler, or on the way to its node. Not begun.
    #[error("too many messages wait for {to} already; send fewer at once, or try again later")]
    Full {
        /// What it was for.
        to: String,
    },
    /// The message is larger than a frame holds. Not begun.
    #[error("the message has {bytes} bytes, and no more than {limit} fit; send it in parts, or put it into a table")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The largest length.
        limit: usize,
    },
    /// It was not understood: of another type than the receiver's, or one that cannot be encoded. Not begun.
    #[error("not understood: {why}; use the same types on both ends")]
    NotUnderstood {
        /// What is wrong, in words.
        why: String,
    },
    /// The receiver did not want to answer, or dropped the call without an answer. It was begun.
    #[error("refused: {why}")]
    Refused {
        /// What it says.
        why: String,
    },
    /// The stream or the node broke after the message was sent. It may have been dealt with.
    #[error("the connection to {node} broke before the answer came, and the call may have been carried out")]
    Interrupted {
        /// The node, by name or by replica.
        node: String,
    },
    /// No answer came in time. If it was not begun by then, it will not be, as far as the receiver hears of it.
    #[error("no answer within {after:?}, and the call may be carried out all the same; wait longer")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// This node left the cluster or was dropped. What was under way may have been dealt with.
    #[error("this node left the cluster; start a new one")]
    Gone,
}

impl MessageError {
    /// Whether it is certain that nobody began to deal with the message, nor will: it may be sent again.
    pub fn is_unbegun(&self) -> bool {
        match self {
            Self::NoSuchRole { .. }
            | Self::NoInstance { .. }
            | Self::NoSuchNode { .. }
            | Self::NoSuchHandler { .. }
            | Self::NotReachable { .. }
            | Self::Full { .. }
            | Self::TooLarge { .. }
            | Self::NotUnderstood { .. } => true,
            Self::Refused { .. } | Self::Interrupted { .. } | Self::Timeout { .. } | Self::Gone => false,
        }
    }
}

/// Why a role could not take a message that will not be sent again, in the words of the last attempt.
pub(super) fn unbegun(why: &NotBegun, role: &str, node: &str, after: Duration) -> MessageError {
    match why {
        NotBegun::NotHere | NotBegun::Ended => MessageError::NoInstance { role: role.to_owned(), after },
        NotBegun::Full => MessageError::Full { to: format!("the role {role:?} on {node}") },
        NotBegun::NotReachable => MessageError::NotReachable { node: node.to_owned() },
        NotBegun::TooLarge(bytes) => MessageError::TooLarge {
            bytes: usize::try_from(*bytes).unwrap_or(usize::MAX),
            limit: super::post::MAX_BODY,
        },
        NotBegun::NotUnderstood(why) => MessageError::NotUnderstood { why: why.clone() },
        NotBegun::Gone => MessageError::Gone,
    }
}
