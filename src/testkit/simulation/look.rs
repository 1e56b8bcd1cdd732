//! What a test sees of the cluster: more than any node does.

use super::Simulation;
use crate::engine::{Engine, Event, Liveness, Member, Phase, Reply, Status};
use crate::id::NodeId;
use crate::testkit::host::{NodeIndex, NodeOptions};

impl Simulation {
    /// What a node answered to commands.
    pub fn replies(&self, node: NodeIndex) -> &[(u64, Reply)] {
        &self.hosts[node.0].replies
    }

    /// What happened at a node, since its host was added.
    pub fn events(&self, node: NodeIndex) -> &[Event] {
        &self.hosts[node.0].events
    }

    /// The engine of a node, if it runs.
    pub fn engine(&self, node: NodeIndex) -> Option<&Engine> {
        self.hosts[node.0].engine.as_ref()
    }

    /// What a node sees of the cluster, if it runs.
    pub fn status(&self, node: NodeIndex) -> Option<&Status> {
        self.hosts[node.0].status.as_deref()
    }

    /// What a node is made of, from its next start on.
    pub(crate) fn options(&self, node: NodeIndex) -> &NodeOptions {
        &self.hosts[node.0].options
    }

    /// The name of a node.
    pub fn name(&self, node: NodeIndex) -> NodeId {
        self.hosts[node.0].options.node.clone()
    }

    /// All hosts, in the order in which they were added.
    pub fn nodes(&self) -> Vec<NodeIndex> {
        (0..self.hosts.len()).map(NodeIndex).collect()
    }

    /// The view of a node; empty if it does not run or is in none.
    pub fn view(&self, node: NodeIndex) -> Vec<NodeId> {
        let members = self.status(node).map(|status| status.members.as_slice()).unwrap_or_default();
        members.iter().filter(|member| member.in_view).map(|member| member.node.clone()).collect()
    }

    /// The nodes on which a task of this role runs now: what really runs, whatever anybody believes, from its start until
    /// it has ended.
    pub fn running(&self, role: &str) -> Vec<NodeIndex> {
        (0..self.hosts.len()).filter(|index| self.hosts[*index].tasks.contains(role)).map(NodeIndex).collect()
    }

    /// How many streams of a node are open.
    pub fn open_streams(&self, node: NodeIndex) -> usize {
        self.ends_of(node.0, self.hosts[node.0].life).len()
    }

    /// The first thing that a node sent and that was too large, with the limit.
    pub(crate) fn oversized(&self, node: NodeIndex) -> Option<(usize, usize)> {
        self.hosts[node.0].oversized
    }

    /// All hosts whose node runs.
    pub fn alive(&self) -> Vec<NodeIndex> {
        (0..self.hosts.len()).filter(|index| self.hosts[*index].engine.is_some()).map(NodeIndex).collect()
    }

    /// Whether a node stands still.
    pub fn is_paused(&self, node: NodeIndex) -> bool {
        self.hosts[node.0].paused
    }

    /// Whether all nodes that run see each other as alive, agree, and hold equal tables.
    pub fn all_converged(&self) -> bool {
        let alive = self.alive();
        self.converged(&alive)
    }

    /// Whether these nodes see exactly each other, agree, and hold equal tables.
    pub fn converged(&self, nodes: &[NodeIndex]) -> bool {
        let ready = |node: &NodeIndex| {
            let fine = |member: &Member| !member.in_view || member.liveness == Liveness::Alive;
            self.status(*node).is_some_and(|status| {
                status.agreed && status.phase != Phase::Joining && status.members.iter().all(fine)
            })
        };
        if !nodes.iter().all(ready) {
            return false;
        }
        let mut digests = nodes.iter().map(|node| self.store(*node).digest());
        let first = digests.next();
        let mut names: Vec<NodeId> = nodes.iter().map(|node| self.name(*node)).collect();
        names.sort();
        digests.all(|digest| Some(digest) == first) && nodes.iter().all(|node| self.view(*node) == names)
    }
}
