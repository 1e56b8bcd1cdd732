//! Equal inputs give equal assignments.
//!
//! There is no leader who decides: everybody computes who should host what, and acts on what it computed. If two that
//! agree on the fingerprint of what they read came to different conclusions, nobody would ever notice (the design, 5).

use std::collections::BTreeMap;

use super::{Invariant, Scene, Verdict};

/// See the module.
pub(crate) struct SameAssignment;

impl Invariant for SameAssignment {
    fn name(&self) -> &'static str {
        "equal fingerprints mean equal assignments"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        let mut by_fingerprint = BTreeMap::new();
        for node in scene.simulation.alive() {
            let Some(engine) = scene.simulation.engine(node) else { continue };
            let (fingerprint, assignment) = engine.assignment();
            let (other, there) = by_fingerprint.entry(fingerprint).or_insert((node, assignment));
            if *there != assignment {
                return Err(format!(
                    "{other:?} and {node:?} agree on {fingerprint} and assign {there:?} and {assignment:?}"
                ));
            }
        }
        Ok(())
    }
}
