//! The tasks of the roles that run on this node.
//!
//! ```text
//!   StartRole ─▶ build ─▶ polled once ─▶ up ─▶ Running ─┬─ returns, fails, panics ─────────────▶ Failed
//!                             │           └─────────────┤
//!                             └─ returns, fails, panics ┴▶ Failed
//!   StopRole ─▶ asked ─┬─ ends in whatever way ─▶ Stopped
//!                      └─ stop grace passes ────▶ aborted, Stopped
//! ```
//!
//! To abort a task is to drop it at its next await. One that never comes to an await cannot be aborted; it is not reported as
//! stopped, because it has not.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::guard::{called, caught};
use super::latest::Latest;
use super::role_line::RoleLine;
use crate::engine::RoleReport;
use crate::roles::{FencingToken, RoleStart};

/// The future that is a role.
pub type RoleFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Builds what a role runs.
pub trait RoleRunner: Send + 'static {
    /// The future that is the role. It runs as a task of its own; when it is asked to end it has the stop grace for that, then
    /// it is dropped at its next await. A panic, here or in the future, fails the role and nothing else.
    fn build(&mut self, start: &RoleStart, line: RoleLine) -> RoleFuture;
}

/// All role tasks of a node; dropping it drops them.
pub(crate) struct Roles {
    runner: Box<dyn RoleRunner>,
    stop_grace: Duration,
    stops: BTreeMap<(String, FencingToken), Latest<bool>>,
    tasks: JoinSet<()>,
    /// What the tasks tell: two reports of each start at the most, in order.
    reports: mpsc::UnboundedReceiver<RoleReport>,
    sender: mpsc::UnboundedSender<RoleReport>,
}

impl Roles {
    pub(crate) fn new(runner: Box<dyn RoleRunner>, stop_grace: Duration) -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        Self { runner, stop_grace, stops: BTreeMap::new(), tasks: JoinSet::new(), reports, sender }
    }

    /// Starts a role. What becomes of it is reported by [`next`](Self::next), unless nothing could be built. Nothing to do
    /// if the very same start runs already.
    pub(crate) fn start(&mut self, start: &RoleStart) -> Option<RoleReport> {
        let (role, token) = (start.spec.name.clone(), start.token);
        if self.stops.contains_key(&(role.clone(), token)) {
            return None;
        }
        let stop = Latest::new(false);
        let line = RoleLine::new(stop.reader(), start.handed.clone());
        let future = match called(|| self.runner.build(start, line.clone())) {
            Ok(future) => future,
            Err(why) => return Some(RoleReport::Failed { role, token, why }),
        };
        self.stops.insert((role.clone(), token), stop);
        let stop_grace = start.spec.stop_grace_ms.map_or(self.stop_grace, Duration::from_millis);
        let up = RoleReport::Running { role: role.clone(), token };
        let task = attend(future, line.clone(), up, self.sender.clone());
        let ended = supervise(role, token, task, line, stop_grace);
        let reports = self.sender.clone();
        self.tasks.spawn(async move {
            // An error means that the driver is gone.
            let _ = reports.send(ended.await);
        });
        None
    }

    /// Asks a role to end. Nothing to do when that start of it has ended: that was reported.
    pub(crate) fn stop(&mut self, role: String, token: FencingToken) {
        if let Some(stop) = self.stops.get(&(role, token)) {
            stop.set(true);
        }
    }

    /// The next report of a task that is up or ended. Cancel safe.
    pub(crate) async fn next(&mut self) -> RoleReport {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`Roles::next`] as a poll.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<RoleReport> {
        while let Poll::Ready(Some(_)) = self.tasks.poll_join_next(context) {}
        let report = ready!(self.reports.poll_recv(context)).expect("this holds a sender");
        if !matches!(report, RoleReport::Running { .. }) {
            let (role, token) = report.start();
            self.stops.remove(&(role.to_owned(), token));
        }
        Poll::Ready(report)
    }

    /// Drops all tasks, and returns when they are gone.
    pub(crate) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
        self.stops.clear();
    }
}

/// Runs a role and tells when it is up: when it was polled once, unless it said then that it takes longer.
async fn attend(
    future: impl Future<Output = Result<(), String>>,
    line: RoleLine,
    up: RoleReport,
    reports: mpsc::UnboundedSender<RoleReport>,
) -> Result<(), String> {
    let mut future = pin!(future);
    if let Poll::Ready(ended) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        return ended;
    }
    tokio::select! {
        biased;
        ended = &mut future => return ended,
        () = line.up() => {}
    }
    // An error means that the driver is gone.
    let _ = reports.send(up);
    future.await
}

async fn supervise(
    role: String,
    token: FencingToken,
    future: impl Future<Output = Result<(), String>>,
    line: RoleLine,
    stop_grace: Duration,
) -> RoleReport {
    let expired = async {
        line.stop_requested().await;
        tokio::time::sleep(stop_grace).await;
    };
    let mut aborted_after = None;
    let why = tokio::select! {
        biased;
        ended = caught(future) => match ended {
            Ok(Ok(())) => "returned without being asked to".to_owned(),
            Ok(Err(why)) => why,
            Err(panic) => panic,
        },
        () = expired => {
            aborted_after = Some(stop_grace);
            String::new()
        }
    };
    if line.is_stop_requested() {
        return RoleReport::Stopped { role, token, handed: line.left(), aborted_after };
    }
    tracing::warn!(role, why, "a role ended by itself");
    RoleReport::Failed { role, token, why }
}
