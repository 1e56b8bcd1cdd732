//! How much of its host's CPU and memory is used, as far as this node may use them: measured now and then, kept for a while,
//! and two parts of how busy the node is.
//!
//! ```text
//!   timer ─▶ a blocking thread: Probe ─▶ Usage ─┬─▶ Monitor ─▶ Cluster::usage, usage_history
//!             (/proc, cgroups)                  └─▶ Board, as `cpu` and `memory`
//! ```
//!
//! Without the feature `monitor` nothing is measured; all else is there, so that an application builds either way. Nothing is
//! measured on simulated hosts either.

#[cfg(feature = "monitor")]
mod cgroup;
mod config;
#[cfg(feature = "monitor")]
mod probe;
mod task;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

pub use config::MonitorConfig;

use super::handle::Cluster;
use crate::driver::Clock;
use crate::signals::Board;

/// How much of a host was in use, in percent of what this process may use.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// When it was measured: milliseconds since the Unix epoch by this host's clock.
    pub wall_ms: u64,
    /// Of the CPU, since the measurement before: 100 where all cores that this process may run on were busy, or where it
    /// used up what its cgroups allow; whichever is more.
    pub cpu_percent: f32,
    /// Of the memory: of the host's, or of what its cgroups allow, whichever is more. What can be freed at once, such as
    /// cached files, does not count.
    pub memory_percent: f32,
}

/// What was measured, for those who read it.
#[derive(Debug)]
pub(super) struct Monitor {
    #[cfg_attr(not(feature = "monitor"), allow(dead_code, reason = "nothing is measured"))]
    most: usize,
    measured: Mutex<Measured>,
}

#[derive(Debug, Default)]
struct Measured {
    last: Option<Usage>,
    history: VecDeque<Usage>,
}

impl Monitor {
    /// Nothing was measured yet. Of what will be, so much is kept.
    pub(super) fn new(most: usize) -> Self {
        Self { most, measured: Mutex::default() }
    }

    #[cfg(any(test, feature = "monitor"))]
    fn record(&self, usage: Usage) {
        let mut measured = self.lock();
        measured.last = Some(usage);
        measured.history.push_back(usage);
        if measured.history.len() > self.most {
            measured.history.pop_front();
        }
    }

    /// Whole samples are put in, nothing else.
    fn lock(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Measures this host from now on, until the node stops.
    pub(super) fn measure(&self, config: MonitorConfig, board: Arc<Board>, clock: Clock) {
        let monitor = Arc::clone(&self.node.load.monitor);
        task::start(task::Setup { config, monitor, board, clock, gone: self.node.local.gone() });
    }

    /// How much of this host is in use, as of the last measurement. `None` for the first second, where the monitor is
    /// [off](MonitorConfig), without the crate's feature `monitor`, and in a test cluster.
    pub fn usage(&self) -> Option<Usage> {
        self.node.load.monitor.lock().last
    }

    /// What was measured so far, the oldest first: [`MonitorConfig::history`] samples at most, which is a month unless set
    /// otherwise.
    pub fn usage_history(&self) -> Vec<Usage> {
        self.node.load.monitor.lock().history.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(wall_ms: u64) -> Usage {
        Usage { wall_ms, cpu_percent: 1.0, memory_percent: 2.0 }
    }

    #[test]
    fn the_oldest_are_dropped_and_nothing_is_allocated_ahead() {
        let monitor = Monitor::new(3);
        assert_eq!(monitor.lock().history.capacity(), 0);
        (0..5).for_each(|at| monitor.record(usage(at)));
        let measured = monitor.lock();
        assert_eq!(measured.history.iter().map(|usage| usage.wall_ms).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(measured.last, Some(usage(4)));
        assert!(Monitor::new(100_000).lock().history.capacity() == 0);
    }

    #[test]
    fn without_a_history_the_last_one_is_still_known() {
        let monitor = Monitor::new(0);
        monitor.record(usage(1));
        let measured = monitor.lock();
        assert_eq!((measured.last, measured.history.len()), (Some(usage(1)), 0));
    }

    #[cfg(feature = "monitor")]
    #[tokio::test]
    async fn a_node_measures_its_host_unless_told_not_to() {
        use std::time::Duration;

        const PATIENCE: Duration = Duration::from_secs(20);
        let start = async |node: &str, monitor| {
            let builder = Cluster::builder().name("monitor-unit").port(22_100).node(node).monitor(monitor);
            let cluster = builder.start().await.unwrap();
            cluster.ready(PATIENCE).await.unwrap();
            cluster
        };
        let larry = start("larry", MonitorConfig { cpu_weight: 3.0, ..MonitorConfig::default() }).await;
        let moe = start("moe", MonitorConfig::OFF).await;
        let known = async {
            while moe.allocation_list().last().is_none_or(|load| load.score == 0.0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, known).await.unwrap();
        let list = moe.allocation_list();
        assert_eq!((list[0].node.as_str(), list[0].parts.len()), ("moe", 0), "{list}");
        let (cpu, memory) = (list[1].part("cpu").unwrap(), list[1].part("memory").unwrap());
        assert!(cpu.weight == 3.0 && memory.weight == 1.0 && memory.value > 0.0, "{list}");
        assert_eq!(larry.usage().map(|usage| usage.memory_percent > 0.0), Some(true));
        assert!(!larry.usage_history().is_empty());
        assert_eq!((moe.usage(), moe.usage_history().len()), (None, 0));
    }
}
