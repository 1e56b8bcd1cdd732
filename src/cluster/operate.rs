//! What an operator does to a running cluster.

use std::time::Duration;

use super::config::Preset;
use super::error::OperateError;
use super::handle::Cluster;
use super::timing::TimingConfig;
use crate::engine::{Command, EngineStats, Reply};
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

    /// What this node has sent, dropped and refused since its start, without the headers of UDP and TCP and the calls of
    /// discovery. For a budget, look at it twice: a quiet cluster sends about 2 to 3 kB a second from each node, however
    /// large it is.
    ///
    /// # Errors
    ///
    /// [`OperateError::Gone`]. Cancel safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-stats").port(24_300).start().await?;
    /// # cluster.ready(std::time::Duration::from_secs(10)).await?;
    /// let before = cluster.stats().await?;
    /// // ... something that is not to cost too much ...
    /// let after = cluster.stats().await?;
    /// let sent = after.datagram_bytes + after.stream_bytes - before.datagram_bytes - before.stream_bytes;
    /// assert!(sent < 100_000, "{sent} bytes");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stats(&self) -> Result<EngineStats, OperateError> {
        let stats = |reply| if let Reply::Stats(stats) = reply { Some(*stats) } else { None };
        let asked = self.ask(Duration::MAX, |request| Command::Stats { request }, stats).await;
        asked.map_err(|_| OperateError::Gone)
    }

    async fn operate(&self, command: impl FnOnce(u64) -> Command) -> Result<(), OperateError> {
        let answer = |reply| match reply {
            Reply::Done => Some(Ok(())),
            Reply::Denied(why) => Some(Err(OperateError::Denied(why))),
            _ => None,
        };
        let asked = self.ask(Duration::MAX, command, answer).await;
        asked.unwrap_or(Err(OperateError::Gone))
    }
}
