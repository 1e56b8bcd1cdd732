//! [`Cluster`]: one node as its application sees it.
//!
//! In come calls of the application; reads are answered from the store and from the last status that the engine
//! published, the rest goes to the engine as commands through the driver. Nothing here decides anything.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ask::Unanswered;
use super::builder::Builder;
use super::error::{ConvergeError, LeaveError, ReadyError, UntilError};
use super::events::Events;
use super::node::{Keep, Node};
use super::snapshot::{DigestSnapshot, Snapshot};
use super::table::{Table, TableConfig, TableError};
use crate::driver::Gone;
use crate::engine::{Command, Liveness, Member, Phase, Reply, Status};
use crate::id::{NodeId, ReplicaId};
use crate::table::TableValue;

/// A running node of a cluster.
///
/// Cloning is cheap, and all clones are the same node. **When the application drops its last clone, the node stops
/// abruptly**, which the others see as a crash; [`Cluster::leave`] is the orderly way. Clones that come from a
/// [`RoleContext`](super::RoleContext) do not count, and neither do tables.
///
/// Once the node is gone, calls give errors that say `Gone`; [`Cluster::members`], [`Cluster::snapshot`] and the
/// reads of tables still give the last state.
#[derive(Clone)]
pub struct Cluster {
    pub(super) node: Arc<Node>,
    keep: Option<Arc<Keep>>,
}

impl Cluster {
    /// Sets up a node.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The handle that the application holds.
    pub(super) fn counted(node: Arc<Node>) -> Self {
        Self { keep: Some(Arc::new(Keep(Arc::clone(&node)))), node }
    }

    /// A handle that does not keep the node alive.
    pub(crate) fn uncounted(&self) -> Self {
        Self { node: Arc::clone(&self.node), keep: None }
    }

    /// Lets all handles know that the node is gone.
    #[cfg(feature = "testkit")]
    pub(crate) fn stop(&self) {
        self.node.stop();
    }

    /// The stable name of this node.
    pub fn node(&self) -> &NodeId {
        &self.node.node
    }

    /// The identity of this run of the node: random, never seen again.
    pub fn replica(&self) -> ReplicaId {
        self.node.replica
    }

    /// The address by which other nodes reach this one.
    pub fn address(&self) -> SocketAddr {
        self.node.address
    }

    /// What this node sees of the cluster, as of its last change.
    pub fn status(&self) -> Arc<Status> {
        self.node.status()
    }

    /// Everybody known, this node included, and the dead until they are forgotten (see [`Cluster::forget`]); ordered by
    /// name. Filter by [`Member::in_view`] for those that take part.
    pub fn members(&self) -> Vec<Member> {
        self.status().members.clone()
    }

    /// What happens in the cluster from now on.
    pub fn events(&self) -> Events {
        Events::new(self.node.events())
    }

    /// The table of that name, empty if nobody wrote to it yet; a [`TableConfig`] says more than the name. Every node has
    /// to use the same types for it; see [`Table`].
    ///
    /// # Errors
    /// [`TableError`]: the name is none, or the table is in use on this node with other types or settings.
    pub fn table<K, T: TableValue>(&self, config: impl Into<TableConfig>) -> Result<Table<K, T>, TableError> {
        Table::new(Arc::clone(&self.node.local), config.into())
    }

    /// Waits until this node has joined and may write: it pulled the tables from another node, or found that it is the
    /// first. Cancel safe.
    pub async fn ready(&self, timeout: Duration) -> Result<(), ReadyError> {
        let ready = |status: &Status| matches!(status.phase, Phase::Standalone | Phase::Clustered);
        match self.until(timeout, ready).await {
            Ok(_) => Ok(()),
            Err(UntilError::Gone) => Err(ReadyError::Gone),
            Err(UntilError::Timeout { after }) => {
                let is_other = |member: &&Member| member.replica != self.replica() && member.liveness != Liveness::Down;
                let known = self.members().iter().filter(is_other).count();
                Err(ReadyError::Timeout { after, known, why: self.obstacle().await })
            }
        }
    }

    /// What stands in the way of this node at present, in words.
    async fn obstacle(&self) -> String {
        let ask = async {
            let command = |request| Command::AwaitConverged { request };
            let mut replies = self.node.commander.request(command).await.ok()?;
            match replies.next().await? {
                Reply::Waiting(why) => Some(why),
                _ => None,
            }
        };
        let said = tokio::time::timeout(ANSWER, ask).await.ok().flatten();
        said.unwrap_or_else(|| "nothing is known of why".to_owned())
    }

    /// Waits until `condition` is true of what this node sees, and gives the status of which it was. It is asked at
    /// once and after every change. Cancel safe.
    ///
    /// ```no_run
    /// # async fn f(cluster: unisono::Cluster) -> Result<(), unisono::UntilError> {
    /// use std::time::Duration;
    ///
    /// let three = |status: &unisono::Status| status.members.iter().filter(|member| member.in_view).count() == 3;
    /// cluster.until(Duration::from_secs(30), three).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn until(
        &self,
        timeout: Duration,
        mut condition: impl FnMut(&Status) -> bool,
    ) -> Result<Arc<Status>, UntilError> {
        let statuses = self.node.statuses();
        let gone = self.node.local.gone();
        let wait = async {
            tokio::select! {
                biased;
                _ = gone.wait_for(|gone| *gone) => Err(UntilError::Gone),
                status = statuses.wait_for(|status| condition(status)) => status.ok_or(UntilError::Gone),
            }
        };
        tokio::time::timeout(timeout, wait).await.unwrap_or(Err(UntilError::Timeout { after: timeout }))
    }

    /// Waits until everybody in the view sees the same members, holds the same tables, and runs the roles where they
    /// belong; for [`Config::converge_timeout_ms`](super::Config::converge_timeout_ms), 10 s unless set otherwise.
    ///
    /// Everybody is whom this node takes for alive: across a split it speaks of this side only, and a member that stops
    /// answering is waited for until it is taken for dead. A role that nobody can build, or that failed wherever it was
    /// tried, is not waited for; see [`Cluster::roles`].
    ///
    /// The error says who or what stood in the way. Under steady writes from all sides there may be no moment at which
    /// all tables are equal. Cancel safe.
    pub async fn converged(&self) -> Result<(), ConvergeError> {
        self.converged_within(self.node.patience.converge).await
    }

    /// [`Cluster::converged`] with a timeout of one's own.
    pub async fn converged_within(&self, timeout: Duration) -> Result<(), ConvergeError> {
        self.converged_by(|request| Command::AwaitConverged { request }, timeout).await
    }

    /// Waits until everybody in the view sees the same members and holds the same tables, whatever the roles do: whatever
    /// any member that lives and can be reached knew when this was called, this node knows when it returns. It is for a role
    /// that has to know all of it before it begins, see [`RoleContext::starting`](super::RoleContext::starting);
    /// [`Cluster::converged`] would wait for that role.
    ///
    /// The error says who or what stood in the way, as there. Cancel safe.
    pub async fn tables_converged(&self, timeout: Duration) -> Result<(), ConvergeError> {
        self.converged_by(|request| Command::AwaitTables { request }, timeout).await
    }

    async fn converged_by(&self, command: fn(u64) -> Command, timeout: Duration) -> Result<(), ConvergeError> {
        let converged = |reply| matches!(reply, Reply::Converged).then_some(());
        self.ask(timeout, command, converged).await.map_err(|unanswered| match unanswered {
            Unanswered::Gone => ConvergeError::Gone,
            Unanswered::Timeout { why: culprit } => ConvergeError::Timeout { after: timeout, culprit },
        })
    }

    /// What this node holds and sees at this moment, to look at, to log or to compare in a test.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.status(), &self.node.local, false)
    }

    /// [`Cluster::snapshot`] with every row of every table in it, which may be large.
    pub fn snapshot_with_rows(&self) -> Snapshot {
        Snapshot::take(&self.status(), &self.node.local, true)
    }

    /// The digests of everything that is replicated: nodes that hold the same give the same. Constant time.
    pub fn digest(&self) -> DigestSnapshot {
        DigestSnapshot::take(&self.node.local.store)
    }

    /// Leaves the cluster in order: ends the servers of this node, lets its roles move to others, and returns once another
    /// member holds every row that it wrote. The last one has nobody to hand anything to, and what it still holds is lost. It
    /// tries for [`Config::leave_patience_ms`](super::Config::leave_patience_ms), and half of that until roles have moved;
    /// then the error names the rows that would be lost. Either way the node is gone for all clones of this handle.
    ///
    /// Of several callers one hears what became of it, the others [`LeaveError::Gone`]. Not cancel safe: leaving cannot
    /// be taken back, and who drops the future does not hear what became of it. Not to be awaited in the task of a role
    /// or by a server, which are among the things that it ends.
    pub async fn leave(&self) -> Result<(), LeaveError> {
        if self.node.local.is_gone() {
            return Err(LeaveError::Gone);
        }
        let patience = self.node.patience;
        // They may have something to write at their end. Each has the stop grace.
        let _ = tokio::time::timeout(patience.stop_grace + SLACK, self.node.servers.stop_all()).await;
        let patience_ms = u64::try_from(patience.leave.as_millis()).unwrap_or(u64::MAX);
        let ask = async {
            let command = |request| Command::Leave { request, patience_ms };
            let mut replies = self.node.commander.request(command).await.map_err(|Gone| LeaveError::Gone)?;
            loop {
                match replies.next().await {
                    Some(Reply::Left) => return Ok(()),
                    Some(Reply::LeftWithUnsaved(rows)) => return Err(LeaveError::Unsaved { rows }),
                    Some(_) => {}
                    None => return Err(LeaveError::Gone),
                }
            }
        };
        // The engine answers within its patience. Should it not, the application must not hang at its end.
        let limit = patience.leave + patience.stop_grace + SLACK;
        let outcome = tokio::time::timeout(limit, ask).await.unwrap_or(Err(LeaveError::NoAnswer { after: limit }));
        self.node.stop();
        outcome
    }
}

/// How long a node may take to say what it waits for.
const ANSWER: Duration = Duration::from_millis(100);

/// What a busy host may need beyond the waits that were asked for.
const SLACK: Duration = Duration::from_secs(5);

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("node", &self.node.node)
            .field("replica", &self.node.replica)
            .field("address", &self.node.address)
            .field("counted", &self.keep.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Lww;

    fn takes_anywhere<T: Send + Sync + 'static>(_: Option<T>) {}
    fn spawns<T: Send>(_: Option<T>) {}

    fn futures(cluster: &Cluster) -> impl Send {
        (
            cluster.ready(SLACK),
            cluster.until(SLACK, |_| true),
            cluster.converged(),
            cluster.leave(),
            Cluster::builder().start(),
        )
    }

    #[test]
    fn handles_go_to_any_thread_and_futures_can_be_spawned() {
        takes_anywhere::<Cluster>(None);
        takes_anywhere::<Table<std::rc::Rc<str>, Lww<u8>>>(None);
        spawns::<super::super::Rows<String, u8>>(None);
        spawns::<super::super::Watch<String, u8>>(None);
        let _ = futures;
    }
}
