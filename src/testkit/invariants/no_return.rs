//! Nothing that was collected as removed comes back.
//!
//! Tombstones go when every member of the roster has promised to write nothing below them and knows all that was written
//! before (rule 6 of the replicated map). If a row comes back after that, somebody was forgotten.

use super::{Invariant, Scene, Verdict};
use crate::testkit::NodeIndex;

/// See the module.
pub(crate) struct NoReturn;

impl Invariant for NoReturn {
    fn name(&self) -> &'static str {
        "what was collected stays away"
    }

    fn at_change(&mut self, scene: Scene<'_>, node: NodeIndex) -> Verdict {
        if scene.facts.plan.evicts() {
            return Ok(());
        }
        match scene.simulation.store(node).stats().resurrected {
            0 => Ok(()),
            rows => Err(format!("{rows} rows came back at {node:?}")),
        }
    }
}
