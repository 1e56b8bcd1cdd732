//! A server as a role: it runs where the role runs, and the role's supervision restarts it.

use std::sync::Arc;

use super::context::Stop;
use super::desk::Desk;
use super::life::live;
use super::{DistrServer, ServerContext, ServerHandle, ServerLookupError, ServerState};
use crate::cluster::{Cluster, RoleContext, RoleResult};

/// The task of a role that is a server.
pub(in crate::cluster) async fn as_role<S, F>(factory: Arc<F>, context: RoleContext) -> RoleResult
where
    S: DistrServer,
    F: Fn(&RoleContext) -> S,
{
    let cluster = context.cluster().clone();
    let server = factory(&context);
    let config = server.config();
    config.check()?;
    let table = cluster.table(config.table().clone())?;
    let node = &cluster.node;
    let shared = node.servers.role(context.role(), config, table, node.local.gone());
    let desk = Desk::open(&shared);
    let context = ServerContext { cluster: cluster.clone(), shared, stop: Stop::Role(context) };
    let judge = |why: &str| ServerState::Restarting { why: why.to_owned() };
    Ok(live(&context, desk, || server, judge).await?)
}

impl Cluster {
    /// The server that a role is, while the role runs on this node: see
    /// [`Builder::server_kind`](super::super::Builder::server_kind). The handle outlives restarts of the role on this node;
    /// when the role has moved away, its calls say so.
    ///
    /// # Errors
    ///
    /// [`ServerLookupError`] if it does not run here now, or is another server than `S`.
    pub fn server<S: DistrServer>(&self, role: &str) -> Result<ServerHandle<S>, ServerLookupError> {
        self.node.servers.of_role(role).map(ServerHandle::new)
    }
}
