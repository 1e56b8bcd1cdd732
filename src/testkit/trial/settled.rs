//! Components that have come to rest for the moment, one after the other: what moved between two of them, and why it may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Course;
use crate::convergence::Fingerprint;
use crate::engine::Event;
use crate::id::ReplicaId;
use crate::roles::{Candidate, ClaimState, RoleSpec};
use crate::testkit::invariants::{Hosts, Oracle};
use crate::testkit::{NodeIndex, Simulation};

/// Nodes that have converged with exactly each other.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) nodes: Vec<NodeIndex>,
    /// The same, as they know each other.
    pub(crate) view: Vec<ReplicaId>,
    pub(crate) fingerprint: Fingerprint,
    /// Since when they are converged on this.
    pub(crate) since: Duration,
    /// Since when they have been converged whenever one looked, on whatever.
    pub(crate) view_since: Duration,
}

/// What a component looked like when everything ran as it should.
#[derive(Debug)]
pub(crate) struct Settled {
    nodes: Vec<NodeIndex>,
    view: Vec<ReplicaId>,
    fingerprint: Fingerprint,
    /// The members, with loads of 0: of those nothing may depend.
    pub(crate) members: Vec<Candidate>,
    specs: Vec<RoleSpec>,
    hosts: Hosts,
    loads: BTreeMap<NodeIndex, usize>,
    pub(crate) cap: usize,
    /// The roles that their policies let run.
    allowed: BTreeSet<String>,
    /// The roles that must make way for others, and those in a zone that has too many.
    restless: BTreeSet<String>,
    /// Who has given up which role.
    excluded: BTreeSet<(String, ReplicaId)>,
    /// How many tasks had failed, and how often a spec had been changed.
    failures: u64,
    changes: u64,
}

/// One after the other, and nothing in between that would be a cause but the loss of a member.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) before: Arc<Settled>,
    pub(crate) after: Arc<Settled>,
    pub(crate) lost: Option<ReplicaId>,
}

/// What is remembered of every node.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// How it was when it had come to rest last.
    settled: BTreeMap<NodeIndex, Arc<Settled>>,
    /// Whom it lost or met since, and `None` for what was its own.
    events: BTreeMap<NodeIndex, (usize, Vec<Option<ReplicaId>>)>,
}

impl Settled {
    fn new(simulation: &Simulation, component: &Component, changes: u64) -> Option<Self> {
        let oracle = Oracle::new(simulation, &component.nodes)?;
        let hosts = oracle.hosts(simulation);
        let picture = oracle.picture;
        let mut excluded = BTreeSet::new();
        for holding in picture.holdings {
            match &holding.claim.state {
                ClaimState::Running => {}
                ClaimState::Failed { .. } => drop(excluded.insert((holding.role.clone(), holding.holder))),
                _ => return None,
            }
        }
        if picture.roles.iter().any(|spec| oracle.miscount(&hosts, spec).is_some()) {
            return None;
        }
        let members = picture.candidates.iter().cloned().map(|member| Candidate { load: 0, ..member });
        let restless =
            |spec: &&RoleSpec| oracle.keeps_apart(&spec.name) || oracle.is_lopsided(spec, &hosts[&spec.name]);
        let names = |specs: Vec<&RoleSpec>| specs.into_iter().map(|spec| spec.name.clone()).collect();
        Some(Self {
            nodes: component.nodes.clone(),
            view: component.view.clone(),
            fingerprint: component.fingerprint,
            members: members.collect(),
            specs: picture.roles.to_vec(),
            loads: oracle.loads(&hosts),
            cap: oracle.cap(),
            allowed: names(picture.roles.iter().filter(|spec| oracle.is_allowed(spec)).collect()),
            restless: names(picture.roles.iter().filter(restless).collect()),
            hosts,
            excluded,
            failures: simulation.task_counts().1,
            changes,
        })
    }

    /// An instance that ran on a node which is still there, and runs there no more, without its node or role being one of
    /// those that may.
    pub(crate) fn moved(&self, after: &Self) -> Option<String> {
        let stays = |node: &&NodeIndex| after.nodes.contains(node);
        for (role, before) in &self.hosts {
            let now = &after.hosts[role];
            if self.restless.contains(role) || after.restless.contains(role) {
                continue;
            }
            for node in before.iter().filter(stays).filter(|node| !now.contains(node)) {
                let lost = |hosts: &BTreeSet<NodeIndex>| hosts.iter().any(|host| !after.nodes.contains(host));
                let orphans = self.hosts.iter().filter(|(_, hosts)| lost(hosts)).map(|(orphan, _)| orphan);
                let given = orphans.filter(|orphan| after.hosts[*orphan].contains(node));
                let given = given.filter(|orphan| !self.hosts[*orphan].contains(node)).count();
                if self.loads[node] + given <= self.cap.min(after.cap) {
                    return Some(format!("{role:?} moved from {before:?} to {now:?}"));
                }
            }
        }
        None
    }

    /// Whether nothing is different from what was before but one member.
    fn follows(&self, before: &Self, lost: Option<ReplicaId>) -> bool {
        let stays = |replica: &ReplicaId| Some(*replica) != lost;
        let members = before.members.iter().filter(|member| stays(&member.replica));
        let excluded = before.excluded.iter().filter(|(_, holder)| stays(holder));
        self.members.iter().eq(members)
            && self.excluded.iter().eq(excluded)
            && self.specs == before.specs
            && self.allowed == before.allowed
            && (self.failures, self.changes) == (before.failures, before.changes)
    }
}

impl Course {
    /// Who has converged with whom, and what has come to rest.
    pub(super) fn note_components(&mut self) {
        let before = std::mem::take(&mut self.facts.components);
        let now = self.simulation.elapsed();
        let mut found: Vec<Component> = Vec::new();
        for node in self.simulation.alive() {
            if self.simulation.status(node).is_none_or(|status| !status.agreed) {
                continue;
            }
            let Some(engine) = self.simulation.engine(node) else { continue };
            let fingerprint = engine.assignment().0;
            let mut view: Vec<ReplicaId> = engine.view().collect();
            view.sort();
            if let Some(there) = found.iter_mut().find(|there| there.fingerprint == fingerprint && there.view == view) {
                there.nodes.push(node);
                continue;
            }
            let earlier = before.iter().find(|earlier| earlier.view == view);
            let same = earlier.filter(|earlier| earlier.fingerprint == fingerprint);
            let since = same.map_or(now, |same| same.since);
            let view_since = earlier.map_or(now, |earlier| earlier.view_since);
            found.push(Component { nodes: vec![node], view, fingerprint, since, view_since });
        }
        found.retain(|component| component.view.len() == component.nodes.len());
        self.facts.components = found;
        self.note_settled();
    }

    fn note_settled(&mut self) {
        self.facts.pairs.clear();
        for node in self.simulation.alive() {
            let events = self.simulation.events(node);
            let (from, met) = self.memory.events.entry(node).or_default();
            met.extend(events[*from..].iter().filter_map(concerns));
            *from = events.len();
        }
        for component in &self.facts.components {
            let settled = |node: &NodeIndex| self.memory.settled.get(node);
            let before = settled(&component.nodes[0]).cloned();
            if before.as_ref().is_some_and(|before| before.fingerprint == component.fingerprint) {
                continue;
            }
            let Some(after) = Settled::new(&self.simulation, component, self.facts.changes) else { continue };
            let after = Arc::new(after);
            let together = |before: &Arc<Settled>| {
                component.nodes.iter().all(|node| settled(node).is_some_and(|own| Arc::ptr_eq(own, before)))
            };
            if let Some(before) = before.filter(together) {
                let mut lost = before.view.iter().filter(|member| !component.view.contains(member)).copied();
                let (lost, more) = (lost.next(), lost.next().is_some());
                let met = |node: &NodeIndex| self.memory.events.get(node).map_or(&[][..], |(_, met)| met.as_slice());
                let calm = component.nodes.iter().all(|node| met(node).iter().all(|met| met.is_some() && *met == lost));
                if !more && calm && after.follows(&before, lost) {
                    let (losses, calm) = &mut self.facts.pairs_seen;
                    *(if lost.is_some() { losses } else { calm }) += 1;
                    self.facts.pairs.push(Pair { before, after: Arc::clone(&after), lost });
                }
            }
            for node in &component.nodes {
                self.memory.settled.insert(*node, Arc::clone(&after));
                if let Some((_, met)) = self.memory.events.get_mut(node) {
                    met.clear();
                }
            }
        }
    }
}

/// Whether an event may be the cause of a move: whom it concerns.
fn concerns(event: &Event) -> Option<Option<ReplicaId>> {
    match event {
        Event::Joined { replica, .. }
        | Event::Rejoined { replica, .. }
        | Event::Down { replica, .. }
        | Event::Left { replica, .. }
        | Event::Evicted { replica, .. } => Some(Some(*replica)),
        Event::Ready | Event::Unready { .. } | Event::IslandsMerged { .. } => Some(None),
        _ => None,
    }
}
