//! [`ServerHandle`]: how the application talks to a server.
//!
//! All that a handle needs is behind its methods, and those answer with errors that a server elsewhere could give as well: a
//! handle to one on another node would be of the same type.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::door::{Answer, Message, Shared};
use super::{CallError, CastError, DistrServer, StopError};
use crate::cluster::Table;

/// What a server does now.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ServerState {
    /// It waits for its node to be ready or for its table to be created, or is in `created` or `init`. Messages wait.
    Starting,
    /// It takes one message after the other.
    Running,
    /// It failed, and is started again: after a pause, or where and when its role's supervision says.
    Restarting {
        /// What it failed of.
        why: String,
    },
    /// It was asked to end and is in `terminate`.
    Stopping,
    /// It has ended.
    Stopped,
    /// It failed too often and is not started any more.
    GaveUp {
        /// How often it failed.
        failures: usize,
        /// What it failed of last.
        why: String,
    },
}

/// A [`DistrServer`] that runs on this node, from [`Cluster::serve`](crate::Cluster::serve) or, for one that is a role, from
/// [`Cluster::server`](crate::Cluster::server).
///
/// Cloning is cheap. A server does not end with the last handle to it, but by [`ServerHandle::stop`] or with its node. A
/// handle outlives restarts: calls give errors meanwhile, and go to the new start afterwards.
///
/// What one task sends arrives in the order in which it was sent, calls and casts alike, and is dealt with one after the
/// other.
pub struct ServerHandle<S: DistrServer> {
    shared: Arc<Shared<S>>,
}

impl<S: DistrServer> ServerHandle<S> {
    /// How long [`ServerHandle::call`] waits.
    pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

    pub(super) fn new(shared: Arc<Shared<S>>) -> Self {
        Self { shared }
    }

    /// Asks the server and waits for the answer, for at most [`ServerHandle::CALL_TIMEOUT`].
    ///
    /// While the server starts, calls wait for it; the timeout counts from here.
    ///
    /// # Errors
    ///
    /// [`CallError`] says whether the call may have been carried out. It never waits longer than the timeout, whatever
    /// becomes of the server.
    ///
    /// Cancel safe in that nothing is broken by dropping the future. The server does not begin with a call for which nobody
    /// waits any more, and finishes the one that it began with.
    pub async fn call(&self, call: S::Call) -> Result<S::Reply, CallError> {
        self.call_within(call, Self::CALL_TIMEOUT).await
    }

    /// [`ServerHandle::call`] with a timeout of one's own.
    pub async fn call_within(&self, call: S::Call, timeout: Duration) -> Result<S::Reply, CallError> {
        let (answer, reply) = oneshot::channel();
        self.shared.post(Message::Call(call, Answer::Handle(answer)))?;
        match tokio::time::timeout(timeout, reply).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.shared.refusal().into()),
            Err(_) => Err(CallError::Timeout { after: timeout }),
        }
    }

    /// Tells the server something. `Ok` means that it is in the mailbox; it is lost if the server fails or ends before it
    /// comes to it.
    pub fn cast(&self, cast: S::Cast) -> Result<(), CastError> {
        self.shared.post(Message::Cast(cast))
    }

    /// What the server does now.
    pub fn state(&self) -> ServerState {
        self.shared.state()
    }

    /// Waits until the server is as `condition` wants it; `None` if it never will be, because it has ended or given up, or its
    /// node is gone. A role that has ended may come back to this node, and is waited for. States that pass while nobody looks
    /// are skipped. Cancel safe.
    pub async fn until(&self, mut condition: impl FnMut(&ServerState) -> bool) -> Option<ServerState> {
        let mut wanted = false;
        let doors = self.shared.doors();
        let settled = doors.wait_for(|door| {
            wanted = condition(&door.state);
            let is_last = matches!(door.state, ServerState::Stopped | ServerState::GaveUp { .. });
            wanted || (is_last && self.shared.role().is_none())
        });
        let door = tokio::select! {
            biased;
            door = settled => door,
            _ = self.shared.gone().wait_for(|gone| *gone) => None,
        };
        door.map(|door| door.state).filter(|_| wanted)
    }

    /// How often the server was started so far.
    pub fn starts(&self) -> u64 {
        self.shared.starts()
    }

    /// The table that the server keeps. Reads need no call.
    pub fn table(&self) -> &Table<S::Key, S::Value> {
        self.shared.table()
    }

    /// Ends the server: what it deals with is finished, what waits is answered with [`CallError::Stopped`], `terminate` runs.
    /// It has the stop grace for that ([`Config::stop_grace_ms`](crate::Config::stop_grace_ms)) and is dropped after it. Ends
    /// well if it had ended before.
    ///
    /// Not cancel safe: the server ends, but who drops the future does not hear when. Not to be awaited by the server itself.
    pub async fn stop(&self) -> Result<(), StopError> {
        if let Some(role) = self.shared.role() {
            return Err(StopError::Role { role: role.to_owned() });
        }
        self.shared.ask_to_stop();
        let is_last = |state: &ServerState| matches!(state, ServerState::Stopped | ServerState::GaveUp { .. });
        match self.until(is_last).await {
            Some(ServerState::GaveUp { failures, why }) => Err(StopError::GaveUp { failures, why }),
            _ => match self.shared.overran() {
                Some(after) => Err(StopError::Overran { after }),
                None => Ok(()),
            },
        }
    }
}

impl<S: DistrServer> Clone for ServerHandle<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: DistrServer> fmt::Debug for ServerHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("table", &self.table().name())
            .field("role", &self.shared.role())
            .field("state", &self.state())
            .finish()
    }
}
