//! No node makes a cluster of its own beside one that it knows and can reach.
//!
//! It would have empty tables and run every role until the two merge. What is in the way of one member, such as a process
//! without free descriptors, must not keep a newcomer from the others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Invariant, Scene, Verdict};
use crate::testkit::NodeIndex;

/// See the module.
#[derive(Default)]
pub(crate) struct Founding {
    /// Since when a newcomer has known a member with a cluster, to which nothing is in the way, whenever one looked.
    known: BTreeMap<(NodeIndex, NodeIndex), Duration>,
}

/// How long that takes at most until it is asked, answers, and is believed.
const ASKED: Duration = Duration::from_secs(1);

impl Invariant for Founding {
    fn name(&self) -> &'static str {
        "no node makes a cluster of its own beside one that it can join"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        for (node, at) in &scene.facts.founded {
            let in_reach = self.known.iter().find(|((newcomer, _), since)| newcomer == node && **since + ASKED < *at);
            if let Some(((_, other), since)) = in_reach {
                return Err(format!("{node:?} did at {at:?}, and has known {other:?} since {since:?}"));
            }
        }
        let mut known = BTreeMap::new();
        let (simulation, now) = (scene.simulation, scene.now());
        let alive = simulation.alive();
        let joining = alive.iter().filter(|node| !simulation.store(**node).is_open());
        for newcomer in joining.copied() {
            let Some(engine) = simulation.engine(newcomer) else { continue };
            let welcomes = |other: &&NodeIndex| {
                let store = simulation.store(**other);
                let is_member =
                    store.is_open() && !simulation.is_paused(**other) && !scene.facts.leaving.contains(other);
                is_member && simulation.is_clear(newcomer, **other) && engine.knows(store.replica())
            };
            for other in alive.iter().filter(welcomes) {
                let pair = (newcomer, *other);
                known.insert(pair, self.known.get(&pair).copied().unwrap_or(now));
            }
        }
        self.known = known;
        Ok(())
    }
}
