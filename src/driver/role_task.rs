//! The tasks of the roles that run on this node.
//!
//! ```text
//!   StartRole ─▶ build ─▶ polled once ─▶ up ─▶ Running ─┬─ returns, fails, panics ─────────────▶ Failed
//!                             │           └─────────────┤
//!                             └─ returns, fails, panics ┴▶ Failed
//!   RaiseToken ─▶ RoleLine::token
//!   StopRole ─▶ asked ─┬─ ends in whatever way ──────────────▶ Stopped
//!                      └─ stop grace passes, or AbortRole ───▶ aborted, Stopped
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
use super::latest::{Latest, Reader};
use super::role_line::RoleLine;
use crate::engine::RoleReport;
use crate::roles::{FencingToken, InstanceId, RoleStart};

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
    running: BTreeMap<(String, InstanceId), Controls>,
    tasks: JoinSet<()>,
    /// What the tasks tell: two reports of each start at the most, in order.
    reports: mpsc::UnboundedReceiver<RoleReport>,
    sender: mpsc::UnboundedSender<RoleReport>,
}

/// What can be told to a task.
struct Controls {
    stop: Latest<bool>,
    abort: Latest<bool>,
    token: Latest<FencingToken>,
}

impl Roles {
    pub(crate) fn new(runner: Box<dyn RoleRunner>, stop_grace: Duration) -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        Self { runner, stop_grace, running: BTreeMap::new(), tasks: JoinSet::new(), reports, sender }
    }

    /// Starts a role. What becomes of it is reported by [`next`](Self::next), unless nothing could be built. Nothing to do
    /// if the very same start runs already.
    pub(crate) fn start(&mut self, start: &RoleStart) -> Option<RoleReport> {
        let (role, started) = (start.spec.name.clone(), start.started);
        if self.running.contains_key(&(role.clone(), started)) {
            return None;
        }
        let controls =
            Controls { stop: Latest::new(false), abort: Latest::new(false), token: Latest::new(start.token) };
        let line = RoleLine::new(controls.stop.reader(), controls.token.reader(), start.handed.clone());
        let abort = controls.abort.reader();
        let future = match called(|| self.runner.build(start, line.clone())) {
            Ok(future) => future,
            Err(why) => return Some(RoleReport::Failed { role, started, why }),
        };
        self.running.insert((role.clone(), started), controls);
        let stop_grace = start.spec.stop_grace_ms.map_or(self.stop_grace, Duration::from_millis);
        let up = RoleReport::Running { role: role.clone(), started };
        let task = attend(future, line.clone(), up, self.sender.clone());
        let ended = supervise(role, started, task, line, (stop_grace, abort));
        let reports = self.sender.clone();
        self.tasks.spawn(async move {
            // An error means that the driver is gone.
            let _ = reports.send(ended.await);
        });
        None
    }

    /// Asks a role to end. Nothing to do when that start of it has ended: that was reported.
    pub(crate) fn stop(&mut self, role: String, started: InstanceId) {
        if let Some(controls) = self.running.get(&(role, started)) {
            controls.stop.set(true);
        }
    }

    /// Tells a role its new fencing token. Nothing to do when that start of it has ended.
    pub(crate) fn raise(&mut self, role: String, started: InstanceId, token: FencingToken) {
        if let Some(controls) = self.running.get(&(role, started)) {
            controls.token.set(token);
        }
    }

    /// Aborts a role that was asked to end, whatever is left of its stop grace.
    pub(crate) fn abort(&mut self, role: String, started: InstanceId) {
        if let Some(controls) = self.running.get(&(role, started)) {
            controls.stop.set(true);
            controls.abort.set(true);
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
            let (role, started) = report.start();
            self.running.remove(&(role.to_owned(), started));
        }
        Poll::Ready(report)
    }

    /// Drops all tasks, and returns when they are gone.
    pub(crate) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
        self.running.clear();
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
    started: InstanceId,
    future: impl Future<Output = Result<(), String>>,
    line: RoleLine,
    (stop_grace, abort): (Duration, Reader<bool>),
) -> RoleReport {
    let expired = async {
        line.stop_requested().await;
        let asked = tokio::time::Instant::now();
        let aborted = tokio::time::timeout(stop_grace, abort.wait_for(|abort| *abort)).await;
        aborted.map_or(stop_grace, |_| asked.elapsed())
    };
    let mut aborted_after = None;
    let why = tokio::select! {
        biased;
        ended = caught(future) => match ended {
            Ok(Ok(())) => "returned without being asked to".to_owned(),
            Ok(Err(why)) => why,
            Err(panic) => panic,
        },
        after = expired => {
            aborted_after = Some(after);
            String::new()
        }
    };
    if line.is_stop_requested() {
        return RoleReport::Stopped { role, started, handed: line.left(), aborted_after };
    }
    tracing::warn!(role, why, "a role ended by itself");
    RoleReport::Failed { role, started, why }
}
