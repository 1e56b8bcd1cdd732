//! The tasks of the roles that run on this node.
//!
//! ```text
//!   StartRole ─▶ build ─▶ Running ─┬─ returns, fails, panics ────────────────────▶ Failed
//!                                  └─ StopRole ─▶ asked ─┬─ ends in whatever way ─▶ Stopped
//!                                                        └─ stop grace passes ────▶ dropped, Stopped
//! ```

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::JoinSet;

use super::guard::{called, caught};
use super::latest::{Latest, Reader};
use crate::engine::RoleReport;
use crate::roles::{FencingToken, RoleSpec};

/// Builds what a role runs.
pub trait RoleRunner: Send + 'static {
    /// The future that is the role. It runs as a task of its own; when `stop` is requested it has the stop grace to end,
    /// then it is dropped at its next await. A panic, here or in the future, fails the role and nothing else.
    fn build(
        &mut self,
        spec: Arc<RoleSpec>,
        token: FencingToken,
        stop: StopSignal,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
}

/// Tells a role that it is to end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StopSignal(Reader<bool>);

impl StopSignal {
    /// Waits until the role is asked to end. Cancel safe.
    pub async fn requested(&self) {
        // None means that the driver is gone, which asks no less.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether the role has been asked to end.
    pub fn is_requested(&self) -> bool {
        self.0.get() || !self.0.is_open()
    }
}

/// All role tasks of a node; dropping it drops them.
pub(crate) struct Roles {
    runner: Box<dyn RoleRunner>,
    stop_grace: Duration,
    stops: BTreeMap<(String, FencingToken), Latest<bool>>,
    tasks: JoinSet<RoleReport>,
}

impl Roles {
    pub(crate) fn new(runner: Box<dyn RoleRunner>, stop_grace: Duration) -> Self {
        Self { runner, stop_grace, stops: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Starts a role; `None` if the very same start runs already.
    pub(crate) fn start(&mut self, spec: Arc<RoleSpec>, token: FencingToken) -> Option<RoleReport> {
        let role = spec.name.clone();
        if self.stops.contains_key(&(role.clone(), token)) {
            return None;
        }
        let stop = Latest::new(false);
        let signal = StopSignal(stop.reader());
        let future = match called(|| self.runner.build(spec, token, signal.clone())) {
            Ok(future) => future,
            Err(why) => return Some(RoleReport::Failed { role, token, why }),
        };
        self.stops.insert((role.clone(), token), stop);
        self.tasks.spawn(supervise(role.clone(), token, future, signal, self.stop_grace));
        Some(RoleReport::Running { role, token })
    }

    /// Asks a role to end. Nothing to do when that start of it has ended: that was reported.
    pub(crate) fn stop(&mut self, role: String, token: FencingToken) {
        if let Some(stop) = self.stops.get(&(role, token)) {
            stop.set(true);
        }
    }

    /// The next report of a task that ended; `None` when no task runs. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<RoleReport> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`Roles::next`] as a poll.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<RoleReport>> {
        while let Some(ended) = ready!(self.tasks.poll_join_next(context)) {
            let Ok(report) = ended else {
                continue; // aborted while the runtime shuts down
            };
            let (RoleReport::Running { role, token }
            | RoleReport::Stopped { role, token }
            | RoleReport::Failed { role, token, .. }) = &report;
            self.stops.remove(&(role.clone(), *token));
            return Poll::Ready(Some(report));
        }
        Poll::Ready(None)
    }

    /// Drops all tasks, and returns when they are gone.
    pub(crate) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
        self.stops.clear();
    }
}

async fn supervise(
    role: String,
    token: FencingToken,
    future: impl Future<Output = Result<(), String>>,
    stop: StopSignal,
    stop_grace: Duration,
) -> RoleReport {
    let expired = async {
        stop.requested().await;
        tokio::time::sleep(stop_grace).await;
    };
    let why = tokio::select! {
        biased;
        ended = caught(future) => match ended {
            Ok(Ok(())) => "returned without being asked to".to_owned(),
            Ok(Err(why)) => why,
            Err(panic) => panic,
        },
        () = expired => {
            tracing::warn!(role, ?stop_grace, "the role did not end within its stop grace and was dropped");
            String::new()
        }
    };
    if stop.is_requested() {
        return RoleReport::Stopped { role, token };
    }
    tracing::warn!(role, why, "a role ended by itself");
    RoleReport::Failed { role, token, why }
}
