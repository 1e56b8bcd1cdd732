//! A role that needs a majority is not started by those who see none, and runs no more often than asked for though the
//! cluster is cut.
//!
//! That is all that the policy promises, and it holds from convergence and the stop grace on: before, a side may not know
//! yet that it is one (the design, 6). Two sides whose rosters differ, since each took in newcomers of its own or evicted
//! the other, may both be in the majority.

use std::collections::BTreeMap;

use super::oracle::Oracle;
use super::role_count::STOP_GRACE;
use super::{Invariant, NodeIndex, Scene, Verdict};
use crate::engine::Event;
use crate::roles::{ClaimState, PartitionPolicy};

/// See the module.
#[derive(Default)]
pub(crate) struct Policies {
    /// How many events of each node were looked at.
    events: BTreeMap<NodeIndex, usize>,
    /// Which roster each node had at the last look. A start is judged by the roster that the node had then, and where it
    /// met an island since, that is not known any more.
    rosters: BTreeMap<NodeIndex, u64>,
}

impl Invariant for Policies {
    fn name(&self) -> &'static str {
        "a role that needs a majority runs on one side at most"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        self.nobody_starts(scene)?;
        one_side_runs(scene)
    }
}

impl Policies {
    /// Nobody starts what its side has long known not to be its own.
    fn nobody_starts(&mut self, scene: Scene<'_>) -> Verdict {
        for node in scene.simulation.alive() {
            let events = scene.simulation.events(node);
            let from = self.events.insert(node, events.len()).unwrap_or(0);
            let roster = scene.simulation.engine(node).map(|engine| engine.roster().fingerprint());
            let before = roster.and_then(|roster| self.rosters.insert(node, roster));
            if before != roster {
                continue;
            }
            let started = |event: &Event| matches!(event, Event::RoleStarted { .. });
            if !events[from..].iter().any(started) {
                continue;
            }
            let lasts = |since| scene.now() - since > 2 * STOP_GRACE;
            let mut components = scene.facts.components.iter().filter(|component| lasts(component.view_since));
            let Some(component) = components.find(|component| component.nodes.contains(&node)) else { continue };
            let Some(oracle) = Oracle::new(scene.simulation, &component.nodes) else { continue };
            if scene.facts.hampered(component, component.view_since) {
                continue;
            }
            for event in &events[from..] {
                let Event::RoleStarted { role, .. } = event else { continue };
                if oracle
                    .spec(role)
                    .is_some_and(|spec| scene.facts.is_old(spec, scene.now()) && !oracle.is_allowed(spec))
                {
                    return Err(format!("{node:?} started {role:?} in {:?}, against its policy", component.nodes));
                }
            }
        }
        Ok(())
    }
}

/// All sides together run it no more often than asked for.
fn one_side_runs(scene: Scene<'_>) -> Verdict {
    let components = &scene.facts.components;
    let alive = scene.simulation.alive();
    let lasted = components.iter().all(|component| {
        let lasted = scene.now() - component.since > STOP_GRACE + scene.facts.stop_grace;
        lasted && !scene.facts.hampered(component, component.since)
    });
    let covered = components.iter().map(|component| component.nodes.len()).sum::<usize>() == alive.len();
    if !lasted || !covered || components.len() < 2 {
        return Ok(());
    }
    let mut rosters = alive.iter().filter_map(|node| Some(scene.simulation.engine(*node)?.roster().member_set()));
    let first = rosters.next();
    if rosters.any(|roster| Some(&roster) != first.as_ref()) {
        return Ok(());
    }
    let oracles = components.iter().map(|component| Oracle::new(scene.simulation, &component.nodes));
    let Some(oracles) = oracles.collect::<Option<Vec<_>>>() else { return Ok(()) };
    for spec in oracles[0].picture.roles.iter().filter(|spec| spec.partition == PartitionPolicy::Majority) {
        let alike = oracles.iter().all(|oracle| oracle.spec(&spec.name) == Some(spec));
        let claims = oracles.iter().flat_map(|oracle| oracle.picture.holdings);
        let yields = |state: &ClaimState| matches!(state, ClaimState::Yielding { .. });
        let yielding = claims.filter(|holding| holding.role == spec.name && yields(&holding.claim.state)).count();
        let running = scene.simulation.running(&spec.name);
        if alike && running.len() > spec.count as usize + yielding {
            let sides: Vec<_> = components.iter().map(|component| &component.nodes).collect();
            return Err(format!("{:?}, which needs a majority, runs on {running:?} of {sides:?}", spec.name));
        }
    }
    Ok(())
}
