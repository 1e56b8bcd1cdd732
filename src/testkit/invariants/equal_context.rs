//! Two nodes that know the same writes hold the same rows.
//!
//! What makes the digest of the context worth comparing: who knows all that I know has nothing to ask me for. Where
//! parts of a cluster evicted each other from the roster, one may have collected what the other still holds; that is what
//! bucket repair is for, and only there.

use super::{Invariant, Scene, Verdict};
use crate::testkit::NodeIndex;

/// See the module.
pub(crate) struct EqualContext;

impl Invariant for EqualContext {
    fn name(&self) -> &'static str {
        "equal contexts mean equal rows"
    }

    fn at_change(&mut self, scene: Scene<'_>, node: NodeIndex) -> Verdict {
        if scene.facts.plan.evicts() || scene.facts.islands {
            return Ok(());
        }
        let store = scene.simulation.store(node);
        let digest = store.digest();
        for other in scene.simulation.alive().into_iter().filter(|other| *other != node) {
            let there = scene.simulation.store(other);
            let beside = there.digest();
            // The digests may agree where what is left out of them does not: contexts have the last word.
            if beside.context == digest.context && beside.root != digest.root && there.context() == store.context() {
                let rows = |node| {
                    let table = scene.simulation.store(node).table(scene.story.table()).snapshot();
                    table.iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect::<Vec<_>>()
                };
                return Err(format!(
                    "{node:?} and {other:?} know the same and hold {:?} and {:?}",
                    rows(node),
                    rows(other)
                ));
            }
        }
        Ok(())
    }
}
