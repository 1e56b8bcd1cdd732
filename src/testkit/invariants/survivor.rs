//! What runs in a converged component has a fencing token above those of all instances that have ended, as far as any of
//! its members knows of them.
//!
//! A resource that was shown the token of an instance that has ended refuses everything below it. So an instance that is
//! to stay, but was started before, would be refused for good: after a cut the longest-running one stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::oracle::Oracle;
use super::{Invariant, Scene, Verdict};
use crate::id::ReplicaId;
use crate::roles::{ClaimState, FencingToken, InstanceId};
use crate::testkit::trial::Component;

/// For so long a component has been converged, and an instance has ended, until the others must be above it.
const GRACE: Duration = Duration::from_secs(1);

/// One instance of a role.
type Known = (String, InstanceId);

/// See the module.
#[derive(Default)]
pub(crate) struct Survivor {
    /// The highest token of each instance that a process saw.
    seen: BTreeMap<ReplicaId, BTreeMap<Known, FencingToken>>,
    /// When each was found to run no more.
    ended: BTreeMap<Known, Duration>,
}

impl Invariant for Survivor {
    fn name(&self) -> &'static str {
        "what runs has a token above those of all that have ended"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        self.note(scene);
        scene.facts.components.iter().try_for_each(|component| self.judge(scene, component))
    }

    fn at_rest(&mut self, scene: Scene<'_>) -> Verdict {
        self.look(scene)
    }
}

impl Survivor {
    /// Takes note of what each process sees, and of what really runs.
    fn note(&mut self, scene: Scene<'_>) {
        let mut before = std::mem::take(&mut self.seen);
        let mut running = BTreeSet::new();
        for node in scene.simulation.alive() {
            let Some(status) = scene.simulation.status(node) else { continue };
            let mut seen = before.remove(&status.replica).unwrap_or_default();
            let mut note = |known: Known, token: FencingToken| {
                let highest = seen.entry(known).or_insert(token);
                *highest = token.max(*highest);
            };
            for role in scene.facts.asked_names() {
                if let Some((started, token)) = scene.simulation.fenced(node, role) {
                    running.insert((role.to_owned(), started));
                    note((role.to_owned(), started), token);
                }
            }
            for role in &status.roles {
                role.hosts.iter().for_each(|host| note((role.spec.name.clone(), host.started), host.token));
            }
            self.seen.insert(status.replica, seen);
        }
        for known in self.seen.values().flat_map(BTreeMap::keys) {
            if !running.contains(known) && !self.ended.contains_key(known) {
                self.ended.insert(known.clone(), scene.now());
            }
        }
        // A claim shows an instance before its task is there.
        self.ended.retain(|known, _| !running.contains(known));
    }

    fn judge(&self, scene: Scene<'_>, component: &Component) -> Verdict {
        let Some(oracle) = Oracle::new(scene.simulation, &component.nodes) else { return Ok(()) };
        let lasts = |since: Duration| scene.now() - since > GRACE;
        if !lasts(component.since) || scene.facts.hampered(component, component.since) {
            return Ok(());
        }
        for spec in oracle.picture.roles {
            for node in &component.nodes {
                let Some((started, token)) = scene.simulation.fenced(*node, &spec.name) else { continue };
                let claim = oracle.claim(&spec.name, *node).map(|holding| &holding.claim);
                if claim.is_none_or(|claim| claim.started != started || claim.state != ClaimState::Running) {
                    continue;
                }
                for ((role, instance), highest) in
                    component.view.iter().flat_map(|member| self.seen.get(member)).flatten()
                {
                    let ended = self.ended.get(&(role.clone(), *instance)).is_some_and(|at| lasts(*at));
                    if *role == spec.name && ended && *highest >= token {
                        return Err(format!(
                            "{role:?} runs at {node:?} with {token}, and a member knows that one with {highest} has ended"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
