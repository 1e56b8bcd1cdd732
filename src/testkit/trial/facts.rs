//! What is known of a trial beyond what the simulation shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Plan;
use crate::testkit::NodeIndex;

/// What invariants may read.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) plan: Plan,
    /// Clocks were set wrong by up to this much.
    pub(crate) most_skew_ms: u64,
    /// Nodes that were asked to leave and still run.
    pub(crate) leaving: Vec<NodeIndex>,
    /// Since when all have known each other, while the network was no worse than stated and nobody stood still.
    pub(crate) whole_since: Option<Duration>,
    /// How many nodes there were in the beginning.
    pub(crate) first_nodes: usize,
    /// How often each role was asked for, by whomever and whenever.
    asked: BTreeMap<&'static str, BTreeSet<u32>>,
    /// How many processes were started.
    pub(crate) processes: u64,
    /// There were parts of the cluster that did not know each other.
    pub(crate) islands: bool,
    /// When each node stood still last.
    pub(crate) stood_still: BTreeMap<NodeIndex, Duration>,
}

impl Facts {
    pub(super) fn new(plan: Plan, first_nodes: usize, most_skew_ms: u64) -> Self {
        Self {
            plan,
            most_skew_ms,
            leaving: Vec::new(),
            whole_since: None,
            first_nodes,
            asked: BTreeMap::new(),
            processes: 0,
            islands: false,
            stood_still: BTreeMap::new(),
        }
    }

    /// A removal is final: it is neither forgotten before all know it, nor stamped by a clock that is far off.
    pub(crate) fn removals_bind(&self) -> bool {
        matches!(self.plan, Plan::Hurt | Plan::Lossy) && !self.islands
    }

    /// Somebody asks for a role.
    pub(super) fn asked(&mut self, role: &'static str, count: u32) {
        self.asked.entry(role).or_default().insert(count);
    }

    /// The roles that were asked for, and how often each may run in a whole cluster of so many nodes: of counts that
    /// differ the last one wins.
    pub(crate) fn wanted(&self, nodes: usize) -> impl Iterator<Item = (&'static str, BTreeSet<usize>)> {
        let most = move |count: &u32| usize::try_from(*count).unwrap_or(nodes).min(nodes);
        self.asked.iter().map(move |(role, counts)| (*role, counts.iter().map(most).collect()))
    }

    /// Whether a node stood still at some time after `since`.
    pub(crate) fn stood_still_since(&self, node: NodeIndex, since: Duration) -> bool {
        self.stood_still.get(&node).is_some_and(|last| *last >= since)
    }
}
