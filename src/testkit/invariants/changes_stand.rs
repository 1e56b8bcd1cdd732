//! What stands under a role's name is never replaced by what ranks below it: not a change at run time by a configuration of
//! its revision, not a revision by a lower one, whoever restarts, returns or meets.
//!
//! Or an operator's change is undone by the next restart, and an upgrade by the last node that is not upgraded.

use std::collections::BTreeMap;

use super::{Invariant, Scene, Verdict};
use crate::id::ReplicaId;
use crate::roles::RoleOrigin;

/// See the module.
#[derive(Default)]
pub(crate) struct ChangesStand {
    /// The highest that each process has shown, by role.
    shown: BTreeMap<(ReplicaId, String), (u64, RoleOrigin)>,
}

impl Invariant for ChangesStand {
    fn name(&self) -> &'static str {
        "what stands is not replaced by what ranks below it"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        for node in scene.simulation.alive() {
            let Some(engine) = scene.simulation.engine(node) else { continue };
            for (role, rank) in engine.standing_roles() {
                let shown = self.shown.entry((engine.replica(), role.to_owned())).or_insert(rank);
                if rank < *shown {
                    return Err(format!("at {node:?} {role:?} stands as {rank:?} and stood as {shown:?} before"));
                }
                *shown = rank;
            }
        }
        Ok(())
    }

    fn at_rest(&mut self, scene: Scene<'_>) -> Verdict {
        self.look(scene)
    }
}
