//! What an operator does to a running cluster.

use super::config::Preset;
use super::error::OperateError;
use super::handle::Cluster;
use super::timing::TimingConfig;
use crate::driver::Gone;
use crate::engine::{Command, Reply};
use crate::id::NodeId;

impl Cluster {
    /// Sets the timers of this node from now on: those of the preset, but for what `timing` sets. What is under way (a
    /// probe, a suspicion, a pause between digests) ends by the old ones.
    ///
    /// Every node has its own timers. All should have the same: a suspect has as long to answer as its accuser gives it.
    ///
    /// # Errors
    ///
    /// [`OperateError::Config`] if they do not work together, and nothing is changed; [`OperateError::Gone`]. Not cancel
    /// safe: the timers may be set or not.
    ///
    /// ```no_run
    /// # async fn f(cluster: unisono::Cluster) -> Result<(), unisono::OperateError> {
    /// use unisono::{Preset, TimingConfig};
    ///
    /// // Backups slow the network down tonight.
    /// let patient = TimingConfig { suspicion_ms: Some(5_000), ..TimingConfig::default() };
    /// cluster.set_timing(Preset::Lan, &patient).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_timing(&self, preset: Preset, timing: &TimingConfig) -> Result<(), OperateError> {
        let timing = Box::new(timing.over(preset.timing())?);
        self.operate(|request| Command::SetTiming { request, timing }).await
    }

    /// Forgets a node that is Down and will not come back: nobody waits for it any more, so rows that were removed
    /// meanwhile need not be remembered for it. By itself the cluster does this after
    /// [`evict_after_ms`](TimingConfig::evict_after_ms).
    ///
    /// Should the node come back after all, it loses nothing, and may bring rows along that were removed meanwhile.
    ///
    /// # Errors
    ///
    /// [`OperateError::Denied`] if this node is not ready, or no node of that name belongs to the cluster, or it is not
    /// Down; [`OperateError::Gone`]. Not cancel safe: the node may be forgotten or not.
    ///
    /// ```no_run
    /// # async fn f(cluster: unisono::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// cluster.forget(&"gary-10.0.0.7".parse()?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn forget(&self, node: &NodeId) -> Result<(), OperateError> {
        let node = node.clone();
        self.operate(|request| Command::Evict { request, node }).await
    }

    async fn operate(&self, command: impl FnOnce(u64) -> Command) -> Result<(), OperateError> {
        let gone = self.node.local.gone();
        let mut replies = self.node.commander.request(command).await.map_err(|Gone| OperateError::Gone)?;
        let reply = tokio::select! {
            biased;
            reply = replies.next() => reply,
            _ = gone.wait_for(|gone| *gone) => None,
        };
        match reply {
            Some(Reply::Done) => Ok(()),
            Some(Reply::Denied(why)) => Err(OperateError::Denied(why)),
            Some(_) | None => Err(OperateError::Gone),
        }
    }
}
