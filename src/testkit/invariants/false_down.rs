//! Nobody who lives and can be reached is taken for dead, as long as no more is lost than stated.
//!
//! SWIM's promise to whoever hosts something (Das, Gupta, Motivala, 2002): a lost datagram costs a suspicion, which its
//! subject has time to refute, and not a role. Stated: up to 10 % of the datagrams lost, up to 30 ms late.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Invariant, Scene, Verdict};
use crate::engine::Event;
use crate::testkit::NodeIndex;

/// See the module.
#[derive(Default)]
pub(crate) struct FalseDown {
    /// How many events of each node were looked at.
    events: BTreeMap<NodeIndex, usize>,
}

/// How long after the network was worse than stated, or somebody stood still, and all know each other again, somebody may
/// still be taken for dead. (Where parts meet that had lost each other, they also exchange whom they hold for dead.)
const AFTERMATH: Duration = Duration::from_secs(5);

impl Invariant for FalseDown {
    fn name(&self) -> &'static str {
        "nobody who can be reached is taken for dead"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        let calm = scene.facts.whole_since.is_some_and(|since| scene.now() >= since + AFTERMATH);
        let alive = scene.simulation.alive();
        for node in scene.simulation.nodes() {
            // Also of those that ended: what happened to a process is nothing that its successor did.
            let events = scene.simulation.events(node);
            let from = self.events.insert(node, events.len()).unwrap_or(0);
            if !calm || !alive.contains(&node) {
                continue;
            }
            for event in &events[from..] {
                let Event::Down { replica, .. } = event else { continue };
                let lives = |other: &NodeIndex| scene.simulation.store(*other).replica() == *replica;
                if let Some(other) = alive.iter().find(|other| lives(other) && !scene.facts.leaving.contains(other)) {
                    return Err(format!("{node:?} takes {other:?} for dead, which lives and can be reached"));
                }
            }
        }
        Ok(())
    }
}
