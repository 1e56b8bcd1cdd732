//! Waiting until the nodes of a test cluster have nothing left to sort out between them.

use std::time::Duration;

use super::TestCluster;
use super::look::{Look, lags};
use super::stage::Stage;

/// The nodes of a [`TestCluster`] did not settle in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: not settled after {within:?} of virtual time: {}", lags.join("; "))]
pub struct Unsettled {
    /// The seed that repeats it.
    pub seed: u64,
    /// How long was waited.
    pub within: Duration,
    /// Who or what stood in the way last, in words.
    pub lags: Vec<String>,
}

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(5);

impl TestCluster {
    /// How long [`TestCluster::settle`] and [`TestCluster::assert_converged`] wait: longer than a host that vanished
    /// takes to be taken for dead, or two sides to find each other again.
    pub const PATIENCE: Duration = Duration::from_secs(120);

    /// Waits until those nodes that can reach each other have converged: all of them see exactly each other, hold equal
    /// tables, and every role runs as often as it should, nothing starting or stopping. Each side of a partition settles by
    /// itself. Nodes that stand still or do not run are not waited for. Returns how long it took, of virtual time.
    ///
    /// It sees all nodes from outside, at one moment; [`Cluster::converged`](crate::Cluster::converged) is what a node
    /// knows. For this to come true nobody must keep writing.
    ///
    /// # Errors
    ///
    /// [`Unsettled`] after [`TestCluster::PATIENCE`], with who lags and in what.
    pub async fn settle(&self) -> Result<Duration, Unsettled> {
        self.settle_within(Self::PATIENCE).await
    }

    /// [`TestCluster::settle`] with a patience of one's own.
    ///
    /// # Errors
    ///
    /// [`Unsettled`] after that time.
    pub async fn settle_within(&self, within: Duration) -> Result<Duration, Unsettled> {
        let all = |stage: &Stage| stage.components(stage.look());
        self.wait(within, all).await.map_err(|lags| Unsettled { seed: self.seed(), within, lags })
    }

    /// Waits until each of these groups is settled.
    pub(super) async fn wait(
        &self,
        within: Duration,
        groups: impl Fn(&Stage) -> Vec<Vec<Look>>,
    ) -> Result<Duration, Vec<String>> {
        let begin = tokio::time::Instant::now();
        loop {
            // What was done just now reaches the nodes first.
            tokio::task::yield_now().await;
            let groups = self.shared.with(|stage| groups(stage));
            let lags: Vec<String> = groups.iter().flat_map(|group| lags(group)).collect();
            let took = begin.elapsed();
            match () {
                () if lags.is_empty() => return Ok(took),
                () if took >= within => return Err(lags),
                () => tokio::time::sleep(EVERY.min(within - took)).await,
            }
        }
    }
}
