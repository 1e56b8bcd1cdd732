//! What should run, found out from a picture without the code that decides it: slowly, simply, and only as far as it is
//! promised.
//!
//! How often a role should run follows from its spec, the labels and the policies alone. Where, does not: there are many
//! good placements, so a given one is judged by what it leaves undone, an instance that could run and does not, or one
//! that is in the wrong place and could go elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{NodeIndex, Simulation};
use crate::id::ReplicaId;
use crate::roles::{Candidate, ClaimState, Holding, PartitionPolicy, Picture, RoleSpec};

/// Which nodes run each role.
pub(crate) type Hosts = BTreeMap<String, BTreeSet<NodeIndex>>;

/// Judges placements in one picture, of one component.
pub(crate) struct Oracle<'a> {
    pub(crate) picture: Picture<'a>,
    /// The members, by the host that they run on. Of two runs of one host, the one that lives.
    members: BTreeMap<NodeIndex, &'a Candidate>,
}

impl<'a> Oracle<'a> {
    /// For the picture of these nodes, which is the same at all of them; `None` while one of them does not run.
    pub(crate) fn new(simulation: &'a Simulation, nodes: &[NodeIndex]) -> Option<Self> {
        let picture = simulation.engine(*nodes.first()?)?.picture();
        let find = |node: &NodeIndex| {
            let replica = simulation.store(*node).replica();
            let found = picture.candidates.iter().find(|candidate| candidate.replica == replica)?;
            Some((*node, found))
        };
        let members = nodes.iter().map(find).collect::<Option<_>>()?;
        Some(Self { picture, members })
    }

    /// Who runs what among these nodes.
    pub(crate) fn hosts(&self, simulation: &Simulation) -> Hosts {
        let among = |role: &RoleSpec| {
            simulation.running(&role.name).into_iter().filter(|node| self.members.contains_key(node)).collect()
        };
        self.picture.roles.iter().map(|role| (role.name.clone(), among(role))).collect()
    }

    pub(crate) fn spec(&self, role: &str) -> Option<&'a RoleSpec> {
        self.picture.roles.iter().find(|spec| spec.name == role)
    }

    pub(crate) fn holding(&self, role: &str, holder: ReplicaId) -> Option<&'a Holding> {
        self.picture.holdings.iter().find(|holding| holding.role == role && holding.holder == holder)
    }

    /// The claim of a node for a role.
    pub(crate) fn claim(&self, role: &str, node: NodeIndex) -> Option<&'a Holding> {
        self.holding(role, self.members.get(&node)?.replica)
    }

    /// Whether its policy lets the role run in this view.
    pub(crate) fn is_allowed(&self, spec: &RoleSpec) -> bool {
        match spec.partition {
            PartitionPolicy::Overlap => true,
            PartitionPolicy::Majority => 2 * self.members.len() > self.picture.roster,
            PartitionPolicy::Quorum(least) => self.members.len() >= least as usize,
        }
    }

    /// Whether a node builds its kind, has the labels that it requires, and has not given it up.
    pub(crate) fn is_able(&self, spec: &RoleSpec, node: NodeIndex) -> bool {
        let Some(member) = self.members.get(&node) else { return false };
        let excluded = self.holding(&spec.name, member.replica);
        member.kinds.contains(&spec.kind)
            && spec.requires.iter().all(|(label, value)| member.labels.get(label) == Some(value))
            && !excluded.is_some_and(|holding| matches!(holding.claim.state, ClaimState::Failed { .. }))
    }

    pub(crate) fn able(&self, spec: &RoleSpec) -> impl Iterator<Item = NodeIndex> {
        self.members.keys().copied().filter(|node| self.is_able(spec, *node))
    }

    /// How many instances should run, if no other role is in the way.
    pub(crate) fn wanted(&self, spec: &RoleSpec) -> usize {
        if self.is_allowed(spec) { self.able(spec).count().min(spec.count as usize) } else { 0 }
    }

    /// Whether two roles never share a node.
    pub(crate) fn are_apart(&self, one: &str, other: &str) -> bool {
        let names = |one: &str, other: &str| self.spec(one).is_some_and(|spec| spec.apart_from.contains(other));
        names(one, other) || names(other, one)
    }

    /// Whether some role is to be kept apart from this one.
    pub(crate) fn keeps_apart(&self, role: &str) -> bool {
        self.picture.roles.iter().any(|other| self.are_apart(role, &other.name))
    }

    /// A role on this node that `role` must not share it with.
    pub(crate) fn in_the_way<'h>(&self, hosts: &'h Hosts, role: &str, node: NodeIndex) -> Option<&'h str> {
        let here = hosts.iter().filter(|(_, nodes)| nodes.contains(&node));
        here.map(|(other, _)| other.as_str()).find(|other| self.are_apart(role, other))
    }

    /// A node on which one more instance of a role could run.
    pub(crate) fn room(&self, hosts: &Hosts, spec: &RoleSpec) -> Option<NodeIndex> {
        let is_free = |node: &NodeIndex| {
            !hosts.get(&spec.name).is_some_and(|nodes| nodes.contains(node))
                && self.in_the_way(hosts, &spec.name, *node).is_none()
        };
        self.able(spec).find(is_free)
    }

    /// What is wrong with how often a role runs: there is one too many, or one is missing for which there is room.
    pub(crate) fn miscount(&self, hosts: &Hosts, spec: &RoleSpec) -> Option<String> {
        let (running, wanted) = (hosts.get(&spec.name).map_or(0, BTreeSet::len), self.wanted(spec));
        if running > wanted {
            return Some(format!("{running} instances of {:?} run, not {wanted}", spec.name));
        }
        let room = if running < wanted { self.room(hosts, spec) } else { None };
        room.map(|node| format!("{running} instances of {:?} run, not {wanted}, and {node:?} could", spec.name))
    }

    /// How many instances run on each node.
    pub(crate) fn loads(&self, hosts: &Hosts) -> BTreeMap<NodeIndex, usize> {
        let load = |node: &NodeIndex| hosts.values().filter(|nodes| nodes.contains(node)).count();
        self.members.keys().map(|node| (*node, load(node))).collect()
    }

    /// ⌈1.25 · mean⌉ over those nodes that can host anything.
    pub(crate) fn cap(&self) -> usize {
        let wanted: usize = self.picture.roles.iter().map(|spec| self.wanted(spec)).sum();
        let useful: BTreeSet<NodeIndex> = self.picture.roles.iter().flat_map(|spec| self.able(spec)).collect();
        (5 * wanted).div_ceil(4 * useful.len().max(1))
    }

    /// How many instances run in each zone of a role that is spread, the zones in which none runs included. A node without
    /// the label is a zone of its own.
    pub(crate) fn zones(&self, spec: &RoleSpec, running: &BTreeSet<NodeIndex>) -> BTreeMap<String, usize> {
        let mut zones = BTreeMap::new();
        for node in self.able(spec) {
            let label = spec.spread_over.as_ref().and_then(|label| self.members[&node].labels.get(label));
            let zone = label.cloned().unwrap_or_else(|| format!("{node:?}"));
            *zones.entry(zone).or_insert(0) += usize::from(running.contains(&node));
        }
        zones
    }

    /// Whether one zone has at least two more instances than another.
    pub(crate) fn is_lopsided(&self, spec: &RoleSpec, running: &BTreeSet<NodeIndex>) -> bool {
        let zones = self.zones(spec, running);
        let (least, most) = (zones.values().min(), zones.values().max());
        spec.spread_over.is_some() && most.zip(least).is_some_and(|(most, least)| *most >= least + 2)
    }
}
