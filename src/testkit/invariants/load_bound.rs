//! At rest no node hosts more than ⌈1.25 · mean⌉ + 1 instances, unless nobody else could take them.
//!
//! Rendezvous hashing alone loads some node with more than twice the mean; what bounds it must also hold after any number
//! of losses and returns. Nothing is demanded of instances that cannot go elsewhere: every other node that is able hosts
//! their role, is full itself, or hosts what they are kept apart from. Nor of those that are spread over zones, which
//! comes first, nor of pinned ones, which were moved less than a minute ago and stay for now.

use super::oracle::{Hosts, Oracle};
use super::{Invariant, NodeIndex, Scene, Verdict};
use crate::roles::RoleSpec;

/// See the module.
pub(crate) struct LoadBound;

impl Invariant for LoadBound {
    fn name(&self) -> &'static str {
        "no node hosts more than its share, unless nobody else could"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        let calm = scene.facts.components.iter().filter(|component| scene.facts.is_calm(component, scene.now()));
        calm.into_iter().try_for_each(|component| judge(scene, &component.nodes))
    }

    fn at_rest(&mut self, scene: Scene<'_>) -> Verdict {
        judge(scene, &scene.simulation.alive())
    }
}

fn judge(scene: Scene<'_>, nodes: &[NodeIndex]) -> Verdict {
    let Some(oracle) = Oracle::new(scene.simulation, nodes) else { return Ok(()) };
    let hosts = oracle.hosts(scene.simulation);
    let (loads, cap) = (oracle.loads(&hosts), oracle.cap());
    for (node, load) in loads.iter().filter(|(_, load)| **load > cap + 1) {
        let to = |spec: &RoleSpec, other: &NodeIndex| loads[other] < cap && may_go(&oracle, &hosts, spec, *other);
        for spec in oracle.picture.roles.iter().filter(|spec| hosts[&spec.name].contains(node)) {
            let pinned = oracle.claim(&spec.name, *node).is_none_or(|holding| holding.claim.pinned);
            if pinned || spec.spread_over.is_some() {
                continue;
            }
            if let Some(other) = loads.keys().find(|other| to(spec, other)) {
                return Err(format!(
                    "{node:?} hosts {load} instances where {cap} are its share, and {:?} could go to {other:?}: {loads:?}",
                    spec.name
                ));
            }
        }
    }
    Ok(())
}

fn may_go(oracle: &Oracle<'_>, hosts: &Hosts, spec: &RoleSpec, to: NodeIndex) -> bool {
    oracle.is_able(spec, to) && !hosts[&spec.name].contains(&to) && oracle.in_the_way(hosts, &spec.name, to).is_none()
}
