//! The loss of one member moves only what ran there.
//!
//! What makes a cluster bear losses is that each of them is local: a role that runs well on a node which lives does not
//! stop because another died (the design, 6). Judged between two pictures of the same members but one, in which
//! everything runs that should, with nothing else between them.
//!
//! Let off are those whose move is promised elsewhere: what ran on a node above its share, or that was given more than its
//! share for want of room elsewhere; what is in the way of a role kept apart from it; what lies in a zone that has two
//! more than another.

use super::{Invariant, Scene, Verdict};

/// See the module.
pub(crate) struct OnlyOrphansMove;

impl Invariant for OnlyOrphansMove {
    fn name(&self) -> &'static str {
        "the loss of one member moves only what ran there"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        for pair in scene.facts.pairs.iter().filter(|pair| pair.lost.is_some()) {
            let (before, after) = (&pair.before, &pair.after);
            // Where less may run than before, everybody's share shrinks too.
            if after.cap < before.cap {
                continue;
            }
            if let Some(moved) = before.moved(after) {
                return Err(format!("{moved}, though only {:?} was lost at {:?}", pair.lost, scene.now()));
            }
        }
        Ok(())
    }
}
