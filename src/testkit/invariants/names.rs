//! A process that lives keeps its name, and is told that it is taken only where two live processes share it.
//!
//! The hosts of a trial have names of their own, and each runs one process at a time: a node that is told has taken a dead
//! process, or what was under way from it, for a living one. And an admission names the run that it supersedes, with proof
//! that it is gone: that one does not run any more.

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
        "a live process keeps its name, and is told of others only that have it and live"
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
        match scene.simulation.ousted().first() {
            Some(node) => Err(format!("{node:?} lives, and an admission proves that it is gone")),
            None => Ok(()),
        }
    }
}
