//! At rest every role runs only where its spec lets it: on nodes with the labels that it requires, beside no role that it
//! is kept apart from, and spread over the zones.
//!
//! Constraints are there for what a cluster cannot see: a disk that only some nodes have, two roles that would ruin each
//! other. Counts come before the spread, so zones may differ where nobody could change that.

use std::collections::BTreeSet;

use super::oracle::Oracle;
use super::{Invariant, NodeIndex, Scene, Verdict};
use crate::roles::RoleSpec;

/// See the module.
pub(crate) struct Constraints;

impl Invariant for Constraints {
    fn name(&self) -> &'static str {
        "roles run only where their constraints let them"
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
    for spec in oracle.picture.roles {
        let running = &hosts[&spec.name];
        for node in running {
            let labels = &scene.simulation.options(*node).labels;
            if let Some((label, value)) = spec.requires.iter().find(|(label, value)| labels.get(*label) != Some(value))
            {
                return Err(format!(
                    "{:?} runs on {node:?} against its constraints: {labels:?}, not {label} = {value}",
                    spec.name
                ));
            }
            if let Some(other) = oracle.in_the_way(&hosts, &spec.name, *node) {
                return Err(format!("{:?} runs on {node:?} beside {other:?}, against its constraints", spec.name));
            }
        }
        if !oracle.is_lopsided(spec, running) || is_about_to_move(scene, nodes, spec, running) {
            continue;
        }
        // An instance of a full zone that could go to a node with room in an empty one.
        let zones = oracle.zones(spec, running);
        let count_at = |node: &NodeIndex| {
            let label = spec.spread_over.as_ref().and_then(|label| scene.simulation.options(*node).labels.get(label));
            label.and_then(|zone| zones.get(zone)).copied()
        };
        let pinned = |node: &NodeIndex| oracle.claim(&spec.name, *node).is_none_or(|holding| holding.claim.pinned);
        let fullest = running.iter().filter(|node| !pinned(node)).filter_map(count_at).max();
        let is_free = |node: &NodeIndex| {
            loads[node] < cap && !running.contains(node) && oracle.in_the_way(&hosts, &spec.name, *node).is_none()
        };
        let emptiest = oracle.able(spec).filter(is_free).filter_map(|node| count_at(&node)).min();
        if fullest.zip(emptiest).is_some_and(|(full, empty)| full >= empty + 2) {
            return Err(format!("{:?} runs on {running:?} against its constraints: {zones:?}", spec.name));
        }
    }
    Ok(())
}

/// Whether the nodes mean to have it otherwise: somebody's exclusion has ended just now, say.
fn is_about_to_move(scene: Scene<'_>, nodes: &[NodeIndex], spec: &RoleSpec, running: &BTreeSet<NodeIndex>) -> bool {
    let runs: BTreeSet<_> = running.iter().map(|node| scene.simulation.store(*node).replica()).collect();
    let mut engines = nodes.iter().filter_map(|node| scene.simulation.engine(*node));
    engines.any(|engine| engine.assignment().1.hosts(&spec.name).iter().copied().collect::<BTreeSet<_>>() != runs)
}
