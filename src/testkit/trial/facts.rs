//! What is known of a trial beyond what the simulation shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Component, Pair, Plan};
use crate::roles::RoleSpec;
use crate::testkit::NodeIndex;

/// After so long everybody in a component knows what was asked for in it.
const KNOWN: Duration = Duration::from_secs(3);

/// After so long with nothing new all is where it is to be.
const CALM: Duration = Duration::from_secs(5);

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
    /// How each role was asked for, by whomever and whenever, and when that was for the last time.
    asked: BTreeMap<RoleSpec, Duration>,
    /// The roles of which nobody needs to know in the end: somebody removed them at some time, or asked for them only while
    /// all ran, which may have been refused or gone with that node.
    pub(crate) optional: BTreeSet<String>,
    /// How often somebody asked for something else than before, or took it back.
    pub(crate) changes: u64,
    /// The longest that a role's task takes to end.
    pub(crate) stop_grace: Duration,
    /// Who has converged with whom.
    pub(crate) components: Vec<Component>,
    /// Components that came to rest in this moment, as they were before and as they are now.
    pub(crate) pairs: Vec<Pair>,
    /// How many there were in all: with one member lost in between, and with none.
    pub(crate) pairs_seen: (u64, u64),
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
            optional: BTreeSet::new(),
            changes: 0,
            stop_grace: Duration::ZERO,
            components: Vec::new(),
            pairs: Vec::new(),
            pairs_seen: (0, 0),
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
    pub(super) fn asked(&mut self, spec: &RoleSpec, now: Duration) {
        self.asked.insert(spec.clone(), now);
    }

    /// The names of all roles that were ever asked for.
    pub(crate) fn asked_names(&self) -> BTreeSet<&str> {
        self.asked.keys().map(|spec| spec.name.as_str()).collect()
    }

    /// Whether somebody asked for just this.
    pub(crate) fn is_asked(&self, spec: &RoleSpec) -> bool {
        self.asked.contains_key(spec)
    }

    /// Whether this was asked for, and nothing else under its name since, so long ago that everybody knows.
    pub(crate) fn is_old(&self, spec: &RoleSpec, now: Duration) -> bool {
        let of_name = self.asked.iter().filter(|(other, _)| other.name == spec.name);
        of_name.map(|(_, at)| *at).max().is_some_and(|at| now > at + KNOWN)
    }

    /// Whether somebody in a component cannot be judged: who stood still since then can neither have stopped nor started
    /// anything, and who leaves is handing over.
    pub(crate) fn hampered(&self, component: &Component, since: Duration) -> bool {
        component.nodes.iter().any(|node| self.leaving.contains(node) || self.stood_still_since(*node, since))
    }

    /// Whether a component has been converged on one thing for so long that everything that was to move has moved.
    pub(crate) fn is_calm(&self, component: &Component, now: Duration) -> bool {
        now > component.since + CALM && !self.hampered(component, component.since)
    }

    /// Whether a node stood still at some time after `since`.
    pub(crate) fn stood_still_since(&self, node: NodeIndex, since: Duration) -> bool {
        self.stood_still.get(&node).is_some_and(|last| *last >= since)
    }
}
