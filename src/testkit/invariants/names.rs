//! Nobody is told that its name is taken where no two live processes share it.
//!
//! The hosts of a trial have names of their own, and each runs one process at a time: whoever is told has taken a dead
//! process, or what was under way from it, for a living one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, Scene, Verdict};
use crate::engine::Event;
use crate::testkit::NodeIndex;

/// See the module.
#[derive(Default)]
pub(crate) struct Names {
    /// How many events of each node were looked at.
    events: BTreeMap<NodeIndex, usize>,
}

impl Invariant for Names {
    fn name(&self) -> &'static str {
        "no name is said to be taken that only one live process has"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        let nodes = scene.simulation.nodes();
        let names: BTreeSet<_> = nodes.iter().map(|node| scene.simulation.name(*node)).collect();
        assert_eq!(names.len(), nodes.len(), "the hosts of a trial have names of their own");
        for node in nodes {
            let events = scene.simulation.events(node);
            let from = self.events.insert(node, events.len()).unwrap_or(0);
            let is_alarm = |event: &&Event| matches!(event, Event::NameTaken { .. });
            if let Some(alarm) = events[from..].iter().find(is_alarm) {
                return Err(format!("{node:?} says {alarm:?}, and nobody else has its name"));
            }
        }
        Ok(())
    }
}
