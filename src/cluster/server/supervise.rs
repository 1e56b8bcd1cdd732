//! A server that is no role: started by the application, restarted here.
//!
//! ```text
//!   serve ─▶ live ── fails ──▶ pause ─▶ live …          too many failures in the window ─▶ GaveUp
//!             └── asked to end ── ends, or the stop grace is over and it is dropped ─▶ Stopped
//! ```

use std::sync::Arc;

use super::context::Stop;
use super::desk::Desk;
use super::door::Shared;
use super::life::live;
use super::registry::Counted;
use super::restarts::Restarts;
use super::{DistrServer, ServeError, ServerContext, ServerHandle, ServerState};
use crate::cluster::Cluster;
use crate::cluster::node::Node;
use crate::engine::Phase;

impl Cluster {
    /// Runs a [`DistrServer`] on this node, until [`ServerHandle::stop`] or the end of the node. `factory` builds it, once now
    /// and once for each restart: after an error or a panic it is started again, after a pause that grows, and given up when
    /// that happens too often; see [`ServerConfig`](super::ServerConfig).
    ///
    /// It returns at once. The server begins when this node is ready and its table is created; calls wait for that.
    ///
    /// # Errors
    ///
    /// [`ServeError`] if the server's configuration is wrong, or this node left. A panic of `factory` in this call is the
    /// caller's.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-serve").port(23_000).start().await?;
    /// use unisono::{DistrServer, Lww, ServerConfig, ServerContext, ServerResult};
    ///
    /// struct Visits;
    ///
    /// impl DistrServer for Visits {
    ///     type Call = String;
    ///     type Reply = u64;
    ///     type Cast = std::convert::Infallible;
    ///     type Key = String;
    ///     type Value = Lww<u64>;
    ///
    ///     fn config(&self) -> ServerConfig {
    ///         ServerConfig::new("visits")
    ///     }
    ///
    ///     async fn handle_call(&mut self, page: String, context: &ServerContext<Self>) -> ServerResult<u64> {
    ///         let visits = context.table().update(&page, |visits| Some(visits.unwrap_or(0) + 1))?;
    ///         Ok(visits.unwrap_or(0))
    ///     }
    /// }
    ///
    /// let visits = cluster.serve(|| Visits)?;
    /// assert_eq!(visits.call("index".into()).await?, 1);
    /// assert_eq!(visits.call("index".into()).await?, 2);
    /// visits.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve<S, F>(&self, mut factory: F) -> Result<ServerHandle<S>, ServeError>
    where
        S: DistrServer,
        F: FnMut() -> S + Send + 'static,
    {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| ServeError::NoRuntime)?;
        let node = &self.node;
        if node.local.is_gone() || node.servers.stop().get() || node.status().phase == Phase::Left {
            return Err(ServeError::Gone);
        }
        let first = factory();
        let config = first.config();
        config.check()?;
        let table = self.table(config.table().clone())?;
        let restarts = Restarts::new(config.limits, node.replica.0 ^ node.servers.number());
        let shared = Shared::new(config, table, None, node.local.gone());
        let stop = Stop::Asked { server: shared.stop(), node: node.servers.stop() };
        let context = ServerContext { cluster: self.uncounted(), shared: Arc::clone(&shared), stop };
        let counted = Counted::new(node);
        // From now on calls wait for it.
        let desk = Desk::open(&shared);
        let mut first = Some(first);
        let build = move || first.take().unwrap_or_else(&mut factory);
        runtime.spawn(async move {
            let _counted = counted;
            let _last_word = LastWord(Arc::clone(&context.shared));
            tokio::select! {
                biased;
                () = gone(&context.cluster.node) => {}
                () = supervise(&context, desk, build, restarts) => {}
            }
        });
        Ok(ServerHandle::new(shared))
    }
}

/// Waits until nobody hears any more what this node writes.
async fn gone(node: &Node) {
    let (gone, statuses) = (node.local.gone(), node.statuses());
    tokio::select! {
        biased;
        _ = gone.wait_for(|gone| *gone) => {}
        _ = statuses.wait_for(|status| status.phase == Phase::Left) => {}
    }
}

async fn supervise<S: DistrServer>(
    context: &ServerContext<S>,
    mut desk: Desk<S>,
    mut build: impl FnMut() -> S,
    mut restarts: Restarts,
) {
    let node = &context.cluster.node;
    loop {
        let mut pause = None;
        let judge = |why: &str| match restarts.failed(node.local.now().instant) {
            Ok(span) => {
                pause = Some(span);
                ServerState::Restarting { why: why.to_owned() }
            }
            Err(failures) => {
                tracing::error!(table = context.table().name(), failures, why, "a server gave up");
                ServerState::GaveUp { failures, why: why.to_owned() }
            }
        };
        tokio::select! {
            biased;
            _ = live(context, desk, &mut build, judge) => {}
            () = overrun(context) => return,
        }
        let Some(pause) = pause else { return };
        tokio::select! {
            biased;
            () = context.stop.requested() => return,
            () = tokio::time::sleep(pause) => {}
        }
        desk = Desk::open(&context.shared);
    }
}

/// Waits until the server was asked to end and the time for that is over.
async fn overrun<S: DistrServer>(context: &ServerContext<S>) {
    let grace = context.cluster.node.patience.stop_grace;
    context.stop.requested().await;
    tokio::time::sleep(grace).await;
    tracing::warn!(
        table = context.table().name(),
        ?grace,
        "the server did not end within its stop grace and is dropped"
    );
    context.shared.set_overran(grace);
}

/// Whatever ended the task of a server: it has ended.
struct LastWord<S: DistrServer>(Arc<Shared<S>>);

impl<S: DistrServer> Drop for LastWord<S> {
    fn drop(&mut self) {
        if !matches!(self.0.state(), ServerState::GaveUp { .. }) {
            self.0.shut(ServerState::Stopped);
        }
    }
}
