//! A converged component runs every role as often as asked for: never more, and after a while never less.
//!
//! What the whole is for (the design, 6): at most `count` instances within a converged component from convergence and
//! the stop grace on, at least `count` wherever enough nodes are. Across a partition nothing is promised.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Invariant, Scene, Verdict};
use crate::id::ReplicaId;
use crate::testkit::NodeIndex;

/// How long after convergence superfluous instances may still be ending.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long after convergence every instance must run.
const START_GRACE: Duration = Duration::from_secs(5);

/// A converged component: its fingerprint and its members.
type Component = (String, Vec<ReplicaId>);

/// See the module.
#[derive(Default)]
pub(crate) struct RoleCount {
    /// Since when each component is converged, unchanged.
    since: BTreeMap<Component, Duration>,
}

impl Invariant for RoleCount {
    fn name(&self) -> &'static str {
        "a converged component runs every role as often as asked for"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        let groups = components(scene);
        self.since.retain(|component, _| groups.contains_key(component));
        for (component, nodes) in groups {
            let since = *self.since.entry(component).or_insert(scene.now());
            let lasted = scene.now() - since;
            // Who stands still can neither stop nor start anything, and who leaves is handing over.
            let hampered = nodes
                .iter()
                .any(|node| scene.facts.leaving.contains(node) || scene.facts.stood_still_since(*node, since));
            let Some(status) = scene.simulation.status(nodes[0]) else { continue };
            for role in &status.roles {
                let name = &role.spec.name;
                let running = scene.simulation.running(name).iter().filter(|node| nodes.contains(node)).count();
                let wanted = role.candidates.min(role.spec.count as usize);
                if running > wanted && lasted > STOP_GRACE && !hampered {
                    return Err(format!("{running} instances of {name:?} in the converged component {nodes:?}"));
                }
                if running < wanted && lasted > START_GRACE && !hampered {
                    return Err(format!("only {running} of {name:?} in the converged component {nodes:?}"));
                }
            }
        }
        Ok(())
    }
}

/// Nodes that believe to have converged with exactly each other.
fn components(scene: Scene<'_>) -> BTreeMap<Component, Vec<NodeIndex>> {
    let mut groups: BTreeMap<Component, Vec<NodeIndex>> = BTreeMap::new();
    for node in scene.simulation.alive() {
        let Some(status) = scene.simulation.status(node).filter(|status| status.agreed) else { continue };
        let members = status.members.iter().filter(|member| member.in_view);
        let mut view: Vec<ReplicaId> = members.map(|member| member.replica).collect();
        view.sort();
        groups.entry((status.fingerprint.clone(), view)).or_default().push(node);
    }
    groups.retain(|(_, view), nodes| view.len() == nodes.len());
    groups
}
