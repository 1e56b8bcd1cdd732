//! [`ServerContext`]: what the methods of a server can use.

use std::fmt;
use std::sync::Arc;

use super::door::Shared;
use super::{DistrServer, ServerHandle};
use crate::cluster::{Cluster, RoleContext, Table};
use crate::driver::Reader;

/// What the methods of a [`DistrServer`] are given: its table, its node, itself.
pub struct ServerContext<S: DistrServer> {
    pub(super) cluster: Cluster,
    pub(super) shared: Arc<Shared<S>>,
    pub(super) stop: Stop,
}

/// What asks a server to end.
#[derive(Clone)]
pub(super) enum Stop {
    /// Somebody with a handle, or the node that leaves.
    Asked { server: Reader<bool>, node: Reader<bool> },
    /// Its role.
    Role(RoleContext),
}

impl<S: DistrServer> ServerContext<S> {
    /// The table that [`config`](DistrServer::config) names.
    pub fn table(&self) -> &Table<S::Key, S::Value> {
        self.shared.table()
    }

    /// The node that this runs on. This handle, and its clones, do not keep the node alive.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A handle to this server itself, for tasks that it starts: a timer, say, that casts. A server that awaits a call to
    /// itself waits until that times out.
    pub fn handle(&self) -> ServerHandle<S> {
        ServerHandle::new(Arc::clone(&self.shared))
    }

    /// The role that this start belongs to, with its name, arguments and token; `None` if the server runs alone.
    pub fn role(&self) -> Option<&RoleContext> {
        match &self.stop {
            Stop::Role(context) => Some(context),
            Stop::Asked { .. } => None,
        }
    }

    /// Waits until this server is asked to end. It is so after the method that runs now has returned; one that takes long
    /// may look here in order to be done within the stop grace. Cancel safe.
    pub async fn stopped(&self) {
        self.stop.requested().await;
    }

    /// Whether this server was asked to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_requested()
    }
}

impl Stop {
    pub(super) async fn requested(&self) {
        match self {
            Self::Role(context) => context.stopped().await,
            // None means that whoever could ask is gone, which asks no less.
            Self::Asked { server, node } => tokio::select! {
                biased;
                _ = server.wait_for(|stop| *stop) => {}
                _ = node.wait_for(|stop| *stop) => {}
            },
        }
    }

    pub(super) fn is_requested(&self) -> bool {
        match self {
            Self::Role(context) => context.is_stopped(),
            Self::Asked { server, node } => server.get() || node.get(),
        }
    }
}

impl<S: DistrServer> fmt::Debug for ServerContext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerContext")
            .field("table", &self.table().name())
            .field("role", &self.role().map(RoleContext::role))
            .finish_non_exhaustive()
    }
}
