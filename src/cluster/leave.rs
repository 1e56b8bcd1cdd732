//! Leaving in order: servers end, roles move, rows are handed over; and what comes of work that does not end in time.
//!
//! ```text
//!   leave ─▶ servers end ─▶ Command::Leave ─▶ roles end and move ─▶ rows are saved ─▶ Left
//!              │ stop grace                      │ stop grace of each
//!   leave_within: a third of it at most          three quarters of the rest         all of it: the caller hears in any case
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::error::{Aborted, LeaveError};
use super::handle::Cluster;
use crate::driver::Gone;
use crate::engine::{Command, Reply};

/// What a busy host may need beyond the waits that were asked for.
const SLACK: Duration = Duration::from_secs(5);

/// So much of a deadline is kept for streams and sockets to close, at most.
const CLOSING: Duration = Duration::from_secs(1);

impl Cluster {
    /// Leaves the cluster in order: ends the servers of this node, lets its roles move to others, and returns once another
    /// member holds every row that it wrote. The last member has nothing to hand anything to, and what it still holds is lost.
    ///
    /// **Work is not cut off**: each role's task, and each server, has its own stop grace
    /// ([`RoleSpec::stop_grace_ms`](field@crate::RoleSpec::stop_grace_ms), [`Config::stop_grace_ms`](super::Config::stop_grace_ms))
    /// here as anywhere, whatever the patience, also roles that were added at run time. The patience of
    /// [`Config::leave_patience_ms`](super::Config::leave_patience_ms) is for the rest: half of it until roles that have not moved
    /// by then are asked to end, and half of it after the last task ended until the rows are in other hands. So leaving
    /// takes at most the stop grace of the servers, the longest stop grace of a role that runs here, the patience, and a
    /// second. Where the machine is taken away earlier than that, use [`Cluster::leave_within`].
    ///
    /// # Errors
    ///
    /// [`LeaveError`] names what was not in order: rows that no other member is known to hold, and tasks that had to be
    /// aborted, of which [`Event::RoleAborted`](crate::Event::RoleAborted) tells too. In any case the node is gone for all
    /// clones of this handle.
    ///
    /// Of several callers one hears what became of it, the others [`LeaveError::Gone`]. Not cancel safe: leaving cannot
    /// be taken back, and a caller that drops the future does not hear what became of it. Not to be awaited in the task of a
    /// role or by a server, which are among the things that it ends.
    pub async fn leave(&self) -> Result<(), LeaveError> {
        self.leave_by(None).await
    }

    /// [`Cluster::leave`] for a machine that is taken away: returns when `deadline` has passed, at the latest, and cuts the
    /// stop grace of roles and servers so that it fits. Servers have at most a third of the deadline, and roles what is left of
    /// it but for a quarter, at most three seconds, which handing over rows and saying goodbye needs. What had not ended by then
    /// is aborted, and named in the error.
    ///
    /// While another call of `leave` is under way, this shortens its time, and gives [`LeaveError::Gone`] when it is over.
    ///
    /// # Errors
    ///
    /// As [`Cluster::leave`]; [`LeaveError::NoAnswer`] if the host was too busy to come to an end by then. Not cancel safe, as
    /// there.
    ///
    /// ```no_run
    /// # async fn f(cluster: unisono::Cluster) {
    /// use std::time::Duration;
    ///
    /// // The provider gives ten seconds.
    /// if let Err(error) = cluster.leave_within(Duration::from_secs(9)).await {
    ///     for task in error.aborted() {
    ///         eprintln!("not finished: {task}");
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn leave_within(&self, deadline: Duration) -> Result<(), LeaveError> {
        self.leave_by(Some(deadline)).await
    }

    async fn leave_by(&self, deadline: Option<Duration>) -> Result<(), LeaveError> {
        if self.node.local.is_gone() {
            return Err(LeaveError::Gone);
        }
        let (began, patience) = (Instant::now(), self.node.patience);
        // They may have something to write at their end.
        let third = deadline.map_or(patience.stop_grace, |deadline| patience.stop_grace.min(deadline / 3));
        let servers = self.node.servers.stop_all(third).await;
        let rest = deadline.map(|deadline| deadline.saturating_sub(began.elapsed()));
        // The engine answers within this. Should it not, the application must not hang at its end.
        let limit = rest.unwrap_or_else(|| patience.leave + self.node.longest_grace() + SLACK);
        let within = rest.map(|rest| rest - CLOSING.min(rest / 8));
        let left = tokio::time::timeout(limit, self.ask_to_leave(within)).await;
        self.node.stop();
        let Ok(left) = left else { return Err(LeaveError::NoAnswer { after: began.elapsed() }) };
        let (roles, rows) = left?;
        let tasks: Vec<Aborted> = servers.into_iter().chain(roles).collect();
        match () {
            () if !tasks.is_empty() => Err(LeaveError::Aborted { tasks, rows }),
            () if !rows.is_empty() => Err(LeaveError::Unsaved { rows }),
            () => Ok(()),
        }
    }

    /// The roles whose tasks were aborted, and the rows that no other member is known to hold.
    async fn ask_to_leave(&self, within: Option<Duration>) -> Result<(Vec<Aborted>, Vec<String>), LeaveError> {
        let patience = self.node.patience;
        let (patience_ms, stop_grace_ms) = (millis(patience.leave), millis(patience.stop_grace));
        let deadline_ms = within.map(millis);
        let command = |request| Command::Leave { request, patience_ms, stop_grace_ms, deadline_ms };
        let mut replies = self.node.commander.request(command).await.map_err(|Gone| LeaveError::Gone)?;
        loop {
            match replies.next().await {
                Some(Reply::Left) => return Ok(Default::default()),
                Some(Reply::LeftWithUnsaved(rows)) => return Ok((Vec::new(), rows)),
                Some(Reply::LeftWithAborted { aborted, unsaved }) => {
                    let roles = aborted.into_iter().map(|(role, after)| Aborted::Role { role, after });
                    return Ok((roles.collect(), unsaved));
                }
                Some(_) => {}
                None => return Err(LeaveError::Gone),
            }
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
