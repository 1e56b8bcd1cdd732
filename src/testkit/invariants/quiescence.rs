//! Once nothing hurts any more, everybody sees the same, holds the same and believes the same, and it stays so.
//!
//! The half of the promise that safety alone does not give: a cluster that never agrees on anything violates nothing.
//! The trial waits for it, for a stated time; here it is compared once more, piece by piece.

use super::{Invariant, Scene, Verdict};

/// See the module.
pub(crate) struct Quiescence;

impl Invariant for Quiescence {
    fn name(&self) -> &'static str {
        "at rest views, fingerprints and rows are equal"
    }

    fn at_rest(&mut self, scene: Scene<'_>) -> Verdict {
        let mut first = None;
        for node in scene.simulation.alive() {
            let Some(status) = scene.simulation.status(node) else { return Err(format!("{node:?} says nothing")) };
            let store = scene.simulation.store(node);
            let rows: Vec<_> = store.table(scene.story.table()).snapshot().iter().collect();
            let picture = (scene.simulation.view(node), status.fingerprint.clone(), store.digest(), rows);
            let (other, there) = first.get_or_insert_with(|| (node, picture.clone()));
            if picture != *there {
                return Err(format!("{other:?} and {node:?} differ: {there:?} and {picture:?}"));
            }
            if !status.agreed {
                return Err(format!("{node:?} does not agree"));
            }
        }
        Ok(())
    }
}
