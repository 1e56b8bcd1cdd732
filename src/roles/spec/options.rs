//! How a role is treated when the network is cut, when it moves and when it fails.

use serde::{Deserialize, Serialize};

/// What becomes of a role when the network is cut.
///
/// None of these is exclusivity: while a cut goes unnoticed, or a process stands still and wakes up, two sides may run a
/// role at once. Only a resource that checks the [fencing token](super::super::FencingToken) is safe from that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionPolicy {
    /// Every side runs its count: always at least as many as wanted.
    #[default]
    Overlap,
    /// Only the side that sees more than half of the nodes of the roster runs it. Nodes that are Down count until they are
    /// evicted: after an hour, or when somebody calls [`Cluster::forget`](crate::Cluster::forget).
    Majority,
    /// Only a side that sees at least so many nodes runs it. With more than half of all nodes, one side at most does; with
    /// fewer, several may.
    Quorum(u32),
}

/// How a role moves from one node to another while both live.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handover {
    /// The old instance ends before the new one starts: never two, and for a moment none.
    #[default]
    BreakBeforeMake,
    /// The new instance runs before the old one ends: never none, and for a moment one too many.
    MakeBeforeBreak,
}

/// How often a role is started again on one node when its task fails, and when the node gives it up.
///
/// Pauses double from the first to the longest, and each is shortened by up to a quarter at random, so that what failed
/// together does not come back together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Restarts {
    /// The node gives the role up when its task fails more often than this within the window. 0 gives up at once, so that
    /// another node tries; a large number keeps a role bound to a node that cannot run it.
    pub max_failures: u32,
    /// How long a failure counts. Shorter than all the pauses together, it never comes to giving up.
    pub window_ms: u64,
    /// The pause before the first restart. 0 restarts at once.
    pub backoff_first_ms: u64,
    /// The longest pause before a restart.
    pub backoff_max_ms: u64,
    /// How long the node is not asked again after it gave up. With every node excluded, the role runs nowhere meanwhile.
    pub exclusion_ms: u64,
}

impl Default for Restarts {
    /// 5 failures in 60 s, pauses from 0.1 s to 10 s, 60 s of exclusion.
    fn default() -> Self {
        Self { max_failures: 5, window_ms: 60_000, backoff_first_ms: 100, backoff_max_ms: 10_000, exclusion_ms: 60_000 }
    }
}
