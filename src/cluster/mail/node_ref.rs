//! [`NodeRef`]: calling the handlers of a node.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::MessageError;
use super::error::unbegun;
use super::inbox::{Body, Caller, Item, Outcome};
use super::packet::{self, NotBegun, Target};
use super::role_ref::FOR_EVER;
use crate::cluster::Cluster;
use crate::cluster::node::Node;
use crate::engine::Liveness;
use crate::id::{NodeId, ReplicaId};

/// The longest name of a handler, in bytes.
const MAX_NAME: usize = 256;

/// A node of the cluster, to call its handlers; from [`Cluster::on_node`]. Cloning is cheap. It does not keep this node
/// alive.
#[derive(Clone)]
pub struct NodeRef {
    here: Arc<Node>,
    node: NodeId,
}

impl Cluster {
    /// A node of the cluster, to call what it registered with [`Builder::handler`](super::super::Builder::handler). It may
    /// be this one.
    ///
    /// ```no_run
    /// # async fn f(cluster: unisono::Cluster, node: unisono::NodeId) -> Result<(), unisono::MessageError> {
    /// let free: u32 = cluster.on_node(&node).call("free spaces", &"deck 2").await?;
    /// # let _ = free;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_node(&self, node: &NodeId) -> NodeRef {
        NodeRef { here: Arc::clone(&self.node), node: node.clone() }
    }
}

impl NodeRef {
    /// How long [`NodeRef::call`] waits.
    pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

    /// Calls a handler and waits for its answer, for at most [`NodeRef::CALL_TIMEOUT`]. It is sent once. The types have to
    /// be those of the handler.
    ///
    /// # Errors
    ///
    /// [`MessageError`]; [`MessageError::is_unbegun`] says whether it may be sent again without harm.
    pub async fn call<Q, R>(&self, handler: &str, request: &Q) -> Result<R, MessageError>
    where
        Q: Serialize + ?Sized,
        R: DeserializeOwned + Send + 'static,
    {
        self.call_within(handler, request, Self::CALL_TIMEOUT).await
    }

    /// [`NodeRef::call`] with a timeout of one's own.
    pub async fn call_within<Q, R>(&self, handler: &str, request: &Q, timeout: Duration) -> Result<R, MessageError>
    where
        Q: Serialize + ?Sized,
        R: DeserializeOwned + Send + 'static,
    {
        let bytes = packet::encode(request).map_err(|why| MessageError::NotUnderstood { why })?;
        let peer = self.member()?;
        if handler.len() > MAX_NAME {
            return Err(self.unbegun(&NotBegun::NotHere, handler));
        }
        let until = Instant::now() + timeout.min(FOR_EVER);
        let target = Target::Handler(handler);
        let outcome = async {
            if peer == self.here.replica {
                let (caller, outcome) = Caller::here();
                let item = Item { body: Body::Bytes(bytes), caller: Some(caller), from: peer, until: Some(until) };
                let Some(inbox) = self.here.post.inbox(target) else {
                    return Some(Outcome::NotBegun(NotBegun::NotHere, None));
                };
                match inbox.push(item) {
                    Ok(()) => outcome.await.ok(),
                    Err((why, _)) => Some(Outcome::NotBegun(why, None)),
                }
            } else {
                match self.here.post.call(peer, target, &bytes, until) {
                    Ok(mut pending) => pending.outcome().await,
                    Err(why) => Some(Outcome::NotBegun(why, None)),
                }
            }
        };
        let outcome = tokio::time::timeout_at(until, outcome).await;
        match outcome.map_err(|_| MessageError::Timeout { after: timeout })?.ok_or(MessageError::Gone)? {
            Outcome::Reply(body) => {
                let understood = body.into_value();
                understood.map_err(|why| MessageError::Refused { why: format!("the answer is not understood: {why}") })
            }
            Outcome::Refused(why) => Err(MessageError::Refused { why }),
            Outcome::Interrupted => Err(MessageError::Interrupted { node: self.node.to_string() }),
            Outcome::NotBegun(why, _) => Err(self.unbegun(&why, handler)),
        }
    }

    /// The run of the node that takes part now.
    fn member(&self) -> Result<ReplicaId, MessageError> {
        if self.here.local.is_gone() {
            return Err(MessageError::Gone);
        }
        let status = self.here.status();
        let lives = |member: &&crate::engine::Member| member.node == self.node && member.liveness != Liveness::Down;
        let found = status.members.iter().filter(lives).max_by_key(|member| member.in_view);
        found.map(|member| member.replica).ok_or_else(|| MessageError::NoSuchNode { node: self.node.clone() })
    }

    fn unbegun(&self, why: &NotBegun, handler: &str) -> MessageError {
        match why {
            NotBegun::NotHere => MessageError::NoSuchHandler { node: self.node.clone(), handler: handler.to_owned() },
            NotBegun::Ended => MessageError::NotReachable { node: self.node.to_string() },
            NotBegun::Full => MessageError::Full { to: format!("the handler {handler:?} on {}", self.node) },
            why => unbegun(why, "", self.node.as_str(), Duration::ZERO),
        }
    }
}

impl std::fmt::Debug for NodeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeRef").field("node", &self.node).finish_non_exhaustive()
    }
}
