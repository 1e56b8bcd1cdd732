//! Two members that can reach each other do not take each other for dead, whatever happens to the rest of the cluster.
//!
//! SWIM's promise to a node that hosts something (Das, Gupta, Motivala, 2002): a lost datagram costs a suspicion, which its
//! subject has time to refute, and not a role. Stated: up to 10 % of the datagrams lost, up to 30 ms late. It holds pair by
//! pair: that other members are cut off, stand still or come back is no reason either.

use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, Scene, Verdict};
use crate::engine::Event;
use crate::testkit::NodeIndex;

/// See the module.
#[derive(Default)]
pub(crate) struct FalseDown {
    /// How many events of each node were looked at.
    events: BTreeMap<NodeIndex, usize>,
    /// The pairs that were whole at the last look: what happened since then has to do with those alone.
    whole: BTreeSet<(NodeIndex, NodeIndex)>,
}

impl Invariant for FalseDown {
    fn name(&self) -> &'static str {
        "members that can reach each other do not take each other for dead"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        let alive = scene.simulation.alive();
        let now_whole = &scene.facts.whole_pairs;
        let before = std::mem::replace(&mut self.whole, now_whole.clone());
        for node in scene.simulation.nodes() {
            // Also of those that ended: what happened to a process is nothing that its successor did.
            let events = scene.simulation.events(node);
            let from = self.events.insert(node, events.len()).unwrap_or(0);
            if !alive.contains(&node) {
                continue;
            }
            for event in &events[from..] {
                let Event::Down { replica, .. } = event else { continue };
                let lives = |other: &&NodeIndex| scene.simulation.store(**other).replica() == *replica;
                let Some(other) = alive.iter().find(lives) else { continue };
                let pair = (node.min(*other), node.max(*other));
                if before.contains(&pair) && now_whole.contains(&pair) && !scene.facts.leaving.contains(other) {
                    return Err(format!("{node:?} takes {other:?} for dead, which lives and can be reached"));
                }
            }
        }
        Ok(())
    }
}
