//! Nothing moves without a cause: with the same members, specs and labels, and nothing that failed, every role stays where
//! it is, however busy the nodes are.
//!
//! A move costs an interruption. Loads change all the time, and a cluster that followed them would do nothing else; they
//! are there for new placements only (the design, 6). Let off is what was above the bounds before, see
//! [`only_orphans_move`](super::only_orphans_move): the moves for balance, which have a cause.

use super::{Invariant, Scene, Verdict};

/// See the module.
pub(crate) struct NoMoveWithoutCause;

impl Invariant for NoMoveWithoutCause {
    fn name(&self) -> &'static str {
        "nothing moves without a cause"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        for pair in scene.facts.pairs.iter().filter(|pair| pair.lost.is_none()) {
            if let Some(moved) = pair.before.moved(&pair.after) {
                return Err(format!("{moved}, though nothing changed but loads: {:?}", pair.after.members));
            }
        }
        Ok(())
    }
}
