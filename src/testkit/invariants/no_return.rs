//! What is known to be removed stays away.
//!
//! Tombstones go when every member of the roster has promised to write nothing below them and knows all that was written
//! before (rule 6 of the replicated map). If a row comes back after that, somebody was forgotten. Only where parts of the
//! cluster lived on their own may one still have had what the other had collected (rule 8).

use std::time::Duration;

use super::{Invariant, Scene, Verdict};

/// See the module.
#[derive(Default)]
pub(crate) struct NoReturn {
    checked: Duration,
}

impl Invariant for NoReturn {
    fn name(&self) -> &'static str {
        "what was removed stays away"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        if scene.now() < self.checked + Duration::from_secs(1) {
            return Ok(());
        }
        self.checked = scene.now();
        self.at_rest(scene)
    }

    fn at_rest(&mut self, scene: Scene<'_>) -> Verdict {
        if !scene.facts.removals_bind() {
            return Ok(());
        }
        for node in scene.simulation.alive() {
            let store = scene.simulation.store(node);
            let context = store.context();
            for key in scene.story.keys() {
                let known = scene.story.of(key).filter(|written| context.contains(written.entry.dot));
                let highest = known.map(|written| written.entry.rank()).max();
                let Some(rank) = highest.filter(|rank| rank.removal) else { continue };
                // A put that outranks the removal stays when its author is forgotten.
                let held = store.rank_of(scene.story.table(), key.as_bytes()).filter(|held| *held < rank);
                if let Some(value) = held.and_then(|_| store.get(scene.story.table(), key.as_bytes())) {
                    return Err(format!("{node:?} knows that {key:?} was removed ({rank:?}) and holds {value:?}"));
                }
            }
        }
        Ok(())
    }
}
