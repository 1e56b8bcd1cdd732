//! Waiting until others hold what this node wrote.

use std::time::Duration;

use super::ask::Unanswered;
use super::error::VisibleError;
use super::handle::Cluster;
use crate::engine::{Command, Reply, Visible};
use crate::id::NodeId;

impl Cluster {
    /// Waits until others hold everything that this node wrote to replicated tables before this call, so that a read over
    /// there sees it, or something newer. Gives the members that went Down or left meanwhile, which are not waited for:
    /// empty where all that was asked for came about.
    ///
    /// On this node itself a write is seen as soon as it returns. Cancel safe.
    ///
    /// # Errors
    /// [`VisibleError`]; what was written stays, and is sent on.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-visible").port(24_260).start().await?;
    /// # cluster.ready(Duration::from_secs(10)).await?;
    /// use unisono::{Lww, Visible};
    ///
    /// let vehicles = cluster.table::<String, Lww<u32>>("vehicles")?;
    /// vehicles.insert(&"B-AB 123".into(), &417)?;
    /// let gone = cluster.await_visible(Visible::All, Duration::from_secs(5)).await?;
    /// assert!(gone.is_empty());
    /// // With nobody else there, no other node can hold it.
    /// assert!(cluster.await_visible(Visible::Count(1), Duration::from_millis(50)).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn await_visible(&self, who: Visible, timeout: Duration) -> Result<Vec<NodeId>, VisibleError> {
        let until = self.node.local.store.base_of(self.replica());
        let command = |request| Command::AwaitVisible { request, until, who };
        let visible = |reply| if let Reply::Visible { gone } = reply { Some(gone) } else { None };
        self.ask(timeout, command, visible).await.map_err(|unanswered| match unanswered {
            Unanswered::Gone => VisibleError::Gone,
            Unanswered::Timeout { why: lacking } => VisibleError::Timeout { after: timeout, lacking },
        })
    }
}
